"""A virtual environment for each tool, reused while its pins stay; its twin without .pyc files; its size."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness.peers_file import Peer

RUNTIME_PACKAGES = ("awslambdaric", "simplejson", "snapshot_restore_py")
"""The runtime client's own: Lambda ships them with .pyc files, so they keep theirs in the twin."""

STAMP = "lambent-bench.json"
FACTS = "2"  # changes when the stamp's content does
_INVENTORY = """
import importlib.metadata as m, json
print(json.dumps([[d.metadata["Name"], d.version, [str(d.locate_file(f)) for f in (d.files or [])]]
                  for d in m.distributions()]))
"""


class PeerUnavailableError(Exception):
    """A tool could not be installed. The message is the reason that is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A tool ready to be measured."""

    peer: Peer
    python: Path
    python_nopyc: Path
    versions: dict[str, str]
    zipped_bytes: int
    distributions: int  # besides the runtime client's, pip and the tool's extras


def find_python(wanted: tuple[str, ...]) -> Path:
    """The first of the wanted versions found in pyenv or on PATH; else the one that runs this."""
    for version in wanted:
        for folder in sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*"), reverse=True):
            if (folder / "bin" / "python").exists():
                return folder / "bin" / "python"
        if found := shutil.which(f"python{version}"):
            return Path(found)
    return Path(sys.executable)


class Workshop:
    """Makes and keeps the environments below `root`."""

    def __init__(
        self, root: Path, repository: Path, python: Path, runtime: tuple[str, ...], say: Callable[[str], None]
    ) -> None:
        self._root = root
        self._repository = repository
        self._python = python
        self._runtime = runtime
        self._say = say
        self.python_version = _run(
            [str(python), "-c", "import sys; print(sys.version.split()[0])"], "python"
        ).strip()
        self._baseline: frozenset[str] | None = None

    def install(self, peer: Peer) -> Installed:
        """The environment of `peer`, made if there is none with these pins. Raises PeerUnavailableError."""
        folder = self._root / "venvs" / peer.name
        twin = self._root / "venvs" / f"{peer.name}.nopyc"
        wanted = self._wanted(peer)
        stamp = folder / STAMP
        facts: dict[str, Any] = {}
        if stamp.exists():
            facts = json.loads(stamp.read_text())
        if facts.get("wanted") != wanted or not twin.exists():
            self._say(f"installing {peer.name}")
            self._make(peer, folder)
            self._twin(folder, twin)
            facts = {"wanted": wanted, **self._inventory(peer, folder)}
            stamp.write_text(json.dumps(facts))
        return Installed(
            peer=peer,
            python=folder / "bin" / "python",
            python_nopyc=twin / "bin" / "python",
            versions=facts["versions"],
            zipped_bytes=facts["zipped_bytes"],
            distributions=facts["distributions"],
        )

    def _wanted(self, peer: Peer) -> str:
        parts = [
            FACTS,
            str(self._python),
            self.python_version,
            *self._runtime,
            *peer.requirements,
            "|",
            *peer.also,
        ]
        if peer.source:
            source = self._repository / peer.source
            files = sorted([*source.glob("src/**/*"), *source.glob("*.py"), source / "pyproject.toml"])
            parts += [
                f"{file.relative_to(source)}:{hashlib.sha256(file.read_bytes()).hexdigest()}"
                for file in files
                if file.is_file() and "__pycache__" not in file.parts
            ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _make(self, peer: Peer, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        _run([str(self._python), "-m", "venv", str(folder)], "venv")
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-warn-script-location"]
        _run([*pip, *self._runtime, *peer.requirements], "pip install")
        if peer.source:
            wheels = self._root / "wheels"
            shutil.rmtree(wheels, ignore_errors=True)
            build = [
                str(folder / "bin" / "python"),
                "-m",
                "pip",
                "wheel",
                "--quiet",
                "--no-deps",
                "-w",
                str(wheels),
            ]
            _run([*build, str(self._repository / peer.source)], "pip wheel")
            _run([*pip, *(str(wheel) for wheel in wheels.glob("*.whl"))], "pip install")
        if peer.also:
            before = json.dumps(self._inventory(peer, folder))
            (folder / "sized.json").write_text(before)
            _run([*pip, *peer.also], "pip install")
        compile_all = [str(folder / "bin" / "python"), "-m", "compileall", "-q", str(site_packages(folder))]
        subprocess.run(
            compile_all, check=False, capture_output=True
        )  # files for other versions do not compile

    def _twin(self, folder: Path, twin: Path) -> None:
        """The same packages, hard-linked, without __pycache__: nothing to read, and runs write none."""
        shutil.rmtree(twin, ignore_errors=True)
        _run([str(self._python), "-m", "venv", "--without-pip", str(twin)], "venv")

        def skip(where: str, names: list[str]) -> set[str]:
            kept = any(part in RUNTIME_PACKAGES for part in Path(where).parts)
            return {
                n for n in names if (n == "__pycache__" and not kept) or n == "pip" or n.startswith("pip-")
            }

        source = site_packages(folder)
        shutil.copytree(
            source, site_packages(twin), ignore=skip, copy_function=os.link, dirs_exist_ok=True, symlinks=True
        )

    def _inventory(self, peer: Peer, folder: Path) -> dict[str, Any]:
        """Versions of everything, and the zipped size of the tool with what it pulled in."""
        python = str(folder / "bin" / "python")
        found = json.loads(_run([python, "-c", _INVENTORY], "inventory"))
        versions = {_canonical(name): version for name, version, _ in found}
        sized = folder / "sized.json"
        if sized.exists():
            return {**json.loads(sized.read_text()), "versions": versions}
        runtime = self._runtime_names(folder if peer.name == "none" else self._root / "venvs" / "none")
        ours = [entry for entry in found if _canonical(entry[0]) not in runtime]
        wheel = next((self._root / "wheels").glob("*.whl"), None) if peer.source else None
        zipped = wheel.stat().st_size if wheel else sum(_zipped(files) for _, _, files in ours)
        return {"versions": versions, "zipped_bytes": zipped, "distributions": len(ours)}

    def _runtime_names(self, folder: Path) -> frozenset[str]:
        if self._baseline is None:
            if not (folder / "bin" / "python").exists():
                return frozenset({"awslambdaric", "simplejson", "snapshot-restore-py", "pip"})
            found = json.loads(_run([str(folder / "bin" / "python"), "-c", _INVENTORY], "inventory"))
            self._baseline = frozenset(_canonical(name) for name, *_ in found)
        return self._baseline


def site_packages(folder: Path) -> Path:
    """The site-packages of a virtual environment."""
    return next((folder / "lib").glob("python3.*")) / "site-packages"


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _zipped(files: list[str]) -> int:
    """Bytes of a zip of `files` as a wheel is zipped: deflated, without .pyc files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            path = Path(file)
            if path.suffix != ".pyc" and path.is_file():
                archive.write(path, file[-180:])
    return buffer.tell()


def _run(command: list[str], what: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        raise PeerUnavailableError(f"{what} failed: {' / '.join(last)[:400]}")
    return done.stdout
