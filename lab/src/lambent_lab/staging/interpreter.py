"""The interpreter that a function runs on: which it is, and what it brings."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from lambent_lab.errors import UsageError

_PATIENCE_S = 60
_PROBE = """
import sys, sysconfig, json, importlib.util
try:
    import runtime_client, awslambdaric.bootstrap
    own = True
except ImportError:
    own = False
print(json.dumps({
    "version": list(sys.version_info[:3]), "suffix": sysconfig.get_config_var("EXT_SUFFIX") or "",
    "magic": importlib.util.MAGIC_NUMBER.hex(),
    "prefixes": [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix], "own_client": own,
    "base": getattr(sys, "_base_executable", "") or sys.executable,
    "libdir": sysconfig.get_config_var("LIBDIR") if sysconfig.get_config_var("Py_ENABLE_SHARED") else "",
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python interpreter. `suffix` is that of its extension modules: equal ones can share them.

    `base` is the one that a virtual environment was made from; `is_default` says whether it is run from a
    clean home.
    """

    path: Path
    base: Path
    version: tuple[int, int, int]
    suffix: str
    magic: str
    prefixes: tuple[Path, ...]
    own_client: bool
    library_folder: str
    is_default: bool = False

    @property
    def minor(self) -> str:
        """The version as in python3.11."""
        return f"{self.version[0]}.{self.version[1]}"


def inspect(python: Path | None) -> Interpreter:
    """Return the facts of an interpreter (None: the lab's own base). Raises UsageError if it is none."""
    if python is None:
        return _base()
    # Not resolved: the python of a virtual environment is a link, and is itself only under its own name.
    path = Path(os.path.abspath(python))  # noqa: PTH100 - Path.resolve would follow the link that a virtual environment's python is
    try:
        about = path.stat()
    except OSError as error:
        raise UsageError(
            f"{python} cannot be run ({error.strerror}): give the path of a Python interpreter."
        ) from error
    return _probe(path, about.st_mtime_ns)


@functools.cache
def _base() -> Interpreter:
    path = Path(getattr(sys, "_base_executable", None) or sys.executable)
    if not path.is_file():
        return inspect(Path(sys.executable))
    return Interpreter(
        path=path,
        base=path,
        version=sys.version_info[:3],
        suffix=sysconfig.get_config_var("EXT_SUFFIX") or "",
        magic=importlib.util.MAGIC_NUMBER.hex(),
        prefixes=tuple(dict.fromkeys((Path(sys.base_prefix), Path(sys.base_exec_prefix), *_homes(path)))),
        own_client=False,
        library_folder=_library_folder(),
        is_default=True,
    )


@functools.lru_cache(maxsize=32)
def _probe(path: Path, _changed: int) -> Interpreter:
    try:
        done = subprocess.run(  # noqa: S603 - starting what the user named is the purpose
            [path, "-s", "-B", "-E", "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=True,
            cwd="/",
        )
        facts = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise UsageError(
            f"{path} does not run as a Python interpreter ({error}): give the path of one."
        ) from error
    version = tuple(facts["version"])
    if version < (3, 11):
        raise UsageError(f"{path} is Python {version[0]}.{version[1]}: functions need 3.11 or later.")
    return Interpreter(
        path=path,
        base=Path(facts["base"]),
        version=(version[0], version[1], version[2]),
        suffix=facts["suffix"],
        magic=facts["magic"],
        prefixes=tuple(dict.fromkeys((*(Path(p) for p in facts["prefixes"]), *_homes(path)))),
        own_client=facts["own_client"],
        library_folder=facts["libdir"] or "",
    )


def clean_home(interpreter: Interpreter, folder: Path) -> None:
    """Make `folder` a home for an interpreter, with its standard library and no packages of its machine.

    It is what a virtual environment is: a link and a note. What lies in the interpreter's own site-packages
    (a .pth file there may import half the world at every start) is not on Lambda, and would be measured with
    the function.
    """
    (folder / "bin").mkdir()
    (folder / "lib" / f"python{interpreter.minor}" / "site-packages").mkdir(parents=True)
    for name in (f"python{interpreter.minor}", "python3", "python"):
        (folder / "bin" / name).symlink_to(interpreter.path)
    version = ".".join(map(str, interpreter.version))
    (folder / "pyvenv.cfg").write_text(
        f"home = {interpreter.path.parent}\ninclude-system-site-packages = false\nversion = {version}\n"
    )


def _homes(path: Path) -> tuple[Path, ...]:
    """Return the folders that the interpreter's file, and the files it links to, lie in."""
    homes = [path.parent]
    while path.is_symlink():
        path = path.parent / path.readlink()
        homes.append(Path(os.path.normpath(path.parent)))
    return tuple(homes)


def _library_folder() -> str:
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return str(sysconfig.get_config_var("LIBDIR") or "")
    return ""
