"""The text of `PerformanceTester.generate_report`: pure, from results to lines. A dash says why it is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent_lab.measure.stats import minimum_n

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.measure.results import IntervalInfo
    from lambent_lab.measure.testers.performance import PerformanceMetrics

_TITLE = "Performance Test Report"
_DASH = "\u2013"


def render(results: Mapping[str, PerformanceMetrics | dict[str, Any]]) -> str:
    """The report of these results, in the order in which they were measured."""
    lines = [_TITLE, "=" * 25, ""]
    for name, result in results.items():
        lines.append(f"## {name}")
        if not isinstance(result, dict):
            lines += _function(result)
        elif "overhead_ratio" in result:
            lines += _comparison(result)
        else:
            lines += _concurrent(result)
        lines.append("")
    return "\n".join(lines)


def _function(result: PerformanceMetrics) -> list[str]:
    failed = result.failed + result.warmup_failed
    why = f"{failed} calls raised" if failed else ""
    lines = [
        f"Calls: {result.n}" + (f", failed: {result.failed}" if failed else ""),
        f"Average Time: {number(result.avg_time_ms, 'ms', why)}",
        f"Median: {number(result.median_time_ms, 'ms', why)}{_interval(result.median_interval, 'ms')}",
        f"Std Deviation: {number(result.std_dev_ms, 'ms', why or 'it takes 2 values')}",
        f"P95: {_percentile(result.p95_time_ms, 95, result.n, why)}",
        f"P99: {_percentile(result.p99_time_ms, 99, result.n, why)}",
        f"Throughput: {number(result.throughput_ops_per_sec, ' ops/sec', why or 'no time passed')}",
        f"Memory Usage: {number(result.memory_usage_mb, 'MB', 'not measured')} ({result.memory_source})",
    ]
    if result.peak_memory_mb is not None:
        lines.append(f"Peak Memory: {number(result.peak_memory_mb, 'MB', '')}")
    return lines + [f"! {error}" for error in result.errors]


def _comparison(result: Mapping[str, Any]) -> list[str]:
    why = "; ".join(result["warnings"]) or "nothing to compare"
    spans = result["spans"]
    return [
        f"Overhead Ratio: {number(result['overhead_ratio'], 'x', why)}"
        f"{_interval(result['median_ratio_interval'], 'x')}, n={result['n']} pairs",
        f"Average Ratio: {number(result['average_ratio'], 'x', why)}",
        f"Median Difference: {number(result['median_difference_ms'], 'ms', why)}"
        f"{_interval(result['median_difference_interval'], 'ms')}",
        f"Throughput Ratio: {number(result['throughput_ratio'], 'x', why)}",
        f"Acceptable: {'✅' if result['is_acceptable'] else '❌'} "
        f"(limit {number(result['limit'], 'x', '')}; by the interval: {result['verdict']})",
        f"Memory Overhead: {number(result['memory_overhead_mb'], 'MB', '')}",
        *([] if spans is None else [f"Spans: {spans}"]),
        *(f"! {warning}" for warning in result["warnings"]),
    ]


def _concurrent(result: Mapping[str, Any]) -> list[str]:
    n, why = result["n"], "every operation failed"
    lines = [
        f"Threads: {result['num_threads']}, operations each: {result['operations_per_thread']}",
        f"Operations: {result['total_operations']} in {number(result['total_time_s'], 's', '')}",
        f"Average Time: {number(result['avg_time_ms'], 'ms', why)}",
        f"Median: {number(result['median_time_ms'], 'ms', why)}{_interval(result['median_interval'], 'ms')}",
        f"P95: {_percentile(result['p95_time_ms'], 95, n, '')}",
        f"P99: {_percentile(result['p99_time_ms'], 99, n, '')}",
        f"Throughput: {number(result['throughput_ops_per_sec'], ' ops/sec', why)}",
        f"Errors: {result['error_count']} ({result['error_rate']:.2%})",
    ]
    return lines + [f"! {error}" for error in result["errors"]]


def number(value: float | None, unit: str, why: str) -> str:
    """A figure with two decimals, or three significant digits when it is small; a dash and why if absent."""
    if value is None:
        return f"{_DASH} ({why})" if why else _DASH
    return f"{value:.2f}{unit}" if value == 0 or abs(value) >= 0.995 else f"{value:.3g}{unit}"


def _interval(interval: IntervalInfo | None, unit: str) -> str:
    if interval is None:
        return ""
    low, high = number(interval["low"], "", ""), number(interval["high"], unit, "")
    return f" ({low} to {high}, {interval['confidence']:.0%} interval)"


def _percentile(value: float | None, percent: int, n: int, why: str) -> str:
    return number(value, "ms", why or f"it takes {minimum_n(percent)} values, there are {n}")
