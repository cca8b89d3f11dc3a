"""AWS's other services, at the endpoints that somebody has named, and nowhere else.

Rules
- An endpoint is named as for boto3: AWS_ENDPOINT_URL_SQS, _SNS, _S3, _EVENTBRIDGE, _KINESIS,
  _DYNAMODB_STREAMS, or AWS_ENDPOINT_URL for all of them, or `endpoint_url` of the profile in AWS's
  configuration files. The lab's own option goes before these.
- Without one, nothing is called: AWS itself is reached only by whoever names its address.
- Credentials are those of the environment or of the profile, if they stand there, and else made up:
  emulators take any. Nobody is asked for them.
- Every call has a limit in time, and runs in a thread beside the lab's event loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lambent_lab.environ import REGION
from lambent_lab.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from lambent_lab.service.arns import Arn

VARIABLES: Mapping[str, str] = {
    "sqs": "AWS_ENDPOINT_URL_SQS",
    "sns": "AWS_ENDPOINT_URL_SNS",
    "s3": "AWS_ENDPOINT_URL_S3",
    "events": "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "kinesis": "AWS_ENDPOINT_URL_KINESIS",
    "dynamodbstreams": "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
}
"""The services that the lab calls, under boto3's names, and the variable that names each one's endpoint."""

_CONNECT_S, _READ_S, _ATTEMPTS = 3, 15, 2
_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "AccessDenied"})
_ANY = "any"


class NoEndpointError(LabError):
    """Nobody has said where a service is."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"no endpoint is named: set {VARIABLES.get(service, 'AWS_ENDPOINT_URL')} or AWS_ENDPOINT_URL (to "
            "http://127.0.0.1:5000, say), or --aws-endpoint-url"
        )


class CallError(LabError):
    """A service could not be reached, or has refused something. `code` is the service's own."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Aws:
    """Calls of AWS's services. `endpoint_url` is that of all of them; None: as boto3 is told."""

    def __init__(self, endpoint_url: str | None = None) -> None:
        self._clients: dict[tuple[str, str], Any] = {}
        self._queues: dict[str, str] = {}
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self.endpoint_url = endpoint_url

    @property
    def endpoint_url(self) -> str | None:
        """Where all services are; what is called from now on is called there."""
        return self._endpoint_url

    @endpoint_url.setter
    def endpoint_url(self, endpoint_url: str | None) -> None:
        if endpoint_url is not None and urlsplit(endpoint_url).scheme not in {"http", "https"}:
            raise UsageError(f"{endpoint_url!r} is no endpoint: write http://HOST:PORT.")
        with self._lock:
            self._endpoint_url = endpoint_url
            self._clients.clear()
            self._queues.clear()

    async def call(
        self,
        service: str,
        region: str,
        operation: str,
        *,
        executor: Executor | None = None,
        **parameters: Any,
    ) -> Any:
        """Call an operation under boto3's name of it. Raises NoEndpointError, CallError.

        `executor` has the thread that it runs in, for calls that take long.
        """
        if executor is None:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(8, "lambent-aws")
            executor = self._threads
        work = partial(self._call, service, region or REGION, operation, parameters)
        return await asyncio.get_running_loop().run_in_executor(executor, work)

    async def queue_url(self, arn: Arn) -> str:
        """Return the URL of a queue. Raises NoEndpointError, CallError."""
        known = self._queues.get(arn.text)
        if known is not None:
            return known
        ask = partial(self.call, "sqs", arn.region, "get_queue_url", QueueName=arn.resource)
        try:
            found = await ask(QueueOwnerAWSAccountId=arn.account) if arn.account else await ask()
        except CallError as error:
            if error.code not in _MISSING or not arn.account:
                raise
            found = await ask()  # emulators have one account, whose number is often another
        url: str = found["QueueUrl"]
        self._queues[arn.text] = url
        return url

    def forget_queue(self, arn: Arn) -> None:
        """Ask for a queue's URL again, next time: it may have been deleted and made anew."""
        self._queues.pop(arn.text, None)

    def close(self) -> None:
        """Begin no more calls. Those under way have their limits."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _call(self, service: str, region: str, operation: str, parameters: Mapping[str, Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client(service, region), operation)(**parameters)
        except ClientError as error:
            about = error.response.get("Error", {})
            code = str(about.get("Code", ""))
            said = str(about.get("Message", "")).rstrip(".")
            raise CallError(f"{code}: {said}", code) from error
        except (BotoCoreError, ValueError) as error:
            raise CallError(str(error)) from error

    def _client(self, service: str, region: str) -> Any:
        with self._lock:  # making clients is not for several threads at once
            found = self._clients.get((service, region))
            if found is None:
                found = self._clients[service, region] = self._make(service, region)
            return found

    def _make(self, service: str, region: str) -> Any:
        import botocore.session
        from botocore.config import Config

        session = botocore.session.Session()
        settings = session.get_scoped_config()
        keys = {
            "aws_access_key_id": os.environ.get("AWS_ACCESS_KEY_ID") or settings.get("aws_access_key_id"),
            "aws_secret_access_key": os.environ.get("AWS_SECRET_ACCESS_KEY")
            or settings.get("aws_secret_access_key"),
        }
        if all(keys.values()):
            keys["aws_session_token"] = os.environ.get("AWS_SESSION_TOKEN") or settings.get(
                "aws_session_token"
            )
        else:
            keys = dict.fromkeys(keys, _ANY)
        config = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": _ATTEMPTS},
            max_pool_connections=50,
            s3={"addressing_style": "path"},
        )

        def make(config: Config) -> Any:
            return session.create_client(
                service, region_name=region, endpoint_url=self._endpoint_url, config=config, **keys
            )

        client = make(config)
        if self._endpoint_url is None:
            # Whether somebody has named the endpoint is botocore's to know: then it is another one.
            unnamed = make(config.merge(Config(ignore_configured_endpoint_urls=True)))
            if client.meta.endpoint_url == unnamed.meta.endpoint_url:
                raise NoEndpointError(service)
        return client
