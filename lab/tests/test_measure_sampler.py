from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lambent_lab.errors import LabError
from lambent_lab.measure.results import METRICS, OPTIONAL_METRICS
from lambent_lab.measure.sampler import empty_sample, fill, fill_together
from lambent_lab.measure.testing import FakeFunction, FakeLab, FakeReport, FakeResult, FakeSpan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results import Sample


def taken(lab: FakeLab, warm: int = 4) -> Sample:
    function = lab.function("f", code=Path(), handler="app.handler")
    sample = empty_sample(0, pair=0, kind="ab", side="candidate", memory_mb=128)
    fill(sample, function, {"n": 1}, warm, lambda: None)
    assert function.box is None, "the environment outlived its sample"
    return sample


def main(sample: Sample) -> dict[str, float]:
    """A sample's values without its phases and the finer figures of memory."""
    names = METRICS.keys() - OPTIONAL_METRICS
    return {name: value for name, value in sample["values"].items() if name in names}


def fixed(durations: list[float]) -> FakeLab:
    """A lab in which the invocations take exactly so long."""

    def change(_f: FakeFunction, _e: int, index: int, result: FakeResult) -> None:
        init = 50.0 if result.cold else None
        result.report = FakeReport(durations[index], 1, init, 40 + index, durations[index] / 2)

    return FakeLab(change=change)


def test_a_sample_is_its_cold_start_and_the_median_of_its_warm_invocations() -> None:
    sample = taken(fixed([10, 1, 4, 2, 3]))
    assert sample["complete"]
    assert main(sample) == {
        "init_ms": 50,
        "first_ms": 10,
        "cold_ms": 60,
        "warm_ms": 2.5,
        "memory_mb": 44,
        "cold_cpu_ms": 5,
        "warm_cpu_ms": 1.25,
    }
    assert [i["counted_as"] for i in sample["invocations"]] == ["cold", "warm", "warm", "warm", "warm"]
    assert [i["duration_ms"] for i in sample["invocations"]] == [10, 1, 4, 2, 3]
    assert {i["spans"] for i in sample["invocations"]} == {3}


def test_a_failed_invocation_is_kept_apart_and_its_sample_has_no_peak_memory() -> None:
    lab = fixed([10, 1, 999, 2, 3])
    made = lab.change
    assert made is not None

    def change(function: FakeFunction, environment: int, index: int, result: FakeResult) -> None:
        made(function, environment, index, result)
        if index == 2:
            result.status, result.error, result.function_error = "error", "KeyError", "Unhandled"
            result.payload = {"errorType": "KeyError", "errorMessage": "'id'"}

    lab.change = change
    sample = taken(lab)
    failed = sample["invocations"][2]
    assert (failed["counted_as"], failed["duration_ms"], failed["error"]) == ("failed", 999, "KeyError: 'id'")
    assert sample["values"]["warm_ms"] == 2
    assert "memory_mb" not in sample["values"]


def test_a_failed_first_invocation_leaves_no_cold_value() -> None:
    def change(_f: FakeFunction, _e: int, index: int, result: FakeResult) -> None:
        if index == 0:
            result.status, result.error = "timeout", "Sandbox.Timedout"

    sample = taken(FakeLab(change=change))
    assert sample["invocations"][0]["counted_as"] == "failed"
    assert sample["invocations"][0]["error"] == "Sandbox.Timedout"
    assert main(sample).keys() == {"warm_ms", "warm_cpu_ms"}


def test_a_warm_invocation_that_turned_out_cold_is_counted_as_cold() -> None:
    def change(_f: FakeFunction, _e: int, index: int, result: FakeResult) -> None:
        result.report = FakeReport(500 if index == 2 else 2, 1, 50 if index in {0, 2} else None, 40, None)
        result.cold = index in {0, 2}

    sample = taken(FakeLab(change=change))
    assert [i["counted_as"] for i in sample["invocations"]] == ["cold", "warm", "cold", "warm", "warm"]
    assert sample["values"]["warm_ms"] == 2
    assert sample["values"]["first_ms"] == 2


def test_a_first_invocation_that_was_warm_gives_no_cold_start() -> None:
    def change(_f: FakeFunction, _e: int, index: int, result: FakeResult) -> None:
        result.cold = False

    assert main(taken(FakeLab(change=change))).keys() == {"warm_ms", "warm_cpu_ms", "memory_mb"}


def test_what_the_box_cannot_measure_is_absent() -> None:
    def change(_f: FakeFunction, _e: int, _i: int, result: FakeResult) -> None:
        result.report = FakeReport(2, 1, 50 if result.cold else None, None, None)

    assert main(taken(FakeLab(change=change))).keys() == {"init_ms", "first_ms", "cold_ms", "warm_ms"}


def test_memory_is_taken_from_bytes_where_the_box_has_them() -> None:
    def change(_f: FakeFunction, _e: int, index: int, result: FakeResult) -> None:
        result.report = FakeReport(2, 1, 50 if result.cold else None, 19, None, 18 * 2**20 + index * 2**18)

    sample = taken(FakeLab(change=change))
    assert sample["values"]["memory_mb"] == 19
    assert sample["invocations"][1]["peak_rss"] == 18 * 2**20 + 2**18
    assert taken(FakeLab(change=change), warm=1)["values"]["memory_mb"] == 18.25


def test_a_broken_environment_ends_the_sample_and_is_recorded() -> None:
    def change(_f: FakeFunction, _e: int, index: int, _r: FakeResult) -> None:
        if index == 2:
            raise LabError("The box broke.")

    sample = taken(FakeLab(change=change))
    assert sample["error"] == "The box broke."
    assert not sample["complete"]
    assert len(sample["invocations"]) == 2


def test_an_interruption_passes_but_leaves_what_was_measured() -> None:
    def change(_f: FakeFunction, _e: int, index: int, _r: FakeResult) -> None:
        if index == 3:
            raise KeyboardInterrupt

    function = FakeLab(change=change).function("f", code=Path(), handler="app.handler")
    sample = empty_sample(0, pair=0, kind="ab", side="candidate", memory_mb=128)
    with pytest.raises(KeyboardInterrupt):
        fill(sample, function, {}, 5, lambda: None)
    assert len(sample["invocations"]) == 3
    assert "warm_ms" in sample["values"]
    assert not sample["complete"]
    assert function.box is None


def test_of_samples_that_run_together_one_may_break_and_the_others_go_on() -> None:
    def change(function: FakeFunction, _e: int, index: int, _r: FakeResult) -> None:
        if function.name == "b" and index == 1:
            raise LabError("It slipped.")

    lab = FakeLab(change=change)
    functions = [lab.function(name, code=Path(), handler="app.handler") for name in "abc"]
    samples = [
        empty_sample(i, pair=0, kind="ab", side="candidate", memory_mb=128) for i in range(len(functions))
    ]
    done: list[object] = []
    fill_together([*zip(samples, functions, strict=True)], {}, 3, done.append, list.reverse)
    assert [sample["error"] for sample in samples] == [None, "It slipped.", None]
    assert [sample["complete"] for sample in samples] == [True, False, True]
    assert [len(sample["invocations"]) for sample in samples] == [4, 1, 4]
    assert len(done) == 9
    assert all("cold_ms" in sample["values"] for sample in samples)
    assert all(function.box is None for function in functions)


def test_an_interruption_ends_all_environments_even_where_one_cannot_be_ended() -> None:
    def change(_f: FakeFunction, environment: int, index: int, _r: FakeResult) -> None:
        if (environment, index) == (1, 2):
            raise KeyboardInterrupt

    lab = FakeLab(change=change)
    functions = [lab.function(name, code=Path(), handler="app.handler") for name in "ab"]
    stuck = Stuck(functions[1])
    samples = [empty_sample(i, pair=0, kind="ab", side="candidate", memory_mb=128) for i in range(2)]
    with pytest.raises(KeyboardInterrupt):
        fill_together([(samples[0], functions[0]), (samples[1], stuck)], {}, 3, lambda _: None, list)
    assert functions[0].box is None
    assert [sample["complete"] for sample in samples] == [False, False]
    assert [sample["error"] for sample in samples] == [None, "It cannot be ended."]
    assert all("warm_ms" in sample["values"] for sample in samples)


class Stuck:
    """A function whose environment cannot be ended once it has run."""

    def __init__(self, inner: FakeFunction) -> None:
        self.inner = inner

    @property
    def box(self) -> object:
        return self.inner.box

    def invoke(self, event: object = None) -> FakeResult:
        return self.inner.invoke(event)

    def stop(self) -> None:
        if self.inner.box is not None:
            raise LabError("It cannot be ended.")


def test_every_sample_begins_in_a_new_environment() -> None:
    lab = FakeLab()
    function = lab.function("f", code=Path(), handler="app.handler")
    function.invoke()
    sample = empty_sample(0, pair=0, kind="ab", side="candidate", memory_mb=128)
    fill(sample, function, {"n": 1}, 1, lambda: None)
    assert sample["invocations"][0]["cold"]
    assert len(lab.environments) == 2
    assert function.events[1:] == [{"n": 1}, {"n": 1}]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"statusCode": 500, "body": "no"}, "it answered with statusCode 500: no"),
        ({"statusCode": "503"}, "it answered with statusCode 503"),
        ({"statusCode": 499, "body": "teapot"}, None),
        ({"statusCode": True}, None),
        ({"statusCode": "5000"}, None),
        ([500], None),
        (None, None),
    ],
)
def test_an_answer_of_500_or_more_is_a_failure_and_has_no_speed(payload: object, error: str | None) -> None:
    def change(_f: FakeFunction, _e: int, _i: int, result: FakeResult) -> None:
        result.payload = payload

    sample = taken(FakeLab(change=change), warm=1)
    assert [invocation["error"] for invocation in sample["invocations"]] == [error, error]
    assert ("cold_ms" in sample["values"]) == ("warm_ms" in sample["values"]) == (error is None)


def test_the_phases_of_cold_and_warm_invocations_are_kept_apart() -> None:
    def change(_f: FakeFunction, _e: int, index: int, result: FakeResult) -> None:
        duration = 30.0 if index == 0 else 8.0
        result.report = FakeReport(duration, 1, 50.0 if index == 0 else None, 40, 1.0, extension_ms=2.0)
        result.spans = [FakeSpan(result.started_ns + 5_000_000, {"faas.invocation_id": result.request_id})]

    values = taken(FakeLab(change=change))["values"]
    parts = ("handler_ms", "flush_ms", "extension_ms")
    assert [values[name] for name in parts] == [5, 1, 2]
    assert [values[f"cold_{name}"] for name in parts] == [5, 23, 2]


def test_resident_memory_and_memory_with_the_cache_are_kept_apart() -> None:
    def change(_f: FakeFunction, _e: int, index: int, result: FakeResult) -> None:
        cached = None if index == 2 else 60 * 2**20
        result.report = FakeReport(
            1.0, 1, None, 41, None, peak_rss=(30 + index) * 2**20, peak_with_cache=cached
        )

    values = taken(FakeLab(change=change), warm=1)["values"]
    assert (values["memory_mb"], values["peak_rss_mb"], values["page_cache_mb"]) == (31, 31, 60)
    assert "page_cache_mb" not in taken(FakeLab(change=change), warm=2)["values"]


class Keeping:
    """A function whose tracer lets go of its spans when its environment ends."""

    def __init__(self, inner: FakeFunction) -> None:
        self.inner = inner
        self.kept: dict[str, list[object]] = {}
        self.stopped = False

    @property
    def box(self) -> object:
        return self.inner.box

    def invoke(self, event: object = None) -> FakeResult:
        self.stopped = False
        result = self.inner.invoke(event)
        self.kept[result.request_id], result.spans = result.spans, []
        return result

    def stop(self) -> None:
        self.inner.stop()
        self.stopped = True

    def late(self, results: Sequence[FakeResult]) -> dict[str, list[object]]:
        assert self.stopped, "they come with the end"
        return {result.request_id: self.kept.pop(result.request_id) for result in results[1:]}


def test_spans_that_leave_with_the_environment_are_counted_for_their_invocations() -> None:
    function = Keeping(FakeLab().function("f", code=Path(), handler="app.handler"))
    sample = empty_sample(0, pair=0, kind="ab", side="candidate", memory_mb=128)
    fill(sample, function, {}, 2, lambda: None)
    assert [invocation["spans"] for invocation in sample["invocations"]] == [0, 3, 3]
    assert [invocation.get("spans_made") for invocation in sample["invocations"]] == [None, 3, 3]
    assert sample["complete"]
    assert "flush_ms" in sample["values"]
    assert "cold_flush_ms" not in sample["values"]
