"""Node.js functions under npm's aws-lambda-ric, which is installed once into the user's cache."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.errors import LabError, UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.staging import node

if TYPE_CHECKING:
    from pathlib import Path

    from lambent_lab.environment import Invocation

pytestmark = [
    pytest.mark.timeout(1200),  # the first of them installs, and builds, the client
    pytest.mark.skipif(
        shutil.which("node") is None or shutil.which("npm") is None, reason="node and npm are not installed"
    ),
]


@pytest.fixture
def runtime(node_runtime: str) -> str:
    """The runtime that this machine's Node.js is."""
    return node_runtime


def spec(tmp_path: Path, runtime: str, files: dict[str, str], **options: Any) -> FunctionSpec:
    for name, text in files.items():
        path = tmp_path / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)
    defaults: dict[str, Any] = {"handler": "index.handler", "timeout_s": 60, "memory_mb": 512}
    return FunctionSpec(name="f", code=tmp_path / "code", runtime=runtime, **{**defaults, **options})


async def run(function: FunctionSpec, *payloads: object) -> list[Invocation]:
    async with Environment(function) as environment:
        return [await environment.invoke(json.dumps(payload).encode()) for payload in payloads]


def value(result: Invocation) -> Any:
    assert result.status == "success", (result.payload, result.log)
    return json.loads(result.payload)


COMMON = """
let count = 0;
exports.handler = async (event, context) => {
  console.log("count is", ++count);
  if (event === "fail") throw new TypeError("as asked");
  return {event, count, name: context.functionName, id: context.awsRequestId, env: process.env};
};
"""


async def test_an_async_handler_runs_cold_and_warm_and_fails(tmp_path: Path, runtime: str) -> None:
    first, second, failed = await run(spec(tmp_path, runtime, {"index.js": COMMON}), {"a": 1}, 2, "fail")
    seen = value(first)
    assert (seen["event"], seen["count"], seen["name"]) == ({"a": 1}, 1, "f")
    assert seen["id"] == first.request_id
    assert value(second)["count"] == 2
    assert seen["env"]["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{runtime}"
    version = runtime.removesuffix(".x")
    task, layer = (
        seen["env"]["LAMBDA_TASK_ROOT"],
        "/opt" if seen["env"]["LAMBDA_TASK_ROOT"] == "/var/task" else "",
    )
    assert seen["env"]["NODE_PATH"].split(":")[-1] == task
    assert (
        seen["env"]["NODE_PATH"].startswith(f"{layer}/nodejs/{version.replace('js', '')}/node_modules:")
        or not layer
    )
    assert re.match(rf"INIT_START Runtime Version: {version.replace('js', 'js:')}\.v\d+\t", first.log[0])
    assert any(re.fullmatch(rf"\S+Z\t{first.request_id}\tINFO\tcount is 1", line) for line in first.log)
    assert failed.function_error == "Unhandled"
    error = json.loads(failed.payload)
    assert (error["errorType"], error["errorMessage"]) == ("TypeError", "as asked")
    assert any("index.js" in line for line in error["trace"])


@pytest.mark.parametrize(
    ("name", "handler", "source"),
    [
        ("index.mjs", "index.handler", "export const handler = async (event) => [import.meta.url, event];"),
        ("src/index.js", "src/index.handler", "exports.handler = async (event) => [__filename, event];"),
        ("index.cjs", "index.inner.handler", "exports.inner = {handler: async (event) => ['', event]};"),
        ("index.js", "index.handler", "exports.handler = (event, context, done) => done(null, ['', event]);"),
    ],
)
async def test_forms_of_handlers(name: str, handler: str, source: str, tmp_path: Path, runtime: str) -> None:
    if "done" in source and runtime >= "nodejs24":
        pytest.skip("Lambda has no callbacks from Node.js 24 on")
    (result,) = await run(spec(tmp_path, runtime, {name: source}, handler=handler), 5)
    assert value(result)[1] == 5


async def test_a_module_that_is_missing(tmp_path: Path, runtime: str) -> None:
    (result,) = await run(spec(tmp_path, runtime, {"other.js": ""}), 1)
    assert result.status == "error"
    assert json.loads(result.payload)["errorType"] == "Runtime.ImportModuleError"


async def test_layers_and_a_wrapper(tmp_path: Path, runtime: str) -> None:
    version = runtime.removesuffix(".x").replace("js", "")
    files = {
        "nodejs/node_modules/plain/index.js": "module.exports = 'plain';",
        "nodejs/node_modules/both/index.js": "module.exports = 'any version';",
        f"nodejs/{version}/node_modules/both/index.js": "module.exports = 'this version';",
        "wrap": '#!/bin/sh\nexport WRAPPED=yes\nexec "$@"\n',
    }
    for name, text in files.items():
        path = tmp_path / "layer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "layer" / "wrap").chmod(0o755)
    source = "exports.handler = async () => [require('plain'), require('both'), process.env.WRAPPED];"
    function = spec(
        tmp_path,
        runtime,
        {"index.js": source},
        layers=(tmp_path / "layer",),
        env={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"},
    )
    (result,) = await run(function, 1)
    assert value(result) == ["plain", "this version", "yes"]


async def test_without_mounts(tmp_path: Path, runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBENT_LAB_FILES", "folders")
    (result,) = await run(spec(tmp_path, runtime, {"index.js": COMMON}), 7)
    assert value(result)["event"] == 7


async def test_another_version_than_asked_for_is_told(tmp_path: Path, runtime: str) -> None:
    other = "nodejs18.x" if runtime != "nodejs18.x" else "nodejs20.x"
    if node.find(int(other[6:8])).version[0] == int(other[6:8]):
        pytest.skip(f"{other} is installed")
    async with Environment(spec(tmp_path, other, {"index.js": COMMON})) as environment:
        assert any(text.startswith(f"runtime: {other} is run by Node.js") for text in environment.box.cannot)
        seen = value(await environment.invoke(b"1"))
    assert seen["env"]["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{other}"


def test_no_node_and_no_npm_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = node.find(0)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NVM_DIR", raising=False)
    with pytest.raises(UsageError, match=r"No Node\.js was found"):
        node.find(20)
    (tmp_path / "node").symlink_to(found.path)
    alone = node.Node(path=tmp_path / "node", version=found.version, abi="0", platform="none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UsageError, match="npm was not found"):
        node.client_folder(alone)
    assert list((tmp_path / "cache" / "lambent" / "runtimes").iterdir()) == []


def test_what_npm_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = node.find(0)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\necho 'npm error no such thing' >&2\nexit 1\n")
    npm.chmod(0o755)
    (tmp_path / "node").symlink_to(found.path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    alone = node.Node(path=tmp_path / "node", version=found.version, abi="0", platform="none")
    with pytest.raises(LabError, match=r"could not be installed with npm \(no such thing\): it needs"):
        node.client_folder(alone)
    assert list((tmp_path / "cache" / "lambent" / "runtimes").iterdir()) == []


async def test_a_streaming_handler(tmp_path: Path, runtime: str) -> None:
    source = (
        "exports.handler = awslambda.streamifyResponse(async (event, stream) => {\n"
        "  stream.setContentType('text/plain');\n"
        "  for (const word of event) stream.write(word);\n"
        "  stream.end();\n});\n"
    )
    pieces: list[bytes] = []
    began: list[tuple[str, bool]] = []
    ends: list[str | None] = []

    class Sink:
        def begin(self, content_type: str, streaming: bool) -> None:
            began.append((content_type, streaming))

        async def write(self, data: bytes) -> None:
            pieces.append(data)

        async def end(self, error_type: str | None, error_body: bytes) -> None:
            ends.append(error_type)

    async with Environment(spec(tmp_path, runtime, {"index.js": source})) as environment:
        result = await environment.invoke(json.dumps(["one ", "two"]).encode(), sink=Sink())
    assert result.status == "success", (result.payload, result.log)
    assert b"".join(pieces) == b"one two"
    assert began == [("text/plain", True)]
    assert ends == [None]
