"""`LAMBENT_INSTRUMENT`, with instrumentors made for the purpose; tests/instrumentation has the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lambent

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., list[str]]

INSTRUMENTOR = """
print("loaded", __name__)
class Instrumentor:
    is_instrumented_by_opentelemetry = False
    def instrument(self, *, tracer_provider, **options):
        assert tracer_provider == "the provider" and options == {{"raise_exception_on_conflict": True}}
        print("instrument {name}")
    def uninstrument(self):
        print("uninstrument {name}")
class {name}(Instrumentor):
    pass
Instrumentor.__module__ = "opentelemetry.instrumentation.instrumentor"
"""
PROGRAM = """
import sys, lambent
from lambent.tracer import Tracer
Tracer.provider = "the provider"
tracer = lambent.init({arguments})
print("made")
{program}
print("closing", flush=True)
tracer.close()
import lambent.hooks
assert all(name.startswith("opentelemetry.") for name in lambent.hooks._waiting), "but for the bridge's"
"""


@pytest.fixture
def run(tmp_path: Path, run_python: Any) -> Run:
    """Run a program where some libraries and instrumentors are installed, and return what it prints."""

    def write(name: str, text: str) -> None:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(
        program: str, instrument: str = "", *, has: str = "", arguments: str = "", **env: str
    ) -> list[str]:
        for library in ("redis", "flask", "openai", "aiohttp", "unheard", "nosuch"):
            write(library, f"print('executed {library}')")
        write("botocore.client", "print('executed botocore.client')")
        write("urllib3", "print('executed urllib3')")
        for each in has.split():
            module, _, names = each.partition(":")
            source = "".join(INSTRUMENTOR.format(name=name) for name in names.split("+"))
            write(module.replace("@", "openinference.instrumentation.", 1)
                  if each[0] == "@" else f"opentelemetry.instrumentation.{module}", source)  # fmt: skip
        done = run_python(
            PROGRAM.format(program=program, arguments=arguments),
            {
                "PYTHONPATH": f"{Path(lambent.__file__).parents[1]}:{tmp_path}",
                "LAMBENT_INSTRUMENT": instrument,
                **env,
            },
        )
        lines: list[str] = done.stdout.splitlines()
        lines = [line for line in lines if not line.startswith("loaded")]
        return lines + str(done.stderr).splitlines()

    return run


REDIS = "redis:RedisInstrumentor"


@pytest.mark.parametrize(
    "words", ["redis", "auto", "all", "true", "Redis, flask", "opentelemetry-instrumentation-redis"]
)
def test_a_library_is_instrumented_when_it_is_imported(run: Run, words: str) -> None:
    assert run("import redis\nprint('used')", words, has=REDIS) == [
        "made",
        "executed redis",
        "instrument RedisInstrumentor",
        "used",
        "closing",
        "uninstrument RedisInstrumentor",
    ]


def test_a_loaded_library_is_instrumented_by_init(run: Run) -> None:
    program = "import redis; other = lambent.init(instrument=['redis']); print('other'); other.close()"
    assert run(program, has=REDIS) == [
        "made",
        "executed redis",
        "instrument RedisInstrumentor",
        "other",
        "uninstrument RedisInstrumentor",
        "closing",
    ]


@pytest.mark.parametrize("words", ["redis", "auto"])
def test_what_is_not_used_costs_nothing(run: Run, words: str, run_python: Any) -> None:
    program = "print(sorted(name for name in sys.modules if name.split('.')[0] == 'opentelemetry'))"
    assert run(program, words, has=REDIS) == ["made", "[]", "closing"]


def test_what_is_not_named_is_left_alone(run: Run) -> None:
    assert run("import redis", "flask", has=REDIS) == ["made", "executed redis", "closing"]


def test_a_named_library_without_its_instrumentor_is_said_once(run: Run) -> None:
    program = "import redis; lambent.init(instrument='redis').close()"
    assert run(program, "redis") == [
        "made",
        "executed redis",
        "closing",
        "lambent: redis is not traced: put opentelemetry-instrumentation-redis into the function's package",
    ]
    assert run("import redis", "auto") == ["made", "executed redis", "closing"]
    assert run("import openai", "openai")[-1] == (
        "lambent: openai is not traced: put openinference-instrumentation-openai or opentelemetry-"
        "instrumentation-openai-v2 or opentelemetry-instrumentation-openai into the function's package"
    )


@pytest.mark.parametrize(
    ("words", "has", "used"),
    [
        ("openai", "@openai:OpenAIInstrumentor openai_v2:V2Instrumentor", "OpenAIInstrumentor"),
        ("auto", "@openai:OpenAIInstrumentor openai_v2:V2Instrumentor", "OpenAIInstrumentor"),
        ("openai", "openai_v2:V2Instrumentor", "V2Instrumentor"),
        ("openai-v2", "@openai:OpenAIInstrumentor openai_v2:V2Instrumentor", "V2Instrumentor"),
        ("auto, OpenAI_v2", "@openai:OpenAIInstrumentor openai_v2:V2Instrumentor", "V2Instrumentor"),
        ("openai", "openai:TraceloopInstrumentor", "TraceloopInstrumentor"),
        ("opentelemetry-instrumentation-openai-v2", "@openai:OpenAIInstrumentor openai_v2:V2Instrumentor",
         "V2Instrumentor"),
        ("auto,openinference-instrumentation-openai", "@openai:OneInstrumentor openai_v2:V2Instrumentor",
         "OneInstrumentor"),
    ],
)  # fmt: skip
def test_one_of_several_instrumentors(run: Run, words: str, has: str, used: str) -> None:
    lines = run("import openai", words, has=has)
    assert lines[1:4] == ["executed openai", f"instrument {used}", "closing"]


@pytest.mark.parametrize("words", ["botocore", "boto3", "auto"])
def test_of_a_module_with_instrumentors_of_two_libraries_the_right_one(run: Run, words: str) -> None:
    has = "botocore:BotocoreInstrumentor+AiobotocoreInstrumentor"
    assert run("import botocore; print('botocore'); import botocore.client", words, has=has) == [
        "made",
        "botocore",
        "executed botocore.client",
        "instrument BotocoreInstrumentor",
        "closing",
        "uninstrument BotocoreInstrumentor",
    ]


def test_a_module_with_several_instrumentors_of_one_library(run: Run) -> None:
    lines = run("import aiohttp", "aiohttp", has="aiohttp_client:AInstrumentorClient+BInstrumentor")
    assert lines[2:4] == ["instrument AInstrumentorClient", "instrument BInstrumentor"]


def test_a_library_that_is_not_in_the_table(run: Run) -> None:
    assert run("import unheard", "unheard", has="@unheard:UnheardInstrumentor")[2] == (
        "instrument UnheardInstrumentor"
    )
    assert run("import nosuch", "nosuch")[-1] == (
        "lambent: nosuch is not traced: put opentelemetry-instrumentation-nosuch or "
        "openinference-instrumentation-nosuch into the function's package"
    )


def test_a_misspelt_name(run: Run) -> None:
    assert run("", "reddis") == [
        "made",
        "closing",
        "lambent: 'reddis' may not be meant: a library is called 'redis'",
    ]
    assert run("", "redis; flask") == [
        "made",
        "closing",
        "lambent: 'redis; flask' may not be meant: it is no name; commas separate names",
    ]


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask, redis"}, "redis"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis"}, "auto"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}, "redis"),
        ({"LAMBENT_DISABLED": "1"}, "redis"),
    ],
)
def test_disabled(run: Run, env: dict[str, str], words: str) -> None:
    assert run("import redis", words, has=REDIS, **env) == ["made", "executed redis", "closing"]


def test_http_calls_can_be_left_alone(run: Run) -> None:
    has = f"{REDIS} urllib3:URLLib3Instrumentor"
    program = "import redis, urllib3"
    lines = run(program, "auto", has=has, HH_DISABLE_HTTP_TRACING="true")
    assert "instrument RedisInstrumentor" in lines
    assert "instrument URLLib3Instrumentor" not in lines
    assert "instrument URLLib3Instrumentor" in run(program, "auto", has=has)


def test_what_the_function_instrumented_is_left_alone(run: Run) -> None:
    program = """
from opentelemetry.instrumentation.redis import RedisInstrumentor
RedisInstrumentor.is_instrumented_by_opentelemetry = True
import redis
"""
    assert run(program, "redis", has=REDIS) == ["made", "executed redis", "closing"]


def test_an_instrumentor_that_fails_is_said_and_the_library_works(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "opentelemetry/instrumentation/redis.py"
    path.parent.mkdir(parents=True)
    path.write_text("import wrapped_by_nobody")
    assert run("import redis\nprint(redis.__name__)", "redis") == [
        "made",
        "executed redis",
        "redis",
        "closing",
        "lambent: redis is not traced (ModuleNotFoundError: No module named 'wrapped_by_nobody')",
    ]


def test_what_an_instrumentor_imports_is_instrumented_after_it(run: Run, tmp_path: Path) -> None:
    """As wrapt imports asyncio, whose instrumentor imports wrapt."""
    folder = tmp_path / "opentelemetry/instrumentation"
    folder.mkdir(parents=True)
    (folder / "shared.py").write_text("import flask, openai\nwhole = True")
    text = "from opentelemetry.instrumentation.shared import whole\n" + INSTRUMENTOR
    (folder / "redis.py").write_text(text.format(name="RedisInstrumentor"))
    (folder / "flask.py").write_text(text.format(name="FlaskInstrumentor"))
    (folder / "openai.py").write_text("import nobodys")
    assert run("import redis\nfrom lambent import instrument\nassert not instrument._nested", "auto") == [
        "made",
        "executed redis",
        "executed flask",
        "executed openai",
        "instrument RedisInstrumentor",
        "instrument FlaskInstrumentor",
        "closing",
        "uninstrument RedisInstrumentor",
        "uninstrument FlaskInstrumentor",
        "lambent: openai is not traced (ModuleNotFoundError: No module named 'nobodys')",
    ]


@pytest.mark.parametrize("first", ["subprocess", "concurrent.futures", "importlib.metadata", "zipfile"])
def test_what_an_instrumentor_needs_is_whole_before_it_is_loaded(
    run: Run, tmp_path: Path, first: str
) -> None:
    """As `subprocess` imports `threading`, whose instrumentor needs both of them, and more."""
    folder = tmp_path / "opentelemetry/instrumentation"
    folder.mkdir(parents=True)
    needs = (
        "import logging, subprocess, asyncio\nfrom importlib.metadata import Distribution\n"
        "logging.getLogger(), subprocess.PIPE, asyncio.iscoroutine\n"
    )
    (folder / "threading.py").write_text(needs + INSTRUMENTOR.format(name="ThreadingInstrumentor"))
    lines = run(f"import {first}\nprint('whole')\nimport threading", "threading")
    assert lines == [
        "made",
        "instrument ThreadingInstrumentor",
        "whole",
        "closing",
        "uninstrument ThreadingInstrumentor",
    ]


def test_a_function_that_imports_the_instrumentor_before_the_library(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "opentelemetry/instrumentation"
    folder.mkdir(parents=True)
    text = "import redis\n" + INSTRUMENTOR.format(name="RedisInstrumentor")
    (folder / "redis.py").write_text(text)
    program = "from opentelemetry.instrumentation.redis import RedisInstrumentor\nprint('imported')"
    assert run(program, "redis") == [
        "made",
        "executed redis",
        "instrument RedisInstrumentor",
        "imported",
        "closing",
        "uninstrument RedisInstrumentor",
    ]


def test_a_framework_that_is_instrumented_with_its_first_call(run: Run, tmp_path: Path) -> None:
    """Django's instrumentor reads the settings, which are not there when Django is imported."""
    path = tmp_path / "django/core/handlers/base.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "class BaseHandler:\n    def load_middleware(self, is_async=False): print('loading', is_async)\n"
    )
    program = """
from django.core.handlers.base import BaseHandler
print("configured")
BaseHandler().load_middleware(is_async=True)
BaseHandler().load_middleware()
"""
    assert run(program, "django", has="django:DjangoInstrumentor")[:6] == [
        "made",
        "configured",
        "instrument DjangoInstrumentor",
        "loading True",
        "loading False",
        "closing",
    ]


def test_many_tracers_leave_nothing(run: Run) -> None:
    program = """
from lambent import hooks, instrument
tracer.close()
for _ in range(300):
    lambent.init(instrument="auto").close()
assert instrument._undo == hooks._waiting == {}
import redis
"""
    assert run(program, "auto", has=REDIS) == ["made", "executed redis", "closing"]
