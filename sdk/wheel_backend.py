"""Builds the SDK's wheel with flit, from a copy of the sources without what only their readers need.

Every byte of a wheel is unpacked into a function, and its modules are read whenever a cold start finds no
.pyc files. So comments stay in the repository, and docstrings too but for those of the modules whose names
`lambent` itself offers, which `help()` shows. Every statement stays on its line: a traceback fits the
repository. The source distribution and editable installs are flit's own, unchanged.
"""

from __future__ import annotations

import ast
import io
import os
import shutil
import tempfile
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flit_core import buildapi
from flit_core.buildapi import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
    "slim",
]

PACKAGE = Path("src/lambent")


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel: the hook of PEP 517, called with the project as the current folder."""
    project = Path.cwd()
    into = Path(wheel_directory).absolute()
    with tempfile.TemporaryDirectory(prefix="lambent-wheel-") as folder:
        copy = Path(folder) / "sdk"
        shutil.copytree(project, copy, ignore=shutil.ignore_patterns("tests", "__pycache__", "dist"))
        package = copy / PACKAGE
        explained = {
            package / f"{home.replace('.', '/')}.py"
            for home in _homes((package / "__init__.py").read_text("utf-8"))
        }
        for file in copy.glob("src/**/*.py"):
            file.write_text(slim(file.read_text("utf-8"), docstrings=file in explained), "utf-8")
        os.chdir(copy)
        try:
            return str(buildapi.build_wheel(str(into), config_settings, metadata_directory))
        finally:
            os.chdir(project)


def _homes(source: str) -> set[str]:
    """Return the modules of the names that the package offers, and the package's own."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "_HOMES":
            return {"__init__", *ast.literal_eval(statement.value).values()}
    raise SystemExit("src/lambent/__init__.py has no table _HOMES of the names that it offers")


def slim(source: str, *, docstrings: bool) -> str:
    """Return a module without its comments, and without docstrings unless they are kept; no line moves."""
    lines = source.encode().splitlines(keepends=True)  # ast counts columns in bytes
    for text, instead in () if docstrings else _texts(ast.parse(source)):
        first, last = text.lineno - 1, (text.end_lineno or text.lineno) - 1
        lines[first] = lines[first][: text.col_offset] + instead + lines[last][text.end_col_offset :]
        lines[first + 1 : last + 1] = [b"\n"] * (last - first)
    rest = b"".join(lines).decode().splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO("".join(rest)).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            rest[row - 1] = rest[row - 1][:column].rstrip() + "\n"
    return "".join(rest)


def _texts(tree: ast.Module) -> Iterator[tuple[ast.Expr, bytes]]:
    """Give every docstring, of a value too, and what has to stand in its place."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for statement in node.body:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                assert isinstance(statement, ast.Expr)
                yield statement, b"pass" if len(node.body) == 1 else b""
