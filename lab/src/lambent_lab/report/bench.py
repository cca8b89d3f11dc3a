"""What a benchmark measured, as sections of tables. Every number is one of the result file, only rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.measure.results import METRICS
from lambent_lab.report import words
from lambent_lab.report.document import Cell, Column, Row, Section, Table, Tile, cells
from lambent_lab.report.places import label, pythons, sides, sizes
from lambent_lab.report.words import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lambent_lab.measure.results import Figure, ImportAdded, ImportNode, Metric, Percentiles, Results
    from lambent_lab.report.places import Place

_SHORT = {
    "cold_ms": "cold start",
    "init_ms": "  init",
    "first_ms": "  first call",
    "warm_ms": "warm call",
    "memory_mb": "peak memory",
    "peak_rss_mb": "  resident",
    "page_cache_mb": "  with cache",
    "cold_cpu_ms": "CPU, cold",
    "warm_cpu_ms": "CPU, warm",
}
HEADLINES = {"cold_ms": "cold start", "warm_ms": "warm invocation", "memory_mb": "peak memory"}
"""The metrics that are spoken of first."""

PHASES = {
    "init_ms": "init",
    "cold_handler_ms": "first handler",
    "cold_flush_ms": "first flush",
    "cold_extension_ms": "first extension",
    "handler_ms": "handler",
    "flush_ms": "flush",
    "extension_ms": "extension",
}
"""The phases in the order in which they pass: those of a cold start, then those of a warm invocation."""

_COSTS = {"cold_ms": "a cold start", "warm_ms": "a warm invocation"}
_MODULES = 8


def tiles(shown: Sequence[Place]) -> tuple[Tile, ...]:
    """The main costs in large, where there is one cell."""
    if len(shown) != 1:
        return ()
    things = {"cold_ms": "a cold start", "warm_ms": "a warm invocation", "memory_mb": "peak memory"}
    found = []
    for key, thing in things.items():
        metric = shown[0].cell["metrics"].get(key)
        difference = None if metric is None else metric["difference"]
        if metric is None or difference is None:
            continue
        unit = metric["unit"]
        span = words.signed_range(difference, unit)
        ratio = f", ×{metric['ratio']['median']:.3f}" if metric["ratio"] is not None else ""  # noqa: RUF001
        found.append(
            Tile(
                f"cost of {thing}",
                f"{words.signed(difference['median'], unit)} {unit}",
                (
                    f"99% interval {span}" if span else "no interval",
                    f"{_value(metric['baseline'], unit)} → {_value(metric['candidate'], unit)}{ratio}",
                ),
            )
        )
    return tuple(found)


def sections(results: Results, found: Sequence[Place]) -> list[Section]:
    """All sections of a benchmark; those that the file has nothing for are empty."""
    shown = [place for place in found if place.shown]
    base = label(results, "baseline")
    return [
        Section("matrix", _compared(shown), "", tuple(_matrices(shown))),
        Section(
            "numbers",
            "In numbers",
            "Medians of fresh environments. Cost and ratio are medians over pairs: one environment of each "
            "side, run one after the other; with the exact 99% interval of the sign test. "
            f"A/A is the {base} against itself: it should be 1.",
            tuple(_numbers(results, place) for place in found),
        ),
        Section("cold_ms", "Cold start", "Init and the first invocation of a fresh environment."),
        Section("warm_ms", "Warm invocation", "", tuple(_percentiles(results, shown))),
        Section(
            "phases",
            "Phases",
            "Where the time goes: the median of each part over the environments of a side. Medians of parts "
            "need not sum up to the median of the whole.",
            tuple(_phases(results, shown)),
        ),
        Section(
            "imports",
            "Imports",
            "What the modules of a cold start cost, from a run of its own with -X importtime, apart from "
            "what is timed. Self is a module without what it imports; what one side alone loads counts with "
            "what it brings.",
            (*_imports(results), *_imports_added(results)),
        ),
        Section("course", "In the order of the run", "What drifts, drifts in both: they ran in pairs."),
        Section("resources", "Memory and CPU over time"),
        Section("delivery", "What arrived", "", tuple(_delivery(results, found))),
    ]


def _compared(shown: Sequence[Place]) -> str:
    several = [("memory size", len(sizes(shown))), ("Python", len(pythons(shown)))]
    several.append(("variant", len({place.variant for place in shown})))
    return f"By {words.listed([name for name, count in several if count > 1])}"


def _numbers(results: Results, place: Place) -> Table:
    cell = place.cell
    if not place.shown:
        none = "no cost is shown, because it was not measured"
        return Table(f"{place.title}: {none}", (), (), place.failures)
    metrics = [(key, cell["metrics"][key]) for key in METRICS if key in cell["metrics"]]
    columns = (
        Column("", words=True),
        Column(label(results, "baseline")),
        Column(label(results, place.variant)),
        Column("cost", "all"),
        Column("ratio", "text"),
        Column("pairs", "none"),
        Column("A/A (n)", "none"),
    )
    return Table(
        place.title, columns, tuple(_row(key, metric) for key, metric in metrics), _outliers(metrics)
    )


def _outliers(metrics: Sequence[tuple[str, Metric]]) -> tuple[str, ...]:
    """Which environments stand out, and in what."""
    names: dict[tuple[int, ...], list[str]] = {}
    for key, metric in metrics:
        if metric["outliers"]:
            names.setdefault(tuple(metric["outliers"]), []).append(_SHORT.get(key, key).strip())
    said = [f"{', '.join(f'#{each}' for each in found)} ({', '.join(of)})" for found, of in names.items()]
    return (f"outliers, kept: environments {'; '.join(said)}",) if said else ()


def _row(key: str, metric: Metric) -> Row:
    unit = metric["unit"]
    difference, ratio, same = metric["difference"], metric["ratio"], metric["aa_ratio"]
    return Row(
        (
            Cell(METRICS[key][0], short=_SHORT.get(key, key)),
            Cell(_value(metric["baseline"], unit)),
            Cell(_value(metric["candidate"], unit)),
            Cell(
                ABSENT if difference is None else f"{words.signed(difference['median'], unit)} {unit}",
                words.signed_range(difference, unit),
            ),
            Cell(ABSENT if ratio is None else f"{ratio['median']:.3f}", words.ratio_range(ratio)),
            Cell(ABSENT if difference is None else str(difference["n"])),
            Cell(ABSENT if same is None else f"{same['median']:.3f} ({same['n']})"),
        ),
        main=key in HEADLINES,
    )


def _value(figure: Figure | None, unit: str) -> str:
    return ABSENT if figure is None else words.quantity(figure["median"], unit)


def _matrices(shown: Sequence[Place]) -> Iterator[Table]:
    """All costs at a glance: a line for each memory size, Python and variant."""
    if len(shown) < 2:
        return
    heads = (Column("", words=True), *(Column(f"cost of {thing}") for thing in _COSTS.values()))
    rows = [Row((Cell(p.title), *(_cost(p.difference(key)) for key in _COSTS))) for p in shown]
    yield Table("", heads, tuple(rows))


def _cost(difference: Figure | None) -> Cell:
    text = ABSENT if difference is None else f"{words.signed(difference['median'])} ms"
    return Cell(text, words.signed_range(difference))


def _percentiles(results: Results, shown: Sequence[Place]) -> Iterator[Table]:
    """All warm invocations of a side together, with the percentiles that their number can hold."""
    lines = [
        (name, place.cell["baseline" if side == "baseline" else "candidate"]["warm_percentiles"])
        for place, side, name in sides(results, shown)
    ]
    known = [
        name
        for name in ("p50", "p95", "p99")
        if any(_percentile(each, name) is not None for _, each in lines)
    ]
    if not known:
        return
    heads = (Column("", words=True), Column("n"), *(Column(name) for name in known))
    rows = tuple(
        Row(cells(name, f"{each['n']:,}", *(words.quantity(_percentile(each, key), "ms") for key in known)))
        for name, each in lines
    )
    yield Table("All warm invocations of a side together: not independent, a description", heads, rows)


def _percentile(percentiles: Percentiles, name: str) -> float | None:
    return {"p50": percentiles["p50"], "p95": percentiles["p95"], "p99": percentiles["p99"]}[name]


def _phases(results: Results, shown: Sequence[Place]) -> Iterator[Table]:
    lines = [
        (name, phases)
        for place, side, name in sides(results, shown)
        if (phases := place.cell["phases"].get(side)) is not None
    ]
    names = [key for key in PHASES if any(phase(each, key) is not None for _, each in lines)]
    if not names:
        return
    heads = (Column("", words=True), *(Column(PHASES[key]) for key in names))
    rows = []
    for name, each in lines:
        figures = [phase(each, key) for key in names]
        values = (Cell(_value(figure, "ms"), words.plain_range(figure)) for figure in figures)
        rows.append(Row((Cell(name), *values)))
    yield Table("", heads, tuple(rows))


def phase(phases: Mapping[str, object], key: str) -> Figure | None:
    """One phase of a side; None where it is absent."""
    value = phases.get(key)
    return value if isinstance(value, dict) else None  # type: ignore[return-value]  # a Figure, or null


def _imports(results: Results) -> Iterator[Table]:
    for side, root in results["imports"].items():
        modules = sorted(walk(root), key=lambda node: (-node["self_us"], node["name"]))
        rows = tuple(
            Row(
                (
                    Cell(node["name"]),
                    Cell(f"{words.number(node['self_us'] / 1000)} ms"),
                    Cell(f"{words.number(node['cumulative_us'] / 1000)} ms"),
                )
            )
            for node in modules[:_MODULES]
        )
        said = f"{label(results, side)}: {words.plural(len(modules), 'module')}, "
        title = f"{said}{words.number(root['cumulative_us'] / 1000)} ms in all"
        yield Table(title, (Column("module", words=True), Column("self"), Column("with its imports")), rows)


def _imports_added(results: Results) -> Iterator[Table]:
    """What each side loads that the baseline does not: of tracing against none, what only tracing loads."""
    base = label(results, "baseline")
    heads = (
        Column("module", words=True),
        Column("self"),
        Column("with its imports"),
        Column("modules"),
        Column("imported by", words=True),
    )
    for side, added in results.get("imports_added", {}).items():
        if not added:
            yield Table(f"{label(results, side)} loads no module that {base} does not load", (), (), ("",))
            continue
        rows = tuple(
            Row(
                cells(
                    each["name"],
                    f"{words.number(each['self_us'] / 1000)} ms",
                    f"{words.number(each['cumulative_us'] / 1000)} ms",
                    f"{each['modules']:,}",
                    each["parent"] or ABSENT,
                )
            )
            for each in added[:_MODULES]
        )
        title = f"Only {label(results, side)}, not {base}: {_weight(added)}"
        rest = added[_MODULES:]
        yield Table(title, heads, rows, (f"and others: {_weight(rest)}",) if rest else ())


def _weight(added: Sequence[ImportAdded]) -> str:
    modules = words.plural(sum(each["modules"] for each in added), "module")
    return f"{modules}, {words.number(sum(each['cumulative_us'] for each in added) / 1000)} ms in all"


def walk(node: ImportNode) -> Iterator[ImportNode]:
    """The modules of an import tree, without its root (which stands for all of them)."""
    waiting = list(node["children"])
    while waiting:
        each = waiting.pop()
        waiting += each["children"]
        yield each


def _delivery(results: Results, found: Sequence[Place]) -> Iterator[Table]:
    heads = (
        Column("", words=True),
        Column("environments", "none"),
        Column("cold"),
        Column("warm"),
        Column("failed"),
        Column("spans made"),
        Column("received"),
        Column("lost"),
        Column("without a trace", "none"),
        Column("per invocation", "none"),
    )
    rows, lines = [], []
    for place, side, named in sides(results, found):
        counts = place.cell["baseline" if side == "baseline" else "candidate"]
        ran, spans = counts["invocations"], counts["spans"]
        made, lost = spans.get("made"), spans.get("lost")
        each = ", ".join(
            per if spans["uniform"] else f"{per} in {count:,}"
            for per, count in spans["per_invocation"].items()
        )
        rows.append(
            Row(
                (
                    *cells(named, *(f"{ran[key]:,}" for key in ("samples", "cold", "warm"))),
                    Cell(f"{ran['failed']:,}", tone="bad" if ran["failed"] else ""),
                    Cell(words.whole(made)),
                    Cell(f"{spans['delivered']:,}" if spans["invocations"] else ABSENT),
                    Cell(words.whole(lost), tone="bad" if lost else "good" if lost == 0 else ""),
                    Cell(f"{spans['without']:,} of {spans['invocations']:,}"),
                    Cell(each or ABSENT),
                )
            )
        )
        if ran["failed"]:
            times = ", ".join(words.number(value) for value in ran["failed_durations_ms"][:5])
            more = ", …" if len(ran["failed_durations_ms"]) > 5 else ""
            lines.append(f"{named}: {ran['failed']:,} failed ({times}{more} ms, kept apart)")
    if rows:
        yield Table("Invocations and spans", heads, tuple(rows), tuple(lines))
