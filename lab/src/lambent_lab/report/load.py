"""What a load test measured, as tiles and tables. Every number is one of the result file, only rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lambent_lab.report import words
from lambent_lab.report.document import Cell, Column, Row, Section, Table, Tile, cells
from lambent_lab.report.words import ABSENT

if TYPE_CHECKING:
    from lambent_lab.measure.results import Figure, Results
    from lambent_lab.measure.results_load import Latency, LoadPart, LoadSection, Share, SpanTotals

_PERCENTILES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms")
_TIMES = {
    "latency": "what a user waits (from when a call was due)",
    "service": "what a call takes",
    "cold_latency": "cold calls",
    "failed_latency": "failed calls, kept apart",
    "throttled_latency": "throttled calls, kept apart",
}
_SHORT = {
    "latency": "user waits",
    "service": "call takes",
    "cold_latency": "cold calls",
    "failed_latency": "failed",
    "throttled_latency": "throttled",
}


def section_of(results: Results) -> LoadSection | None:
    """The file's load test; None when it has none."""
    return cast("LoadSection | None", results.get("load"))


def steady(found: LoadSection) -> LoadPart:
    """The part that is spoken of first: the steady one, or all where there is no ramp-up."""
    return found["steady"] or found["all"]


def tiles(found: LoadSection) -> tuple[Tile, ...]:
    """Throughput, latency and errors of the steady part, in large."""
    part = steady(found)
    named = (
        ("throughput", part["per_second"], part["throughput"], "/s"),
        ("median latency", part["latency"]["p50_ms"], part["p50"], "ms"),
        ("p95 latency", part["latency"]["p95_ms"], part["p95"], "ms"),
    )
    made = [
        Tile(name, words.quantity(value, unit), _slices(each, unit))
        for name, value, each, unit in named
        if value is not None
    ]
    rate = part["error_rate"]
    if rate["share"] is not None:
        made.append(
            Tile(
                "error rate",
                words.share(rate["share"]),
                (_share_range(rate), f"{rate['count']:,} of {rate['n']:,}"),
            )
        )
    return tuple(made)


def _slices(figure: Figure | None, unit: str) -> tuple[str, ...]:
    """What slices of the time came to, each for itself; nothing of so few that they have no interval."""
    span = words.plain_range(figure)
    if figure is None or not span:
        return ()
    said = f"median of {figure['n']} slices {words.number(figure['median'])} {unit}"
    return (said, f"99% interval {span}")


def sections(found: LoadSection) -> list[Section]:
    """All sections of a load test."""
    return [
        Section("load", "Load", _asked(found), tuple(_parts(found)), tuple(found["conclusion"])),
        Section(
            "latency",
            "Latency",
            "What a user would have waited: where a call held up those after it, their wait is counted in. "
            "Percentiles appear from the number of values on that can hold them.",
            (_latencies(found),),
        ),
        Section("errors", "Errors", "", tuple(_errors(found))),
        Section("delivery", "What arrived", "", tuple(_delivered(found["spans"]))),
    ]


def _asked(found: LoadSection) -> str:
    config = found["config"]
    memory = f" at {config['memory_mb']:,} MB" if config["memory_mb"] is not None else ""
    loop = words.plural(config["users"], "user")
    if config["mode"] == "open":
        rate = ABSENT if config["rate"] is None else words.number(config["rate"])
        loop = f"open loop, {rate} arrivals a second ({config['arrivals'] or 'constant'})"
    else:
        loop = f"closed loop of {loop}"
        loop += f", each pausing {config['pause_s']:g} s" if config["pause_s"] else ""
    ramp = f", the first {config['ramp_up_s']:g} s of them the ramp-up" if config["ramp_up_s"] else ""
    most = f"; at most {words.plural(config['concurrency'], 'environment')}" if config["concurrency"] else ""
    return words.capital(f"{loop}{memory}, for {config['duration_s']:g} s{ramp}{most} ({config['engine']}).")


def _parts(found: LoadSection) -> list[Table]:
    heads = (
        Column("", words=True),
        Column("calls"),
        Column("succeeded", "none"),
        Column("failed"),
        Column("throttled"),
        Column("cold"),
        Column("per second", "text"),
        Column("p50"),
        Column("p95"),
        Column("error rate", "none"),
    )
    named = (("ramp-up", found["ramp_up"]), ("steady", found["steady"]), ("all", found["all"]))
    # While users come there is no one throughput, and so no interval of it.
    rows = [
        _part(name, part, whole=part is not found["ramp_up"] and part is steady(found))
        for name, part in named
        if part is not None
    ]
    return [Table("", heads, tuple(rows))]


def _part(name: str, part: LoadPart, *, whole: bool) -> Row:
    second, span = part["per_second"], words.plain_range(part["throughput"]) if whole else ""
    return Row(
        (
            Cell(name),
            Cell(f"{part['attempted']:,}"),
            Cell(f"{part['succeeded']:,}"),
            Cell(f"{part['failed']:,}", tone="bad" if part["failed"] else ""),
            Cell(f"{part['throttled']:,}", tone="warn" if part["throttled"] else ""),
            Cell(words.whole(part["cold"])),
            Cell(ABSENT if second is None else words.number(second), span),
            Cell(words.quantity(part["latency"]["p50_ms"], "ms")),
            Cell(words.quantity(part["latency"]["p95_ms"], "ms")),
            Cell(words.share(part["error_rate"]["share"]), _share_range(part["error_rate"])),
        )
    )


def _share_range(rate: Share) -> str:
    if rate["low"] is None or rate["high"] is None:
        return ""
    return f"{words.share(rate['low'])} to {words.share(rate['high'])}"


def _latencies(found: LoadSection) -> Table:
    part = steady(found)
    times: list[tuple[str, Latency]] = [
        ("latency", part["latency"]),
        ("service", part["service"]),
        ("cold_latency", part["cold_latency"]),
        ("failed_latency", part["failed_latency"]),
        ("throttled_latency", part["throttled_latency"]),
    ]
    names = dict(_TIMES)
    if part["latency"]["corrected"]:
        names["latency"] = "what a user waits (corrected for coordinated omission)"
    return table("", [(names[key], _SHORT[key], each) for key, each in times if each["n"]])


def table(title: str, times: list[tuple[str, str, Latency]]) -> Table:
    """Distributions of times: what they are of, in short, and their percentiles."""
    known = [key for key in _PERCENTILES if any(_value(each, key) is not None for _, _, each in times)]
    heads = (
        Column("", words=True),
        Column("n"),
        *(Column(_percentile(key)) for key in known),
        Column("longest"),
    )
    rows = [
        Row(
            (
                Cell(name, short=short),
                *cells(f"{each['n']:,}", *(words.quantity(_value(each, key), "ms") for key in known)),
                Cell(words.quantity(each["max_ms"], "ms")),
            )
        )
        for name, short, each in times
    ]
    return Table(title, heads, tuple(rows))


def _percentile(key: str) -> str:
    return "p99.9" if key == "p999_ms" else key.removesuffix("_ms")


def _value(latency: Latency, key: str) -> float | None:
    value = latency.get(key)
    return value if isinstance(value, int | float) else None


def _errors(found: LoadSection) -> list[Table]:
    rows = [
        Row((Cell(each["error"]), Cell(each["kind"]), Cell(f"{each['count']:,}", tone="bad")))
        for each in found["errors"]
    ]
    lines: tuple[str, ...] = ()
    if found["unstarted"]:
        lines = (f"{words.plural(found['unstarted'], 'arrival')} found nobody free, and never began.",)
    heads = (Column("error", words=True), Column("kind", words=True), Column("count"))
    return [Table("", heads, tuple(rows), lines)] if rows or lines else []


def _delivered(spans: SpanTotals | None) -> list[Table]:
    return [] if spans is None else [delivered([("all", spans)])]


def delivered(sides: list[tuple[str, SpanTotals]]) -> Table:
    """Delivery accounting, a line for each side."""
    heads = (
        Column("", words=True),
        Column("invocations"),
        Column("spans made"),
        Column("received"),
        Column("lost"),
        Column("without a trace"),
        Column("not said", "none"),
    )
    rows = [
        Row(
            (
                Cell(name),
                Cell(f"{spans['invocations']:,}"),
                Cell(words.whole(spans["made"])),
                Cell(f"{spans['received']:,}"),
                Cell(
                    words.whole(spans["lost"]),
                    tone="bad" if spans["lost"] else "" if spans["lost"] is None else "good",
                ),
                Cell(f"{spans['without']:,}"),
                Cell(words.whole(spans.get("unsaid"))),
            )
        )
        for name, spans in sides
    ]
    return Table("Invocations and spans", heads, tuple(rows))
