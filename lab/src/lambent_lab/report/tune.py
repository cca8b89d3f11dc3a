"""Memory sizes against time and cost, as tables. Every number is one of the result file, only rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lambent_lab.report import words
from lambent_lab.report.document import Cell, Column, Row, Section, Table, Tile
from lambent_lab.report.words import ABSENT

if TYPE_CHECKING:
    from lambent_lab.measure.results import Figure, Results
    from lambent_lab.measure.results_load import TuneChoice, TuneSection, TuneSize


_TIES = "= ties with it: the intervals overlap, so that it may be as good."


def section_of(results: Results) -> TuneSection | None:
    """The file's tuning; None when it has none."""
    return cast("TuneSection | None", results.get("tune"))


def tiles(found: TuneSection) -> tuple[Tile, ...]:
    """The sizes that were chosen on the architecture that was measured, in large."""
    choices = found["choices"].get(found["architecture"], {})
    return tuple(
        Tile(f"{name}, {found['architecture']}", _size(choice), (_ties(choice),))
        for name, choice in choices.items()
    )


def _size(choice: TuneChoice) -> str:
    return ABSENT if choice["memory_mb"] is None else f"{choice['memory_mb']:,} MB"


def _ties(choice: TuneChoice) -> str:
    if choice["memory_mb"] is None:
        return "not measured"
    if not choice["proven"]:
        return "no interval: not proven"
    others = [size for size in choice["ties"] if size != choice["memory_mb"]]
    return (
        f"ties with {words.listed([f'{size:,} MB' for size in others])}" if others else "no other size ties"
    )


def sections(found: TuneSection) -> list[Section]:
    """All sections of a tuning."""
    prices = found["prices"]
    second = ", ".join(f"{price:.10f} on {name}" for name, price in prices["gb_second"].items())
    note = (
        f"USD for a million invocations, {found['cold_share']:.2%} of them cold with their init billed. "
        f"Prices of {prices['region']} as of {prices['as_of']}: a GB-second {second}; a request "
        f"{prices['request']:.8f}."
    )
    return [
        Section(
            "tune", "Size, time and cost", note, (_sizes(found), *_choices(found)), tuple(found["conclusion"])
        ),
    ]


def _sizes(found: TuneSection) -> Table:
    architectures = list(found["prices"]["gb_second"])
    heads = (
        Column("memory", words=True),
        Column("vCPU", "none"),
        Column("cold start"),
        Column("warm"),
        Column("mixed", "none"),
        *(Column(f"cost, {name}") for name in architectures),
        Column("peak memory", "none"),
        Column("environments", "none"),
        Column("chosen", words=True),
    )
    ties = any(choice["ties"] for choices in found["choices"].values() for choice in choices.values())
    return Table(
        "",
        heads,
        tuple(_line(found, size, architectures) for size in found["sizes"]),
        (_TIES,) if ties else (),
    )


def _line(found: TuneSection, size: TuneSize, architectures: list[str]) -> Row:
    chosen: dict[str, list[str]] = {}
    for architecture, choices in found["choices"].items():
        for name, choice in choices.items():
            if choice["memory_mb"] == size["memory_mb"]:
                chosen.setdefault(name, []).append(architecture)
            elif size["memory_mb"] in choice["ties"]:
                chosen.setdefault(f"={name}", []).append(architecture)
    told = [
        name if len(mine) == len(found["choices"]) else f"{name} ({words.listed(mine)})"
        for name, mine in chosen.items()
    ]
    costs = []
    for name in architectures:
        cost = size["cost"].get(name)
        mixed = None if cost is None else cost["mixed"]
        span = words.plain_range(mixed)
        mark = "*" if cost is not None and cost["assumed"] else ""
        costs.append(Cell(ABSENT if mixed is None else f"${words.number(mixed['median'])}{mark}", span))
    return Row(
        (
            Cell(f"{size['memory_mb']:,} MB"),
            Cell(f"{size['vcpus']:.2f}"),
            _time(size["cold_ms"]),
            _time(size["warm_ms"]),
            _time(size["mixed_ms"]),
            *costs,
            Cell(
                ABSENT
                if size["peak_memory_mb"] is None
                else words.quantity(size["peak_memory_mb"]["median"], "MB")
            ),
            Cell(f"{size['environments']:,}"),
            Cell(", ".join(told), short=", ".join(chosen), tone="good"),
        )
    )


def _time(figure: Figure | None) -> Cell:
    if figure is None:
        return Cell(ABSENT)
    return Cell(words.quantity(figure["median"], "ms"), words.plain_range(figure))


def _choices(found: TuneSection) -> list[Table]:
    rows = [
        Row((Cell(f"{name}, {architecture}"), Cell(_size(choice)), Cell(_ties(choice))))
        for architecture, choices in found["choices"].items()
        for name, choice in choices.items()
    ]
    assumed = any(cost["assumed"] for size in found["sizes"] for cost in size["cost"].values())
    lines = (
        ("* the times were measured on the other architecture, and taken as they are.",) if assumed else ()
    )
    heads = (Column("", words=True), Column("size"), Column("ties", words=True))
    return [Table("Choices", heads, tuple(rows), lines)] if rows else []
