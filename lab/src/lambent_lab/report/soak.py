"""What a soak found, as tables. Every number is one of the result file, only rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lambent_lab.report import words
from lambent_lab.report.document import Cell, Column, Row, Section, Table, Tile, cells
from lambent_lab.report.load import delivered, table
from lambent_lab.report.words import ABSENT

if TYPE_CHECKING:
    from typing import Literal

    from lambent_lab.measure.results import Figure, Results
    from lambent_lab.measure.results_load import SoakBlock, SoakDifference, SoakSection, Trend
    from lambent_lab.report.document import State

NAMES = {
    "rss_mb": "resident memory",
    "rss_end_mb": "resident memory at a block's end",
    "peak_rss_mb": "peak resident memory",
    "high_water_mb": "high-water mark with the page cache",
    "cpu_ms": "CPU time of an invocation",
    "duration_ms": "duration of an invocation",
    "p95_ms": "p95 of the duration",
}
_SHORT = {
    "rss_mb": "resident",
    "rss_end_mb": "resident, end",
    "peak_rss_mb": "peak",
    "high_water_mb": "with cache",
    "cpu_ms": "CPU",
    "duration_ms": "duration",
    "p95_ms": "p95",
}
_TONES: dict[str, Literal["", "good", "bad", "warn"]] = {
    "steady": "good",
    "shrinks": "good",
    "grows": "bad",
    "inconclusive": "warn",
    "absent": "",
}
_LINES = 10
_COURSE = {
    "rss_mb": "resident MB",
    "cpu_ms": "CPU ms",
    "duration_ms": "duration ms",
    "high_water_mb": "with cache MB",
}
_WORDS = {"absent": "too few blocks", "inconclusive": "cannot be told"}
_SHORT_WORDS = {"absent": "too few", "inconclusive": "unclear"}
_STATES: dict[str, State] = {
    "steady": "passed",
    "shrinks": "passed",
    "grows": "failed",
    "inconclusive": "unsure",
    "absent": "measured",
}


def section_of(results: Results) -> SoakSection | None:
    """The file's soak; None when it has none."""
    return cast("SoakSection | None", results.get("soak"))


def timed(found: SoakSection) -> bool:
    """Whether there is a speed to speak of: no invocation failed."""
    return not any(side["failed"] for side in found["sides"].values())


def state(found: SoakSection) -> State:
    """The verdict on memory as a report's state."""
    return _STATES[found["memory_verdict"]]


def tiles(found: SoakSection) -> tuple[Tile, ...]:
    """What tracing adds, in large."""
    made = []
    for key, name in (
        ("rss_mb", "resident memory added"),
        ("cpu_ms", "CPU time added"),
        ("duration_ms", "duration added"),
    ):
        difference = found["differences"].get(key)
        figure = None if difference is None else difference["difference"]
        if difference is None or figure is None:
            continue
        unit = difference["unit"]
        span = words.signed_range(figure, unit)
        both = f"{_value(difference['baseline'], unit)} → {_value(difference['candidate'], unit)}"
        made.append(
            Tile(
                name,
                f"{words.signed(figure['median'], unit)} {unit}",
                (f"99% interval {span}" if span else "no interval", both),
            )
        )
    return tuple(made)


def sections(found: SoakSection) -> list[Section]:
    """All sections of a soak."""
    frozen = "frozen between invocations" if found["freeze"] else "not frozen between invocations"
    note = (
        f"{found['done']:,} invocations in all, {found['invocations']:,} asked for of each side, at "
        f"{found['memory_mb']:,} MB, {frozen}, the sides in turn. Growth is the slope over the blocks after "
        "the first ones, with its 99% interval."
    )
    sides = found["sides"]
    return [
        Section(
            "soak",
            "Over time",
            note,
            (_course(found), _trends(found), _differences(found)),
            tuple(found["conclusion"]),
        ),
        Section(
            "latency",
            "Durations",
            "",
            (table("", [(side["label"], side["label"], side["durations"]) for side in sides.values()]),)
            if timed(found)
            else (),
        ),
        Section(
            "delivery",
            "What arrived",
            "",
            (delivered([(each["label"], each["spans"]) for each in sides.values()]),),
        ),
    ]


def _course(found: SoakSection) -> Table:
    """Blocks of all sides over the invocations, ten at most; the figures of the sides stand side by side."""
    series = [side["blocks"] for side in found["sides"].values()]
    length = min(map(len, series), default=0)
    heads = {key: name for key, name in _COURSE.items() if told(found, key)}
    rows = []
    for i in sorted({round(step * (length - 1) / (_LINES - 1)) for step in range(_LINES)}) if length else []:
        last = series[0][i]
        shown = [" / ".join(_of_block(blocks[i], key) for blocks in series) for key in heads]
        rows.append(Row(cells(f"{last['first'] + last['n']:,}", *shown)))
    labels = " / ".join(side["label"] for side in found["sides"].values())
    return Table(
        f"Blocks over time: {labels}",
        (Column("after", words=True), *(Column(name) for name in heads.values())),
        tuple(rows),
    )


def told(found: SoakSection, key: str) -> bool:
    """Whether a quantity is spoken of: memory always, times where nothing failed."""
    return key.endswith("_mb") or timed(found)


def _of_block(block: SoakBlock, key: str) -> str:
    value = cast("dict[str, float | None]", block)[key]
    return ABSENT if value is None else words.number(value)


def _trends(found: SoakSection) -> Table:
    heads = (
        Column("", words=True),
        Column("of", words=True),
        Column("first", "none"),
        Column("last"),
        Column("in 1,000 invocations"),
        Column("verdict", words=True),
    )
    rows = []
    for side in found["sides"].values():
        for key, trend in side["trends"].items():
            if told(found, key) and trend["last"] is not None:
                rows.append(_trend(key, side["label"], trend))
    for key, difference in found["differences"].items():
        if told(found, key) and difference["trend"]["last"] is not None:
            rows.append(_trend(key, "difference", difference["trend"]))
    return Table("Growth", heads, tuple(rows))


def _trend(key: str, of: str, trend: Trend) -> Row:
    unit = trend["unit"]
    low, high = trend["low_per_1000"], trend["high_per_1000"]
    span = "" if low is None or high is None else f"{words.signed(low, unit)} to {words.signed(high, unit)}"
    slope = ABSENT if trend["per_1000"] is None else f"{words.signed(trend['per_1000'], unit)} {unit}"
    return Row(
        (
            Cell(NAMES.get(key, key), short=_SHORT.get(key, key)),
            Cell(of),
            Cell(words.quantity(trend["first"], unit)),
            Cell(words.quantity(trend["last"], unit)),
            Cell(slope, span),
            Cell(
                _WORDS.get(trend["verdict"], trend["verdict"]),
                short=_SHORT_WORDS.get(trend["verdict"], ""),
                tone=_TONES[trend["verdict"]],
            ),
        ),
        main=key in {"rss_mb", "cpu_ms", "duration_ms"},
    )


def _differences(found: SoakSection) -> Table:
    sides = found["sides"]
    names = [sides[side]["label"] if side in sides else side for side in ("baseline", "candidate")]
    heads = (
        Column("", words=True),
        *(Column(name) for name in names),
        Column("difference"),
        Column("ratio", "text"),
    )
    return Table(
        "What one side takes more than the other, over pairs of blocks",
        heads,
        tuple(
            _difference(key, each)
            for key, each in found["differences"].items()
            if told(found, key) and each["difference"] is not None
        ),
    )


def _difference(key: str, each: SoakDifference) -> Row:
    unit, difference, ratio = each["unit"], each["difference"], each["ratio"]
    return Row(
        (
            Cell(NAMES.get(key, key), short=_SHORT.get(key, key)),
            Cell(_value(each["baseline"], unit)),
            Cell(_value(each["candidate"], unit)),
            Cell(
                ABSENT if difference is None else f"{words.signed(difference['median'], unit)} {unit}",
                words.signed_range(difference, unit),
            ),
            Cell(ABSENT if ratio is None else f"{ratio['median']:.3f}", words.ratio_range(ratio)),
        )
    )


def _value(figure: Figure | None, unit: str) -> str:
    return ABSENT if figure is None else words.quantity(figure["median"], unit)
