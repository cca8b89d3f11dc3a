"""OpenTelemetry's own tests, with lambent's context under its API and lambent's provider in its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.otel_api.excluded import API, SDK
from tests.otel_api.sources import installed, sources_of

pytestmark = pytest.mark.timeout(600)  # pip's part, the first time; each call of it is bounded
LOWEST = "1.18.0"
"""The oldest version of opentelemetry-api that is supported: docs/how-to/use-opentelemetry.md says so."""
NEWEST = "1.45.2"
VERSIONS = [(LOWEST, "0.39b0"), (NEWEST, "0.66b1")]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]

API_TESTS = [
    "tests/baggage", "tests/context", "tests/propagators", "tests/test_implementation.py", "tests/trace",
    "tests/util/test_contextmanager.py",
]  # fmt: skip
SDK_TESTS = [
    "tests/context", "tests/trace/export", "tests/trace/test_globals.py",
    "tests/trace/test_implementation.py", "tests/trace/test_span_processor.py", "tests/trace/test_trace.py",
]  # fmt: skip


def outcomes(plugin: str, tests: list[str], folders: list[Path], tmp_path: Path) -> dict[str, str]:
    """Run the tests in a process of their own that finds these folders first; return what became of each."""
    written = tmp_path / "outcomes.json"
    python = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", plugin, "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*python, "-c", os.devnull, "--rootdir", str(folders[0]), *tests],
        cwd=folders[0],
        env={
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(map(str, [ROOT / "sdk/src", HERE, *folders])),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBENT_OUTCOMES": str(written),
        },
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert written.exists(), done.stdout + done.stderr
    print(done.stdout[-20_000:])
    found: dict[str, str] = json.loads(written.read_text())
    return found


def failed(found: dict[str, str]) -> set[str]:
    return {name for name, outcome in found.items() if outcome == "failed"}


def utilities(contrib: str) -> Path:
    return installed(f"test-utils-{contrib}", "--no-deps", f"opentelemetry-test-utils=={contrib}")


def folders(package: str) -> list[Path]:
    contrib = version("opentelemetry-semantic-conventions")  # released together
    return [sources_of(package, version(package)), utilities(contrib)]


def test_those_of_the_api(tmp_path: Path) -> None:
    """Context, propagation, baggage and tracing: all of them."""
    found = outcomes("lambent_in_api", API_TESTS, folders("opentelemetry-api"), tmp_path)
    assert failed(found) == API.keys()
    assert len(found) >= 190


def test_those_of_the_sdk(tmp_path: Path) -> None:
    """Its trace tests but those that are about more than the API; the list of these is exact."""
    found = outcomes("lambent_in_sdk", SDK_TESTS, folders("opentelemetry-sdk"), tmp_path)
    assert failed(found) == SDK.keys()
    assert len(found) >= 150


@pytest.mark.parametrize("excluded", [API, SDK])
def test_each_excluded_one_has_a_reason(excluded: dict[str, str]) -> None:
    assert all(reason.strip() for reason in excluded.values())


@pytest.mark.parametrize(("api", "contrib"), VERSIONS)
def test_those_of_another_version(api: str, contrib: str, tmp_path: Path) -> None:
    """The lowest version that is supported, and the newest."""
    site = installed(f"api-{api}", f"opentelemetry-api=={api}")
    paths = [sources_of("opentelemetry-api", api), utilities(contrib), site]
    tests = [test for test in API_TESTS if (paths[0] / test).exists()]
    found = outcomes("lambent_in_api", tests, paths, tmp_path)
    assert failed(found) == set()
    assert len(found) >= 100


PROGRAM = """
import {first}
import {second}
import asyncio, lambent
from lambent.exporters.memory import MemoryExporter
exporter = MemoryExporter()
tracer = lambent.init(exporter=exporter)
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.version import __version__
library = trace.get_tracer("library", "1.2", schema_url="https://example.org")

@library.start_as_current_span("decorated")
def decorated():
    token = context.attach(baggage.set_baggage("user", "7"))
    with tracer.trace("own") as own:
        carrier = {{}}
        propagate.inject(carrier)
    context.detach(token)
    return own, carrier

async def task():
    with library.start_as_current_span("task"):
        await asyncio.sleep(0)
        return decorated()

async def main():
    with tracer.trace("root"):
        return await asyncio.gather(task(), task())

for own, carrier in asyncio.run(main()):
    assert carrier["traceparent"].split("-")[2] == f"{{own.context.span_id:016x}}"
    assert carrier["baggage"] == "user=7"
names = {{span.context.span_id: span.name for span in exporter.spans}}
tree = sorted((span.name, names.get(span.parent and span.parent.span_id, "")) for span in exporter.spans)
assert tree == [
    *[("decorated", "task")] * 2, *[("own", "decorated")] * 2, ("root", ""), *[("task", "root")] * 2
], tree
assert exporter.spans[0].instrumentation_scope.name == "lambent"
assert exporter.spans[1].instrumentation_scope.schema_url == "https://example.org"
assert isinstance(own, trace.Span) and isinstance(tracer.provider, trace.TracerProvider)
assert trace.get_current_span() is trace.INVALID_SPAN
tracer.close()
with library.start_as_current_span("late") as late:
    assert not late.is_recording()
print(__version__)
"""


@pytest.mark.parametrize(("api", "contrib"), VERSIONS)
def test_a_program_with_another_version(api: str, contrib: str, tmp_path: Path) -> None:
    """In a process that finds that version and nothing else, whichever is imported first."""
    site = installed(f"api-{api}", f"opentelemetry-api=={api}")
    for first, second in (("lambent", "opentelemetry.trace"), ("opentelemetry.trace", "lambent")):
        done = subprocess.run(
            [sys.executable, "-S", "-B", "-W", "error", "-c", PROGRAM.format(first=first, second=second)],
            env={"PYTHONPATH": os.pathsep.join([str(ROOT / "sdk/src"), str(site)]), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{api}\n", "")
