"""The packages that a folder's requirements.txt asks for, taken from where the lab is installed."""

from __future__ import annotations

import importlib.metadata
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec
from lambent_lab.staging import stage

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK = """
import importlib, importlib.metadata, json
def handler(event, context):
    found = {}
    for name in event:
        try:
            found[name] = importlib.import_module(name).__file__
        except ImportError as error:
            found[name] = str(error)
    found["versions"] = sorted(each.name for each in importlib.metadata.distributions())
    return found
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "app.py").write_text(LOOK)
    return folder


def spec(code: Path, **options: Any) -> FunctionSpec:
    return FunctionSpec(
        **{"code": code, "name": "f", "handler": "app.handler", "timeout_s": 30, "memory_mb": 512, **options}
    )


@pytest.fixture
def staged() -> Iterator[Any]:
    made = []

    def build(function: FunctionSpec) -> Any:
        made.append(stage(function))
        return made[-1]

    yield build
    for each in made:
        each.release()


async def answer(function: FunctionSpec, *names: str) -> Any:
    async with Environment(function) as environment:
        result = await environment.invoke(json.dumps(names).encode())
        assert result.status == "success", (result.payload, result.log)
        return json.loads(result.payload)


async def test_what_is_asked_for_is_there_with_what_it_requires(code: Path) -> None:
    (code / "requirements.txt").write_text(
        "# what the function needs\njinja2>=3  # templates\nlambent\n\nclick; python_version < '3'\n"
    )
    found = await answer(spec(code), "jinja2", "markupsafe", "lambent", "click", "rich")
    assert "/python/jinja2/" in found["jinja2"]
    assert "/python/markupsafe/" in found["markupsafe"]
    assert "No module" in found["click"]
    assert "No module" in found["rich"]
    assert {"Jinja2", "MarkupSafe"} <= {
        name.title().replace("Markupsafe", "MarkupSafe") for name in found["versions"]
    }


async def test_without_the_file_nothing_is_there(code: Path) -> None:
    found = await answer(spec(code), "jinja2")
    assert "No module" in found["jinja2"]


@pytest.mark.usefixtures("mounts")
async def test_the_packages_of_the_folder_come_first(code: Path) -> None:
    (code / "requirements.txt").write_text("jinja2\n")
    (code / "jinja2.py").write_text("")
    (code / "jinja2-9.0.dist-info").mkdir()
    (code / "jinja2-9.0.dist-info" / "METADATA").write_text("Name: jinja2\nVersion: 9.0\n")
    found = await answer(spec(code), "jinja2", "markupsafe")
    assert found["jinja2"].endswith("/task/jinja2.py")
    assert "No module" in found["markupsafe"]


def test_what_is_said(code: Path, staged: Any) -> None:
    (code / "requirements.txt").write_text(
        "jinja2<1\nno-such-package>=2\n-r other.txt\n--hash=sha256:0\n./local\n"
    )
    notes = staged(spec(code)).notes
    text = "\n".join(notes)
    assert "no-such-package>=2" in text
    assert "jinja2<1" in text
    assert f"pip install -r {code / 'requirements.txt'}" in text
    assert "'-r other.txt' of requirements.txt is not looked at" in text
    assert "'./local' of requirements.txt is not looked at" in text
    assert "for Lambda they have to be packed with the code" in text


def test_extras_and_their_packages(
    code: Path, staged: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site"
    info = installed / "shop-1.0.dist-info"
    info.mkdir(parents=True)
    (installed / "shop.py").write_text("")
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\nProvides-Extra: pages\n"
        'Requires-Dist: jinja2; extra == "pages"\nRequires-Dist: click\n'
    )
    (info / "RECORD").write_text("shop.py,,\nshop-1.0.dist-info/METADATA,,\n../../bin/shop,,\n")
    monkeypatch.syspath_prepend(installed)
    for asked, there in (("shop[pages]", True), ("shop", False)):
        (code / "requirements.txt").write_text(f"{asked}\n")
        packages = staged(spec(code, bytecode=False)).layer / "python"
        assert {each.name for each in packages.glob("*.py")} == {"shop.py"}
        assert (packages / "click").is_dir()
        assert (packages / "jinja2").is_dir() is there


def test_the_same_packages_are_copied_once_and_compiled(code: Path, staged: Any) -> None:
    (code / "requirements.txt").write_text("jinja2\n")
    first, second = staged(spec(code)), staged(spec(code))
    kept = [each for each in first.taken if each in second.taken]
    assert any((each.path / "python" / "jinja2").is_dir() for each in kept)
    assert list((first.layer / "python" / "jinja2").rglob("*.pyc"))
    bare = staged(spec(code, bytecode=False))
    assert not list((bare.layer / "python" / "jinja2").rglob("*.pyc"))
    original = Path(str(importlib.metadata.distribution("jinja2").locate_file("jinja2")))
    assert (original / "__init__.py").read_bytes() == (first.layer / "python/jinja2/__init__.py").read_bytes()


def test_a_zip_file_is_taken_as_it_is(code: Path, tmp_path: Path, staged: Any) -> None:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        for name, text in (("app.py", LOOK), ("requirements.txt", "jinja2\n")):
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o644 << 16
            archive.writestr(info, text)
    made = staged(spec(tmp_path / "code.zip"))
    assert not (made.layer / "python" / "jinja2").exists()
    assert made.notes == ()
