"""Puts the code of the modules that every cold start loads into a few files of the wheel.

To find, open and read one more file costs a cold start 60 µs, ten times what it takes to make a module. So
the wheel has the modules of `BUNDLES` a second time, in files of their own, where each module's code is one
function. The end of `lambent/__init__.py` has modules made of them when they are first imported, if there are
.pyc files; without, or where that fails, the modules' own files are as good. Rules:

- A module is what it would be: its functions and classes have its `__dict__` as their globals, its name and
  their qualified names. It is executed once, when it is imported, and there is never a second of it.
- Its lines follow each other as in the repository, below a comment that names the file. What a text of
  several lines holds is not indented.
- What a module imports at its top is executed before it, so it stands before it in `BUNDLES`.
"""

from __future__ import annotations

import ast
import re
import tokenize
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["BUNDLES", "SEAM", "bundled"]

SEAM = "# In the wheel the finder of bundled modules follows: docs/design/hot-set.md\n"
"""The last line of `lambent/__init__.py`."""

BUNDLES: dict[str, tuple[str, ...]] = {
    # What `init()` needs also when tracing is switched off, and what makes modules of all bundles.
    "_bundled": ("limits", "config"),
    # A tracer, and the wrapping of a handler.
    "_hot": (
        "context", "span", "ids", "delivery", "delivery.sync", "tracer",
        "triggers", "wrapping", "handler",
    ),
    # A first invocation, wherever its spans go.
    "_first": (
        "delivery.recorder", "delivery.watchdog", "exporters", "delivery.lane",
        "exporters.choose", "wire", "wire.protobuf", "resource",
    ),
    # OTLP over HTTP without TLS, to a collector beside the function.
    "_otlp": ("exporters._endpoint", "exporters._target", "exporters.otlp_http", "exporters._http"),
    # A line on stdout.
    "_stdout": ("exporters._gzip", "exporters.stdout"),
}  # fmt: skip
"""Which modules are in which file, each after those that it imports at its top. A test holds these to be what
a cold start loads."""

MARK = re.compile(r"^( +)(from lambent\.(\S+) import (\w+).*)  # bundled$", re.MULTILINE)
"""An import that is answered from a bundle without going through the import system."""

INSTALL = """
# Written by the wheel's build: docs/design/hot-set.md in the repository says what and why.
try:
    from os import stat
    stat(__spec__.cached)
    from lambent._bundled import _fill
except Exception:
    def _fill(name): pass
"""
"""The end of `lambent/__init__.py`. Without .pyc files small files are faster: docs/design/hot-set.md."""

RUNTIME = """import sys
from _frozen_importlib_external import (
    BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES,
    ExtensionFileLoader, FileFinder, SourceFileLoader, SourcelessFileLoader,
)
from _thread import RLock

_BUNDLED = @bundled@
_PACKAGES = @packages@
_LAMBENT = sys.modules["lambent"]
_FOLDER = _LAMBENT.__path__[0]
_Spec = type(__spec__)
_filling = RLock()
_made = {"lambent": _LAMBENT}  # the import system takes modules out of sys.modules for a moment


def _fill(name):
    # Make a bundled module, after those that it needs, but for those that there are already.
    modules = sys.modules
    full = "lambent." + name
    if full not in modules:
        try:
            with _filling:
                for name in _BUNDLED[name][1]:
                    full = "lambent." + name
                    if full not in modules and full not in _made:
                        _make(modules, full, name)
        except Exception:
            return None  # then it comes from its own file
    return modules.get(full)  # one that was made and taken away again comes from its file too


def _make(modules, full, name):
    module = type(sys)(full)
    space = module.__dict__
    parent, _, last = full.rpartition(".")
    path = f"{_FOLDER}/{name.replace('.', '/')}"
    if name in _PACKAGES:
        space["__path__"] = [path]
        space["__package__"] = full
        if path not in sys.path_importer_cache:
            _find_in(path)
        path += "/__init__.py"
    else:
        space["__package__"] = parent
        path += ".py"
    space["__file__"] = path
    space["__loader__"] = loader = SourceFileLoader(full, path)
    loader.create_module = _take  # for a thread that was looking for it meanwhile
    loader.exec_module = _executed
    space["__spec__"] = _Spec(full, loader, origin=path, is_package=name in _PACKAGES)
    space["_fill"] = _fill
    file = _BUNDLED[name][0]
    bundle = sys.modules[__name__]
@imports@    body = vars(bundle).pop("m_" + name.replace(".", "_"))  # needed once, as a file's code is
    type(_make)(body.__code__, space)()
    modules[full] = _made[full] = module  # not before: who finds it there does not wait
    setattr(_made.get(parent) or modules[parent], last, module)


def _take(spec):
    # Stands for a loader's create_module.
    return _fill(spec.name[8:])


def _executed(module):
    # Stands for its exec_module.
    pass


def _find_in(folder):
    # Have the import system take bundled modules from the bundles, where it would take them from the folder.
    finder = sys.path_importer_cache[folder] = FileFinder(
        folder,
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (SourceFileLoader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )
    in_files = finder.find_spec

    def find_spec(name, target=None):
        spec = in_files(name, target)
        if name[8:] in _BUNDLED and spec and type(spec.loader) is SourceFileLoader:
            loader = spec.loader
            in_file = loader.exec_module
            loader.create_module = _take
            # Where that failed the import system has made the module, and given it the loader.
            loader.exec_module = lambda module: in_file(module) if module.__loader__ is loader else None
        return spec

    finder.find_spec = find_spec


_find_in(_FOLDER)
"""

IMPORT = """    if file == "{0}":
        from lambent import {0} as bundle
"""


def bundled(sources: Mapping[str, str], slim: Callable[[str, str], str]) -> dict[str, str]:
    """Return the files of the wheel that there are because of the bundles, by their path in the package.

    `slim` returns what a bundle keeps of a file and its source.
    """
    if sources["__init__.py"].count(SEAM) != 1 or not sources["__init__.py"].endswith(SEAM):
        raise SystemExit(f"src/lambent/__init__.py does not end with the line {SEAM!r}")
    paths = {
        name: next(path for path in _paths(name) if path in sources)
        for names in BUNDLES.values()
        for name in names
    }
    needs = _needs({name: sources[path] for name, path in paths.items()})
    runtime = RUNTIME
    for mark, text in {
        "@bundled@": {name: (file, needs[name]) for file, names in BUNDLES.items() for name in names},
        "@packages@": tuple(name for name, path in paths.items() if path.endswith("__init__.py")),
    }.items():
        runtime = runtime.replace(mark, repr(text))
    imports = [IMPORT.format(file) for file in BUNDLES if file != "_bundled"]
    heads = {"_bundled": runtime.replace("@imports@", "".join(imports))}
    found = {
        f"{file}.py": "from __future__ import annotations\n"
        + heads.get(file, "")
        + "".join(
            f"# lambent/{paths[name]}\n{_function(name, slim(paths[name], filled(sources[paths[name]])))}"
            for name in names
        )
        for file, names in BUNDLES.items()
    }
    first = slim("__init__.py", filled(sources["__init__.py"]))
    return {**found, "__init__.py": first.rstrip() + INSTALL}


def filled(source: str) -> str:
    """Return a source whose marked imports first have the bundle make the module."""
    bundled = {name for names in BUNDLES.values() for name in names}

    def fill(found: re.Match[str]) -> str:
        indentation, statement, module, name = found.groups()
        known = [each for each in (f"{module}.{name}", module) if each in bundled]
        if not known:
            raise SystemExit(f"lambent.{module} is in no bundle, and its import is marked")
        return f'{indentation}_fill("{known[0]}"); {statement}'

    return MARK.sub(fill, source)


def _paths(name: str) -> tuple[str, str]:
    """Return where a module's source may be."""
    path = name.replace(".", "/")
    return f"{path}.py", f"{path}/__init__.py"


def _needs(sources: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Return of each module what has to be executed before it, and itself, in order."""
    order = list(sources)
    needs: dict[str, tuple[str, ...]] = {}
    for name, source in sources.items():
        wanted = {name}
        for each in (name.rpartition(".")[0], *_imported(ast.parse(source).body)):
            if each not in needs and each not in {"", name}:
                raise SystemExit(f"lambent.{name} imports lambent.{each}, which no bundle has before it")
            wanted.update(needs.get(each, ()))
        needs[name] = tuple(sorted(wanted, key=order.index))
    return needs


def _imported(body: list[ast.stmt]) -> Iterator[str]:
    """Find the modules of ours that these statements import."""
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lambent."):
            yield node.module.removeprefix("lambent.")
        elif (
            isinstance(node, (ast.If, ast.Try))
            and "TYPE_CHECKING" not in ast.unparse(node).partition("\n")[0]
        ):
            raise SystemExit(f"line {node.lineno}: a bundled module has no conditions at its top")


def _placed(source: str) -> str:
    """Return a source whose classes say in which line of it they begin, on a line that they have anyway.

    From Python 3.13 on `inspect` looks in the file of a class's module for what the compiler noted of the
    file that it compiled, which is the bundle.
    """
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        first = node.body[0]
        begin = min(each.lineno for each in (first, *getattr(first, "decorator_list", ())))
        says = f"__firstlineno__ = {min(each.lineno for each in (node, *node.decorator_list))}"
        if begin > node.lineno + 1 and not lines[begin - 2].strip():
            lines[begin - 2] = " " * first.col_offset + says
        elif not isinstance(first, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If)):
            lines[(first.end_lineno or begin) - 1] += f"; {says}"
    return "".join(f"{line}\n" for line in lines)


def _bound(node: ast.AST) -> Iterator[str]:
    """Find the names that a module's statements bind.

    `symtable` has the variables of comprehensions among them, but not before Python 3.12.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield child.name
        elif isinstance(child, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in child.names)
        elif isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load):
            yield child.id
        elif not isinstance(child, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)):
            if isinstance(child, ast.ExceptHandler) and child.name:
                yield child.name
            yield from _bound(child)


def _function(name: str, source: str) -> str:
    """Return a module's code as a function that binds the module's names as globals."""
    source = _placed(source)
    lines = source.splitlines(keepends=True)
    tree = ast.parse(source)
    names = {*_bound(tree)}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            lines[node.lineno - 1] = "\n"
            names.discard("annotations")
    inside = {
        row
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type not in (tokenize.NEWLINE, tokenize.NL)
        for row in range(token.start[0] + 1, token.end[0] + 1)
    }
    if ast.get_docstring(tree) is not None:
        names.add("__doc__")
        first = tree.body[0].lineno - 1
        lines[first] = f"__doc__ = {lines[first]}"
    body = "".join(
        line if number in inside or not line.strip() else f" {line}" for number, line in enumerate(lines, 1)
    )
    binds = f" global {', '.join(sorted(names))}\n" if names else " pass\n"
    return f"def m_{name.replace('.', '_')}():\n{binds}{body}"
