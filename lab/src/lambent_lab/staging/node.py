"""Node.js: which there is, and its runtime client, npm's aws-lambda-ric.

Handlers with a callback run up to Node.js 22, as on Lambda, and so does version 3 of the client; version 4
knows none, and runs the later ones and managed instances. It has a native module: npm builds it, which takes
a minute, needs cmake, make and a C++ compiler, and is done once for each ABI of Node. Version 3 is given the
same module (its source is the same, but building it needs autoconf as well). Both are kept in the user's
cache folder, as Python's client is.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError, UsageError
from lambent_lab.sandbox import workspace
from lambent_lab.staging import trees
from lambent_lab.staging.client import runtimes_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = "aws-lambda-ric"
CURRENT = "4.0.2"
WITH_CALLBACKS = "3.3.0"
_FORM = 1  # of what this module adds to it
_PATIENCE_S = 900
_PROBE_S = 60
_PROBE = (
    "console.log(JSON.stringify({version: process.versions.node, abi: process.versions.modules,"
    " platform: process.platform + '-' + process.arch, path: process.execPath}))"
)
_ENTRIES = {
    CURRENT: f'import "./node_modules/{CLIENT}/index.mjs";\n',
    WITH_CALLBACKS: f'import {{ run }} from "./node_modules/{CLIENT}/dist/index.mjs";\n'
    "await run(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);\n",
}
_installing = threading.RLock()  # environments that start together wait for one installation
_NATIVE = "rapid-client.node"
_NOT_NEEDED = ("deps", "src", "scripts", "node-addon-api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Node.js. `abi` tells which native modules it can load."""

    path: Path
    version: tuple[int, int, int]
    abi: str
    platform: str

    @property
    def prefixes(self) -> tuple[Path, ...]:
        """The folders it needs under their own names."""
        real = self.path.resolve()
        return tuple(dict.fromkeys((self.path.parent, real.parent, real.parent.parent / "lib")))


def find(major: int) -> Node:
    """Return the Node of a major version, or if there is none the one on PATH. UsageError without any."""
    first: Node | None = None
    for path in _candidates(major):
        try:
            found = _probe(path, path.stat().st_mtime_ns)
        except (OSError, UsageError):
            continue
        if found.version[0] == major:
            return found
        first = first or found
    if first is None:
        raise UsageError(
            f"No Node.js was found, in PATH or with nvm: install Node.js {major} to run nodejs{major}.x."
        )
    return first


def client_folder(node: Node, version: str = CURRENT) -> Path:
    """Return the folder with the runtime client, installing it first if need be. LabError when that fails."""
    name = f"node-{node.abi}-{node.platform}-{CLIENT}-{version}-{_FORM}"
    folder = runtimes_folder() / name
    with _installing:
        return folder if folder.is_dir() else _made(node, version, folder)


def _made(node: Node, version: str, folder: Path) -> Path:
    built = client_folder(node) if version != CURRENT else None
    with trees.placed(folder) as making:
        _install(node, version, making, built)
    return folder


def make_home(node: Node, folder: Path) -> None:
    """Make `folder` a home for the interpreter, so that it is found where Lambda has it."""
    (folder / "bin").mkdir()
    (folder / "bin" / "node").symlink_to(node.path)


def _candidates(major: int) -> Iterator[Path]:
    for name in (f"node{major}", "node", "nodejs"):
        if (found := shutil.which(name)) is not None:
            yield Path(found)
    home = Path(os.environ.get("HOME") or "/nonexistent")
    versions = Path(os.environ.get("NVM_DIR") or home / ".nvm") / "versions" / "node"
    for folder in sorted(versions.glob(f"v{major}.*"), key=_numbers, reverse=True):
        yield folder / "bin" / "node"


def _numbers(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name))


@functools.lru_cache(maxsize=32)
def _probe(path: Path, _changed: int) -> Node:
    try:
        done = subprocess.run(  # noqa: S603 - starting what was found is the purpose
            [path, "-e", _PROBE], capture_output=True, text=True, timeout=_PROBE_S, check=True, cwd="/"
        )
        facts = json.loads(done.stdout)
        numbers = facts["version"].split(".")
        version = (int(numbers[0]), int(numbers[1]), int(re.match(r"\d+", numbers[2])[0]))  # type: ignore[index]
        return Node(
            # The real file: what lies in PATH may be a script that looks for it.
            path=Path(facts["path"]), version=version, abi=facts["abi"], platform=facts["platform"],
        )  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError) as error:
        raise UsageError(f"{path} does not run as Node.js ({error}).") from error


def _install(node: Node, version: str, target: Path, built: Path | None) -> None:
    """Install the client into a folder with npm; with the native module of `built`, if it has one already."""
    said = _npm(node, target, f"{CLIENT}@{version}", *(("--ignore-scripts",) if built is not None else ()))
    package = target / "node_modules" / CLIENT
    if built is None:
        done = (package / _NATIVE).is_file()
    else:
        done = package.is_dir()
        if done:
            (package / "dist").mkdir(exist_ok=True)
            shutil.copyfile(built / "node_modules" / CLIENT / _NATIVE, package / "dist" / _NATIVE)
    if not done:
        raise LabError(
            f"{CLIENT} {version} could not be installed with npm ({said}): it needs the network, cmake, make "
            "and a C++ compiler once."
        )
    (target / "index.mjs").write_text(_ENTRIES[version])
    for name in _NOT_NEEDED:
        shutil.rmtree(package / name, ignore_errors=True)
    for other in (target / "node_modules").iterdir():
        if other != package and other.is_dir():
            shutil.rmtree(other, ignore_errors=True)


def _npm(node: Node, target: Path, *arguments: str) -> str:
    """Run `npm install` and return what it says of a failure, if it was one. UsageError without npm."""
    beside = shutil.which("npm", path=str(node.path.parent))
    npm = beside or shutil.which("npm")
    if npm is None:
        raise UsageError(f"npm was not found: it installs {CLIENT}, with which Node.js functions run.")
    environment = workspace().tool_environment()
    environment["PATH"] = f"{node.path.parent}{os.pathsep}{environment.get('PATH', '')}"
    try:
        done = subprocess.run(  # noqa: S603 - npm, with our arguments
            [npm, "install", "--prefix", str(target), "--no-audit", "--no-fund", "--no-save", *arguments],
            env=environment,
            cwd=target,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return _reason(done.stderr) or _reason(done.stdout) or f"status {done.returncode}"


def _reason(text: str) -> str:
    """Return the line in which npm says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("npm error").strip() for line in lines if line.startswith("npm error")]
    telling = [
        line
        for line in errors
        if line and not line.startswith(("A complete log", "code ", "path ", "command "))
    ]
    return (telling or errors or lines or [""])[0][:300]
