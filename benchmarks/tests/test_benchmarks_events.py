"""The comparison of events: the events carry what is said of them, and lambent finds it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmarks import events
from benchmarks.harness.rie import RieUnavailableError
from benchmarks.harness.venvs import PeerUnavailableError

from lambent.triggers import recognise

PYTHON = Path(sys.executable)


def test_lambent_finds_every_caller() -> None:
    found = events.measure(PYTHON, "lambent", events.events("lambent"), 2)
    assert {name: values["callers"] for name, values in found.items()} == {
        "API Gateway v2": 1,
        "SQS, 10 records": 10,
    }
    assert all(values["ns"] > 0 for values in found.values())
    assert len(events.samples()) > 150


def test_a_tool_that_is_missing_is_said() -> None:
    with pytest.raises(PeerUnavailableError, match="datadog-lambda failed"):
        events.measure(PYTHON, "datadog-lambda", {}, 1)


def test_the_report_says_what_is_over_its_budget(capsys: pytest.CaptureFixture[str]) -> None:
    def one(request: float, batch: float) -> dict[str, dict[str, float]]:
        return {
            "API Gateway v2": {"ns": request, "callers": 1},
            "SQS, 10 records": {"ns": batch, "callers": 10},
        }

    rounds = {"lambent": [one(9000, 40_000)], "datadog-lambda": [one(18_000, 20_000)]}
    assert events.report(rounds, {"a": {"ns": 90_000, "callers": 0}}) == 0
    assert "2.00x" in capsys.readouterr().out
    assert events.report(rounds, {"a": {"ns": 2_000_000, "callers": 0}}) == 1
    assert events.report({"lambent": [one(16_000, 1)]}, {"a": {"ns": 1, "callers": 0}}) == 1


def test_the_events_that_sam_generates_are_recognised() -> None:
    try:
        every = events.generated()
    except RieUnavailableError as reason:
        pytest.skip(str(reason))
    assert len(every) > 60
    # Nothing defines these two: they are what a caller of its own sends.
    assert {name for name, event in every.items() if not recognise(event).source} == {
        "batch get-job",
        "batch submit-job",
    }
