"""`MemoryTester`: with a memory, a clock and tracers that the test makes, so that every figure is exact."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import lambent
from lambent.compat.honeyhive import HoneyHiveTracer
from lambent_lab.errors import UsageError
from lambent_lab.measure import MemoryTester
from lambent_lab.measure.testers.memory_tester import slope
from lambent_lab.measure.testing import FakeMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class World:
    """Memory and time, and tracers that take some of both."""

    def __init__(self, *, tracer_mb: float = 0.0, span_mb: float = 0.0, kept_mb: float = 0.0) -> None:
        self.resident = 100.0
        self.memory = FakeMemory()
        self.memory.read = lambda: self.resident
        self.now = 0.0
        self.tracer_mb, self.span_mb, self.kept_mb = tracer_mb, span_mb, kept_mb
        self.made: list[Tracer] = []

    def make(self, number: int) -> Tracer:
        self.resident += self.tracer_mb
        self.made.append(Tracer(self, number))
        return self.made[-1]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def tester(self, **options: Any) -> MemoryTester:
        options = {"make_tracer": self.make, **options}
        return MemoryTester(memory=self.memory, clock=lambda: self.now, sleep=self.sleep, **options)


class Span:
    def __init__(self) -> None:
        self.attributes: dict[str, object] = {}

    def set_attribute(self, key: str, value: object) -> None:
        self.attributes[key] = value


class Tracer:
    """Nothing but what a tester needs."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number, self.closed = world, number, 0
        self.spans: list[Span] = []

    @contextmanager
    def trace(self, name: str) -> Iterator[Span]:
        assert name
        self.spans.append(Span())
        yield self.spans[-1]
        self.world.resident += self.world.span_mb

    def close(self) -> None:
        self.closed += 1
        self.world.resident -= self.world.tracer_mb - self.world.kept_mb


def test_the_baseline() -> None:
    slept: list[float] = []
    tester = MemoryTester(sleep=slept.append)
    before = tester.baseline_memory
    tester.start_monitoring()
    after = tester.baseline_memory
    assert (before, slept) == (None, [])  # collecting is over when it returns: nothing is slept for
    assert tester.measure_memory_usage() == pytest.approx(after, abs=20)


def test_tracers() -> None:
    world = World(tracer_mb=2.0, kept_mb=0.5)
    found = world.tester().test_tracer_memory_usage(num_tracers=4)
    documented = {
        "initial_mb": 100.5,  # the first tracer left what it left before the beginning
        "after_creation_mb": 108.5,
        "after_cleanup_mb": 102.5,
        "peak_usage_mb": 8.0,
        "memory_leak_mb": 2.0,
        "memory_per_tracer_mb": 2.0,
    }
    assert {name: found[name] for name in documented} == documented
    assert (found["n"], found["first_tracer_mb"], found["second_round_leak_mb"]) == (4, 0.5, 2.0)
    assert found["memory_samples"] == [2.0] * 4
    assert found["tracers_alive"] == 8  # the test's world holds them
    assert [tracer.closed for tracer in world.made] == [1] * 9
    assert [len(tracer.spans) for tracer in world.made] == [10] * 9
    json.dumps(found, allow_nan=False)


def test_a_peak_between_the_samples_is_seen() -> None:
    world = World(tracer_mb=1.0)
    world.memory.peak = 150.0
    assert world.tester().test_tracer_memory_usage(num_tracers=2)["peak_usage_mb"] == 50.0


def test_spans_that_are_kept() -> None:
    world = World(span_mb=0.25)
    found = world.tester().test_span_memory_growth(num_spans=200)
    assert world.made[0].closed == 1
    assert len(world.made[0].spans) == 300  # the first hundred do not count
    assert found["initial_mb"] == 125.0
    assert (found["final_mb"], found["total_growth_mb"]) == (175.0, 50.0)
    assert found["memory_per_span_kb"] == 256.0
    assert found["memory_growth_rate_mb"] == pytest.approx(5.0)  # from one sample to the next: 20 spans
    assert found["memory_samples"] == [125.0 + 5 * i for i in range(11)]
    assert found["sampled_at_span"] == list(range(0, 201, 20))
    assert (found["n"], found["peak_usage_mb"]) == (200, 50.0)
    assert (found["growth_mb"]["n"], found["growth_mb"]["interval"]["low"]) == (10, 5.0)
    assert set(world.made[0].spans[-1].attributes) == {"span.index", "span.data"}
    assert world.tester().test_span_memory_growth(num_spans=3)["sampled_at_span"] == [0, 1, 2, 3]
    assert world.tester().test_span_memory_growth(num_spans=25)["sampled_at_span"][-1] == 25


def test_a_tracer_of_the_user_s_own_is_used_and_not_closed() -> None:
    world = World()
    mine = Tracer(world, 99)
    tester = world.tester(tracer=mine)
    tester.test_span_memory_growth(num_spans=10)
    tester.test_long_running_memory_stability(1)
    assert world.made == []
    assert (len(mine.spans), mine.closed) == (20 + 110, 0)


def test_stability() -> None:
    world = World(span_mb=0.5)
    found = world.tester().test_long_running_memory_stability(duration_seconds=20)
    assert (found["duration_seconds"], found["span_count"]) == (20, 200)
    assert found["elapsed_s"] == pytest.approx(20)
    assert found["spans_per_second"] == pytest.approx(10)
    samples = found["memory_samples"]
    assert samples[0] == {"time": 0.0, "memory_mb": 150.0, "span_count": 0}
    assert samples[-1] == {"time": pytest.approx(20), "memory_mb": 250.0, "span_count": 200}
    assert found["n"] == len(samples) == 21
    assert (found["min_memory_mb"], found["max_memory_mb"]) == (150.0, 250.0)
    assert found["memory_variance_mb"] == 100.0
    assert found["avg_memory_mb"] == pytest.approx(200, abs=1)
    assert found["growth_mb_per_hour"] == pytest.approx(5 * 3600, rel=0.02)
    assert world.made[0].closed == 1
    json.dumps(found, allow_nan=False)


def test_a_slow_machine_reports_the_pace_it_reached() -> None:
    world = World()
    tester = MemoryTester(
        make_tracer=world.make,
        memory=world.memory,
        clock=lambda: world.now,
        sleep=lambda seconds: world.sleep(seconds + 0.9),
    )
    found = tester.test_long_running_memory_stability(duration_seconds=10)
    assert found["spans_per_second"] < 2
    assert found["elapsed_s"] >= 10


def test_one_odd_sample_makes_no_trend() -> None:
    flat = [(float(i), 10.0) for i in range(20)]
    flat[7] = (7.0, 500.0)
    assert slope(flat) == 0
    assert slope([(0, 1)]) is None
    assert slope([]) is None
    assert slope([(3, 1), (3, 2)]) is None
    assert slope([(float(i), 2.0 * i) for i in range(5000)]) == 2


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda tester: tester.test_tracer_memory_usage(0), "num_tracers must be at least 1"),
        (lambda tester: tester.test_span_memory_growth(0), "num_spans must be at least 1"),
        (lambda tester: tester.test_long_running_memory_stability(0), "duration_seconds"),
    ],
)
def test_nothing_to_measure_is_wrong_usage(call: Callable[[MemoryTester], object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        call(World().tester())


@pytest.mark.parametrize(
    "make",
    [
        None,
        lambda number: lambent.init(service_name=f"s{number}", test_mode=True),
        lambda number: HoneyHiveTracer.init(api_key="k", project=f"p{number}", test_mode=True),
    ],
    ids=["default", "lambent", "honeyhive"],
)
def test_real_tracers_in_real_memory(make: Callable[[int], Any] | None) -> None:
    tester = MemoryTester(make_tracer=make)
    tracers = tester.test_tracer_memory_usage(num_tracers=5)
    assert tracers["tracers_alive"] <= 1  # OpenTelemetry's API, where it is loaded, holds one
    assert tracers["memory_per_tracer_mb"] < 10
    spans = tester.test_span_memory_growth(num_spans=300)
    assert (spans["blocks_per_span"] > 3) == (make is not None)  # test mode keeps every span
    assert spans["peak_usage_mb"] >= 0


def test_the_default_tracer_leaves_no_default_behind() -> None:
    before = lambent._default
    MemoryTester().test_tracer_memory_usage(num_tracers=2)
    assert lambent._default is before
