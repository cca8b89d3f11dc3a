"""The environment variables of a function's process: Lambda's and the function's own, none of the host's."""

from __future__ import annotations

import datetime as dt
import functools
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab import records
from lambent_lab.sandbox import syscalls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.function import FunctionSpec
    from lambent_lab.sandbox.furnish import Places
    from lambent_lab.staging import Runtime, Stage

REGION = "us-east-1"
ACCOUNT = "123456789012"

ACCESS_KEY = "ASIALAMBENTLABEXAMPLE"
SECRET_KEY = "lambent-lab-has-no-secret-to-give-away"  # noqa: S105 - opens nothing
"""The credentials that functions have: the lab's own, worth nothing."""

MARK = "LAMBENT_LAB_ENVIRONMENT"
"""Carries the log stream's name, by which the lab finds its processes, where Lambda does not tell it."""

_NOT_FOR_EXTENSIONS = frozenset(
    {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "_AWS_XRAY_DAEMON_ADDRESS",
        "_AWS_XRAY_DAEMON_PORT",
        "_HANDLER",
    }
)
"""What AWS's documentation names as the variables that extensions do not have."""


def exporting(url: str) -> dict[str, str]:
    """Return the variables that have a function send its spans to this URL, over OTLP/HTTP."""
    return {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
    }


def function_arn(name: str) -> str:
    """Return the ARN that the lab gives a function."""
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def log_stream(version: str = "$LATEST") -> str:
    """Return a new log stream name, as Lambda forms it: the day, the version, 32 hex digits."""
    day = dt.datetime.now(dt.UTC).strftime("%Y/%m/%d")
    return f"{day}/[{version}]{secrets.token_hex(16)}"


def variables(
    spec: FunctionSpec, runtime: Runtime, places: Places, *, api: str, stream: str
) -> Mapping[str, str]:
    """Return the whole environment of the process. `api` is the host and port of the Runtime API.

    The folder of the interpreter that is started stands where Lambda has /var/lang/bin.
    """
    own = spec.env
    libraries = [runtime.library_folder] if runtime.library_folder else []
    programs = [str(places.python.parent)] if places.python is not None else []
    env = {
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_INITIALIZATION_TYPE": records.initialization_type(spec),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": "lambent-lab-session",
        "TZ": ":UTC",
        "LANG": _language(),
        "PATH": ":".join([*programs, "/usr/local/bin", "/usr/bin", "/bin", str(places.layer / "bin")]),
        "LD_LIBRARY_PATH": ":".join(
            [
                *libraries,
                str(places.runtime),
                str(places.runtime / "lib"),
                str(places.task_root),
                str(places.task_root / "lib"),
                str(places.layer / "lib"),
            ]
        ),
    }
    if runtime.family != "provided":  # "not defined for OS-only runtimes", AWS's documentation says
        env["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{runtime.name}"
    if spec.initialization == "snap-start":
        # Many environments come from one snapshot: Lambda does not say there which one it is.
        del env["AWS_LAMBDA_LOG_GROUP_NAME"], env["AWS_LAMBDA_LOG_STREAM_NAME"]
        env[MARK] = stream
    if spec.max_concurrency is not None:
        env["AWS_LAMBDA_MAX_CONCURRENCY"] = str(spec.max_concurrency)
    if spec.logs_json:
        env["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        env["AWS_LAMBDA_LOG_LEVEL"] = spec.application_log_level or "INFO"
    if places.tmpdir is not None:
        env["TMPDIR"] = str(places.tmpdir)
    env.update(_search_paths(runtime, places))
    env.update(own)
    if runtime.family == "python" and own.get("PYTHONPATH"):
        env["PYTHONPATH"] = ":".join([own["PYTHONPATH"], _search_paths(runtime, places)["PYTHONPATH"]])
    env["AWS_LAMBDA_RUNTIME_API"] = api
    env["_HANDLER"] = spec.handler
    env["LAMBDA_TASK_ROOT"] = str(places.task_root)
    env["LAMBDA_RUNTIME_DIR"] = str(places.runtime)
    return env


def _search_paths(runtime: Runtime, places: Places) -> dict[str, str]:
    """Return where the runtime looks for modules: in layers, and in its own folder."""
    layer = places.layer
    if runtime.family == "python":
        found = [
            layer / "python" / "lib" / f"python{runtime.release}" / "site-packages",
            layer / "python",
            places.runtime,
        ]
        return {"PYTHONPATH": ":".join(map(str, found))}
    if runtime.family == "nodejs":
        modules = "node_modules"
        found = [
            layer / "nodejs" / f"node{runtime.release}" / modules,
            layer / "nodejs" / modules,
            places.runtime / modules,
            places.runtime,
            places.task_root,
        ]
        return {"NODE_PATH": ":".join(map(str, found))}
    return {}


def extensions(
    spec: FunctionSpec, stage: Stage, places: Places, *, api: str, stream: str
) -> list[tuple[str, list[str], Mapping[str, str]]]:
    """Return the external extensions: name, command and environment of each."""
    shared = variables(spec, stage.runtime, places, api=api, stream=stream)
    env = {key: value for key, value in shared.items() if key not in _NOT_FOR_EXTENSIONS} | {MARK: stream}
    folder = places.layer / "extensions"
    return [(name, [str(folder / name)], env) for name in stage.extensions]


@functools.cache
def _language() -> str:
    """Return Lambda's LANG; where that is not installed, one with which Python adds no LC_CTYPE."""
    return next((name for name in ("en_US.UTF-8", "C.UTF-8") if syscalls.has_locale(name)), "C")


def visible(spec: FunctionSpec, runtime: Runtime) -> tuple[Path, ...]:
    """Return the folders that the process needs under their own names, wherever they lie."""
    listed = [Path(p) for p in spec.env.get("PYTHONPATH", "").split(":") if p.startswith("/")]
    return tuple(dict.fromkeys((*runtime.prefixes, *listed)))
