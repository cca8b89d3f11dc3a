"""The rooms of the SDK: what each of them may import, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lambent

SOURCE = Path(lambent.__file__).parent
MODULES = {
    ".".join(["lambent", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}
PURE = [
    name
    for name in MODULES
    if name.split(".")[1:2]
    and name.split(".")[1]
    in {
        "span",
        "parts",
        "context",
        "codes",
        "sampling",
        "limits",
        "cleaning",
        "resource",
        "wire",
        "triggers",
        "propagation",
        "exceptions",
        "readable",
        "backends",
    }
]
SIDE_EFFECTS = {
    "os", "io", "pathlib", "tempfile", "shutil", "socket", "ssl", "select", "selectors", "http", "urllib",
    "subprocess", "signal", "threading", "_thread", "multiprocessing", "asyncio", "concurrent", "time",
    "datetime", "random", "secrets", "mmap", "ctypes", "logging", "sys",
}  # fmt: skip
ALLOWED = {
    # Building a query string is a pure function, wherever it lives.
    ("lambent.triggers.http", "urllib"),
    ("lambent.triggers.data", "urllib"),
    # So is reading a time that is given as text.
    ("lambent.triggers.parts", "datetime"),
    # Percent-coding, as above.
    ("lambent.propagation.baggage", "urllib"),
    # Writing a given time as text asks no clock.
    ("lambent.readable", "datetime"),
}


def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(node: ast.AST, into_functions: bool) -> list[str]:
    """Return the modules that the code under a node imports, without those for type checkers."""
    found: list[str] = []
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        if isinstance(child, ast.Import):
            found += [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.module is not None
            assert child.level == 0, "imports are absolute"
            names = [f"{child.module}.{alias.name}" for alias in child.names]
            found += [name for name in names if name in MODULES] or [child.module]
        elif into_functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            found += imports(child, into_functions)
    return found


def test_the_pure_rooms_are_found() -> None:
    assert len(PURE) > 12


@pytest.mark.parametrize("name", PURE)
def test_a_pure_room_imports_nothing_that_has_effects(name: str) -> None:
    for imported in imports(tree(name), into_functions=True):
        top = imported.split(".")[0]
        assert top not in SIDE_EFFECTS or (name, top) in ALLOWED, f"{name} imports {imported}"
        if imported.startswith("lambent."):
            allowed = {*PURE, "lambent.diagnostics", "lambent.errors", "lambent"}
            assert imported in allowed, f"{name} imports {imported}"


@pytest.mark.parametrize("name", MODULES)
def test_the_environment_is_read_in_one_place(name: str) -> None:
    uses = [
        node.lineno
        for node in ast.walk(tree(name))
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"})
        or (
            isinstance(node, ast.ImportFrom)
            and any(alias.name in {"environ", "getenv"} for alias in node.names)
        )
    ]
    assert bool(uses) == (name == "lambent.config"), f"{name}, lines {uses}"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_small_and_says_what_it_is(name: str) -> None:
    text = MODULES[name].read_text()
    assert text.count("\n") <= (480 if name == "lambent.config" else 420)  # that one is a table, mostly
    module = tree(name)
    assert ast.get_docstring(module)
    has_all = any(
        isinstance(node, ast.Assign)
        and any(getattr(target, "id", "") == "__all__" for target in node.targets)
        for node in module.body
    )
    only_a_docstring = len(module.body) == 1
    assert has_all or only_a_docstring


def test_no_cycles_at_import_time() -> None:
    graph = {
        name: {imported for imported in imports(tree(name), into_functions=False) if imported in MODULES}
        for name in MODULES
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a cycle: {' → '.join((*path, name))}"
        if name not in done:
            for imported in graph[name] - {"lambent"}:  # the package itself imports nothing
                visit(imported, (*path, name))
            done.add(name)

    assert graph["lambent"] == set()
    for name in MODULES:
        visit(name, ())


def test_the_public_names_are_all_there() -> None:
    for name in lambent.__all__:
        assert getattr(lambent, name) is not None
    assert set(lambent.__all__) <= set(dir(lambent))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = lambent.nonsense  # wrong on purpose
