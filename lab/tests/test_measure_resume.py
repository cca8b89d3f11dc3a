"""Going on after Ctrl-C: the same plan, nothing measured twice, and nothing but the same benchmark."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.commands.inputs import locate
from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import Benchmark, dumps, loads, machine, run
from lambent_lab.measure.resume import check
from lambent_lab.measure.target import sides
from lambent_lab.measure.testing import FakeFunction, FakeLab, FakeResult

if TYPE_CHECKING:
    from lambent_lab.measure.results import Results


@pytest.fixture(autouse=True)
def _bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("hello", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").touch()
    monkeypatch.chdir(tmp_path)


def benchmark(**changes: Any) -> Benchmark:
    candidate, baseline = sides("hello/app.handler", None, {}, locate)
    variants = {"sync": candidate, "async": replace(candidate, label="async", env={"MODE": "async"})}
    made = Benchmark(
        baseline=baseline, variants=variants, memory_mb=(128, 512), pairs=5, aa=2, warm=2, seed=9
    )
    return replace(made, **changes)


def stopped_at(environment: int, index: int = 1) -> Results:
    """What a run has measured that Ctrl-C ended in this environment, as a reader of its file gets it."""

    def change(_f: FakeFunction, at: int, i: int, _r: FakeResult) -> None:
        if (at, i) == (environment, index):
            raise KeyboardInterrupt

    results = run(benchmark(), FakeLab(change=change))
    assert results["interrupted"]
    return loads(dumps(results))


def order(results: Results) -> list[tuple[int | None, int, str]]:
    return [(s["pair"], s["memory_mb"], s["side"]) for s in results["samples"] if s["kind"] in {"ab", "aa"}]


@pytest.mark.parametrize("environment", [3, 7, 12, 20, 33])
def test_it_ends_where_an_uninterrupted_run_would_have_ended(environment: int) -> None:
    whole = run(benchmark(), FakeLab())
    earlier = stopped_at(environment)
    before = copy.deepcopy(earlier["samples"])
    lab = FakeLab(seed=1)
    results = run(benchmark(), lab, earlier=earlier)
    assert order(results) == order(whole)
    assert results["counts"]["pairs"] == whole["counts"]["pairs"] == 20
    assert results["counts"]["aa_pairs"] == 4
    assert not results["interrupted"]
    assert len(results["resumed"]) == 1
    # Every raw value is kept, also those of the block that was cut short.
    for old, kept in zip(before, results["samples"], strict=False):
        assert kept["invocations"] == old["invocations"]
        assert kept["kind"] in {old["kind"], "partial"}
    assert [sample["id"] for sample in results["samples"]] == list(range(len(results["samples"])))
    assert len(before) + len(lab.environments) == len(results["samples"])
    partial = [sample for sample in results["samples"] if sample["kind"] == "partial"]
    assert len(partial) <= 3
    assert all(sample["pair"] is None for sample in partial)


def test_it_can_be_interrupted_and_gone_on_with_again() -> None:
    def change(_f: FakeFunction, environment: int, _i: int, _r: FakeResult) -> None:
        if environment == 11:
            raise KeyboardInterrupt

    again = run(benchmark(), FakeLab(change=change), earlier=stopped_at(10))
    assert again["interrupted"]
    results = run(benchmark(), FakeLab(), earlier=loads(dumps(again)))
    assert order(results) == order(run(benchmark(), FakeLab()))
    assert len(results["resumed"]) == 2
    assert results["elapsed_s"] >= again["elapsed_s"]


def test_a_finished_run_measures_nothing_more() -> None:
    lab = FakeLab()
    results = run(benchmark(), lab, earlier=loads(dumps(run(benchmark(), FakeLab()))))
    assert lab.environments == []
    assert results["counts"]["pairs"] == 20


def test_a_side_that_broke_by_itself_is_not_run_again() -> None:
    def change(_f: FakeFunction, environment: int, _i: int, _r: FakeResult) -> None:
        if environment == 8:
            raise LabError("It slipped.")
        if environment == 20:
            raise KeyboardInterrupt

    earlier = run(benchmark(), FakeLab(change=change))
    results = run(benchmark(), FakeLab(), earlier=loads(dumps(earlier)))
    assert [sample["error"] for sample in results["samples"]].count("It slipped.") == 1
    assert order(results) == order(run(benchmark(), FakeLab()))


def test_the_same_benchmark_on_the_same_machine_is_gone_on_with() -> None:
    check(stopped_at(8), benchmark(), Path("r.json"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory_mb": (128,)}, r"the memory sizes: 128,512 there, 128 now"),
        ({"pairs": 6}, r"--cold\): 5 there, 6 now"),
        ({"aa": 0}, r"--aa\): 2 there, 0 now"),
        ({"warm": 3}, r"--warm\): 2 there, 3 now"),
        ({"timeout_s": 9.0}, "the timeout"),
        ({"event_name": "event.json"}, "the event: none there, event.json now"),
        ({"pythons": {"3.12": None}}, "the Python: none there, 3.12 now"),
        ({"otlp": True}, "--otlp"),
        ({"init_cpu": "share"}, "--init-cpu"),
        ({"seed": 10}, "has the seed 9, not 10"),
        ({"variants": {"sync": sides}}, "what is compared"),
    ],
)
def test_another_configuration_is_refused(changes: dict[str, Any], message: str) -> None:
    if "variants" in changes:
        changes = {"variants": {"sync": benchmark().variants["sync"]}}
    with pytest.raises(UsageError, match=message) as caught:
        check(stopped_at(8), benchmark(**changes), Path("r.json"))
    assert str(caught.value).startswith("r.json")


def test_another_target_another_variable_and_changed_code_are_refused() -> None:
    earlier = stopped_at(8)
    other, _ = sides("other/app.handler", None, {}, locate)
    own = benchmark()
    with pytest.raises(UsageError, match="the target of"):
        check(earlier, replace(own, variants={**own.variants, "sync": other}), Path("r.json"))
    changed = replace(own.variants["sync"], env={"A": "1"})
    with pytest.raises(UsageError, match="the variables of traced: none there, A=1 now"):
        check(earlier, replace(own, variants={**own.variants, "sync": changed}), Path("r.json"))
    Path("hello/app.py").write_text("changed")
    with pytest.raises(UsageError, match=r"the code of hello/app\.handler, which has been changed since"):
        check(earlier, own, Path("r.json"))


def test_another_machine_and_another_kind_of_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = stopped_at(8)
    soak = copy.deepcopy(earlier)
    soak["kind"] = "soak"
    with pytest.raises(UsageError, match="written by `lambent soak`"):
        check(soak, benchmark(), Path("r.json"))
    facts = {**machine.describe(None), "cpu_model": "Another CPU"}
    monkeypatch.setattr(machine, "describe", lambda _python: facts)
    with pytest.raises(UsageError, match=r"another machine \(cpu_model"):
        check(earlier, benchmark(), Path("r.json"))
