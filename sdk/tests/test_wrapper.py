"""`lambent.wrapper` without a runtime client; tests/wrapper has it in the lab with the real one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lambent

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Any]

APP = """
class App:
    def __call__(self, event, context):
        print("called", event)
        return event
handler = App()
"""


@pytest.fixture
def run(tmp_path: Path, run_python: Any) -> Run:
    """Run a program where `app.handler` is the function."""
    (tmp_path / "app.py").write_text(APP)

    def run(program: str, **env: str) -> Any:
        return run_python(program, environment(tmp_path) | env)

    return run


def environment(folder: Path) -> dict[str, str]:
    paths = f"{Path(lambent.__file__).parents[1]}:{folder}"
    return {"PYTHONPATH": paths, "LAMBENT_HANDLER": "app.handler"}


def test_importing_it_loads_no_function(run: Run) -> None:
    program = """
import sys, lambent.wrapper
assert "app" not in sys.modules and "lambent.tracer" not in sys.modules
assert not hasattr(lambent.wrapper, "other")
first = lambent.wrapper.handler
assert first is lambent.wrapper.handler
assert first({}, None) == {}
"""
    assert run(program, LAMBENT_EXPORTERS="none").stdout == "called {}\n"


@pytest.mark.parametrize("broken", ["lambent.init", "lambent.tracer.Tracer.handler"])
def test_whatever_fails_on_our_side_the_function_runs(run: Run, broken: str) -> None:
    module, _, name = broken.rpartition(".")
    program = f"""
import lambent.tracer
def fail(*arguments, **keywords):
    raise RuntimeError("broken")
{module}.{name} = fail
from lambent.wrapper import handler
assert handler({{"a": 1}}, None) == {{"a": 1}}
"""
    done = run(program, LAMBENT_EXPORTERS="none")
    assert done.stdout == "called {'a': 1}\n"
    assert done.stderr == "lambent: the function is not traced (RuntimeError: broken)\n"


def test_an_object_whose_class_is_decorated_is_traced_once(run: Run, tmp_path: Path) -> None:
    own = "import lambent\ntracer = lambent.init(exporter='memory')\n"
    (tmp_path / "own.py").write_text(own + APP.replace("    def", "    @tracer.handler\n    def"))
    program = """
from lambent.wrapper import handler
import own
handler({}, None)
print([span.name for span in own.tracer.delivery.exporters[0].spans])
"""
    assert run(program, LAMBENT_HANDLER="own.handler").stdout == "called {}\n['invocation']\n"


def test_errors_are_the_functions_own_also_without_a_client(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import app\napp.nothing\n")
    program = """
import traceback, lambent.wrapper
try:
    lambent.wrapper.handler
except AttributeError as error:
    print(error)
    print([frame.name for frame in traceback.extract_tb(error.__traceback__)])
"""
    done = run(program, LAMBENT_HANDLER="bad.handler")
    assert done.stdout == "module 'app' has no attribute 'nothing'\n['<module>', '<module>']\n"
