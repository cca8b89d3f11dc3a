"""Each code block of the README and of docs/ does what a reader would do with it.

* ```python blocks run, each in a fresh process, in a folder of their own that holds `examples/`;
* the ```sh blocks of a page run line by line there, one after the other, `lambent` being the one under
  test; a `make` line is only asked whether it would do something (`make -n`), because demo and test are
  what is running here;
* ```json and ```toml blocks parse;
* ```text blocks are output, and diagrams are pictures: they are not code.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "sdk/README.md", "lab/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_CODE = {"text", "mermaid"}


def blocks() -> list[tuple[str, str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append((f"{page.relative_to(ROOT)}:{line}", match[1], match[2]))
    return found


BLOCKS = blocks()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def run(arguments: list[str], folder: Path) -> None:
    environment = {
        **os.environ,
        "ORDERS_DATABASE": str(folder / "orders.db"),  # of an example that runs without the lab's own /tmp
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"


def test_every_block_says_what_it_is() -> None:
    unknown = [place for place, kind, _ in BLOCKS if kind not in {"python", "sh", "json", "toml"} | NOT_CODE]
    assert unknown == []


@pytest.mark.parametrize(
    ("place", "code"), [(place, code) for place, kind, code in BLOCKS if kind == "python"]
)
def test_python(place: str, code: str, folder: Path) -> None:
    script = folder / "block.py"
    script.write_text(code)
    run([sys.executable, "-W", "error", str(script)], folder)


@pytest.mark.parametrize(
    "page", sorted({place.partition(":")[0] for place, kind, _ in BLOCKS if kind == "sh"})
)
def test_shell(page: str, folder: Path) -> None:
    code = "".join(code for place, kind, code in BLOCKS if kind == "sh" and place.startswith(f"{page}:"))
    joined = code.replace("\\\n", " ")
    for line in filter(None, map(str.strip, joined.splitlines())):
        if line.startswith("#"):
            continue
        if line.startswith("make "):
            run(["make", "-n", *line.split()[1:]], ROOT)
        elif line.startswith((".ci/run", "bash .ci/run")):
            run(["bash", "-n", ".ci/run"], ROOT)
        else:
            run(["sh", "-c", line.replace(".venv/bin/", "")], folder)


def test_data_parses() -> None:
    for _, kind, code in BLOCKS:
        if kind in {"json", "toml"}:
            (json.loads if kind == "json" else tomllib.loads)(code)


def test_links_lead_somewhere() -> None:
    link = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in link.findall(FENCE.sub("", page.read_text()))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
