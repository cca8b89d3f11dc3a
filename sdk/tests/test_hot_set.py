"""What a cold start loads and touches, counted in fresh processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

FORBIDDEN = [
    "opentelemetry", "logging", "json", "re", "enum", "typing", "dataclasses", "http", "urllib", "socket",
    "ssl", "email", "asyncio", "inspect", "contextvars", "threading", "traceback", "functools", "collections",
    "random", "secrets", "hashlib", "gzip", "zlib", "base64", "datetime", "uuid", "contextlib", "warnings",
    "importlib.metadata", "pkg_resources", "ast", "tokenize", "linecache", "weakref", "copy", "subprocess",
]  # fmt: skip

LOADED = """
import sys
before = set(sys.modules)
{program}
print(" ".join(sorted(set(sys.modules) - before)))
"""

HOT = [
    "lambent",
    "lambent.config",
    "lambent.context",
    "lambent.delivery",
    "lambent.delivery.sync",
    "lambent.ids",
    "lambent.limits",
    "lambent.span",
    "lambent.tracer",
]

LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "orders",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_REGION": "eu-west-1",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
}


def loaded(run_python: Any, program: str, env: dict[str, str] | None = None) -> list[str]:
    output: str = run_python(LOADED.format(program=program), env).stdout
    modules = output.splitlines()[-1].split()
    for module in modules:
        for name in FORBIDDEN:
            assert module != name, modules
            assert not module.startswith(f"{name}."), modules
    return [module for module in modules if module.split(".")[0] == "lambent"]


def test_an_import_loads_one_module(run_python: Any) -> None:
    assert loaded(run_python, "import lambent") == ["lambent"]


@pytest.mark.parametrize("env", [{}, LAMBDA, {**LAMBDA, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}])
def test_the_hot_set(run_python: Any, env: dict[str, str]) -> None:
    assert loaded(run_python, "import lambent; lambent.init()", env) == HOT
    assert len(HOT) <= 9


RECORDER = {"lambent.delivery.recorder"}


@pytest.mark.parametrize("recorder", [True, False])
def test_a_span_loads_the_recorder_and_nothing_more(run_python: Any, recorder: bool) -> None:
    program = """
import lambent
tracer = lambent.init()
with tracer.trace("outer", attributes={"a": 1}) as span:
    span.set_attribute("b", "text")
    with tracer.trace("inner"):
        span.set_attribute("c", 2.5)
"""
    modules = loaded(run_python, program, LAMBDA if recorder else {**LAMBDA, "LAMBENT_RECORDER": "off"})
    assert set(modules) - set(HOT) == (RECORDER if recorder else set())
    assert set(loaded(run_python, program)) == set(HOT), "outside Lambda there is none"


def test_a_decorated_handler_adds_three(run_python: Any) -> None:
    program = """
import lambent
tracer = lambent.init()
@tracer.handler
def handler(event, context):
    return None
"""
    modules = loaded(run_python, program, LAMBDA)
    assert set(modules) - set(HOT) == {"lambent.handler", "lambent.triggers", "lambent.wrapping"}


def test_the_wrapper_adds_one_more(run_python: Any) -> None:
    program = """
class Client:
    def _get_handler(self, path):
        return lambda event, context: path
sys.modules["awslambdaric.bootstrap"] = Client()
from lambent.wrapper import handler
"""
    modules = loaded(run_python, program, {**LAMBDA, "LAMBENT_HANDLER": "app.handler"})
    assert set(modules) - set(HOT) == {
        "lambent.handler",
        "lambent.triggers",
        "lambent.wrapper",
        "lambent.wrapping",
    }


def test_naming_libraries_adds_two(run_python: Any) -> None:
    env = {**LAMBDA, "LAMBENT_INSTRUMENT": "botocore,requests"}
    modules = loaded(run_python, "import lambent; lambent.init()", env)
    assert set(modules) - set(HOT) == {"lambent.hooks", "lambent.instrument"}


def test_the_first_invocation(run_python: Any) -> None:
    program = """
import lambent
tracer = lambent.init()
handler = tracer.handler(lambda event, context: None)
class Context:
    aws_request_id = "r"
    function_name = "orders"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:orders"
    def get_remaining_time_in_millis(self):
        return 3000
handler({}, Context())
handler({}, Context())
"""
    env = {**LAMBDA, "OTLP_STDOUT_SPAN_EXPORTER_COMPRESSION_LEVEL": "0"}
    modules = loaded(run_python, program, env)
    assert set(modules) - set(HOT) - RECORDER == {
        "lambent.delivery.lane",
        "lambent.delivery.watchdog",
        "lambent.exporters",
        "lambent.exporters.choose",
        "lambent.exporters.stdout",
        "lambent.handler",
        "lambent.resource",
        "lambent.triggers",
        "lambent.wire",
        "lambent.wire.protobuf",
        "lambent.wrapping",
    }


def test_switched_off_it_loads_the_least(run_python: Any) -> None:
    modules = loaded(run_python, "import lambent; lambent.init()", {**LAMBDA, "OTEL_SDK_DISABLED": "true"})
    assert modules == ["lambent", "lambent.config", "lambent.disabled", "lambent.limits"]


GUARD = """
import sys
opened = []
def hook(event, arguments):
    if event.startswith(("socket.", "subprocess.", "ctypes.")) or event in {
        "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec",
        "_thread.start_new_thread", "_thread.start_joinable_thread",
    }:
        raise RuntimeError(f"forbidden: {event}")
    if event == "open" and not str(arguments[0]).endswith((".py", ".pyc")):
        opened.append(str(arguments[0]))
sys.addaudithook(hook)
"""


def test_init_opens_nothing_and_starts_nothing(run_python: Any) -> None:
    program = f"""{GUARD}
import lambent
tracer = lambent.init(
    service_name="s", endpoint="http://localhost:4318", api_key="k", sampler="traceidratio",
    sampler_argument=0.5, resource={{"a": 1}}, headers={{"x": "y"}}, limits={{"attributes": 3}},
    exporters="otlp,stdout",
)
print(opened)
"""
    assert run_python(program, LAMBDA).stdout == "[]\n"


def test_the_first_span_opens_the_recorders_file(run_python: Any, tmp_path: Path) -> None:
    program = f"""{GUARD}
import lambent
tracer = lambent.init()
for _ in range(100):
    with tracer.trace("s"):
        pass
print(opened)
"""
    env = {**LAMBDA, "LAMBENT_RECORDER_FOLDER": str(tmp_path)}
    assert run_python(program, env).stdout == f"['{tmp_path}/.lambent-recorder-0']\n"


@pytest.mark.parametrize(
    "module",
    ["span", "context", "ids", "sampling", "limits", "resource", "tracer", "handler", "codes", "exceptions",
     "wrapping", "triggers.http", "propagation.tracecontext", "wire.protobuf", "wire.json", "errors",
     "config"],
)  # fmt: skip
def test_a_pure_room_is_imported_with_everything_forbidden(run_python: Any, module: str) -> None:
    run_python(f"{GUARD}\nimport lambent.{module}\nassert opened == [], opened")


def test_an_import_reaches_every_public_module(run_python: Any) -> None:
    program = """
import lambent
tracer = lambent.init(exporter=lambent.exporters.memory.MemoryExporter())
lambent.exporters.otlp_http, lambent.exporters.stdout, lambent.exporters.console, lambent.exporters.file
lambent.wire.protobuf, lambent.wire.json, lambent.sampling.Sampler, lambent.propagation.tracecontext
lambent.testing.recording_tracer
for room in (lambent, lambent.exporters, lambent.wire, lambent.propagation):
    for name in room.__all__:
        getattr(room, name)
    assert not hasattr(room, "nonsense")
"""
    run_python(program)
