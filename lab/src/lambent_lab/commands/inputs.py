"""What users type, checked: which function, which event, which variables."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lambent_lab import strictjson
from lambent_lab.errors import UsageError
from lambent_lab.identifiers import RUNTIMES, family_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lambent_lab.identifiers import Family
    from lambent_lab.traces import Store

_SUFFIXES = (".py", ".pyc", ".so")
_SCRIPTS = (".js", ".mjs", ".cjs")
_PACKAGES = (".zip", ".whl")
_BOOTSTRAP = "bootstrap"


@dataclass(frozen=True, slots=True)
class Location:
    """A function's folder, its handler in Lambda's form, and a name made from the folder's."""

    code: Path
    handler: str
    name: str


def locate(target: str, *, handler: str | None = None, runtime: str | None = None) -> Location:
    """Find the function that `FOLDER/module.function` means. Raises UsageError when it cannot be there.

    The folder, or the zip file or wheel in its place, is everything before the last slash; modules inside
    packages are written with dots, as in `FOLDER/package.module.function`. With `handler`, or with a provided
    runtime, the target is the folder alone.
    """
    family = family_of(runtime) if runtime in RUNTIMES else "python"
    whole = Path(target)
    if handler is not None or (family == "provided" and whole.exists()):
        return _whole(whole, handler or _BOOTSTRAP, family)
    folder, slash, handler = target.rpartition("/")
    code = Path(folder or "/") if slash else Path()
    if code.suffix in _PACKAGES and code.is_file():
        if family != "provided":
            _check_packed(code, _parts(target, handler)[0], family)
        return Location(code, handler, _name(code.stem))
    if not code.is_dir():
        what = "is not a folder" if code.exists() else "does not exist"
        raise UsageError(f"The folder {code} {what}: write FOLDER/module.function.")
    if (code / handler).is_dir():
        if (code / handler / _BOOTSTRAP).is_file():
            raise UsageError(f"{target} has a bootstrap: add --runtime provided.al2023 to run that.")
        raise UsageError(f"{target} is a folder: name a function in it, as in {code / handler}/app.handler.")
    if (code / handler).is_file():
        if Path(handler).suffix in _PACKAGES:
            raise UsageError(f"{target} is a package: name the function in it, as in {target}/app.handler.")
        stem = handler.partition(".")[0]
        raise UsageError(f"{target} is a file: name the function in it, as in {code / stem}.handler.")
    if family != "provided":
        _check_module(code, _parts(target, handler)[0], family)
    return Location(code, handler, _name(code.resolve().name))


def _whole(code: Path, handler: str, family: Family) -> Location:
    """Return the location of a function whose handler is given by itself."""
    if not code.exists():
        raise UsageError(f"{code} does not exist: write the function's folder, or its zip file.")
    if code.is_file():
        if family != "provided":
            _check_packed(code, _parts(handler, handler)[0], family)
        return Location(code, handler, _name(code.stem))
    if family != "provided":
        _check_module(code, _parts(handler, handler)[0], family)
    return Location(code, handler, _name(code.resolve().name))


def _check_packed(package: Path, module: str, family: Family) -> None:
    """Raise UsageError when a zip file or wheel has no such module, as far as its list of names tells."""
    if _is_the_sdks(module):
        return
    try:
        with zipfile.ZipFile(package) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return  # unpacking it says what is wrong
    if any("/" not in name and name.endswith(".whl") for name in names):
        return
    path = (module if family == "nodejs" else module.replace(".", "/")) + "/"
    suffixes = _SCRIPTS if family == "nodejs" else (*_SUFFIXES, "/")
    wanted = tuple(path[:-1] + suffix for suffix in suffixes)
    if any(name.startswith((*wanted, path[:-1] + ".cpython-", path[:-1] + ".abi3")) for name in names):
        return
    inside = next((name for name in names if name.endswith(tuple(f"/{name}" for name in wanted))), None)
    hint = f": it has {inside}, so zip what is in the folder, not the folder" if inside else ""
    raise UsageError(f"There is no {wanted[0]} at the top of {package}{hint or '.'}")


def _check_module(code: Path, module: str, family: Family) -> None:
    """Raise UsageError when a folder has no such module."""
    if _is_the_sdks(module):
        return
    script = any((code / f"{module}{suffix}").is_file() for suffix in _SCRIPTS)
    if family == "nodejs":
        if not script:
            raise UsageError(f"There is no {code / module}.js (.mjs, .cjs): write FOLDER/file.function.")
        return
    path = code.joinpath(*module.split("."))
    sources = (path.with_name(path.name + suffix) for suffix in _SUFFIXES)
    if path.is_dir() or any(map(Path.is_file, sources)) or any(path.parent.glob(f"{path.name}.*.so")):
        return
    if script:
        raise UsageError(f"{code / module} is no Python: add --runtime nodejs22.x to run it with Node.js.")
    if (code / _BOOTSTRAP).is_file():
        raise UsageError(f"{code} has a bootstrap: add --runtime provided.al2023 to run that.")
    raise UsageError(f"There is no module {path}.py: write FOLDER/module.function.")


def _is_the_sdks(module: str) -> bool:
    """Tell whether a module is lambent's, `lambent.wrapper` for one: the lab's own layer has it."""
    return module.replace("/", ".").startswith("lambent.")


def _parts(target: str, handler: str) -> tuple[str, str]:
    """Return a handler's module and function."""
    module, dot, function = handler.rpartition(".")
    if not dot or not module or not function.isidentifier():
        raise UsageError(f"{target!r} names no function: write FOLDER/module.function.")
    return module, function


def _name(text: str) -> str:
    """Return a function's name, made from that of its folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:64] or "function"


def load_event(text: str | None) -> object:
    """Return the event that a user named: a sample, a file of JSON, `-` for standard input, or nothing.

    A name of a built-in sample means the sample; a file of that name is written as a path. Raises UsageError.
    """
    if text is None:
        return {}
    if text == "-":
        return parse_event(sys.stdin.buffer.read(), "standard input")
    from lambent_lab import events

    if text in events.SAMPLES:
        return events.sample(text, datetime.now(UTC))
    path = Path(text)
    if not path.exists() and "/" not in text and not path.suffix:
        return events.sample(text, datetime.now(UTC))  # raises, and names the samples
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The event file {text} cannot be read: {error.strerror}. "
            "`lambent invoke --list-events` names samples."
        ) from error
    return parse_event(body, text)


def parse_event(body: bytes, source: str) -> object:
    """Return an event from its (strict) JSON. Raises UsageError."""
    try:
        event: object = strictjson.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The event in {source} is not JSON: {str(error)[:200]}.") from error
    return event


def parse_env(pairs: Iterable[str]) -> dict[str, str]:
    """Return `K=V` texts as a mapping; the last of equal names wins. Raises UsageError."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        # The message leaves the value out: it may be a secret.
        if not equals:
            raise UsageError("An --env without '=': write NAME=VALUE.")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UsageError(f"An --env has the name {name!r}: use letters, digits and underscores.")
        found[name] = value
    return found


def store_of(asked: Path | None) -> Store:
    """Return where traces are kept: the file that was asked for, $LAMBENT_TRACES, or the usual one.

    A file that is not ours, or was asked for and cannot be made, is said before anything runs: LabError. If
    the usual one cannot be written, a temporary one is, and that is said.
    """
    from lambent_lab.traces import Store

    store = Store.default() if asked is None else Store(asked)
    if asked is not None or os.environ.get("LAMBENT_TRACES"):
        store.make()
    elif not store.can_be_written():
        path = Path(tempfile.mkdtemp(prefix="lambent-traces-")) / "traces.db"
        click.echo(
            f"lambent: {Path(store.path).absolute()} cannot be written, so traces are kept in {path}: "
            f"LAMBENT_TRACES={path} lambent trace ls",
            err=True,
        )
        store = Store(path)
    store.traces(1)
    return store
