"""Layers: merged in order at /opt, by mounts and without."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.staging import CodeSizeExceededError, stage

if TYPE_CHECKING:
    from pathlib import Path

OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"
LOOK = """
import os, shutil, subprocess, sys
import shared, late
try:
    import lambent
    sdk = lambent.__file__
except ImportError:
    sdk = None
def handler(event, context):
    opt = shutil.which("tool")
    return {"shared": shared.name, "late": late.name, "where": shared.__file__, "sdk": sdk, "tool": opt,
            "said": subprocess.run(["tool"], capture_output=True, text=True).stdout,
            "files": sorted(os.listdir(os.path.dirname(os.path.dirname(opt)))),
            "libraries": os.environ["LD_LIBRARY_PATH"].split(":")[-1]}
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)
    return folder


def spec(code: Path, *layers: Path, **options: Any) -> FunctionSpec:
    defaults = {"name": "f", "handler": "app.handler", "timeout_s": 30, "memory_mb": 512}
    return FunctionSpec(code=code, layers=layers, **{**defaults, **options})


async def answer(function: FunctionSpec) -> Any:
    async with Environment(function) as environment:
        result = await environment.invoke(b"{}")
        assert result.status == "success", (result.payload, result.log)
        return json.loads(result.payload)


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("files", ["", "folders"])
@pytest.mark.parametrize("packed", [False, True])
async def test_later_layers_come_before_earlier_ones(
    files: str, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBENT_LAB_FILES", files)
    code = write(tmp_path / "code", app_py=LOOK)
    site = f"python__lib__python{OWN}__site-packages__"
    one = write(
        tmp_path / "one",
        python__shared_py="name = 'one'",
        bin__tool="#!/bin/sh\necho one\n",
        only="1",
        **{f"{site}late_py": "name = 'site'"},
    )
    two = write(tmp_path / "two", python__shared_py="name = 'two'", bin__tool="#!/bin/sh\necho two\n")
    if packed:
        one, two = (tmp_path / f"{path.name}.zip" for path in (one, two))
        for path in (one, two):
            shutil.make_archive(str(path.with_suffix("")), "zip", path.with_suffix(""))
    seen = await answer(spec(code, one, two))
    assert (seen["shared"], seen["late"], seen["said"]) == ("two", "site", "two\n")
    assert seen["files"] == ["bin", "lambent", "only", "python"]
    assert seen["sdk"].endswith("/python/lambent/__init__.py")
    assert seen["libraries"].endswith("/lib")
    if not files:
        assert seen["where"] in {"/opt/python/shared.py", "/opt/python/__pycache__/shared.pyc"}
        assert seen["tool"] == "/opt/bin/tool"
        assert seen["libraries"] == "/opt/lib"
    turned = await answer(spec(code, two, one))
    assert (turned["shared"], turned["said"]) == ("one", "one\n")


async def test_an_sdk_of_a_layer_is_the_only_one(tmp_path: Path) -> None:
    code = write(tmp_path / "code", app_py="import lambent\ndef handler(e, c):\n    return lambent.name\n")
    layer = write(tmp_path / "layer", python__lambent____init___py="name = 'mine'")
    (layer / "python" / "lambent" / "__init__.py").write_text("name = 'mine'")
    assert await answer(spec(code, layer)) == "mine"
    prepared = stage(spec(code, layer))
    assert prepared.layer is not None
    assert [path.name for path in (prepared.layer / "python" / "lambent").glob("*.py")] == ["__init__.py"]
    prepared.release()


def test_files_folders_and_links_replace_each_other(tmp_path: Path) -> None:
    code = write(tmp_path / "code", app_py="")
    one = write(tmp_path / "one", a="file", b__c="below", kept__x="1")
    two = write(tmp_path / "two", a__b="below", b="file", kept__y="2")
    prepared = stage(spec(code, one, two, bytecode=False, runtime="provided"))
    layer = prepared.layer
    assert layer is not None
    found = {str(p.relative_to(layer)): p.read_text() for p in layer.rglob("*") if p.is_file()}
    assert found == {"a/b": "below", "b": "file", "kept/x": "1", "kept/y": "2"}
    prepared.release()
    # The folders of the user are as they were.
    assert (one / "a").read_text() == "file"


EXTENSION = (
    f"#!{sys.executable}\n"
    """
import json, os, sys, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
name = os.path.basename(sys.argv[0])
request = urllib.request.Request(api + "register", data=b'{"events": ["INVOKE"]}',
                                 headers={"Lambda-Extension-Name": name})
with urllib.request.urlopen(request) as answer:
    identity = answer.headers["Lambda-Extension-Identifier"]
while True:
    urllib.request.urlopen(
        urllib.request.Request(api + "event/next", headers={"Lambda-Extension-Identifier": identity})
    ).read()
"""
)


async def test_extensions_of_layers_run_beside_the_functions_own(tmp_path: Path) -> None:
    code = write(tmp_path / "code", app_py="def handler(event, context):\n    return 1\n")
    one = write(tmp_path / "one", extensions__second=EXTENSION, extensions__README="not executable")
    two = write(tmp_path / "two", extensions__first=EXTENSION)
    own = write(tmp_path / "own", third=EXTENSION) / "third"
    function = spec(code, one, two, extensions=(own,), timeout_s=60)
    async with Environment(function) as environment:
        result = await environment.invoke(b"{}")
    assert result.status == "success", result.log
    names = [line.split("\t")[1] for line in result.log if line.startswith("EXTENSION\t")]
    assert sorted(names) == ["Name: first", "Name: second", "Name: third"]


def test_extensions_are_counted_over_all_layers(tmp_path: Path) -> None:
    code = write(tmp_path / "code", app_py="")
    layers = [
        write(tmp_path / f"l{n}", **{f"extensions__e{n}{m}": "#!/bin/sh\n" for m in range(3)})
        for n in range(4)
    ]
    with pytest.raises(UsageError, match="12 extensions are too many: 10 at most"):
        stage(spec(code, *layers))
    own = write(tmp_path / "own", e00="#!/bin/sh\n") / "e00"
    with pytest.raises(UsageError, match="A layer has an extension called e00 as well"):
        stage(spec(code, layers[0], extensions=(own,)))


def test_code_and_layers_have_one_limit_together(tmp_path: Path) -> None:
    code, layer = write(tmp_path / "code", app_py=""), write(tmp_path / "layer", python__x_py="")
    for path in (code / "big", layer / "big"):
        with path.open("wb") as file:
            file.truncate(140_000_000)  # a hole: no disk is used for it here
    stage(spec(code)).release()
    with pytest.raises(CodeSizeExceededError, match="with its layers is too large"):
        stage(spec(code, layer))


def test_a_layer_that_is_refused_is_named(tmp_path: Path) -> None:
    code = write(tmp_path / "code", app_py="")
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    with pytest.raises(UsageError, match=r"bad\.zip cannot be read as a zip file"):
        stage(spec(code, tmp_path / "bad.zip"))
