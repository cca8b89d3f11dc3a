"""Runtimes beside the lab's own Python: another Python, a bootstrap, and scripts that wrap a runtime."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.staging import inspect, pythons
from lambent_lab.staging.runtimes import choose

if TYPE_CHECKING:
    from lambent_lab.environment import Invocation

PYTHON = Path(sys.executable).resolve()
OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"
WHERE = """
import os, sys
def handler(event, context):
    return {"version": sys.version_info[:2], "prefix": sys.prefix, "path": sys.path, "env": dict(os.environ),
            "argv": sys.argv, "flags": sys.flags.no_user_site}
"""
CURL = """#!/bin/bash
# The loop of AWS's tutorial for custom runtimes.
set -euo pipefail
echo "starting with $_HANDLER in $PWD"
API="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  HEADERS="$(mktemp)"
  EVENT=$(curl -sS -LD "$HEADERS" "$API/invocation/next")
  ID=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)
  if [ "$EVENT" = '"fail"' ]; then
    curl -sS "$API/invocation/$ID/error" -H "Lambda-Runtime-Function-Error-Type: Runtime.MyError" \\
      -d '{"errorType": "MyError", "errorMessage": "as asked"}'
  else
    BODY="{\\"got\\": $EVENT, \\"env\\": \\"${AWS_EXECUTION_ENV-unset}\\"}"
    curl -sS "$API/invocation/$ID/response" -d "$BODY"
  fi
done
"""


def folder(tmp_path: Path, name: str = "code", **files: str) -> Path:
    """Write files, executable ones where they begin as scripts do."""
    where = tmp_path / name
    where.mkdir()
    for file, text in files.items():
        path = where / file.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)
    return where


def spec(code: Path, **options: Any) -> FunctionSpec:
    defaults = {"name": "f", "handler": "app.handler", "timeout_s": 30, "memory_mb": 512}
    return FunctionSpec(code=code, **{**defaults, **options})


async def run(function: FunctionSpec, *payloads: object) -> list[Invocation]:
    async with Environment(function) as environment:
        return [await environment.invoke(json.dumps(payload).encode()) for payload in payloads]


async def once(function: FunctionSpec, payload: object = None) -> Invocation:
    return (await run(function, payload))[0]


def value(result: Invocation) -> Any:
    assert result.status == "success", (result.payload, result.log)
    return json.loads(result.payload)


def started(result: Invocation) -> str:
    match = re.match(r"INIT_START Runtime Version: (\S+)\t", result.log[0])
    assert match is not None
    return match[1]


# -- Python by its version


def another() -> str:
    """A Python that is not the lab's, and is there."""
    for minor in ("3.13", "3.12", "3.11", "3.14"):
        if minor != OWN:
            try:
                return pythons.find(minor).minor
            except UsageError:
                continue
    pytest.skip("no second version of Python was found on this machine")


async def test_a_runtime_names_the_version_of_python(tmp_path: Path) -> None:
    minor = another()
    result = await once(spec(folder(tmp_path, app_py=WHERE), runtime=f"python{minor}"))
    seen = value(result)
    assert ".".join(map(str, seen["version"])) == minor
    assert seen["env"]["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python{minor}"
    assert started(result).startswith(f"python:{minor}.v")
    assert not any(f"{Path(sys.prefix)}/lib" in entry for entry in seen["path"])


async def test_the_labs_own_python_has_a_name_as_well(tmp_path: Path) -> None:
    seen = value(await once(spec(folder(tmp_path, app_py=WHERE), runtime=f"python{OWN}")))
    assert ".".join(map(str, seen["version"])) == OWN
    task, runtime = seen["env"]["LAMBDA_TASK_ROOT"], seen["env"]["LAMBDA_RUNTIME_DIR"]
    layers = [entry for entry in seen["path"] if "/python" in entry and entry.startswith("/opt")]
    assert seen["path"][0] == task
    assert layers == [f"/opt/python/lib/python{OWN}/site-packages", "/opt/python"] or task != "/var/task"
    assert seen["path"].index(runtime) == 1 + seen["env"]["PYTHONPATH"].split(":").index(runtime)
    assert seen["argv"] == [seen["env"]["LAMBDA_RUNTIME_DIR"] + "/bootstrap.py"]
    assert seen["flags"] == 1


def test_a_python_that_is_not_there_names_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "PYENV_ROOT", "XDG_DATA_HOME", "UV_PYTHON_INSTALL_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3.13").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(programs))
    wanted = "3.14" if OWN != "3.14" else "3.12"
    with pytest.raises(UsageError, match=rf"No Python {wanted} was found.*there is .*3\.13.*--python"):
        pythons.find(wanted)


def test_pyenvs_and_uvs_pythons_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PATH", str(tmp_path))
    homes = ["pyenv/versions/3.12.9", "pyenv/versions/3.12.10", "uv/cpython-3.12.3-linux-x86_64-gnu"]
    for home in homes:
        (tmp_path / home / "bin").mkdir(parents=True)
        (tmp_path / home / "bin" / "python3.12").write_text("#!/bin/sh\n")
        (tmp_path / home / "bin" / "python3.12").chmod(0o755)
    found = [str(path.relative_to(tmp_path)) for path in pythons.candidates("3.12")]
    assert found == [f"{homes[number]}/bin/python3.12" for number in (1, 0, 2)]


def test_interpreter_and_runtime_must_agree(tmp_path: Path) -> None:
    code = folder(tmp_path, app_py=WHERE)
    wanted = "3.14" if OWN != "3.14" else "3.12"
    with pytest.raises(UsageError, match=f"is Python {OWN}, and the runtime is python{wanted}"):
        choose(spec(code, runtime=f"python{wanted}", python=Path(sys.executable)))
    assert choose(spec(code, python=Path(sys.executable))).name == f"python{OWN}"
    assert inspect(None).minor == OWN


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"runtime": "python2.7"}, r"cannot be 'python2\.7': choose python3\.11, .*provided\.al2023"),
        ({"runtime": "ruby3.3"}, "cannot be"),
        ({"runtime": "nodejs20.x", "python": Path(sys.executable)}, "takes no Python"),
        ({"runtime": "nodejs20.x", "handler": "index"}, "names no function"),
        ({"handler": "handler"}, "names no function"),
        ({"layers": (Path("/nonexistent"),)}, "The layer /nonexistent is not a folder"),
        ({"layers": (Path("/tmp"),) * 6}, "6 layers are too many: 5 at most"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why):
        spec(folder(tmp_path, app_py=WHERE), **options)


@pytest.mark.parametrize("handler", ["pkg.mod.handler", "pkg/mod.handler"])
async def test_handlers_in_packages(handler: str, tmp_path: Path) -> None:
    code = folder(tmp_path, pkg__mod_py="def handler(event, context):\n    return __name__\n")
    assert value(await once(spec(code, handler=handler))) == "pkg.mod"


# -- a bootstrap of the function's own


@pytest.mark.parametrize(
    ("runtime", "version"),
    [("provided.al2023", "provided:al2023"), ("provided.al2", "provided:al2"), ("provided", "provided:al")],
)
async def test_a_bootstrap_with_curl(runtime: str, version: str, tmp_path: Path) -> None:
    function = spec(folder(tmp_path, bootstrap=CURL), runtime=runtime, handler="free form")
    first, failed, last = await run(function, 1, "fail", [2])
    assert value(first) == {"got": 1, "env": "unset"}
    assert json.loads(failed.payload) == {"errorType": "MyError", "errorMessage": "as asked"}
    assert failed.function_error == "Unhandled"
    assert value(last)["got"] == [2]
    assert started(first).startswith(f"{version}.v")
    assert first.log[1].startswith("starting with free form in ")
    assert not last.cold


async def test_an_init_error_of_a_bootstrap(tmp_path: Path) -> None:
    script = (
        "#!/bin/bash\ncurl -sS http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/init/error "
        "-H 'Lambda-Runtime-Function-Error-Type: Runtime.BadConfig' "
        """-d '{"errorType": "BadConfig", "errorMessage": "no table"}'\nexit 1\n"""
    )
    result = await once(spec(folder(tmp_path, bootstrap=script), runtime="provided.al2023"))
    assert json.loads(result.payload) == {"errorType": "BadConfig", "errorMessage": "no table"}
    assert result.status == "error"


async def test_a_bootstrap_in_python(tmp_path: Path) -> None:
    script = f"""#!{PYTHON}
import os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as answer:
        event, name = answer.read(), answer.headers["Lambda-Runtime-Aws-Request-Id"]
    urllib.request.urlopen(api + name + "/response", data=event[::-1]).close()
"""
    assert value(await once(spec(folder(tmp_path, bootstrap=script), runtime="provided.al2023"), 12)) == 21


async def test_a_bootstrap_from_a_layer(tmp_path: Path) -> None:
    code, layer = folder(tmp_path, notes="x"), folder(tmp_path, "layer", bootstrap=CURL)
    function = spec(code, layers=(layer,), runtime="provided.al2023", handler="h")
    assert value(await once(function, 3))["got"] == 3


@pytest.mark.parametrize(
    ("files", "how"),
    [
        ({"other": "x"}, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ({"bootstrap": "exit 0\n"}, "fork/exec /var/task/bootstrap: permission denied"),
        ({"bootstrap": "#!/bin/sh\r\n"}, "fork/exec /var/task/bootstrap: no such file or directory"),
        ({"bootstrap": "#!/no/such/thing -x\n"}, "fork/exec /var/task/bootstrap: no such file or directory"),
        ({"bootstrap": "#!"}, "fork/exec /var/task/bootstrap: exec format error"),
    ],
)
async def test_a_bootstrap_that_cannot_be_run(files: dict[str, str], how: str, tmp_path: Path) -> None:
    function = spec(folder(tmp_path, **files), runtime="provided.al2023", handler="h")
    first, second = await run(function, 1, 2)
    for result in (first, second):
        assert json.loads(result.payload) == {
            "errorType": "Runtime.InvalidEntrypoint",
            "errorMessage": f"RequestId: {result.request_id} Error: {how}",
        }
        assert result.function_error == "Unhandled"
        assert result.status == "error"
        assert "Status: error\tError Type: Runtime.InvalidEntrypoint" in result.log[-1]
        assert f"RequestId: {result.request_id} Error: {how}" in result.log


@pytest.mark.parametrize("content", [b"echo no shebang\n", b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\x08\0"])
async def test_a_bootstrap_of_another_kind_is_no_script(content: bytes, tmp_path: Path) -> None:
    code = folder(tmp_path, other="x")
    (code / "bootstrap").write_bytes(content)
    (code / "bootstrap").chmod(0o755)
    result = await once(spec(code, runtime="provided.al2023", handler="h"))
    assert json.loads(result.payload)["errorMessage"].endswith(
        "fork/exec /var/task/bootstrap: exec format error"
    )


# -- AWS_LAMBDA_EXEC_WRAPPER


def wrapped(code: Path, wrapper: str, **options: Any) -> FunctionSpec:
    return spec(code, env={"AWS_LAMBDA_EXEC_WRAPPER": wrapper}, **options)


@pytest.mark.parametrize("files", ["", "folders"])
async def test_a_wrapper_changes_the_environment(
    files: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBENT_LAB_FILES", files)
    script = '#!/bin/sh\nexport ADDED=yes\necho "wrapping $# arguments"\nexec "$@"\n'
    code = folder(tmp_path, app_py=WHERE, wrap=script)
    result = await once(wrapped(code, "/var/task/wrap"))
    seen = value(result)
    assert seen["env"]["ADDED"] == "yes"
    assert any(re.fullmatch("wrapping [34] arguments", line) for line in result.log)


async def test_a_wrapper_of_a_layer_inserts_options_before_the_last_argument(tmp_path: Path) -> None:
    # AWS's own example does that, in bash.
    script = (
        '#!/bin/bash\nargs=("$@")\nextra=("-X" "dev")\n'
        'args=("${args[@]:0:$#-1}" "${extra[@]}" "${args[@]: -1}")\nexec "${args[@]}"\n'
    )
    source = "import sys\ndef handler(event, context):\n    return sys.flags.dev_mode\n"
    layer = folder(tmp_path, "layer", **{"otel-instrument": script})
    function = wrapped(folder(tmp_path, app_py=source), "/opt/otel-instrument", layers=(layer,))
    assert value(await once(function)) is True


@pytest.mark.usefixtures("mounts")
async def test_a_wrapper_that_starts_python_itself(tmp_path: Path) -> None:
    # As OpenTelemetry's does: its program runs the arguments, and finds itself in the layer.
    script = '#!/bin/sh\nexport PYTHONPATH="/opt/python:$PYTHONPATH"\nexec python3 /opt/python/tool.py "$@"\n'
    tool = "import os, sys\nos.environ['TOOL'] = 'ran'\nos.execv(sys.argv[1], sys.argv[1:])\n"
    layer = folder(tmp_path, "layer", **{"otel-instrument": script, "python__tool_py": tool})
    function = wrapped(folder(tmp_path, app_py=WHERE), "/opt/otel-instrument", layers=(layer,))
    assert value(await once(function))["env"]["TOOL"] == "ran"


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(
    ("files", "status", "said"),
    [
        ({}, 127, "/var/task/wrap: does not exist"),
        ({"wrap": "x"}, 126, "/var/task/wrap: is not an executable"),
    ],
)
async def test_a_wrapper_that_cannot_be_run(
    files: dict[str, str], status: int, said: str, tmp_path: Path
) -> None:
    result = await once(wrapped(folder(tmp_path, app_py=WHERE, **files), "/var/task/wrap"))
    how = f"Runtime exited with error: exit status {status}"
    assert json.loads(result.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {result.request_id} Error: {how}",
    }
    assert said in result.log


async def test_a_bootstrap_is_not_wrapped(tmp_path: Path) -> None:
    function = wrapped(
        folder(tmp_path, bootstrap=CURL), "/var/task/missing", runtime="provided.al2023", handler="h"
    )
    assert value(await once(function, 1))["got"] == 1


# -- variables


@pytest.mark.parametrize("name", ["AWS_LAMBDA_FUNCTION_NAME", "_HANDLER", "AWS_REGION", "AWS_ACCESS_KEY_ID"])
def test_reserved_variables_are_refused_in_aws_words(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"InvalidParameterValueException.* in this request: {name}$"):
        spec(folder(tmp_path, app_py=WHERE), env={"OK": "1", name: "x"})


def test_variables_have_four_kilobytes(tmp_path: Path) -> None:
    code = folder(tmp_path, app_py=WHERE)
    overhead = len('{"A":""}')
    spec(code, env={"A": "x" * (4096 - overhead)})
    with pytest.raises(UsageError, match="exceeded the 4KB limit: they have 4097 bytes"):
        spec(code, env={"A": "x" * (4097 - overhead)})


async def test_other_variables_of_the_runtime_may_be_set(tmp_path: Path) -> None:
    own = {"TZ": "Europe/Berlin", "LANG": "C.UTF-8", "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR"}
    seen = value(await once(spec(folder(tmp_path, app_py=WHERE), env=own)))
    assert {name: seen["env"][name] for name in own} == own
