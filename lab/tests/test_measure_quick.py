"""`quick_performance_test` and `lambent quick`: what they make of processes, and once with real ones."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.commands import main
from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import quick_performance_test
from lambent_lab.measure.testers import quick

if TYPE_CHECKING:
    from collections.abc import Callable


def processes(*ratios: float, baseline: float = 0.01, **more: Any) -> Callable[[int, int], dict[str, Any]]:
    """Return what stands for processes whose traced calls take so many times as long, over and over."""
    made: list[int] = []

    def run(pairs: int, seed: int) -> dict[str, Any]:
        ratio = ratios[len(made) % len(ratios)]
        made.append(seed)
        # One call in a hundred is preempted.
        baseline_times = [baseline] * pairs
        traced_times = [baseline * ratio] * (pairs - 1) + [50.0]
        return {
            "verdict": "pass",
            "spans": pairs,
            "seed": seed,
            "traced_first": [False] * pairs,
            "baseline": {"median_time_ms": baseline, "times_ms": baseline_times},
            "traced": {"median_time_ms": baseline * ratio, "times_ms": traced_times},
            **more,
        }

    return run


def test_the_result_has_the_documented_keys_and_more() -> None:
    result = quick.measure(2.0, pairs=100, seed=5, run=processes(1.2, 1.3))
    assert result["baseline_ms"] == pytest.approx(0.01)
    assert result["traced_ms"] == pytest.approx(0.0125)
    assert result["overhead_ratio"] == result["traced_ms"] / result["baseline_ms"]
    assert result["traced_average_ms"] == pytest.approx(0.01 * 0.99 * 1.25 + 0.5)
    assert result["average_ratio"] == pytest.approx(result["traced_average_ms"] / 0.01)
    # The averages have been moved by one call; the medians have not.
    assert result["median_ratio"] == pytest.approx(1.25)
    assert result["median_ratio_interval"]["low"] == pytest.approx(1.2)
    assert result["median_ratio_interval"]["high"] == pytest.approx(1.3)
    assert (result["verdict"], result["is_acceptable"], result["n"], result["spans"]) == (
        "pass",
        True,
        8,
        800,
    )
    assert [each["seed"] for each in result["processes"]] == list(range(5, 13))
    assert len(result["processes"][0]["traced_times_ms"]) == 100
    json.dumps(result, allow_nan=False)


def test_over_the_limit() -> None:
    result = quick.measure(1.5, pairs=10, run=processes(1.6))
    assert (result["verdict"], result["is_acceptable"], result["n"]) == ("fail", False, 8)
    assert "FAIL: the overhead is 1.60x, the limit 1.50x." in quick.render(result)


def test_while_it_is_undecided_more_processes_are_measured() -> None:
    decided = quick.measure(1.5, pairs=10, run=processes(*[1.6] + [1.4] * 40))
    assert (decided["verdict"], decided["n"]) == ("pass", 16)
    never = quick.measure(1.5, pairs=10, run=processes(1.4, 1.58))
    assert (never["verdict"], never["n"], never["is_acceptable"]) == ("inconclusive", 32, True)
    assert "PASS: 1.49x is below 1.50x, undecided (the interval holds the limit)." in quick.render(never)


def test_few_processes_have_no_interval() -> None:
    result = quick.measure(2.0, processes=1, pairs=10, run=processes(1.2))
    assert (result["n"], result["median_ratio_interval"], result["is_acceptable"]) == (1, None, True)
    assert "undecided (there are fewer than 8 processes)" in quick.render(result)


def test_the_text_fits_into_80_columns() -> None:
    for ratio, baseline in ((1.2345678, 0.0123456), (19.87654, 12345.678), (1.0, 1e-6)):
        result = quick.measure(1234.5, processes=100, pairs=10**4, run=processes(ratio, baseline=baseline))
        assert max(map(len, quick.render(result).splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"limit": 1.0}, "limit must be a number above 1"),
        ({"limit": math.nan}, "limit must be a number above 1"),
        ({"limit": math.inf}, "limit must be a number above 1"),
        ({"processes": 0}, "processes must be at least 1"),
        ({"pairs": 0}, "pairs must be at least 1"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        quick.measure(**options)


def test_a_tracer_that_makes_no_spans_is_an_error() -> None:
    with pytest.raises(LabError, match="made no spans"):
        quick.measure(run=processes(1.0, spans=0))
    with pytest.raises(LabError, match="The operation failed: traced raised: OSError"):
        quick.measure(run=processes(1.0, verdict="failed", warnings=["traced raised: OSError"]))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(*ratios: float) -> None:
        monkeypatch.setattr(quick, "_run", processes(*ratios))

    return use


def test_the_function_prints_and_asserts(
    few: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    few(1.2)
    assert quick_performance_test()["is_acceptable"]
    assert "PASS: the overhead is 1.20x" in capsys.readouterr().out
    assert quick_performance_test(quiet=True)["n"] == 8
    assert capsys.readouterr().out == ""
    few(2.5)
    with pytest.raises(AssertionError, match=r"Overhead too high: 2\.50x, limit 2\.00x"):
        quick_performance_test()


def test_the_command(few: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    few(1.2)
    assert main(["quick"]) == 0
    assert "PASS" in capsys.readouterr().out
    assert main(["quick", "--limit", "1.1", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["verdict"], result["limit"], result["n"]) == ("fail", 1.1, 8)
    for wrong in (["--limit", "1"], ["--processes", "0"], ["--pairs", "x"], ["extra"], ["--limit", "nan"]):
        assert main(["quick", *wrong]) == 2, wrong
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_ctrl_c_shows_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def after(number: int) -> Callable[[int, int], dict[str, Any]]:
        whole = processes(1.2)
        left = [number]

        def run(pairs: int, seed: int) -> dict[str, Any]:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return whole(pairs, seed)

        return run

    monkeypatch.setattr(quick, "_run", after(3))
    assert main(["quick"]) == 130
    out = capsys.readouterr().out
    assert "3 processes, 200 pairs in each" in out
    assert "Interrupted: these are the processes measured so far." in out
    monkeypatch.setattr(quick, "_run", after(3))
    with pytest.raises(KeyboardInterrupt):
        quick_performance_test()
    monkeypatch.setattr(quick, "_run", after(0))
    assert main(["quick"]) == 130
    assert "lambent: interrupted" in capsys.readouterr().err


def test_with_real_processes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["quick", "--processes", "2", "--pairs", "50", "--limit", "50", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n"], result["spans"]) == (2, 100)
    assert 1 < result["median_ratio"] < 50
    assert [len(each["baseline_times_ms"]) for each in result["processes"]] == [50, 50]
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert main(["quick", "--processes", "1"]) == 1
    assert "made no spans" in capsys.readouterr().err
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert main(["quick", "--processes", "1"]) == 1
    assert "A measuring process failed: no message" in capsys.readouterr().err
