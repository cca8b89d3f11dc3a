"""A function in AWS, or behind anything else that speaks AWS's API, the lab's own server among it.

Rules
- The figures are those of the REPORT line that `LogType=Tail` brings along. A cold start is one that reports
  an Init Duration (or a restore).
- A cold start is forced by a change of the configuration of $LATEST, a variable whose value is new each time:
  AWS replaces its environments. The update is waited for. Variables and memory of a side are set with it.
- The function's variables and memory are put back at the end, also after Ctrl-C; its timeout is its own.
- A published version or an alias cannot be changed: its cold starts come as they come, and it takes no
  variables or sizes.
- An invocation is sent once: one that is sent again by itself would be measured twice over.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure.remote import reportline
from lambent_lab.measure.remote.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

COLD = "LAMBENT_LAB_COLD_START"
"""The variable whose change makes AWS start the function anew; its value means nothing."""

_UPDATE_S = 300.0
_LATEST = "$LATEST"


class Account:
    """One function of one account: `aws:FUNCTION[:QUALIFIER]`, by name or ARN."""

    def __init__(self, text: str, reach: Mapping[str, str]) -> None:
        self._text = text
        self._name, self._qualifier = split(text.removeprefix("aws:"))
        self._client, self._errors = connect(reach.get("region"), reach.get("endpoint_url"))
        self._changed = False
        self._found = self._ask()

    @property
    def memory_mb(self) -> int:
        """The memory that it has."""
        return int(self._found["MemorySize"])

    @property
    def runtime(self) -> str | None:
        """Its runtime, as in python3.13; None of an image."""
        return self._found.get("Runtime")

    def _ask(self) -> dict[str, Any]:
        about = {"FunctionName": self._name}
        if self._qualifier is not None:
            about["Qualifier"] = self._qualifier
        found: dict[str, Any] = self.call("get_function_configuration", **about)
        return found

    def call(self, operation: str, **arguments: Any) -> Any:
        """One call of the API. Raises LabError in the words of AWS."""
        try:
            return getattr(self._client, operation)(**arguments)
        except self._errors as error:
            raise LabError(f"{self._text}: {_short(error)}.") from error

    def function(
        self,
        *,
        memory: int,
        timeout: float,  # noqa: ARG002 - its timeout is its own
        env: Mapping[str, str],
    ) -> Invoked:
        """The function with these variables and this memory. Raises UsageError of a published version."""
        if self._qualifier is None:
            hidden = (self._found.get("Environment") or {}).get("Error")
            if hidden:
                raise UsageError(
                    f"The variables of {self._text} cannot be read ({hidden.get('Message')}), and to force a "
                    "cold start they would be replaced: use a role that may decrypt them."
                )
            return Invoked(self, memory=memory, env=env)
        if set(env) - {"LAMBENT_COUNT_SPANS"} or memory != self.memory_mb:
            raise UsageError(
                f"{self._text} is published and cannot be changed: it has {self.memory_mb} MB and its own "
                f"variables. Measure aws:{self._name} with others."
            )
        return Invoked(self, memory=memory, env=None)

    def configure(self, *, memory: int, env: Mapping[str, str]) -> None:
        """Give $LATEST these settings and new environments; return when it has them."""
        variables = {**self._own(), **env, COLD: secrets.token_hex(8)}
        self._changed = True
        self._update(MemorySize=memory, Environment={"Variables": variables})

    def _own(self) -> dict[str, str]:
        """The variables that the function had; not the one that a run which was killed has left there."""
        found = (self._found.get("Environment") or {}).get("Variables") or {}
        return {name: value for name, value in found.items() if name != COLD}

    def _update(self, **settings: Any) -> None:
        self._settled()
        self.call("update_function_configuration", FunctionName=self._name, **settings)
        self._settled()

    def _settled(self) -> None:
        """Wait until no update is under way. Raises LabError when one fails or takes too long."""
        until = time.monotonic() + _UPDATE_S
        pause = 0.05
        while True:
            about = self.call("get_function_configuration", FunctionName=self._name)
            status = about.get("LastUpdateStatus", "Successful")
            if status == "Successful" and about.get("State", "Active") in {"Active", "Inactive"}:
                return
            if status == "Failed":
                raise LabError(f"{self._text} could not be changed: {about.get('LastUpdateStatusReason')}.")
            if time.monotonic() > until:
                raise LabError(f"{self._text} was still being changed after {_UPDATE_S:.0f} s.")
            time.sleep(pause)
            pause = min(pause * 2, 2.0)

    def invoke(self, event: object) -> Answer:
        """Invoke it once, and read what its log says of it. Raises LabError."""
        about = {"FunctionName": self._name, "LogType": "Tail"}
        if self._qualifier is not None:
            about["Qualifier"] = self._qualifier
        body = json.dumps({} if event is None else event, allow_nan=False).encode()
        answer: Any = self.call("invoke", Payload=body, **about)
        try:
            payload: object = json.loads(answer["Payload"].read() or b"null")
        except (ValueError, RecursionError):
            payload = None
        request_id = str(answer["ResponseMetadata"].get("RequestId", ""))
        log = base64.b64decode(answer.get("LogResult") or b"").decode("utf-8", "replace")
        figures = reportline.parse(log.splitlines(), request_id)
        if figures is None:
            raise LabError(f"{self._text} gave no REPORT line for {request_id}: it cannot be measured.")
        failure = answer.get("FunctionError")
        kind = str(payload.get("errorType") or failure) if isinstance(payload, dict) else failure
        status = "success" if failure is None else "error"
        if failure is not None and kind == "Sandbox.Timedout":
            status = "timeout"
        return Answer(
            request_id=request_id,
            cold=figures.init_ms is not None,
            report=figures,
            payload=payload,
            status=status,
            error=None if failure is None else kind,
            function_error=failure,
            log=log,
        )

    def close(self) -> None:
        """Put the configuration back. Raises LabError that says what is left to do by hand."""
        if not self._changed:
            return
        try:
            self._update(MemorySize=self._found["MemorySize"], Environment={"Variables": self._own()})
        except LabError as error:
            raise LabError(
                f"{self._text} could not be given back its configuration: remove its variable {COLD} "
                f"and check its memory ({error})"
            ) from error
        self._changed = False


class Invoked:
    """The function as one side has it. `env` None: it is published, and cannot be changed."""

    def __init__(self, account: Account, *, memory: int, env: Mapping[str, str] | None) -> None:
        self._account = account
        self._memory = memory
        self._env = env
        self._due = False
        self._starting = threading.Lock()

    @property
    def box(self) -> object:
        """AWS's, of which nothing is known here."""
        return None

    def stop(self) -> None:
        """Let the next invocation be cold, if it can be."""
        self._due = self._env is not None

    def invoke(self, event: object = None) -> Answer:
        """Run it once. Raises LabError."""
        with self._starting:
            if self._due:
                assert self._env is not None
                self._account.configure(memory=self._memory, env=self._env)
                self._due = False
        return self._account.invoke(event)


def split(text: str) -> tuple[str, str | None]:
    """The name or ARN of a function, and its qualifier; $LATEST is none. Raises UsageError."""
    parts = text.split(":")
    # arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER], or NAME[:QUALIFIER]
    whole = 7 if parts[0] == "arn" else 1
    name, rest = ":".join(parts[:whole]), parts[whole:]
    if not parts[whole - 1 :][:1] or not name.rpartition(":")[2] or len(rest) > 1 or rest == [""]:
        raise UsageError(f"aws:{text} names no function: write aws:NAME, aws:NAME:QUALIFIER or aws:ARN.")
    qualifier = rest[0] if rest else None
    return name, None if qualifier == _LATEST else qualifier


def connect(
    region: str | None, endpoint_url: str | None, connections: int = 10
) -> tuple[Any, tuple[type[Exception], ...]]:
    """A client of the API, and its errors. Raises UsageError without a region or credentials.

    connections: how many it keeps open at most, for callers that invoke at the same time.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    session = boto3.Session()
    options: dict[str, Any] = {}
    if endpoint_url is not None:
        # An endpoint of one's own, the lab's say, asks for a signature and believes any.
        options["endpoint_url"] = endpoint_url
        region = region or session.region_name or "us-east-1"
        if session.get_credentials() is None:
            options |= {"aws_access_key_id": "lambent", "aws_secret_access_key": "lambent"}
    elif session.get_credentials() is None:
        raise UsageError(
            "No AWS credentials were found: set AWS_PROFILE, run `aws configure sso`, or give --endpoint-url."
        )
    config = Config(
        retries={"total_max_attempts": 1},
        max_pool_connections=connections,
        read_timeout=930,
        connect_timeout=10,
    )
    try:
        client = session.client("lambda", region_name=region, config=config, **options)
    except (BotoCoreError, ValueError) as error:
        raise UsageError(f"AWS cannot be reached: {_short(error)}. Give --region.") from error
    return client, (BotoCoreError, ClientError)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    with contextlib.suppress(AttributeError, KeyError):
        said = error.response["Error"]["Message"]  # type: ignore[attr-defined]  # ClientError has it
        text = str(said) or text
    return text.rstrip(".")
