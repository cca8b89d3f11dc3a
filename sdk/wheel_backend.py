"""Builds the SDK's wheel with flit, from a copy of the sources without what only their readers need.

Every byte of a wheel is unpacked into a function, and its modules are read and compiled whenever a cold
start finds no .pyc files. So comments stay in the repository. Docstrings and types do too, but for the
modules whose names users write: what `lambent` itself offers keeps both (of a docstring the first
paragraph), the exporters and what users are handed by others (`HANDED`) their types; private functions keep
neither. What users do not name has no `__all__` either. All are indented by single spaces. Every statement
stays on its line, so that a traceback fits the repository. What a cold start loads is there a second time,
in few files (`wheel_bundle`). The source distribution and editable installs are flit's own, unchanged.
"""

from __future__ import annotations

import ast
import io
import os
import shutil
import tempfile
import tokenize
import zipfile
from functools import partial
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
from wheel_bundle import bundled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    Edit = tuple[int, int, bytes]  # from where to where, and what comes instead

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

HANDED = frozenset({
    "_expected", "batches", "compat.honeyhive", "compat.lambda_otel_lite", "current", "handler",
    "otel.provider", "propagation.baggage", "resource", "stats", "wire.json", "wire.protobuf",
})  # fmt: skip
"""Modules of what the public names return, and of names that are written with their module's."""

_SIGNS = frozenset({
    ",", ":", "=", ":=", "==", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "|", "&", "<<", ">>",
    "+=", "-=", "->", "(", ")", "[", "]", "{", "}",
})  # fmt: skip


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
        sources = {
            file.relative_to(package).as_posix(): file.read_text("utf-8")
            for file in sorted(package.glob("**/*.py"))
        }
        for path, text in _installed(sources).items():
            (package / path).write_text(text, "utf-8")
        script = package / "lambent.sh"
        lines = script.read_text("utf-8").splitlines(keepends=True)
        script.write_text("".join([line for line in lines if not line.startswith("# ")]), "utf-8")
        os.chdir(copy)
        try:
            name = str(buildapi.build_wheel(str(into), config_settings, metadata_directory))
        finally:
            os.chdir(project)
    _tighten(into / name)
    return name


def _tighten(wheel: Path) -> None:
    """Compress a wheel's files as far as they go."""
    with zipfile.ZipFile(wheel) as archive:
        files = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in files:
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 9)


def _installed(sources: dict[str, str]) -> dict[str, str]:
    """Return the modules as the wheel has them, by their path in the package."""
    homes = _homes(sources["__init__.py"])
    offered = {path: homes[_name(path)] for path in sources if _name(path) in homes}
    typed = {
        path
        for path in sources
        if path in offered or _name(path) in HANDED or (path.startswith("exporters/") and "/_" not in path)
    }
    bundles = bundled(
        sources,
        lambda path, source: slim(
            source, docstrings=path in offered, types=path == "__init__.py", names=offered.get(path)
        ),
    )
    installed = {
        path: slim(source, docstrings=path in offered, types=path in typed, names=offered.get(path))
        for path, source in sources.items()
    }
    return {**installed, **bundles}


def _name(path: str) -> str:
    """Return what a module is called in the package, which is itself ""."""
    return path.removesuffix(".py").removesuffix("__init__").strip("/").replace("/", ".")


def _homes(source: str) -> dict[str, set[str] | None]:
    """Return the modules that have names that the package offers, and these; None: all of the module's.

    Those are modules that are offered themselves, and the package.
    """
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "_HOMES":
            homes: dict[str, set[str] | None] = {"": None}
            offered = ast.literal_eval(statement.value)
            for name, home in offered.items():
                if not home or offered.get(home) == "":
                    homes[home or name] = None
                else:
                    homes[home] = {name, *(homes.get(home) or ())}
            return homes
    raise SystemExit("src/lambent/__init__.py has no table _HOMES of the names that it offers")


def slim(source: str, *, docstrings: bool, types: bool, names: Collection[str] | None = None) -> str:
    """Return a module without its comments, and without docstrings and types unless they are kept.

    Of a docstring that is kept the first paragraph stays: it says what a thing does. Private functions keep
    neither, and if `names` are given only these keep docstrings, and what is in them.
    """
    source = _without(source, partial(_paragraphs, names=names) if docstrings else _docstrings)
    source = _without(source, _private_types if types else _types)
    if not types:
        source = _without(source, _of_types)
    if not docstrings:
        source = _without(source, _names)
    lines = source.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip() + "\n"
    return _tight(_narrow("".join(lines)))


def _narrow(source: str) -> str:
    """Return the source with one space for each four that a line begins with, within brackets with none.

    Texts are left alone.
    """
    lines = source.splitlines(keepends=True)
    inside: set[int] = set()
    depth = 0
    depths: dict[int, int] = {}  # before a line's first token
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        depths.setdefault(token.start[0], depth)
        if token.type == tokenize.OP:  # from 3.12 on an f-string has parts, which may be one bracket
            depth += (token.string in {"(", "[", "{"}) - (token.string in {")", "]", "}"})
        if token.type not in (tokenize.NEWLINE, tokenize.NL):
            inside.update(range(token.start[0] + 1, token.end[0] + 1))
    for number, line in enumerate(lines, 1):
        rest = line.lstrip(" ")
        if number not in inside:
            width = 0 if depths.get(number) else (len(line) - len(rest)) // 4
            lines[number - 1] = " " * width + rest if rest.strip() else "\n"
    return "".join(lines)


def _tight(source: str) -> str:
    """Return the source without the blanks that stand beside a sign: a fiftieth of the wheel."""
    lines = source.splitlines(keepends=True)
    formatted = 0
    before = tokenize.TokenInfo(tokenize.NEWLINE, "", (0, 0), (0, 0), "")
    found: list[tuple[int, int, int]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        beside = any(each.type == tokenize.OP and each.string in _SIGNS for each in (before, token))
        if beside and not formatted and before.end[0] == token.start[0] and token.type != tokenize.NEWLINE:
            found.append((token.start[0] - 1, before.end[1], token.start[1]))
        kind = tokenize.tok_name[token.type]  # an f-string is one token, or from 3.12 on many
        formatted += (kind == "FSTRING_START") - (kind == "FSTRING_END")
        before = token
    for row, begin, end in reversed(found):
        if not lines[row][begin:end].strip(" "):
            lines[row] = lines[row][:begin] + lines[row][end:]
    return "".join(lines)


def _without(source: str, find: Callable[[ast.Module, bytes, list[int]], Iterator[Edit]]) -> str:
    """Return the source with its edits made. What they take out leaves its line ends behind."""
    content = source.encode()  # ast counts columns in bytes
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    done = len(content) + 1
    edits = sorted(find(ast.parse(source), content, starts), key=lambda edit: (-edit[1], edit[0]))
    for begin, end, instead in edits:
        if end > done:
            continue  # inside of what has been taken out
        done = begin
        content = content[:begin] + instead + b"\n" * content.count(b"\n", begin, end) + content[end:]
    return content.decode()


def _docstrings(tree: ast.Module, _: bytes, starts: list[int]) -> Iterator[Edit]:
    """Find every docstring, of a value too."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for statement in node.body:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                alone = len(node.body) == 1 and not isinstance(node, ast.Module)
                yield *_range(statement, starts), b"pass" if alone else b""


def _paragraphs(
    tree: ast.Module, content: bytes, starts: list[int], names: Collection[str] | None = None
) -> Iterator[Edit]:
    """Find the docstrings of what is private or not among the names, and what follows others' paragraph."""
    private = _private(tree, starts)
    if names is not None:
        private += [
            range(*_range(node, starts))
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            and node.name not in names
        ]
    for begin, end, instead in _docstrings(tree, content, starts):
        first = content.find(b"\n\n", begin, end)
        if any(begin in each for each in private):
            yield begin, end, instead
        elif first > 0:
            yield first, end, b'"""'


def _private_types(tree: ast.Module, content: bytes, starts: list[int]) -> Iterator[Edit]:
    """Find the types of private functions, and of local and private values: nobody else uses them."""
    private = _private(tree, starts)
    functions = [each for each in ast.walk(tree) if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))]
    local = {
        _range(node.target, starts)[1]
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.AnnAssign)
        and (isinstance(node.target, ast.Name) or getattr(node.target, "attr", "").startswith("_"))
    }
    for begin, end, instead in _types(tree, content, starts):
        if begin in local or any(begin in each for each in private):
            yield begin, end, instead


def _private(tree: ast.Module, starts: list[int]) -> list[range]:
    """Return where private functions are; the methods of a private class may be those of a public one."""
    return [
        range(*_range(node, starts))
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("_")
        and not node.name.endswith("__")
    ]


def _types(tree: ast.Module, content: bytes, starts: list[int]) -> Iterator[Edit]:
    """Find the types of arguments, results, values and names, and what only type checkers import."""
    for node in ast.walk(tree):
        yield from ((*_range(each, starts), b"") for each in _named_only(node))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not node.orelse:
            yield *_range(node, starts), b""
        elif isinstance(node, ast.arg) and node.annotation is not None:
            begin, end = _range(node, starts)
            yield begin + len(node.arg.encode()), end, b""
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            end = _range(node.annotation, starts)[1]
            if node.lineno == node.annotation.end_lineno:
                yield _range(node.target, starts)[1], end, b""
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns is not None:
            begin, end = _range(node.returns, starts)
            arrow = content.rindex(b"->", 0, begin)
            if (
                b"\n" not in content[arrow : content.index(b":", end)]
            ):  # outside of brackets a line ends there
                yield arrow, end, b""


def _named_only(node: ast.AST) -> list[ast.stmt]:
    """Return the statements below a node that give a name a type and no value, if others stay beside them."""
    body: list[ast.stmt] = getattr(node, "body", []) if isinstance(node, (ast.ClassDef, ast.Module)) else []
    named = [each for each in body if isinstance(each, ast.AnnAssign) and each.value is None]
    docstring = [each for each in body[:1] if isinstance(each, ast.Expr)]
    return named if len(named) + len(docstring) < len(body) else []


def _of_types(tree: ast.Module, _: bytes, starts: list[int]) -> Iterator[Edit]:
    """Find what only types need, where there are none any more."""
    nodes = list(ast.walk(tree))
    used = any(
        isinstance(node, ast.Name) and node.id == "TYPE_CHECKING" and isinstance(node.ctx, ast.Load)
        for node in nodes
    )
    typed = any(
        isinstance(node, ast.AnnAssign) or getattr(node, "annotation", None) or getattr(node, "returns", None)
        for node in nodes
    )
    for node in tree.body:
        if (isinstance(node, ast.Assign) and ast.unparse(node) == "TYPE_CHECKING = False" and not used) or (
            isinstance(node, ast.ImportFrom) and node.module == "__future__" and not typed
        ):
            yield *_range(node, starts), b""


def _names(tree: ast.Module, _: bytes, starts: list[int]) -> Iterator[Edit]:
    """Find an `__all__` that nothing reads; with types, one that offers nothing of another module's."""
    nodes = list(ast.walk(tree))
    imports = [each for node in nodes if isinstance(node, ast.ImportFrom) for each in node.names]
    typed = any(getattr(node, "annotation", None) or getattr(node, "returns", None) for node in nodes)
    needed = {each.asname or each.name for each in imports} if typed else set()
    names = [node for node in nodes if isinstance(node, ast.Name) and node.id == "__all__"]
    if any(isinstance(node.ctx, ast.Load) for node in names):
        return
    for node in tree.body:
        if not isinstance(node, ast.Assign) or node.targets[0] not in names:
            continue
        if needed.isdisjoint(ast.literal_eval(node.value)):
            yield *_range(node, starts), b""


def _range(node: ast.stmt | ast.expr | ast.arg, starts: list[int]) -> tuple[int, int]:
    """Return where a node begins and ends, in bytes."""
    last = node.end_lineno or node.lineno
    return starts[node.lineno - 1] + node.col_offset, starts[last - 1] + (node.end_col_offset or 0)
