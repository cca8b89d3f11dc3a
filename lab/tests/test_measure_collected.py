"""What many load generators have seen, added up; without Locust, which patches the process it is in."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent_lab.measure.load.collected import Collected, section_of
from lambent_lab.measure.load.loops import Outcome

if TYPE_CHECKING:
    from lambent_lab.measure.results_load import LoadConfig

CONFIG: LoadConfig = {
    "mode": "closed",
    "engine": "locust",
    "users": 2,
    "duration_s": 10.0,
    "ramp_up_s": 1.0,
    "rate": None,
    "arrivals": None,
    "pause_s": 0.0,
    "concurrency": None,
    "memory_mb": None,
    "workers": 2,
}
OUTCOMES = (
    Outcome(cold=True),
    Outcome(cold=False),
    Outcome("failed", "ValueError: no"),
    Outcome("throttled", "TooManyRequestsException"),
)
INVOCATIONS = st.lists(st.tuples(st.floats(0, 9), st.floats(1e-5, 1), st.sampled_from(OUTCOMES)), max_size=30)


@settings(max_examples=10)
@given(st.lists(INVOCATIONS, max_size=3))
def test_reports_of_workers_add_up(workers: list[list[tuple[float, float, Outcome]]]) -> None:
    alone, master = Collected(ramp_up_s=1.0), Collected(ramp_up_s=1.0)
    for invocations in workers:
        worker = Collected(ramp_up_s=1.0)
        for number, (started, took, outcome) in enumerate(invocations):
            for each in (alone, worker):
                each.add(started, started + took, 0.5, outcome)
            if number % 7 == 6:  # in several reports, over a wire that knows plain values only
                master.absorb(json.loads(json.dumps(worker.take())))
        master.absorb(json.loads(json.dumps(worker.take())))
        assert worker.take()["seconds"] == []
    whole, added = section_of(alone, CONFIG), section_of(master, CONFIG)
    for name in ("attempted", "succeeded", "failed", "throttled", "cold", "throughput"):
        assert added["all"][name] == whole["all"][name]
    assert added["elapsed_s"] == whole["elapsed_s"]
    assert added["series"] == whole["series"]
    assert sorted(added["errors"], key=str) == sorted(whole["errors"], key=str)
    assert added["all"]["latency"]["curve"] == whole["all"]["latency"]["curve"]
    total = sum(map(len, workers))
    assert added["all"]["attempted"] == added["raw"]["of"] == total
    ramp, steady = added["ramp_up"], added["steady"]
    assert total == (ramp["attempted"] if ramp else 0) + (steady["attempted"] if steady else 0)


def test_users_who_come_and_go_are_counted_over_time() -> None:
    collected = Collected()
    collected.came(0.5)
    collected.came(0.7)
    collected.add(0.7, 2.5, None, Outcome())
    collected.came(3.2, -1)
    section = section_of(collected, CONFIG)
    assert [each["users"] for each in section["series"]] == [2, 2, 2, 1]


def test_a_long_test_has_a_bounded_series() -> None:
    collected = Collected()
    for second in range(1000):
        collected.add(second, second + 0.25, 1.0, Outcome())
    section = section_of(collected, CONFIG)
    assert len(section["series"]) == 200
    assert sum(each["succeeded"] for each in section["series"]) == 1000
    assert section["all"]["throughput"] is not None
    assert section["all"]["throughput"]["median"] == pytest.approx(1.0)
    assert section["all"]["throughput"]["n"] == 30
    assert section["all"]["latency"]["expected_interval_ms"] == pytest.approx(1000, rel=0.001)


def test_measuring_does_not_load_locust() -> None:
    """It patches sockets and threads where it is imported."""
    assert "locust" not in sys.modules
    assert "gevent" not in sys.modules
