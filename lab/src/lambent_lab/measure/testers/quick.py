"""Is the overhead of tracing acceptable? The quick test of specification 001, in a second or two.

Rules
- Each sample is a fresh process, which calls the operation untraced and traced in interleaved pairs; its
  values are the medians. The interval is that of the processes' ratios: from one to the next they differ.
- While the interval holds the limit, further processes are measured, up to four times as many as asked for.
  Then the median decides, and the text says that it is undecided.
- A tracer that makes no spans (tracing is switched off) is an error, not a low overhead.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure.machine import load_average
from lambent_lab.measure.summary import figure
from lambent_lab.measure.testers import timing
from lambent_lab.measure.testers.performance_report import number
from lambent_lab.measure.testers.timing import at_least
from lambent_lab.report.words import plural

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESSES = 8
"""The least that an interval takes."""

PAIRS = 200
LIMIT = 2.0
_ROUNDS = 4
_TIMEOUT_S = 120.0


def quick_performance_test(
    limit: float = LIMIT, *, processes: int = PROCESSES, pairs: int = PAIRS, quiet: bool = False
) -> dict[str, Any]:
    """Measure what tracing adds to `sum(range(1000))`, print it, and return it.

    The result has the documented `baseline_ms` and `traced_ms` (medians) and `overhead_ratio` (of the two),
    and beside them the median of the processes' ratios with its interval, the averages, the verdict, every
    process and every time. Raises AssertionError when the median ratio is not below the limit, LabError when
    it could not be measured, UsageError for values that make no test.
    """
    result = measure(limit, processes=processes, pairs=pairs)
    if not quiet:
        sys.stdout.write(render(result))
    if result["interrupted"]:
        raise KeyboardInterrupt
    if not result["is_acceptable"]:
        raise AssertionError(f"Overhead too high: {result['median_ratio']:.2f}x, limit {limit:.2f}x")
    return result


def measure(
    limit: float = LIMIT,
    *,
    processes: int = PROCESSES,
    pairs: int = PAIRS,
    seed: int | None = None,
    run: Callable[[int, int], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Measure as `quick_performance_test` does, and print nothing. Ctrl-C ends it with what there is.

    run: what measures in one process, given the number of pairs and a seed; for tests.
    """
    at_least("processes", processes, 1)
    at_least("pairs", pairs, 1)
    if not 1 < limit < math.inf:
        raise UsageError(f"limit must be a number above 1, got {limit}: tracing takes some time.")
    # Not a secret: the order of a measurement.
    seed = random.randrange(2**32) if seed is None else seed  # noqa: S311
    load = load_average()
    done: list[dict[str, Any]] = []
    interrupted = False
    try:
        for _ in range(_ROUNDS):
            for _ in range(processes):
                done.append(_checked((run or _run)(pairs, seed + len(done))))
            if len(done) < PROCESSES or _verdict(_ratios(done), limit) != "inconclusive":
                break
    except KeyboardInterrupt:
        if not done:
            raise
        interrupted = True
    found = _ratios(done)
    baseline = figure([each["baseline"]["median_time_ms"] for each in done])
    traced = figure([each["traced"]["median_time_ms"] for each in done])
    assert baseline is not None
    assert traced is not None
    return {
        "baseline_ms": baseline["median"],
        "traced_ms": traced["median"],
        "overhead_ratio": timing.ratio(traced["median"], baseline["median"]),
        **found,
        **_averages(done),
        "baseline": baseline,
        "traced": traced,
        "n": len(done),
        "pairs_per_process": pairs,
        "limit": limit,
        "verdict": _verdict(found, limit),
        "is_acceptable": found["median_ratio"] is not None and found["median_ratio"] < limit,
        "spans": sum(each["spans"] for each in done),
        "interrupted": interrupted,
        "seed": seed,
        "environment": timing.environment(load),
        "processes": [
            {
                "seed": each["seed"],
                "baseline_times_ms": each["baseline"]["times_ms"],
                "traced_times_ms": each["traced"]["times_ms"],
                "traced_first": each["traced_first"],
            }
            for each in done
        ],
    }


def render(result: dict[str, Any]) -> str:
    """The result as text of at most 80 columns."""
    baseline, traced = result["baseline"], result["traced"]
    lines = [
        "sum(range(1000)), untraced and traced in interleaved pairs",
        f"{plural(result['n'], 'process', 'processes')}, {result['pairs_per_process']} pairs in each, "
        f"{result['spans']} spans",
        "",
        f"{'':10}{'median (99% interval)':38}average",
        f"{'untraced':10}{_figure(baseline):38}{number(result['baseline_average_ms'], ' ms', '')}",
        f"{'traced':10}{_figure(traced):38}{number(result['traced_average_ms'], ' ms', '')}",
        f"{'cost':10}" + _shown(result["median_difference_ms"], result["median_difference_interval"], " ms"),
        f"{'ratio':10}{_shown(result['median_ratio'], result['median_ratio_interval'], 'x'):38}"
        f"{number(result['average_ratio'], 'x', '')}",
        "",
        _sentence(result),
        *(["Interrupted: these are the processes measured so far."] if result["interrupted"] else []),
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _sentence(result: dict[str, Any]) -> str:
    ratio, limit = number(result["median_ratio"], "x", ""), number(result["limit"], "x", "")
    if result["verdict"] == "pass":
        return f"PASS: the overhead is {ratio}, the limit {limit}."
    if result["verdict"] == "fail":
        return f"FAIL: the overhead is {ratio}, the limit {limit}."
    below = "below" if result["is_acceptable"] else "not below"
    why = "there are fewer than 8 processes" if result["n"] < PROCESSES else "the interval holds the limit"
    return f"{'PASS' if result['is_acceptable'] else 'FAIL'}: {ratio} is {below} {limit}, undecided ({why})."


def _figure(value: dict[str, Any]) -> str:
    return _shown(value["median"], value["interval"], " ms")


def _shown(value: float | None, interval: dict[str, float] | None, unit: str) -> str:
    if interval is None:
        return number(value, unit, "")
    low, high = number(interval["low"], "", ""), number(interval["high"], "", "")
    return f"{number(value, unit, '')} ({low} to {high})"


def _ratios(done: list[dict[str, Any]]) -> timing.RatioFigures:
    """What the processes' medians come to, in pairs."""
    return timing.compare(
        [(each["baseline"]["median_time_ms"], each["traced"]["median_time_ms"]) for each in done]
    )


def _verdict(found: timing.RatioFigures, limit: float) -> str:
    return timing.verdict(found, limit, failed=False, silent=False)  # these have been errors already


def _averages(done: list[dict[str, Any]]) -> dict[str, float | None]:
    """The averages over all calls, and the ratio of these."""
    baseline = statistics.fmean(time for each in done for time in each["baseline"]["times_ms"])
    traced = statistics.fmean(time for each in done for time in each["traced"]["times_ms"])
    ratio = timing.ratio(traced, baseline)
    return {"baseline_average_ms": baseline, "traced_average_ms": traced, "average_ratio": ratio}


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    if found["verdict"] == "failed":
        raise LabError(f"The operation failed: {'; '.join(found['warnings'])}.")
    if not found["spans"]:
        raise LabError(
            "The tracer made no spans, so this would not be the cost of tracing. Is tracing switched off by "
            "OTEL_SDK_DISABLED or LAMBENT_DISABLED?"
        )
    return found


def _run(pairs: int, seed: int) -> dict[str, Any]:
    """Measure in a fresh process, which finds modules where this one does."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "lambent_lab.measure.testers.quick_worker", str(pairs), str(seed)]
    try:
        # Our own module, in our own interpreter.
        done = subprocess.run(  # noqa: S603
            command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"A measuring process took longer than {_TIMEOUT_S:g} s; ask for fewer pairs."
        ) from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LabError(f"A measuring process failed: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
