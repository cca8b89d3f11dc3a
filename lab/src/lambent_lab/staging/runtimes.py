"""Runtimes by the names that Lambda gives them, and what is found on this machine to run them.

`python3.11` to `python3.14` and `nodejs18.x` to `nodejs24.x` are interpreters; `provided`, `provided.al2` and
`provided.al2023` run the `bootstrap` that the code or a layer brings, and need nothing of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError
from lambent_lab.identifiers import family_of
from lambent_lab.staging import node, pythons
from lambent_lab.staging.interpreter import inspect

if TYPE_CHECKING:
    from pathlib import Path

    from lambent_lab.function import FunctionSpec
    from lambent_lab.identifiers import Family
    from lambent_lab.staging.interpreter import Interpreter
    from lambent_lab.staging.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What runs a function's code.

    `name` is Lambda's identifier; `version` is what INIT_START says; `program` is the interpreter, None where
    the code brings its own; `prefixes` are the folders it needs under their own names; `notes` say where it
    is not what was asked for.
    """

    name: str
    version: str
    program: Path | None
    prefixes: tuple[Path, ...] = ()
    library_folder: str = ""
    notes: tuple[str, ...] = ()
    python: Interpreter | None = None
    node: Node | None = None

    @property
    def family(self) -> Family:
        """The family: python, nodejs or provided."""
        return family_of(self.name)

    @property
    def release(self) -> str:
        """The name without its family, as in 3.12, 20 or al2023."""
        return self.name.removeprefix(self.family).removeprefix(".").removesuffix(".x")


def choose(spec: FunctionSpec) -> Runtime:
    """Return what runs a function. Raises UsageError when this machine does not have it."""
    family = family_of(spec.runtime or "python")
    if family == "provided":
        name = spec.runtime or ""
        return Runtime(name=name, version=f"provided:{name.partition('.')[2] or 'al'}.v1", program=None)
    if family == "nodejs":
        return _node(spec.runtime or "")
    return _python(spec)


def _node(name: str) -> Runtime:
    found = node.find(int(name.removeprefix("nodejs").removesuffix(".x")))
    notes: tuple[str, ...] = ()
    if name != f"nodejs{found.version[0]}.x":
        text = ".".join(map(str, found.version))
        notes = (f"runtime: {name} is run by Node.js {text}, which is what was found",)
    return Runtime(
        name=name,
        version=f"{name.replace('nodejs', 'nodejs:').removesuffix('.x')}.v{found.version[1]}",
        program=found.path,
        prefixes=found.prefixes,
        notes=notes,
        node=found,
    )


def _python(spec: FunctionSpec) -> Runtime:
    wanted = (spec.runtime or "").removeprefix("python")
    found = pythons.find(wanted) if spec.python is None and wanted else inspect(spec.python)
    if wanted and found.minor != wanted:
        raise UsageError(
            f"{found.path} is Python {found.minor}, and the runtime is {spec.runtime}: leave one of them out."
        )
    return Runtime(
        name=f"python{found.minor}",
        version=f"python:{found.minor}.v{found.version[2]}",
        program=found.path,
        prefixes=found.prefixes,
        library_folder=found.library_folder,
        python=found,
    )
