"""What a soak found, in words with numbers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.measure.accounting import incomplete

if TYPE_CHECKING:
    from lambent_lab.measure.results import Figure
    from lambent_lab.measure.results_load import SoakDifference, SoakSection, SoakSide, Trend

_KB_PER_1000 = 2**20 / 1000
"""Bytes an invocation, for a megabyte in 1,000 of them."""

_CHANGES = {
    "steady": "no growth",
    "shrinks": "it shrinks",
    "inconclusive": "whether it grows cannot be told",
    "absent": "too few blocks to tell growth",
}


def conclude(section: SoakSection) -> tuple[str, list[str]]:
    """The headline, and the sentences below it; the first of them is about memory."""
    differences = section["differences"]
    failed = _failed(section)
    memory = f"memory: {_amount(differences['rss_mb'], 'MB')}, {_growth(section)}"
    times = [
        f"CPU {_percent(differences['cpu_ms'])}",
        f"duration {_amount(differences['duration_ms'], 'ms')}",
    ]
    sides = section["sides"]
    spans = _spans(sides["candidate"])
    parts = [f"{failed} failed: it has no speed", memory] if failed else [memory, *times]
    headline = "; ".join([*parts, spans]) + "."
    return headline, [
        _memory(section),
        *(_resident(side) for side in sides.values()),
        _high_water(differences, sides),
        *(
            []
            if failed
            else [
                _times(differences["cpu_ms"], "CPU time", sides),
                _times(differences["duration_ms"], "Duration", sides),
            ]
        ),
        f"{_sentence(spans)} after {_counts(section)}.",
    ]


def _failed(section: SoakSection) -> str:
    """How many failed, of the sides that had such; empty when none did."""
    return " and ".join(
        f"{side['failed']:,} of {side['invocations']:,} invocations {side['label']}"
        for side in section["sides"].values()
        if side["failed"]
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _amount(difference: SoakDifference, unit: str) -> str:
    figure = difference["difference"]
    if figure is None:
        return "not measured"
    return f"{_signed(figure['median'])} {unit}{_interval(figure, 1)}"


def _percent(difference: SoakDifference) -> str:
    ratio = difference["ratio"]
    if ratio is None:
        return "not measured"
    text = f"{(ratio['median'] - 1) * 100:+.1f} %"
    interval = ratio["interval"]
    if interval is not None:
        text += f" ({(interval['low'] - 1) * 100:+.1f} to {(interval['high'] - 1) * 100:+.1f})"
    return text


def _interval(figure: Figure, scale: float) -> str:
    interval = figure["interval"]
    if interval is None:
        return ""
    return f" ({_signed(interval['low'] * scale)} to {_signed(interval['high'] * scale)})"


def _signed(value: float) -> str:
    """A number with its sign, to three digits where it is small."""
    return f"{value:+.1f}" if abs(value) >= 10 else f"{value:+.2f}" if abs(value) >= 0.1 else f"{value:+.3f}"


def _growth(section: SoakSection) -> str:
    """What is said of growth in the headline."""
    if section["memory_verdict"] != "grows":
        return _CHANGES[section["memory_verdict"]]
    return f"it grows by {_rate(_worst(section)[1])}"


def _worst(section: SoakSection) -> tuple[str, Trend]:
    """Whose memory grows most of those that grow: a side's name in words, and its trend."""
    growing = [each for each in _memories(section) if each[1]["verdict"] == "grows"]
    return max(growing, key=lambda each: each[1]["per_1000"] or 0.0)


def _memories(section: SoakSection) -> list[tuple[str, Trend]]:
    """Everything whose memory is watched: in words, and its trend; what tracing adds comes first."""
    return [
        ("the difference between the sides", section["differences"]["rss_mb"]["trend"]),
        *(
            (f"the {side['label']} function", side["trends"]["rss_mb"])
            for side in reversed(section["sides"].values())
        ),
    ]


def _bytes(per_1000: float | None) -> str:
    return "unknown" if per_1000 is None else f"{per_1000 * _KB_PER_1000:,.0f}"


def _rate(trend: Trend) -> str:
    return (
        f"{_bytes(trend['per_1000'])} bytes an invocation "
        f"({_bytes(trend['low_per_1000'])} to {_bytes(trend['high_per_1000'])})"
    )


def _memory(section: SoakSection) -> str:
    trend = section["differences"]["rss_mb"]["trend"]
    tolerance = f"{_bytes(trend['tolerance_per_1000'])} bytes an invocation"
    verdict = section["memory_verdict"]
    if verdict == "grows":
        who, worst = _worst(section)
        change = "" if worst["change"] is None else f", {worst['change']:+.1f} MB over the blocks that count"
        return f"Memory grows: {who} by {_rate(worst)}{change}; {tolerance} are allowed."
    if trend["verdict"] == "absent":
        return "Too few blocks to tell growth: more invocations are needed."
    if verdict == "inconclusive":
        return _unclear(section, tolerance)
    text = "Memory shrinks" if verdict == "shrinks" else "Memory does not grow"
    return f"{text}: what tracing adds changes by {_rate(trend)}; {tolerance} are allowed."


def _unclear(section: SoakSection, tolerance: str) -> str:
    """Whose memory it is of which nothing can be told, and what would tell."""
    who, trend = next(each for each in _memories(section) if each[1]["verdict"] == "inconclusive")
    text = f"Whether memory grows cannot be told yet: {who} changes by {_rate(trend)}"
    low, tolerated = trend["low_per_1000"], trend["tolerance_per_1000"]
    if low is not None and tolerated is not None and low > tolerated:
        text += (
            f", {trend['change'] or 0:+.1f} MB over the blocks that count, and a process may fill up "
            f"{trend.get('least_change', 0):g} MB while it settles"
        )
    else:
        text += f"; {tolerance} are allowed"
    return f"{text}. More invocations tell (--invocations)."


def _resident(side: SoakSide) -> str:
    trend = side["trends"]["rss_mb"]
    if trend["first"] is None or trend["last"] is None:
        return f"Resident memory ({side['label']}): not measured."
    text = f"Resident memory ({side['label']}): {trend['first']:.1f} MB, in the end {trend['last']:.1f} MB"
    return text + ("." if trend["per_1000"] is None else f"; {_rate(trend)}.")


def _high_water(differences: dict[str, SoakDifference], sides: dict[str, SoakSide]) -> str:
    charged, peak = differences["high_water_mb"], differences["peak_rss_mb"]
    return (
        f"High-water mark with the page cache: {_both(charged, sides)}; "
        f"most that was resident: {_both(peak, sides)}."
    )


def _both(difference: SoakDifference, sides: dict[str, SoakSide]) -> str:
    baseline, candidate = difference["baseline"], difference["candidate"]
    if baseline is None or candidate is None:
        return "not measured"
    return (
        f"{baseline['median']:.1f} MB {sides['baseline']['label']}, "
        f"{candidate['median']:.1f} MB {sides['candidate']['label']} "
        f"({_signed(candidate['median'] - baseline['median'])})"
    )


def _times(difference: SoakDifference, name: str, sides: dict[str, SoakSide]) -> str:
    baseline, candidate = difference["baseline"], difference["candidate"]
    if baseline is None or candidate is None:
        return f"{name}: not measured."
    first, second = sides["baseline"]["label"], sides["candidate"]["label"]
    return (
        f"{name} of an invocation: {baseline['median']:.3f} ms {first}, {candidate['median']:.3f} ms "
        f"{second}: {_amount(difference, 'ms')}, {_percent(difference)}."
    )


def _spans(side: SoakSide) -> str:
    totals = side["spans"]
    missing = incomplete(totals)
    if missing is not None:
        return missing
    if totals["made"] is not None and not totals["without"]:
        return f"all {totals['made']:,} spans arrived"
    text = f"{totals['received']:,} spans arrived"
    return text + (f", none from {totals['without']:,} invocations" if totals["without"] else "")


def _counts(section: SoakSection) -> str:
    return " and ".join(
        f"{side['invocations']:,} invocations {side['label']}" for side in section["sides"].values()
    )
