"""Functions that know nothing of lambent, in the lab with the real runtime client: traced, else equal."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import lambent
from lambent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent_lab.service.result import Result

ROOT = Path(__file__).parents[2]
SCRIPT = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambent"}
PACKAGES = (
    "mangum",
    "aws-lambda-powertools",
    "opentelemetry-api",
    "opentelemetry-instrumentation-requests",
    "opentelemetry-instrumentation-threading",
    "requests",
)
SHAPES = {
    "plain.py": "def handler(event, context):\n    return event\n",
    "lambda_.py": "handler = lambda event, context: event\n",
    "partly.py": (
        "from functools import partial\n"
        "def both(extra, event, context):\n    return event\nhandler = partial(both, 1)\n"
    ),
    "instance.py": (
        "class App:\n"
        "    def __init__(self): self.routes = {}\n"
        "    def __call__(self, event, context): return event\n"
        "handler = App()\n"
    ),
    "method.py": "class App:\n    def handle(self, event, context): return event\nhandler = App().handle\n",
    "slotted.py": (
        "class App:\n    __slots__ = ()\n    def __call__(self, event, context): return event\n"
        "handler = App()\n"
    ),
    "claims.py": (
        "class App:\n"
        "    def __call__(self, event, context): return event\n"
        "    def __getattr__(self, name): return name\n"
        "handler = App()\n"
    ),
    "made.py": (
        "import sys\n"
        "def __getattr__(name):\n"
        "    if name == 'handler': return lambda event, context: event\n"
        "    raise AttributeError(name)\n"
    ),
    "package/__init__.py": "from package.inner import handler\n",
    "package/inner.py": "from . import other\ndef handler(event, context):\n    return other.same(event)\n",
    "package/other.py": "same = lambda event: event\n",
    "bare/folder/deep.py": "def run(event, context):\n    return event\n",
}
BROKEN = {
    "syntax.py": "def handler(event, context:\n",
    "attribute.py": "import sys\nsys.nothing\n",
    "division.py": "def inner():\n    return 1 / 0\ninner()\n",
    "missing.py": "import not_installed\n",
    "name.py": "from json import nothing\n",
    "nested.py": "import attribute\n",
    "none.py": "handler = None\n",
    "raises.py": "def handler(event, context):\n    raise KeyError(event['a'])\n",
    "chained.py": (
        "def inner(event):\n    try:\n        event['b']\n    except KeyError as error:\n"
        "        raise ValueError('no b') from error\n"
        "def handler(event, context):\n    return inner(event)\n"
    ),
    "unserialisable.py": "def handler(event, context):\n    return object()\n",
    "leaves.py": "import sys\nsys.exit(3)\n",
    "exits.py": "import os\ndef handler(event, context):\n    os._exit(4)\n",
    "own.py": "class handler(Exception):\n    pass\nraise handler('own')\n",
}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    for name, text in {**SHAPES, **BROKEN}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with some of what is installed for these tests, and what that needs."""
    layer = tmp_path_factory.mktemp("layer")
    wanted, done = list(PACKAGES), set()
    while wanted:
        found = importlib.metadata.distribution(wanted.pop())
        if found.name in done:
            continue
        done.add(found.name)
        for file in found.files or ():
            place = layer / "python" / file
            if ".." not in file.parts and "__pycache__" not in file.parts:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), place)
        needs = [need for need in found.requires or () if ";" not in need]
        wanted += [re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needs]
    return layer


def run(
    lab: Lab, code: Path, handler: str, event: object = None, layers: tuple[Path, ...] = (), /, **env: str
) -> Result:
    function = lab.function(
        f"f{next(_numbers)}",
        code=code,
        handler=handler,
        memory=512,
        timeout=30,
        layers=layers,
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": lab.otlp_url, **env},
    )
    return function.invoke({"a": 1} if event is None else event)


@pytest.mark.parametrize(
    "handler",
    ["plain.handler", "lambda_.handler", "partly.handler", "instance.handler", "method.handler",
     "claims.handler", "slotted.handler", "made.handler", "package.handler", "package/inner.handler",
     "package.inner.handler", "bare/folder/deep.run"],
)  # fmt: skip
def test_any_handler_is_traced(lab: Lab, code: Path, handler: str) -> None:
    result = run(lab, code, handler, **SCRIPT)
    assert result.payload == {"a": 1}
    assert [span.kind for span in result.spans] == ["SERVER"]
    assert result.spans[0].attributes["faas.invocation_id"] == result.report.request_id


@pytest.mark.parametrize("name", [*BROKEN, "absent.py", "plain.py", "package/none.py", "builtin"])
def test_what_goes_wrong_is_told_as_without_tracing(lab: Lab, code: Path, name: str) -> None:
    handler = {"plain.py": "plain.nothing", "builtin": "sys.handler"}.get(name, f"{name[:-3]}.handler")
    bare, traced = run(lab, code, handler), run(lab, code, handler, **SCRIPT)
    assert bare.error is not None
    assert (traced.error, traced.function_error, traced.status) == (
        bare.error,
        bare.function_error,
        bare.status,
    )
    assert _same(traced) == _same(bare)


def _same(result: Result) -> str:
    """Return what a caller and a reader of the log see, without what differs between any two invocations."""
    log = [line for line in result.log.splitlines() if not line.startswith(("REPORT", "INIT_"))]
    text = json.dumps([result.payload, log]).replace(result.report.request_id, "id")
    return re.sub(r"0x[0-9a-f]+|\d{4}-\d\d-\d\dT[\d:.]+Z", "x", text)


DECORATED = {
    "decorated": """
import lambent
tracer = lambent.init(service_name="own")
@tracer.handler
def handler(event, context):
    with tracer.trace("inside"):
        return event
""",
    "decorated twice": """
import functools, lambent
tracer = lambent.init(service_name="own")
def logged(function):
    @functools.wraps(function)
    def call(event, context):
        return function(event, context)
    return call
@tracer.handler
@logged
@tracer.handler
def handler(event, context):
    with tracer.trace("inside"):
        return event
""",
    "a tracer of its own": """
import lambent
tracer = lambent.init(service_name="own")
def handler(event, context):
    with tracer.trace("inside"):
        return event
""",
    "the default tracer": """
import lambent
def handler(event, context):
    with lambent.get_tracer().trace("inside"):
        return event
""",
    "as lambda-otel-lite has it": """
from lambent.compat.lambda_otel_lite import create_traced_handler, init_telemetry
tracer, completion = init_telemetry()
traced = create_traced_handler("orders", completion)
@traced
def handler(event, context):
    with tracer.start_as_current_span("inside"):
        return event
""",
    "asked for before": """
import lambent
tracer = lambent.get_tracer()
handler = tracer.handler(lambda event, context: tracer.trace("inside").end() or event)
""",
}


@pytest.mark.parametrize("how", DECORATED)
def test_a_function_that_traces_itself_is_traced_once(lab: Lab, tmp_path: Path, how: str) -> None:
    (tmp_path / "app.py").write_text(DECORATED[how])
    result = run(lab, tmp_path, "app.handler", **SCRIPT)
    assert result.payload == {"a": 1}
    root, inside = sorted(result.spans, key=lambda span: span.name == "inside")
    assert (root.kind, inside.name, inside.parent_span_id) == ("SERVER", "inside", root.span_id)
    services = {span.resource["service.name"] for span in result.spans}
    assert len(services) == 1
    assert (services == {"own"}) is ("own" in DECORATED[how])


def test_in_an_image_the_handler_is_named_by_a_variable(lab: Lab, code: Path) -> None:
    result = run(lab, code, "lambent.wrapper.handler", LAMBENT_HANDLER="bare/folder/deep.run")
    assert result.payload == {"a": 1}
    assert [span.kind for span in result.spans] == ["SERVER"]
    both = run(lab, code, "lambent.wrapper.handler", LAMBENT_HANDLER="instance.handler", **SCRIPT)
    assert [span.kind for span in both.spans] == ["SERVER"]


@pytest.mark.parametrize("variable", [None, "lambent.wrapper.handler", "lambent/wrapper.handler"])
def test_the_handler_must_be_named(lab: Lab, code: Path, variable: str | None) -> None:
    env = {} if variable is None else {"LAMBENT_HANDLER": variable}
    result = run(lab, code, "lambent.wrapper.handler", **env)
    assert result.error == "ConfigError"
    assert "needs LAMBENT_HANDLER" in json.dumps(result.payload)


def test_switched_off_the_function_runs_untouched(lab: Lab, code: Path) -> None:
    result = run(lab, code, "plain.handler", LAMBENT_DISABLED="true", **SCRIPT)
    assert (result.payload, result.spans) == ({"a": 1}, [])


@pytest.mark.parametrize("handler_variable", [True, False])
def test_the_script_names_the_handler_wherever_the_command_does(
    handler_variable: bool, tmp_path: Path
) -> None:
    """As AWS's runtimes do it, by a variable, and awslambdaric in an image, by an argument."""
    show = "import os, sys; print(os.environ.get('_HANDLER'), os.environ['LAMBENT_HANDLER'], sys.argv[1:])"
    script = Path(lambent.__file__).with_name("lambent.sh")
    env = {"PATH": os.environ["PATH"], **({"_HANDLER": "app.handler"} if handler_variable else {})}
    quoted, spaced = 'it\'s "one"', "a  b"
    command = [str(script), sys.executable, "-c", show, quoted, spaced, "app.handler"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
    own = "lambent.wrapper.handler"
    assert done.stdout == f"{own} app.handler {[quoted, spaced, own]}\n"


def test_the_layer_that_make_layer_writes(lab: Lab, code: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/layer.py"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("wrote dist/lambent-layer.zip")
    result = run(lab, code, "instance.handler", {"a": 2}, (ROOT / "dist/lambent-layer.zip",), **SCRIPT)
    assert result.payload == {"a": 2}
    assert [span.kind for span in result.spans] == ["SERVER"]


def test_frameworks(lab: Lab, packages: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("""
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from mangum import Mangum

async def site(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})

mangum = Mangum(site, lifespan="off")
powertools = APIGatewayRestResolver()

@powertools.get("/orders/<number>")
def order(number):
    return {"number": number}

resolve = powertools.resolve
""")
    events = ROOT / "sdk/tests/events"
    event = json.loads((events / "apiGatewayProxyEvent.json").read_text())
    for handler, status in (("app.mangum", 204), ("app.powertools", 200), ("app.resolve", 200)):
        event.update(path="/orders/7", httpMethod="GET")
        result = run(lab, tmp_path, handler, event, (packages,), **SCRIPT)
        assert result.payload["statusCode"] == status, (result.payload, result.log)  # type: ignore[index, call-overload]  # an object
        (root,) = result.spans
        assert root.attributes["http.response.status_code"] == status


def test_what_was_instrumented_before_the_function_made_its_tracer_goes_to_that(
    lab: Lab, packages: Path, tmp_path: Path
) -> None:
    (tmp_path / "opentelemetry/instrumentation").mkdir(parents=True)
    (tmp_path / "redis.py").write_text("def get(): return 1\n")
    (tmp_path / "opentelemetry/instrumentation/redis.py").write_text("""
import redis
class RedisInstrumentor:
    is_instrumented_by_opentelemetry = False
    def instrument(self, tracer_provider, **options):
        tracer, call = tracer_provider.get_tracer("redis", "1"), redis.get
        def get():
            with tracer.start_as_current_span("GET"):
                return call()
        redis.get = get
    def uninstrument(self):
        print("uninstrumented")
""")
    (tmp_path / "app.py").write_text("""
import lambent, redis
redis.get()
tracer = lambent.init(service_name="own")
def handler(event, context):
    return redis.get()
""")
    result = run(lab, tmp_path, "app.handler", None, (packages,), LAMBENT_INSTRUMENT="redis", **SCRIPT)
    assert result.payload == 1
    assert "uninstrumented" not in result.log
    root, get = sorted(result.spans, key=lambda span: span.kind != "SERVER")[:2]
    assert (get.name, get.parent_span_id, get.scope) == ("GET", root.span_id, "redis 1")
    assert {span.resource["service.name"] for span in (root, get)} == {"own"}


PLAIN = """
import threading
import requests

def get(found):
    found.append(requests.get("http://127.0.0.1:{port}/").text)

def handler(event, context):
    found = []
    get(found)
    thread = threading.Thread(target=get, args=(found,))
    thread.start()
    thread.join()
    return found
"""


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_plain_function_with_its_libraries(lab: Lab, packages: Path, tmp_path: Path, mode: str) -> None:
    """As users have it: a function without a word of tracing, a layer, and variables."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.headers["traceparent"].encode())

        def log_message(self, *args: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        (tmp_path / "app.py").write_text(PLAIN.replace("{port}", str(server.server_address[1])))
        function = lab.function(
            f"f{next(_numbers)}",
            code=tmp_path,
            handler="app.handler",
            memory=1024,
            timeout=60,
            layers=[packages],
            env={
                **SCRIPT,
                "LAMBENT_INSTRUMENT": "auto",
                "LAMBENT_MODE": mode,
                "OTEL_EXPORTER_OTLP_ENDPOINT": lab.otlp_url,
            },
        )
        results = [function.invoke({}) for _ in range(2)]
        server.shutdown()
        thread.join()
    for result in results:
        assert result.ok, result.log
        (root,) = [span for span in result.spans if span.kind == "SERVER"]
        gets = [span for span in result.spans if span.name == "GET"]
        assert [span.parent_span_id for span in gets] == [root.span_id] * 2
        headers = json.loads(json.dumps(result.payload))
        assert {header[3:52] for header in headers} == {f"{span.trace_id}-{span.span_id}" for span in gets}
        assert len(result.spans) == 3, "exports are not traced"
