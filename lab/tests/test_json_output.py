"""docs/reference/json-output.md names every key that a command prints with --json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lambent_lab.commands import sources
from lambent_lab.commands.events import JsonLines
from lambent_lab.measure.comparison import compare
from lambent_lab.measure.results import read
from lambent_lab.sandbox.box import BoxReport
from lambent_lab.service.result import Report, Result
from lambent_lab.traces.model import SpanRecord
from lambent_lab.traces.store import TraceSummary

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json-output.md"
STORED = Path(__file__).parent / "data" / "performance-results.json"


class Anything(SimpleNamespace):
    """Has every attribute: what a line says is not looked at here, only under which keys."""

    def __getattr__(self, name: str) -> object:
        return ["x"] if name in {"log", "delivered", "undelivered", "problems"} else "x"


def of_invoke() -> Any:
    report = Report(
        request_id="r", duration_ms=1, billed_ms=1, memory_mb=128, max_memory_mb=16, init_ms=1, cpu_ms=None,
        restore_ms=1,
    )  # fmt: skip
    box = BoxReport(kind="", freeze="", memory="", cpu="", kill="", tmp="")
    link: Any = {
        "trace_id": "1",
        "span_id": "2",
        "trace_state": "",
        "attributes": {},
        "dropped_attributes": 0,
    }
    event: Any = {"name": "e", "time_ns": 1, "attributes": {}, "dropped_attributes": 0}
    span = SpanRecord(trace_id="1", span_id="2", events=[event], links=[link])
    return Result(
        payload=None, error=None, status="success", function_error=None, report=report, log="", spans=[span],
        cold=True, box=box,
    ).to_json()  # fmt: skip


def of_serve() -> Any:
    lines, anything = JsonLines(), cast("Any", Anything())
    lines._write({"event": "ready"})
    lines.done("f", "1", anything)
    lines.over(anything)
    source, handled = cast("Any", Anything(settings=Anything(source=Anything()))), anything
    lines.fed(sources.state(source))
    lines.handled(sources.batch(source, handled))
    lines.left(1)
    lines.changed("f")
    lines.opened("f", "http://127.0.0.1:1/")
    lines.revised("problem", "x")
    return [json.loads(line) for line in lines._text]


def keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(key for each in value.values() for key in keys(each))}
    return {key for each in value for key in keys(each)} if isinstance(value, list) else set()


@pytest.mark.parametrize(
    "printed",
    [
        of_invoke,
        of_serve,
        lambda: dict.fromkeys(TraceSummary.__slots__, 0),
        lambda: {**compare([("a", read(STORED)), ("b", read(STORED))])},
    ],
    ids=["invoke and trace show", "serve", "trace ls", "compare"],
)
def test_every_key_is_on_the_page(printed: Any) -> None:
    found = keys(printed())
    assert len(found) > 5
    assert found <= set(re.findall(r"`([a-z_]+)`", PAGE.read_text()))
