"""The import hook: callbacks after a module's execution, and imports otherwise as if it were not there."""

from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
import sys
import threading
import traceback
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from lambent.hooks import forget, when_imported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    Write = Callable[..., Path]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module of these lines into a folder on the path; what was imported is gone afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    known, finders = set(sys.modules), list(sys.meta_path)

    def write(name: str, text: str = "value = 1\n") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    yield write
    for name in set(sys.modules) - known:
        if name.startswith("waited"):
            del sys.modules[name]
    assert sys.meta_path == finders, "nothing of ours stays on the path while nobody waits"


def test_a_callback_runs_after_the_module_and_before_its_importer(library: Write) -> None:
    library("waited_a.py")
    seen: list[ModuleType] = []

    def callback(module: Any) -> None:
        module.value += 1  # what the module defined is there, what is changed is what the importer gets
        assert sys.modules["waited_a"] is module
        seen.append(module)

    when_imported("waited_a", callback)
    assert seen == []
    from waited_a import value  # type: ignore[import-not-found]  # written above

    assert value == 2
    assert seen == [sys.modules["waited_a"]]


def test_a_loaded_module_is_told_at_once(library: Write) -> None:
    library("waited_b.py")
    module: Any = importlib.import_module("waited_b")
    seen: list[ModuleType] = []
    when_imported("waited_b", seen.append)
    assert seen == [module]


def test_what_a_module_imports_may_ask_for_it(library: Write) -> None:
    library("waited_a.py", "import waited_inner\nvalue = 1\n")
    library(
        "waited_inner.py",
        "from lambent.hooks import when_imported\nfrom waited_seen import seen\n"
        "when_imported('waited_a', lambda module: seen(module.value))\n",
    )
    library("waited_seen.py", "values = []\nseen = values.append\n")
    when_imported("waited_a", lambda _: None)
    importlib.import_module("waited_a")
    assert sys.modules["waited_seen"].values == [1], "when it is whole"


def test_a_builtin_and_a_frozen_module(library: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_struct", "xxsubtype", "__hello__"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        if importlib.util.find_spec(name) is None:
            continue
        seen: list[ModuleType] = []
        when_imported(name, seen.append)
        module: Any = importlib.import_module(name)
        assert seen == [module]
        assert module.__spec__ is not None
        assert type(module.__spec__.loader).__name__ != "_Loader"


def test_each_callback_runs_once_in_order(library: Write) -> None:
    library("waited_c.py")
    seen: list[int] = []
    for number in range(3):
        when_imported("waited_c", partial(lambda number, _module: seen.append(number), number))
    module: Any = importlib.import_module("waited_c")
    importlib.reload(module)
    del sys.modules["waited_c"]
    importlib.import_module("waited_c")
    assert seen == [0, 1, 2]


def test_a_reload_with_somebody_waiting(library: Write) -> None:
    library("waited_d.py")
    module: Any = importlib.import_module("waited_d")
    seen: list[ModuleType] = []
    del sys.modules["waited_d"]
    when_imported("waited_d", seen.append)
    sys.modules["waited_d"] = module
    importlib.reload(module)
    assert type(module.__spec__.loader) is type(module.__loader__) is importlib.machinery.SourceFileLoader
    assert seen == [module]


def test_a_failing_callback_is_said_once_and_the_next_one_runs(
    library: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    library("waited_e.py")
    seen: list[ModuleType] = []

    def fails(_module: ModuleType) -> None:
        raise RuntimeError("no such class")

    when_imported("waited_e", fails)
    when_imported("waited_e", seen.append)
    assert importlib.import_module("waited_e").value == 1
    when_imported("waited_e", fails)
    assert len(seen) == 1
    assert capsys.readouterr().err == "lambent: waited_e is not traced (RuntimeError: no such class)\n"


def test_an_import_that_fails_fails_as_without_a_hook_and_leaves_the_callback_waiting(library: Write) -> None:
    library("waited_f.py", "value = 1\nvalue / 0\n")
    with pytest.raises(ZeroDivisionError) as bare:
        importlib.import_module("waited_f")
    seen: list[ModuleType] = []
    when_imported("waited_f", seen.append)
    with pytest.raises(ZeroDivisionError) as hooked:
        importlib.import_module("waited_f")

    def places(error: BaseException) -> list[tuple[str, str]]:
        return [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)][1:]

    assert places(hooked.value) == places(bare.value)
    assert "waited_f" not in sys.modules
    assert seen == []
    library("waited_f.py", "value = 22\n")
    assert importlib.import_module("waited_f").value == 22
    assert len(seen) == 1


def test_a_module_that_is_nowhere(library: Write) -> None:
    when_imported("waited_nowhere", print)
    with pytest.raises(ModuleNotFoundError, match="No module named 'waited_nowhere'"):
        importlib.import_module("waited_nowhere")
    assert importlib.util.find_spec("waited_nowhere") is None
    forget("waited_nowhere", print)


def test_nobody_waits_after_forgetting(library: Write) -> None:
    finders = list(sys.meta_path)
    library("waited_g.py")
    seen: list[ModuleType] = []
    when_imported("waited_g", seen.append)
    assert len(sys.meta_path) == len(finders) + 1
    forget("waited_g", seen.append)
    assert sys.meta_path == finders
    forget("waited_g", seen.append)
    importlib.import_module("waited_g")
    assert seen == []


def test_packages_submodules_and_their_files(library: Write) -> None:
    library("waited_h/__init__.py", "from waited_h import inner\n")
    library("waited_h/inner.py", "value = __loader__.get_source(__name__)\n")
    library("waited_h/data.txt", "text")
    seen: list[str] = []
    for name in ("waited_h.inner", "waited_h"):
        when_imported(name, lambda module: seen.append(module.__name__))
    package: Any = importlib.import_module("waited_h")
    assert seen == ["waited_h.inner", "waited_h"]
    assert package.inner.value == "value = __loader__.get_source(__name__)\n"
    assert (importlib.resources.files("waited_h") / "data.txt").read_text() == "text"
    for module in (package, package.inner):
        assert type(module.__spec__.loader) is importlib.machinery.SourceFileLoader
        assert module.__loader__ is module.__spec__.loader
        assert module.__cached__


def test_a_spec_that_somebody_asks_for_passes_for_the_real_one(library: Write) -> None:
    library("waited_i.py")
    seen: list[ModuleType] = []
    when_imported("waited_i", seen.append)
    spec = importlib.util.find_spec("waited_i")
    assert spec is not None
    assert spec.loader is not None
    assert isinstance(spec.loader, importlib.machinery.SourceFileLoader)
    assert spec.loader.get_source("waited_i") == "value = 1\n"
    assert spec.loader.is_package("waited_i") is False
    assert seen == []
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert seen == [module]


def test_a_namespace_package(library: Write, tmp_path: Path) -> None:
    library("waited_bare/inner.py")
    library("waited_space/inner.py")
    bare: Any = importlib.import_module("waited_bare")
    seen: list[ModuleType] = []
    when_imported("waited_space", seen.append)
    space: Any = importlib.import_module("waited_space")
    assert seen == [space]
    assert importlib.import_module("waited_space.inner").value == 1
    assert list(space.__path__) == [str(tmp_path / "waited_space")]
    assert type(space.__spec__.loader) is type(bare.__spec__.loader)
    assert set(vars(space)) - {"inner"} == set(vars(bare))
    assert space.__file__ is bare.__file__ is None
    assert importlib.reload(space) is space
    later = tmp_path / "later"
    (later / "waited_space").mkdir(parents=True)
    (later / "waited_space" / "second.py").write_text("value = 2")
    sys.path.append(str(later))
    try:
        importlib.invalidate_caches()
        assert importlib.import_module("waited_space.second").value == 2
    finally:
        sys.path.remove(str(later))


def test_a_zip_file(library: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "site.zip", "w") as archive:
        archive.writestr(
            "waited_zip/__init__.py", "import pkgutil; data = pkgutil.get_data(__name__, 'd.txt')"
        )
        archive.writestr("waited_zip/d.txt", "text")
    monkeypatch.syspath_prepend(tmp_path / "site.zip")
    seen: list[ModuleType] = []
    when_imported("waited_zip", seen.append)
    module: Any = importlib.import_module("waited_zip")
    assert seen == [module]
    assert module.data == b"text"
    assert type(module.__loader__).__name__ == "zipimporter"
    assert (importlib.resources.files("waited_zip") / "d.txt").read_text() == "text"


@pytest.mark.parametrize("by", ["recipe", "finder"])
def test_a_lazy_module_is_told_when_it_is_executed(
    library: Write, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library("waited_lazy.py", "value = 1\n")
    seen: list[str] = []
    when_imported("waited_lazy", lambda module: seen.append(module.__name__))
    if by == "recipe":
        spec = importlib.util.find_spec("waited_lazy")
    else:
        spec = importlib.machinery.PathFinder.find_spec("waited_lazy")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    if by == "recipe":
        module: Any = importlib.util.module_from_spec(spec)
        sys.modules["waited_lazy"] = module
        spec.loader.exec_module(module)
    else:

        class Lazy:
            def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
                return spec if name == "waited_lazy" else None

        finder: Any = Lazy()
        sys.meta_path.insert(1, finder)
        try:
            module = importlib.import_module("waited_lazy")
        finally:
            sys.meta_path.remove(finder)
    assert seen == []
    assert module.value == 1
    assert seen == ["waited_lazy"]


def test_another_hook_on_the_path_gets_its_turn(library: Write) -> None:
    """As the hooks of wrapt, ddtrace or a debugger do: they find a spec through the others and wrap it."""
    library("waited_j.py")
    seen: list[str] = []

    class Chained:
        def __init__(self, loader: Any) -> None:
            self.loader = loader

        def create_module(self, spec: Any) -> Any:
            return self.loader.create_module(spec)

        def exec_module(self, module: Any) -> None:
            module.__spec__.loader = module.__loader__ = self.loader
            self.loader.exec_module(module)
            seen.append("other")

    class Other:
        busy = False

        def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
            if name != "waited_j" or self.busy:
                return None
            self.busy = True
            try:
                spec: Any = importlib.util.find_spec(name)
            finally:
                self.busy = False
            spec.loader = Chained(spec.loader)
            return spec

    for position in (0, 1):
        when_imported("waited_j", lambda _module: seen.append("ours"))
        other: Any = Other()
        sys.meta_path.insert(position, other)
        try:
            module: Any = importlib.import_module("waited_j")
        finally:
            sys.meta_path.remove(other)
        assert sorted(seen) == ["other", "ours"]
        assert type(module.__spec__.loader) is importlib.machinery.SourceFileLoader
        seen.clear()
        del sys.modules["waited_j"]


def test_a_module_that_another_thread_is_importing_is_waited_for(library: Write) -> None:
    library(
        "waited_k.py", "import waited_gate\nwaited_gate.entered.set()\nwaited_gate.go.wait(30)\nvalue = 7\n"
    )
    gate: Any = type(sys)("waited_gate")
    gate.entered, gate.go = threading.Event(), threading.Event()
    sys.modules["waited_gate"] = gate
    importer = threading.Thread(target=importlib.import_module, args=("waited_k",))
    importer.start()
    assert gate.entered.wait(30)
    values: list[int] = []
    asker = threading.Thread(
        target=when_imported, args=("waited_k", lambda module: values.append(module.value))
    )
    asker.start()
    assert values == []
    gate.go.set()
    importer.join(30)
    asker.join(30)
    assert values == [7]


@pytest.mark.parametrize("rounds", [30])
def test_imports_and_registrations_at_once(library: Write, rounds: int) -> None:
    for number in range(rounds):
        name = f"waited_race_{number}"
        library(f"{name}.py")
        seen: list[int] = []
        start = threading.Barrier(6)

        def register(index: int, start: Any = start, name: str = name, seen: list[int] = seen) -> None:
            start.wait(30)
            when_imported(name, lambda _module: seen.append(index))

        def load(start: Any = start, name: str = name) -> None:
            start.wait(30)
            importlib.import_module(name)

        threads = [threading.Thread(target=register, args=(index,)) for index in range(3)]
        threads += [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(seen) == [0, 1, 2]


def test_no_other_thread_sees_the_module_before_its_callbacks_ran(library: Write) -> None:
    library("waited_l.py")
    inside, values = threading.Event(), []

    def callback(module: Any) -> None:
        inside.set()
        reader.join(0.05)  # it must be waiting for this import, however long it is given
        module.value = 2

    def read() -> None:
        assert inside.wait(30)
        values.append(importlib.import_module("waited_l").value)

    reader = threading.Thread(target=read)
    reader.start()
    when_imported("waited_l", callback)
    importlib.import_module("waited_l")
    reader.join(30)
    assert values == [2]


def test_a_callback_imports_what_it_likes(library: Write) -> None:
    library("waited_m.py")
    library("waited_n.py", "import waited_m\nvalue = waited_m.value + 1\n")
    seen: list[int] = []
    when_imported("waited_n", lambda module: seen.append(module.value))
    when_imported("waited_m", lambda _module: importlib.import_module("waited_n"))
    importlib.import_module("waited_m")
    assert seen == [2]


def test_it_loads_nothing(run_python: Any) -> None:
    program = """
import sys
before = set(sys.modules)
from lambent.hooks import when_imported
when_imported("colorsys", lambda module: None)
when_imported("lambent.codes", lambda module: None)
import colorsys
print(sorted(set(sys.modules) - before))
"""
    assert run_python(program).stdout == "['__future__', 'colorsys', 'lambent', 'lambent.hooks']\n"
