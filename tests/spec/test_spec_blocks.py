"""Every Python code block of the specifications runs, with nothing changed but the package's name.

`table.py` says how each is run, what is put around a fragment, and what is mended because it is visibly
broken or takes long; docs/reference/spec-blocks.md is made of it. A block without an entry fails, as does an
entry without a block: nothing is skipped.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.spec import listing
from tests.spec.blocks import DOCUMENTS, PYTHON, blocks
from tests.spec.running import ROOT, mended, program, run_function, run_process
from tests.spec.table import ENTRIES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lambent_lab import Lab

FUNCTIONS = [place for place, entry in ENTRIES.items() if entry.how == "function"]
PROCESSES = [
    pytest.param(place, marks=[pytest.mark.benchmark] if entry.attempts > 1 else [])
    for place, entry in ENTRIES.items()
    if entry.how != "function"
]
SHA256 = {
    "000_lambda_testing.rst": ("51d6cf3de5426255131251931ab9c417f4f20520293da7b90b18f2f6c2f130e0"),
    "001_performance_testing.rst": ("cc51baeed356f2182260b9c84514d7f01230ca501880d6ca76d558b03f68eb64"),
    "002_lambda_otel_lite.md": ("2224a5454c4c4e8586c3e05f7e286bf860df20ed508d5cb1acd735252bd0acbc"),
    "003_manual_instrumentation.md": ("f7021d5b52abe3569152c619dc1a551aa302382a1ffa17ebaca3e5544cfb02ce"),
    "004_adot_performance.md": ("044936c9437abcafff4fb7222279d3efbedeee17d45c22c0d12850651f37bfa5"),
}


def test_the_documents_are_as_they_came() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in DOCUMENTS.values()}
    assert found == SHA256


def test_every_block_has_an_entry_and_every_entry_a_block() -> None:
    openings = sum(
        path.read_text(encoding="utf-8").count(opening)
        for path in DOCUMENTS.values()
        for opening in (".. code-block:: python", "```python")
    )
    assert len(PYTHON) == openings == 36
    assert list(ENTRIES) == list(PYTHON)


def test_the_page_is_current() -> None:
    assert listing.PAGE.read_text(encoding="utf-8") == listing.page(), "run python -m tests.spec.listing"


@pytest.mark.parametrize("place", ENTRIES)
def test_only_the_listed_places_differ(place: str) -> None:
    entry = ENTRIES[place]
    assert entry.does.endswith(".")
    assert all(why for _, _, why in entry.mended)
    assert entry.how != "function" or entry.check is not None
    differing = [
        (old, new)
        for old, new in zip(PYTHON[place].code.splitlines(), mended(place).splitlines(), strict=True)
        if old != new
    ]
    for old, new in differing:
        listed = any(replacement.strip() in new for _, replacement, _ in entry.mended)
        assert listed or "lambent.compat." in new, (old, new)


# The names in the blocks.


def _trees() -> list[ast.AST]:
    return [ast.parse(program(place, {"@PORT@": "0"})) for place in ENTRIES]


def test_every_import_exists() -> None:
    seen = set()
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lambent.compat"):
                module = importlib.import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name), (node.module, name.name)
                    seen.add((node.module.removeprefix("lambent.compat."), name.name))
    assert {
        ("honeyhive", "HoneyHiveTracer"),
        ("honeyhive", "trace"),
        ("honeyhive", "atrace"),
        ("honeyhive.tracer", "HoneyHiveTracer"),
        ("honeyhive.tracer.decorators", "trace"),
        ("honeyhive.tracer.otel_tracer", "enrich_span"),
        ("honeyhive.models", "EventType"),
        ("lambda_otel_lite", "init_telemetry"),
        ("lambda_otel_lite", "traced_handler"),
    } <= seen


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def test_every_keyword_exists() -> None:
    from lambent import Tracer, decorators, enrich
    from lambent._arguments import ARGUMENTS
    from lambent.compat import lambda_otel_lite

    known = {
        "init": set(ARGUMENTS),
        "trace": {*decorators._OPTIONS} | _parameters(Tracer.start_span),
        "atrace": {*decorators._OPTIONS},
        "enrich_span": _parameters(enrich.enrich_span),
        "start_span": _parameters(Tracer.start_span),
        "start_as_current_span": _parameters(Tracer.start_as_current_span),
        "force_flush": _parameters(Tracer.force_flush),
        "init_telemetry": _parameters(lambda_otel_lite.init_telemetry),
        "traced_handler": _parameters(lambda_otel_lite.traced_handler),
    }
    used: dict[str, set[str]] = {}
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in known:
                    used.setdefault(name, set()).update(each.arg for each in node.keywords if each.arg)
    assert used.keys() == known.keys()
    assert {name: keywords - known[name] for name, keywords in used.items() if keywords - known[name]} == {}


# Running them.


@pytest.fixture(scope="module")
def values(lab: Lab) -> Iterator[dict[str, str]]:
    """What stands for addresses in the entries' variables."""
    path = ROOT / "examples" / "openai-agent" / "local_openai.py"
    spec = importlib.util.spec_from_file_location("spec_local_openai", path)
    assert spec is not None
    assert spec.loader is not None
    local_openai = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(local_openai)
    with local_openai.serve() as url:
        yield {"@OPENAI@": url, "@OTLP@": lab.otlp_url}


@pytest.mark.parametrize("place", FUNCTIONS)
def test_function(place: str, lab: Lab, values: dict[str, str], tmp_path: Path) -> None:
    results = run_function(place, lab, tmp_path / "code", values)
    check = ENTRIES[place].check
    assert check is not None
    check(results)


@pytest.mark.parametrize("place", PROCESSES)
def test_process(place: str, tmp_path: Path) -> None:
    attempts = ENTRIES[place].attempts
    for attempt in range(attempts):
        done = run_process(place, tmp_path / str(attempt))
        if done.returncode == 0:
            assert ENTRIES[place].prints in done.stdout
            return
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if attempts > 1 and "AssertionError" in done.stdout + done.stderr and load > processors:
        pytest.xfail(f"{place} measures time, and {load:.1f} processes want {processors} processors")
    pytest.fail(f"{place}, tried {attempts} times:\n{done.stdout}\n{done.stderr}")


def test_what_is_no_python_is_listed() -> None:
    page = listing.page()
    for block in blocks():
        if block.language != "python":
            assert f"{block.language}, line" in page
