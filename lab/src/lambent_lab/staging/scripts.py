"""Scripts, and what their first line says about who runs them."""

from __future__ import annotations

import os
import re
from pathlib import Path

_HEAD = 256  # what the kernel looks at
_SYSTEM = frozenset(map(Path, ("/", "/usr", "/usr/local")))


def interpreter_of(head: bytes) -> str | None:
    """Return the interpreter that the first bytes of a file name, "" if none; None if it is no script.

    By the kernel's rule blanks end a name, and nothing else does, a carriage return included.
    """
    if not head.startswith(b"#!"):
        return None
    return os.fsdecode(re.split(rb"[ \t]+", head[2:].partition(b"\n")[0].strip(b" \t"))[0])


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(_HEAD)


def prefixes(*paths: Path) -> tuple[Path, ...]:
    """Return the folders that scripts need of this machine: where their interpreters are installed."""
    found: dict[Path, None] = {}
    for path in paths:
        name = interpreter_of(head_of(path)) or ""
        file = Path(name)
        if not name.startswith("/") or not file.is_file():
            continue
        for home in (file, file.resolve()):
            prefix = home.parent.parent if home.parent.name in {"bin", "sbin"} else home.parent
            if prefix not in _SYSTEM:
                found.setdefault(prefix)
    return tuple(found)
