"""The wheel: what pip installs is the repository's code, without what only its readers need."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import flit_core
import pytest

SDK = Path(__file__).parents[1]
LIMIT_KB = 258  # above the budget of 120, until something gives way: docs/design/wheel.md


@pytest.fixture(scope="module")
def backend() -> Any:
    spec = importlib.util.spec_from_file_location("wheel_backend", SDK / "wheel_backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(SDK))  # as pip does
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SDK))
    return module


class Meaning(ast.NodeTransformer):
    """Leaves of a module what it does: no docstrings, no types, but the number of each line."""

    def visit(self, node: ast.AST) -> Any:
        if hasattr(node, "col_offset"):
            node.end_lineno, node.end_col_offset = None, None  # type: ignore[attr-defined]  # it has them
            node.col_offset = 0  # a type stood to the left, or a wider indentation
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            node = ast.Assign(targets=[node.target], value=node.value, lineno=node.lineno, col_offset=0)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return None
        if isinstance(node, ast.AnnAssign):  # a name's type without a value
            return None
        if isinstance(node, ast.stmt) and ast.unparse(node) in (
            "TYPE_CHECKING = False",
            "from __future__ import annotations",
        ):
            return None
        ours = ("_fill(", "__doc__ = ", "__firstlineno__ = ", "__all__ = ")
        if isinstance(node, ast.stmt) and ast.unparse(node).startswith(ours):
            return None
        if isinstance(node, ast.Pass) or (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            return None
        return self.generic_visit(node)


def meaning(source: str | ast.Module) -> str:
    tree = ast.parse(source) if isinstance(source, str) else source
    return ast.dump(Meaning().visit(tree), include_attributes=True)


def test_the_wheel_is_within_its_budget(wheel: Path) -> None:
    assert wheel.stat().st_size <= LIMIT_KB * 1000


OTHERS = sorted(
    python
    for python in Path("~/.pyenv/versions").expanduser().glob("3.1[1-9].*/bin/python")
    if not python.parts[-3].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
)


@pytest.mark.skipif(not OTHERS, reason="no other Python here")
def test_it_is_the_same_whichever_python_builds_it(wheel: Path, tmp_path: Path) -> None:
    """Since 3.12 an f-string is many tokens, and a comprehension no function of its own."""
    (tmp_path / "flit_core").symlink_to(Path(flit_core.__file__).parent)
    build = "import sys, wheel_backend; wheel_backend.build_wheel(sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": f"{SDK}:{tmp_path}"}
    subprocess.run([OTHERS[-1], "-c", build, tmp_path], cwd=SDK, env=environment, check=True, timeout=120)
    assert contents(tmp_path / wheel.name) == contents(wheel)


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_every_module_is_in_it_and_means_the_same_on_the_same_lines(backend: Any, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.endswith(".py")}
        sources = {str(file.relative_to(SDK / "src")): file for file in SDK.glob("src/**/*.py")}
        bundles = {f"lambent/{name}.py" for name in sys.modules[backend.bundled.__module__].BUNDLES}
        assert names == set(sources) | bundles
        assert "lambent/py.typed" in archive.namelist()
        assert archive.read("lambent/lambent.sh").startswith(b"#!/bin/sh\nown=lambent.wrapper.handler\n")
        for name, file in sources.items():
            installed = archive.read(name).decode()
            compile(installed, name, "exec")
            if name == "lambent/__init__.py":
                installed, _, end = installed.partition("\n# Written by the wheel's build")
                assert "_fill" in end
            assert meaning(installed) == meaning(file.read_text("utf-8")), name


def test_a_bundle_means_the_same_on_lines_that_follow_each_other_as_there(backend: Any, wheel: Path) -> None:
    bundle = sys.modules[backend.bundled.__module__]
    for file, names in bundle.BUNDLES.items():
        with zipfile.ZipFile(wheel) as archive:
            text = archive.read(f"lambent/{file}.py").decode()
        lines = text.splitlines()
        functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
        for name in names:
            function = functions[f"m_{name.replace('.', '_')}"]
            path = lines[function.lineno - 2].removeprefix("# lambent/")
            source = (SDK / "src" / "lambent" / path).read_text("utf-8")
            body = ast.Module(function.body[1:], [])
            ast.increment_lineno(body, -(function.lineno + 1))
            assert meaning(body) == meaning(bundle.filled(source)), name


def test_what_users_call_explains_itself(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    check = (
        "import lambent\n"
        "tracer = lambent.init(test_mode=True)\n"
        "with tracer.trace('a') as span: span.set_attribute('b', 1)\n"
        "assert [each.name for each in tracer.delivery.exporters[0].spans] == ['a'], 1\n"
        "names = [getattr(lambent, name) for name in lambent.__all__ if not name.startswith('_')]\n"
        "for name in 'carriers', 'llm', 'logging', 'propagation', 'sampling', 'testing', 'wire':\n"
        "    module = getattr(lambent, name)\n"
        "    assert module.__doc__, name\n"
        "    found = [getattr(module, each) for each in module.__all__]\n"
        "    names += [each for each in found if getattr(each, '__module__', '') == module.__name__]\n"
        "missing = [each for each in names if callable(each) and not each.__doc__]\n"
        "assert not missing, missing\n"
        "assert tracer.force_flush.__doc__ and lambent.__file__.startswith(sys.argv[1])\n"
    )
    subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, sys.argv[1]); {check}", str(tmp_path)],
        check=True,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )


def test_type_checkers_understand_it_as_they_do_the_sources(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    strictly = ["--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *strictly, str(SDK / "tests" / "typing_api.py")],
        env={"PATH": os.environ["PATH"], "MYPYPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("types", [True, False])
@pytest.mark.parametrize("docstrings", [True, False])
def test_what_is_left_out_leaves_its_lines(backend: Any, docstrings: bool, types: bool) -> None:
    source = (
        '"""Über … several\n\nparagraphs."""\n\nimport os  # why\n\n\n'
        'def only():\n    """Nothing … else."""\n\n\n'
        'VALUE = "# no comment"  # a comment\n"""Of a value\nin two lines."""\n\n\n'
        "if TYPE_CHECKING:\n    from a import B\n\n    c: int = 1\n\n\n"
        'def f(ä: "B … C" = 1, /, *b: B,\n      c: dict[\n        str, B] = {}) -> (\n    int):\n'
        "    d: list[int] = []; e: B\n    return lambda: d  # x\n\n\n"
        'class A:\n    """…"""\n\n    def b(self):  # noqa\n        """C."""\n        raise ValueError("x")\n'
        '    def _c(self, d: Secret):\n        """Private."""\n'
    )
    slimmed = backend.slim(source, docstrings=docstrings, types=types)
    assert slimmed.count("\n") == source.count("\n")
    assert "why" not in slimmed
    assert "# no comment" in slimmed
    assert ("Nothing" in slimmed) is docstrings
    assert ("import B" in slimmed) is types
    assert ("dict[" in slimmed) is types
    assert "Private" not in slimmed
    assert "Secret" not in slimmed
    assert meaning(slimmed) == meaning(source)
