"""Soaks: whether a series grows, what a block keeps, what is concluded, with functions that run nothing."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab import report
from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import dumps, exit_code, loads, soak
from lambent_lab.measure.remarks import target_info
from lambent_lab.measure.soak.resume import check
from lambent_lab.measure.soak.trends import theil_sen, trend
from lambent_lab.measure.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

MB = 2**20


# -- trends


@given(
    st.floats(-1e3, 1e3),
    st.floats(-1e6, 1e6),
    st.integers(8, 60),
    st.integers(0, 2**32 - 1),
)
def test_a_line_has_its_slope_though_a_quarter_of_it_is_wild(
    slope: float, start: float, n: int, seed: int
) -> None:
    source = random.Random(seed)
    x = [100.0 * i for i in range(n)]
    y = [start + slope * at for at in x]
    for i in source.sample(range(n), n // 5):
        y[i] += source.uniform(-1e9, 1e9)
    found = theil_sen([*zip(x, y, strict=True)])
    assert found is not None
    scale = max(1.0, abs(slope), abs(start))
    assert found.low - 1e-6 * scale <= slope <= found.high + 1e-6 * scale
    if n >= 30:
        assert found.slope == pytest.approx(slope, abs=1e-6 * scale)


def test_the_interval_covers_the_slope_of_noise() -> None:
    missed = 0
    for seed in range(200):
        source = random.Random(seed)
        y = [0.5 * i + source.gauss(0, 3) for i in range(40)]
        found = theil_sen([*enumerate(y)])
        assert found is not None
        missed += not found.low <= 0.5 <= found.high
    assert missed <= 8  # 99% of 200 are 2; 8 are as good as impossible


def test_one_step_is_no_trend_and_too_few_blocks_have_none() -> None:
    step = [10.0] * 50 + [11.0] * 50
    found = trend([1000.0 * i for i in range(100)], step, "MB", 0.2)
    assert found["verdict"] == "steady"
    assert (found["skipped"], found["blocks"]) == (20, 80)
    few = trend(range(9), [1.0] * 9, "MB", 0.2)
    assert (few["verdict"], few["per_1000"], few["blocks"]) == ("absent", None, 7)


def test_what_fills_up_at_first_is_no_trend() -> None:
    filling = [min(i, 20) * 1.0 for i in range(100)]
    assert trend([1000.0 * i for i in range(100)], filling, "MB", 0.2)["verdict"] == "steady"


def test_what_a_process_begins_anew_with_is_no_trend() -> None:
    """Two processes that leak alike: one line would go up, fall, and go up again."""
    leaks = [float(i % 50) for i in range(100)]
    x, process = [1000.0 * i for i in range(100)], [i // 50 for i in range(100)]
    found = trend(x, leaks, "MB", 0.2, process=process)
    assert (found["verdict"], found["skipped"], found["blocks"]) == ("grows", 20, 80)
    assert found["per_1000"] == pytest.approx(1.0)
    short = trend(x[:60], leaks[:60], "MB", 0.2, process=[*process[:57], 1, 2, 3])
    assert (short["verdict"], short["blocks"]) == ("grows", 40)


def test_missing_values_are_left_out() -> None:
    found = trend(range(20), [None, *map(float, range(19))], "ms", None)
    assert found["verdict"] == "inconclusive"  # nobody has said how much would be nothing
    assert found["per_1000"] == 1000.0
    assert found["first"] == 4.0


# -- a soak of functions that run nothing


@dataclass
class Figures:
    """What a made-up invocation took."""

    duration_ms: float = 1.0
    billed_ms: int = 1
    init_ms: float | None = None
    max_memory_mb: int | None = 30
    cpu_ms: float | None = 0.5
    peak_rss: int | None = None
    peak_with_cache: int | None = 60 * MB
    extension_ms: float | None = None
    rss: int | None = None


@dataclass
class Made:
    """A made-up invocation."""

    report: Figures
    cold: bool = False
    status: str = "success"
    error: str | None = None
    function_error: str | None = None
    payload: object = None
    spans: list[object] = field(default_factory=list)
    spans_made: int | None = None
    problems: tuple[str, ...] = ()
    request_id: str = "r"
    started_ns: int = 0
    log: str = ""

    def lose(self) -> None:
        """Lose the root span, which says how many there were."""
        self.spans_made = None
        del self.spans[2:]


class Function:
    """A function whose memory grows by `leak` bytes an invocation; `change` may alter what it returns."""

    box: object = None

    def __init__(
        self, traced: bool, leak: float = 0.0, change: Callable[[int, Made], None] = lambda *_: None
    ) -> None:
        self.traced, self.leak, self.change = traced, leak, change
        self.count = self.stops = 0
        self.random = random.Random(f"{traced}{leak}")

    def invoke(self, event: object = None) -> Made:
        noise = self.random.choice((0, 0, 0, 4096, 8192))
        rss = int((30 if not self.traced else 48) * MB + self.leak * self.count + noise)
        figures = Figures(
            duration_ms=(1.1 if self.traced else 1.0) * self.random.uniform(0.9, 1.2),
            cpu_ms=(0.52 if self.traced else 0.5) * self.random.uniform(0.95, 1.05),
            rss=rss,
            peak_rss=rss + MB,
        )
        made = Made(figures, cold=self.count == 0)
        if self.traced:
            made.spans, made.spans_made = [object()] * 3, 3
        self.count += 1
        self.change(self.count - 1, made)
        return made

    def stop(self) -> None:
        self.stops += 1


def plan(tmp_path: Path, **options: Any) -> soak.Soak:
    own = Target(text="app/app.handler", code=tmp_path, handler="app.handler", label="traced")
    off = Target(
        text="app/app.handler",
        code=tmp_path,
        handler="app.handler",
        label="untraced",
        env={"OTEL_SDK_DISABLED": "true", "API_KEY": "secret"},
        switch="OTEL_SDK_DISABLED=true",
    )
    options = {"invocations": 2000, "blocks": 40, **options}
    return soak.Soak(targets={"baseline": off, "candidate": own}, **options)


def run(tmp_path: Path, candidate: Function, baseline: Function | None = None, **options: Any) -> Any:
    functions = {"baseline": baseline or Function(traced=False), "candidate": candidate}
    return soak.run(plan(tmp_path, **options), functions)


def test_the_conclusion_says_what_tracing_takes_in_words_with_numbers(tmp_path: Path) -> None:
    results = run(tmp_path, Function(traced=True))
    section = results["soak"]
    assert section["memory_verdict"] == "steady"
    assert section["headline"].startswith("memory: +18.0 MB (")
    assert "), no growth; CPU +3.9 % (" in section["headline"]
    assert section["headline"].endswith("all 6,000 spans arrived.")
    assert exit_code(results) == 0
    assert (results["kind"], section["done"], results["counts"]["invocations"]) == ("soak", 4000, 4000)
    difference = section["differences"]
    assert difference["cpu_ms"]["ratio"]["interval"]["low"] > 1.02
    assert difference["high_water_mb"]["difference"]["median"] == 0
    assert results["targets"]["baseline"]["env"]["API_KEY"] == "***"
    assert "secret" not in dumps(results)


def test_a_file_of_it_can_be_read_again(tmp_path: Path) -> None:
    results = run(tmp_path, Function(traced=True), invocations=100)
    assert loads(dumps(results)) == json.loads(dumps(results))


@pytest.mark.parametrize("leaking", ["candidate", "baseline", "both"])
def test_a_leak_of_a_kilobyte_is_found_wherever_it_is(tmp_path: Path, leaking: str) -> None:
    candidate = Function(traced=True, leak=1024 if leaking != "baseline" else 0)
    baseline = Function(traced=False, leak=1024 if leaking != "candidate" else 0)
    results = run(tmp_path, candidate, baseline, invocations=4000)
    section = results["soak"]
    assert section["memory_verdict"] == "grows"
    assert exit_code(results) == 1
    found = section["sides"]["baseline" if leaking == "baseline" else "candidate"]["trends"]["rss_mb"]
    assert found["per_1000"] * MB / 1000 == pytest.approx(1024, rel=0.02)
    assert "it grows by 1,0" in section["headline"]
    assert section["conclusion"][0].startswith("Memory grows: ")
    assert results["warnings"][0]["code"] == "memory-grows"


def test_what_the_runtime_client_leaves_behind_is_no_growth_unless_it_is_asked_for(tmp_path: Path) -> None:
    functions = (Function(traced=True, leak=150), Function(traced=False, leak=150))
    assert run(tmp_path, *functions)["soak"]["memory_verdict"] == "steady"
    functions = (Function(traced=True, leak=150), Function(traced=False, leak=150))
    results = run(tmp_path, *functions, max_growth=50.0, invocations=20_000)
    assert results["soak"]["memory_verdict"] == "grows"


def test_what_fills_up_while_a_process_settles_is_not_called_growth(tmp_path: Path) -> None:
    candidate = Function(traced=True, leak=1024)
    results = run(tmp_path, candidate, invocations=1000)
    assert results["soak"]["memory_verdict"] == "inconclusive"
    assert "may fill up 2 MB while it settles" in results["soak"]["conclusion"][0]
    assert exit_code(results) == 0


def test_the_series_is_bounded_and_the_sides_take_turns(tmp_path: Path) -> None:
    candidate, baseline = Function(traced=True), Function(traced=False)
    results = run(tmp_path, candidate, baseline, invocations=2003, blocks=200)
    sides = results["soak"]["sides"]
    for side in sides.values():
        assert len(side["blocks"]) == 200
        assert sum(block["n"] for block in side["blocks"]) == side["invocations"] == 2003
        assert [block["number"] for block in side["blocks"]] == list(range(200))
        assert {block["n"] for block in side["blocks"]} == {10, 11}
    # Which comes first is random, and the same for the same seed.
    first = [
        "baseline" if own["from_s"] > other["from_s"] else "candidate"
        for own, other in zip(sides["candidate"]["blocks"], sides["baseline"]["blocks"], strict=True)
    ]
    assert len(set(first)) == 2
    assert candidate.stops == baseline.stops == 2
    assert plan(tmp_path, invocations=12, blocks=100).sizes == [6, 6]


def test_a_cold_start_is_in_no_time_and_its_environment_is_counted(tmp_path: Path) -> None:
    def slow_when_cold(number: int, made: Made) -> None:
        made.cold = number in {0, 500}
        if made.cold:
            made.report.duration_ms = made.report.cpu_ms = 1e6

    results = run(tmp_path, Function(True, change=slow_when_cold))
    side = results["soak"]["sides"]["candidate"]
    assert (side["cold"], side["environments"], side["durations"]["n"]) == (2, 2, 1998)
    assert side["durations"]["max_ms"] < 10
    assert any(warning["code"] == "cold-again" for warning in results["warnings"])
    assert all(block["cpu_ms"] < 1 for block in side["blocks"])


def test_failed_invocations_are_counted_and_said(tmp_path: Path) -> None:
    def fail(number: int, made: Made) -> None:
        if number % 100 == 50:
            made.status, made.error = "timeout", "Sandbox.Timedout"
            made.report.duration_ms = 3000.0

    results = run(tmp_path, Function(True, change=fail))
    assert results["counts"]["failed"] == results["soak"]["sides"]["candidate"]["failed"] == 20
    assert exit_code(results) == 1
    assert "Sandbox.Timedout" in results["warnings"][0]["text"]
    assert results["soak"]["sides"]["candidate"]["durations"]["max_ms"] < 10


def test_what_fails_has_no_speed_and_each_side_says_why(tmp_path: Path) -> None:
    def fail(number: int, made: Made) -> None:
        if number % 3 == 2:
            made.status, made.error = "error", "ValueError" if made.spans else "KeyError"

    results = run(tmp_path, Function(True, change=fail), Function(False, change=fail), invocations=100)
    section = results["soak"]
    failed = "33 of 100 invocations untraced and 33 of 100 invocations traced failed: it has no speed; "
    assert section["headline"].startswith(failed)
    told = [section["headline"], *section["conclusion"]]
    assert not any(" ms" in text or "CPU" in text for text in told)
    differences = [section["differences"][name]["difference"] for name in ("cpu_ms", "duration_ms")]
    assert differences == [None, None]
    failures = [each["text"] for each in results["warnings"] if each["code"] == "failed"]
    assert [text.rpartition(": ")[2] for text in failures] == ["KeyError.", "ValueError."]
    for form in ("terminal", "html", "markdown"):
        text = report.render(results, form)
        assert not re.search(r"\d ms\b", text.partition("<script")[0]), form


def test_a_function_that_keeps_failing_ends_it(tmp_path: Path) -> None:
    def fail(number: int, made: Made) -> None:
        made.status, made.error = "timeout", "Sandbox.Timedout"

    results = run(tmp_path, Function(True, change=fail))
    said = "20 invocations in a row failed; the last: traced: Sandbox.Timedout. Give it more time with "
    said += "--timeout."
    assert results["error"] == said
    assert exit_code(results) == 1
    assert results["soak"]["headline"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda number, made: number % 500 or made.spans.pop(), "spans-lost"),
        (lambda number, made: number % 500 or made.lose(), "spans-lost"),
        (lambda _, made: (made.spans.clear(), made.lose()), "no-spans"),
    ],
)
def test_spans_that_did_not_arrive_are_found(
    tmp_path: Path, change: Callable[[int, Made], None], code: str
) -> None:
    results = run(tmp_path, Function(True, change=change))
    assert results["warnings"][0]["code"] == code
    assert exit_code(results) == 1
    assert "all 6,000 spans arrived" not in results["soak"]["headline"]


def test_spans_that_leave_with_the_environment_are_counted(tmp_path: Path) -> None:
    kept: dict[str, list[object]] = {}

    class Finalizing(Function):
        def late(self, results: list[Made]) -> dict[str, list[object]]:
            assert self.stops == 2
            return {result.request_id: kept[result.request_id] for result in results}

    def keep(number: int, made: Made) -> None:
        made.request_id = f"r{number}"
        kept[made.request_id], made.spans = made.spans, []
        if number == 7:
            kept[made.request_id] = []

    results = run(tmp_path, Finalizing(True, change=keep), invocations=100)
    totals = results["soak"]["sides"]["candidate"]["spans"]
    assert (totals["invocations"], totals["received"], totals["without"]) == (100, 297, 1)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), LabError("no box can be made")])
def test_what_was_measured_until_it_ended_is_kept(tmp_path: Path, interruption: BaseException) -> None:
    def interrupt(number: int, _: Made) -> None:
        if number == 1717:
            raise interruption

    candidate = Function(True, change=interrupt)
    results = run(tmp_path, candidate)
    assert results["interrupted"] is isinstance(interruption, KeyboardInterrupt)
    assert exit_code(results) == (130 if results["interrupted"] else 1)
    assert results["soak"]["sides"]["candidate"]["invocations"] == 1717
    assert results["soak"]["memory_verdict"] == "steady"
    assert candidate.stops == 2


@pytest.mark.parametrize(("at", "leak"), [(0, 0.0), (1, 0.0), (717, 1024.0), (1000, 0.0), (1999, 1024.0)])
def test_an_interrupted_soak_is_gone_on_with(tmp_path: Path, at: int, leak: float) -> None:
    def interrupt(number: int, _: Made) -> None:
        if number == at:
            raise KeyboardInterrupt

    baseline = Function(False, leak=leak)
    first = loads(dumps(run(tmp_path, Function(True, leak, interrupt), baseline)))
    assert first["interrupted"]
    candidate, again = Function(True, leak), Function(False, leak)
    functions = {"baseline": again, "candidate": candidate}
    results = cast("Any", soak.run(plan(tmp_path, seed=first["seed"]), functions, None, first))
    assert (candidate.count, again.count) == (2000 - at, 2000 - baseline.count)  # nothing is measured again
    section = results["soak"]
    assert section["done"] == results["counts"]["invocations"] == 4000
    assert (results["interrupted"], len(results["resumed"])) == (False, 1)
    for name, side in section["sides"].items():
        blocks = side["blocks"]
        assert sum(block["n"] for block in blocks) == side["invocations"] == 2000
        assert [block["first"] for block in blocks] == [*accumulate((b["n"] for b in blocks[:-1]), initial=0)]
        assert [block["from_s"] for block in blocks] == sorted(block["from_s"] for block in blocks)
        assert side["durations"]["n"] == 2000 - side["environments"]
        assert side["spans"]["received"] == (6000 if name == "candidate" else 0)
        assert side["spans"]["lost"] == (0 if name == "candidate" else None)
    # That a new environment's memory begins anew is neither growth nor shrinking.
    told = {0: "steady", 717: "inconclusive", 1999: "inconclusive"}
    assert section["memory_verdict"] == told.get(at, "steady"), section["conclusion"][0]
    assert loads(dumps(results)) == json.loads(dumps(results))
    results["box"] = {"kind": "made up", "cannot": []}
    finished = cast("Any", soak.run(plan(tmp_path, seed=first["seed"]), functions, None, results))
    assert (candidate.count, again.count) == (2000 - at, 2000 - baseline.count)
    assert (finished["box"], finished["soak"]) == (results["box"], section)


def test_only_the_same_soak_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1")
    earlier = run(tmp_path, Function(True), invocations=100)

    def said(**changes: Any) -> str:
        asked = plan(tmp_path, **{"invocations": 100, **changes})
        named = {side: target_info(target) for side, target in asked.targets.items()}
        with pytest.raises(UsageError) as raised:
            check(earlier, asked, named, Path("s.json"))
        return str(raised.value)

    assert "(--invocations): 100 there, 200 now" in said(invocations=200)
    assert "(--memory): 512 there, 256 now" in said(memory_mb=256)
    assert "freezing" in said(freeze=False)
    assert "leave --seed out" in said(seed=3)
    (tmp_path / "app.py").write_text("2")
    assert "has been changed since" in said()
    earlier["kind"] = "load"
    assert "written by `lambent load`" in said()


def test_an_interruption_before_anything_is_a_file_all_the_same(tmp_path: Path) -> None:
    def interrupt(number: int, _: Made) -> None:
        raise KeyboardInterrupt

    broken = Function(True, change=interrupt)
    results = run(tmp_path, broken, Function(False, change=interrupt))
    assert results["soak"]["memory_verdict"] == "absent"
    assert "not measured" in results["soak"]["headline"]
    assert "too few\n" not in report.render(results, "terminal")
    assert loads(dumps(results))["interrupted"]


def test_a_box_that_measures_no_memory_has_no_memory_figures(tmp_path: Path) -> None:
    def unmeasured(_: int, made: Made) -> None:
        made.report.rss = made.report.peak_rss = made.report.peak_with_cache = made.report.cpu_ms = None

    results = run(tmp_path, Function(True, change=unmeasured), Function(False, change=unmeasured))
    section = results["soak"]
    assert section["memory_verdict"] == "absent"
    assert section["differences"]["rss_mb"]["difference"] is None
    assert section["headline"].startswith("memory: not measured, ")
    assert exit_code(results) == 0
