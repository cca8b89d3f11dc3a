"""A result file as words and formatted numbers: what the terminal and the page both show.

Nothing is computed here: every number is one of the result file, only rounded. A memory size at which
something failed shows counts and the reason, and no cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent_lab.measure.results import METRICS

if TYPE_CHECKING:
    from lambent_lab.measure.results import Figure, Metric, Results, SideCounts, SizeSummary, SpanCount

ABSENT = "–"  # noqa: RUF001 - a dash is the field's sign for "no value"


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity at one memory size, as text. Absent values are `ABSENT`, intervals the empty string."""

    key: str
    name: str
    baseline: str
    candidate: str
    cost: str
    cost_interval: str
    ratio: str
    ratio_interval: str
    pairs: str
    same: str
    outliers: str


@dataclass(frozen=True, slots=True)
class SizeView:
    """One memory size. `failures` not empty: `rows` is empty and there is no `sentence`."""

    memory_mb: int
    title: str
    sentence: str
    rows: tuple[Row, ...]
    spans: tuple[str, ...]
    counts: tuple[str, ...]
    percentiles: tuple[str, ...]
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything a report says."""

    title: str
    subtitle: str
    baseline: str
    candidate: str
    state: str  # "measured", "failed" or "interrupted"
    headline: str
    sizes: tuple[SizeView, ...]
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    cannot: tuple[str, ...]


def number(value: float, unit: str = "") -> str:
    """A number with about three digits that mean something; whole above 100, with thousands separated.

    Whole megabytes are whole: that is how they are measured.
    """
    size = abs(value)
    whole = size >= 100 or (unit == "MB" and value == int(value))
    decimals = 0 if whole else 1 if size >= 10 else 2 if size >= 1 else 3
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def signed(value: float, unit: str = "") -> str:
    """A number with its sign; zero has none."""
    text = number(value, unit)
    return text if text.startswith("-") or not text.strip("0.") else f"+{text}"


def quantity(value: float, unit: str) -> str:
    """A number with its unit."""
    return f"{number(value, unit)} {unit}"


def page(results: Results) -> Page:
    """All the words of a report."""
    sides = results["targets"]
    first = next((name for name in sides if name != "baseline"), "baseline")
    labels = {"candidate": sides[first]["label"], "baseline": sides["baseline"]["label"]}
    failures = [doubt for doubt in results["warnings"] if doubt["severity"] == "failure"]
    sizes = tuple(
        _size(results, size, {**labels, "candidate": sides[size["variant"]]["label"]})
        for size in results["summary"]
    )
    general = [doubt["text"] for doubt in failures]
    if results["error"]:
        general.insert(0, results["error"])
    state = "failed" if general else "interrupted" if results["interrupted"] else "measured"
    box = results["box"]
    return Page(
        title=sides[first]["target"],
        subtitle=_subtitle(results),
        baseline=labels["baseline"],
        candidate=labels["candidate"],
        state=state,
        headline=_headline(results, state, sizes),
        sizes=sizes,
        failures=tuple(general),
        warnings=tuple(
            doubt["text"]
            for doubt in results["warnings"]
            if doubt["severity"] == "warning" and doubt["code"] != "box"
        ),
        facts=tuple(_facts(results)),
        cannot=() if box is None else tuple(box["cannot"]),
    )


def _subtitle(results: Results) -> str:
    baseline = results["targets"]["baseline"]
    candidate = next((each for name, each in results["targets"].items() if name != "baseline"), baseline)
    if baseline["switch"] is not None:
        return f"{candidate['label']} against {baseline['label']} (the same bundle with {baseline['switch']})"
    return f"{candidate['label']} against {baseline['label']} ({baseline['target']})"


def _headline(results: Results, state: str, sizes: tuple[SizeView, ...]) -> str:
    if state == "failed":
        return "Not a result: something failed, and what follows says what."
    sentences = [size.sentence for size in sizes if size.sentence]
    text = sentences[0] if sentences else "Nothing was measured."
    if len(sentences) > 1:
        text = " ".join(sentences)
    if results["interrupted"]:
        counts, settings = results["counts"], results["settings"]
        places = len(settings["memory_mb"]) * ((settings["python"] or "").count(",") + 1)
        planned = settings["pairs"] * places * (len(results["targets"]) - 1)
        text = f"Interrupted after {counts['pairs']} of {planned} pairs. {text}"
    return text


def _size(results: Results, size: SizeSummary, labels: dict[str, str]) -> SizeView:
    about = (size["memory_mb"], None)
    failures = tuple(
        doubt["text"]
        for doubt in results["warnings"]
        if doubt["severity"] == "failure"
        and doubt["memory_mb"] in about
        and doubt.get("python") in {size["python"], None}
        and doubt.get("variant") in {size["variant"], None}
    )
    shown = not failures and size["pairs"] > 0
    rows = (
        tuple(_row(key, size["metrics"][key]) for key in METRICS if key in size["metrics"]) if shown else ()
    )
    return SizeView(
        memory_mb=size["memory_mb"],
        title=_title(results, size),
        sentence=_sentence(size, labels) if shown else "",
        rows=rows,
        spans=tuple(_spans(labels[side], size[side]["spans"]) for side in ("candidate", "baseline")),
        counts=tuple(_counts(labels[side], size[side]) for side in ("candidate", "baseline")),
        percentiles=tuple(_percentiles(labels[side], size[side]) for side in ("candidate", "baseline"))
        if shown
        else (),
        failures=failures,
    )


def _title(results: Results, size: SizeSummary) -> str:
    parts = [f"{size['memory_mb']:,} MB"]
    if size["python"] is not None:
        parts.append(f"Python {size['python']}")
    if len(results["targets"]) > 2:
        parts.append(results["targets"][size["variant"]]["label"])
    return ", ".join(parts)


def _row(key: str, metric: Metric) -> Row:
    unit = metric["unit"]
    difference, ratio = metric["difference"], metric["ratio"]
    return Row(
        key=key,
        name=METRICS[key][0],
        baseline=_value(metric["baseline"], unit),
        candidate=_value(metric["candidate"], unit),
        cost=ABSENT if difference is None else f"{signed(difference['median'], unit)} {unit}",
        cost_interval=_range(difference, unit),
        ratio=ABSENT if ratio is None else f"{ratio['median']:.3f}",
        ratio_interval=_ratio_range(ratio),
        pairs=ABSENT if difference is None else str(difference["n"]),
        same=_same(metric),
        outliers=", ".join(f"#{each}" for each in metric["outliers"]),
    )


def _value(figure: Figure | None, unit: str) -> str:
    return ABSENT if figure is None else quantity(figure["median"], unit)


def _range(figure: Figure | None, unit: str) -> str:
    if figure is None or figure["interval"] is None:
        return ""
    return f"{signed(figure['interval']['low'], unit)} to {signed(figure['interval']['high'], unit)}"


def _ratio_range(figure: Figure | None) -> str:
    if figure is None or figure["interval"] is None:
        return ""
    return f"{figure['interval']['low']:.3f} to {figure['interval']['high']:.3f}"


def _same(metric: Metric) -> str:
    ratio = metric["aa_ratio"]
    return ABSENT if ratio is None else f"{ratio['median']:.3f} ({ratio['n']})"


def _sentence(size: SizeSummary, labels: dict[str, str]) -> str:
    subject = "tracing" if labels["candidate"] == "traced" else f"the {labels['candidate']}"
    parts = []
    for key, word in (("cold_ms", "a cold start"), ("warm_ms", "a warm invocation")):
        difference = size["metrics"][key]["difference"]
        if difference is not None:
            parts.append(_effect(difference, word))
    if not parts:
        return ""
    said = " and ".join(parts)
    python = "" if size["python"] is None else f" on Python {size['python']}"
    return f"At {size['memory_mb']:,} MB{python} {subject} {said}; {_delivered(size['candidate']['spans'])}."


def _effect(difference: Figure, word: str) -> str:
    middle, interval = difference["median"], difference["interval"]
    if interval is None:
        return f"changes {word} by {signed(middle)} ms (median of {difference['n']}, too few for an interval)"
    low, high = interval["low"], interval["high"]
    if low <= 0 <= high:
        return f"changes {word} by less than the noise ({signed(middle)} ms, {signed(low)} to {signed(high)})"
    if low > 0:
        return f"adds {number(middle)} ms ({number(low)} to {number(high)}) to {word}"
    return f"takes {number(-middle)} ms ({number(-high)} to {number(-low)}) off {word}"


def _delivered(spans: SpanCount) -> str:
    if not spans["invocations"]:
        return "whether spans arrived cannot be seen from here"
    if spans["without"]:
        return f"{spans['without']:,} of {spans['invocations']:,} invocations delivered no trace"
    ran = f"all {spans['invocations']:,}"
    if spans["uniform"]:
        each = next(iter(spans["per_invocation"]), "0")
        return f"{ran} invocations delivered {each} spans each, {spans['delivered']:,} in all"
    return f"{ran} invocations delivered a trace, {spans['delivered']:,} spans in all"


def _spans(label: str, spans: SpanCount) -> str:
    traced = spans["invocations"] - spans["without"]
    ran, delivered = spans["invocations"], spans["delivered"]
    made = spans.get("made")
    counted = f"{made:,} spans made, {delivered:,}" if made is not None else f"{delivered:,} spans"
    text = f"{label}: {counted} received from {traced:,} of {ran:,} invocations"
    each = [f"{per} each" for per in spans["per_invocation"] if per != "0"]
    if traced and spans["uniform"]:
        return f"{text}, {each[0]}"
    if traced:
        spread = "; ".join(f"{per} in {count:,}" for per, count in spans["per_invocation"].items())
        return f"{text} (spans: {spread})"
    return text


def _counts(label: str, side: SideCounts) -> str:
    counts = side["invocations"]
    cold, warm = counts["cold"], counts["warm"]
    text = f"{label}: {counts['samples']} environments, {cold} cold and {warm:,} warm invocations"
    if counts["failed"]:
        times = ", ".join(number(value) for value in counts["failed_durations_ms"][:5])
        more = ", …" if len(counts["failed_durations_ms"]) > 5 else ""
        text += f", {counts['failed']} failed ({times}{more} ms, kept apart)"
    return text


def _percentiles(label: str, side: SideCounts) -> str:
    percentiles = side["warm_percentiles"]
    known = [(name, percentiles[name]) for name in ("p50", "p95", "p99")]
    shown = ", ".join(f"{name} {number(value)} ms" for name, value in known if value is not None)
    return f"{label}: {shown or 'too few for a percentile'} (n = {percentiles['n']:,})"


def _facts(results: Results) -> list[tuple[str, str]]:
    machine, settings, counts = results["machine"], results["settings"], results["counts"]
    found = [
        (
            "CPU",
            f"{machine['cpu_model'] or 'unknown'}, {machine['cores_usable']} of {machine['cores']} cores",
        ),
        ("System", f"{machine['system']} {machine['kernel']} ({machine['architecture']})"),
        ("Memory", f"{machine['memory_mb']:,} MB"),
        ("Python of the function", machine["function_python"] or "unknown"),
        ("Load average before, after", f"{_load(results['load_before'])}; {_load(results['load_after'])}"),
    ]
    if machine["governor"]:
        found.append(("CPU governor", machine["governor"]))
    box = results["box"]
    if box is not None:
        names = ("freeze", "memory", "cpu", "kill", "tmp", "user", "network", "limits")
        parts = [(name, box.get(name)) for name in names]
        held = ", ".join(f"{name}: {value}" for name, value in parts if value is not None)
        found.append(("Box", f"{box['kind']}{f' ({held})' if held else ''}"))
    found += [
        ("Asked for", _asked(results)),
        (
            "Measured",
            f"{counts['pairs']} pairs and {counts['aa_pairs']} A/A pairs, {counts['samples']} environments, "
            f"{counts['invocations']:,} invocations, {counts['failed']} failed, "
            f"in {results['elapsed_s']:,.0f} s",
        ),
        ("Event", settings["event"] or "{}"),
        ("Seed of the order", str(results["seed"])),
        ("Started", results["started"]),
        ("Tool", results["tool"]),
        ("Command", " ".join(results["command"]) or ABSENT),
    ]
    return found


def _asked(results: Results) -> str:
    settings = results["settings"]
    sizes = ", ".join(f"{size:,}" for size in settings["memory_mb"])
    bytecode = "" if settings["bytecode"] else ", without bytecode files"
    share = ", init at the share of the CPU" if settings.get("init_cpu") == "share" else ""
    return (
        f"{settings['pairs']} pairs and {settings['aa_pairs']} A/A pairs at {sizes} MB, "
        f"{settings['warm_per_sample']} warm invocations each{bytecode}{share}"
    )


def _load(load: list[float] | None) -> str:
    return ABSENT if load is None else " ".join(f"{value:.2f}" for value in load)
