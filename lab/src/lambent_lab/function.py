"""What a function is: its code, its handler and the resources it is given."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from lambent_lab.errors import UsageError
from lambent_lab.protocol.extensions import MAX_EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MEMORY_MB = range(128, 10_241)
"""The sizes that Lambda accepts, in MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """One function: everything that an execution environment needs to know of it.

    `code` is a folder, a zip file or a wheel, and stays untouched; wheels at its top are unpacked.
    `timeout_s` counts seconds of one invocation; `python` is the interpreter to run exactly as given (if none:
    the base interpreter of the one running the lab); `init_cpu` says whether the init phase has up to two
    vCPUs ("boost", as Lambda is reported to do) or the share of `memory_mb`; `bytecode` says whether `.pyc`
    files lie beside code, layer and runtime; `extensions` are the executable files to run from
    /opt/extensions, 10 at most. Raises UsageError for values that Lambda would refuse.
    """

    name: str
    code: Path
    handler: str
    memory_mb: int = 128
    timeout_s: float = 3.0
    env: Mapping[str, str] = field(default_factory=dict)
    python: Path | None = None
    init_cpu: Literal["boost", "share"] = "boost"
    bytecode: bool = True
    extensions: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not self.code.is_dir() and not self.code.is_file():
            raise UsageError(
                f"{self.code} is not a folder, nor a zip file or wheel: give what holds the function's code."
            )
        if self.memory_mb not in MEMORY_MB:
            raise UsageError(f"{self.memory_mb} MB of memory is not possible: choose 128 to 10240.")
        if not 0 < self.timeout_s <= 900:
            raise UsageError(f"A timeout of {self.timeout_s} s is not possible: choose up to 900 seconds.")
        if "." not in self.handler:
            raise UsageError(
                f"The handler {self.handler!r} names no function: write module.function, as in app.handler."
            )
        if self.init_cpu not in {"boost", "share"}:
            raise UsageError(f"init_cpu cannot be {self.init_cpu!r}: choose 'boost' or 'share'.")
        for key, value in self.env.items():
            if not key or "=" in key or "\0" in key or "\0" in value:
                raise UsageError(
                    f"The environment variable {key!r} cannot be set: no '=' or NUL in it, please."
                )
        self._check_extensions()

    def _check_extensions(self) -> None:
        if len(self.extensions) > MAX_EXTENSIONS:
            raise UsageError(f"{len(self.extensions)} extensions are too many: {MAX_EXTENSIONS} at most.")
        names = [path.name for path in self.extensions]
        if len(set(names)) < len(names):
            raise UsageError("Two extensions have the same file name: give each its own.")
        for path in self.extensions:
            if not path.is_file() or not os.access(path, os.X_OK):
                raise UsageError(
                    f"The extension {path} is no executable file: check the path, or chmod +x it."
                )
