"""A gate's verdict and checks as parts of a document, and as cases for JUnit. Nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lambent_lab.measure.gate.section import error_text
from lambent_lab.measure.gate.words import change, metric_name, percent, place
from lambent_lab.report import words
from lambent_lab.report.document import Cell, Column, Row, Section, Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from lambent_lab.measure.results import Results
    from lambent_lab.measure.results_gate import Check, GateSection
    from lambent_lab.report.document import State

_STATES: dict[str, State] = {"PASS": "passed", "FAIL": "failed", "INCONCLUSIVE": "unsure"}
_TONES: dict[str, Literal["", "good", "bad", "warn"]] = {
    "PASS": "good",
    "FAIL": "bad",
    "INCONCLUSIVE": "warn",
    "WARN": "warn",
    "INFO": "",
}
_SHORT = {"INCONCLUSIVE": "OPEN"}
_NAMES = {
    "success": "successes",
    "spans-lost": "spans lost",
    "spans-missing": "no spans",
    "overhead": "+ memory",
    "first_ms": "first call",
    "warm_ms": "warm call",
    "memory_mb": "memory",
    "cold_cpu_ms": "CPU, cold",
    "warm_cpu_ms": "CPU, warm",
    "peak_rss_mb": "resident",
    "page_cache_mb": "with cache",
    "modules": "modules",
    "exported-bytes": "bytes sent",
    "package-bytes": "package",
    "system-calls": "syscalls",
    "spans-delivered": "spans",
}
_LIMITED = {("limit", "cold_ms"): "cold limit", ("limit", "warm_ms"): "warm limit"}
_LONG = {
    "limit": "{}, absolute",
    "overhead": "{} on top of the base's",
    "spans-lost": "spans made and not received",
    "spans-missing": "invocations without spans",
    "spans-delivered": "{} an invocation",
}
"""What a rule's check is called where there is room, of what it is about."""
_COLUMNS = (
    Column("check", words=True),
    Column("base"),
    Column("candidate"),
    Column("change"),
    Column("limit"),
    Column("verdict", words=True),
)
_TABLED = {
    "regression",
    "limit",
    "overhead",
    "success",
    "spans-lost",
    "spans-missing",
    "spans-delivered",
    "count",
}


def section_of(results: Results) -> GateSection | None:
    """The file's gate; None when it has none."""
    return cast("GateSection | None", results.get("gate"))


def state(results: Results, found: GateSection) -> State:
    """The verdict as a report's state; what was interrupted is that, unless it failed before."""
    if results["interrupted"] and found["verdict"] != "FAIL":
        return "interrupted"
    return _STATES[found["verdict"]]


def sentence(found: GateSection) -> str:
    """The verdict and what decided it."""
    return f"{found['verdict']}: {found['reason']}"


def reasons(found: GateSection) -> tuple[str, ...]:
    """What else failed, or is open, beside the check that decided."""
    if found["verdict"] == "PASS":
        return ()
    return tuple(
        " ".join((check["text"], check.get("culprit", ""))).strip()
        for i, check in enumerate(found["checks"])
        if check["verdict"] == found["verdict"] and i != found["decided_by"]
    )


def warnings(found: GateSection) -> tuple[str, ...]:
    """What is worth a look and blocks nothing."""
    return tuple(check["text"] for check in found["checks"] if check["verdict"] == "WARN")


def section(results: Results, found: GateSection) -> Section:
    """The table of all checks, one for each cell where there are several, and how the verdict came about."""
    checks = [check for check in found["checks"] if check["rule"] in _TABLED]
    cells = list(dict.fromkeys((cell["memory_mb"], cell["python"]) for cell in results["summary"]))
    if len(cells) < 2:
        tables = [Table("", _COLUMNS, tuple(map(_row, checks)))]
    else:
        titled = [(place(*cell).removeprefix("at "), cell) for cell in cells]
        tables = [
            Table(title, _COLUMNS, tuple(_row(check) for check in checks if _cell_of(check) == cell))
            for title, cell in [*titled, ("counts", (None, None))]
        ]
    return Section(
        "gate", "The gate", "", tuple(table for table in tables if table.rows), tuple(_lines(found))
    )


def _cell_of(check: Check) -> tuple[int | None, str | None]:
    return check["memory_mb"], check["python"]


def _lines(found: GateSection) -> list[str]:
    lines = [
        check["text"]
        for check in found["checks"]
        if check["rule"] == "history" and check["verdict"] == "INFO"
    ]
    # One that both load has a noise of its own: it is only named where a cold start is really slower.
    imports = [
        f"{each['name']} ({each['more_us'] / 1000:.1f} ms)" for each in found["imports"] if each["new"]
    ]
    if imports:
        lines.append(f"Only the candidate imports: {', '.join(imports[:4])}.")
    if found["decided_by"] is not None and 0 <= found["decided_by"] < len(found["checks"]):
        check = found["checks"][found["decided_by"]]
        where = place(check["memory_mb"], check["python"])
        lines.insert(
            0, f"Decided by: {check['rule']}, {metric_name(check['subject'])} {where}".rstrip() + "."
        )
    looks = [f"{look['verdict']} after {look['pairs']} pairs" for look in found["looks"]]
    if looks:
        lines.append(f"Looks: {', '.join(looks)}. {error_text(found)}")
    return lines


def _row(check: Check) -> Row:
    key = (check["rule"], check["subject"])
    name = _LIMITED.get(key) or _NAMES.get(check["rule"]) or _NAMES.get(check["subject"])
    name = name or metric_name(check["subject"])
    verdict = check["verdict"]
    long = _LONG.get(check["rule"], "{}").format(metric_name(check["subject"]))
    return Row(
        (
            Cell(long, short=name),
            Cell(_value(check, "baseline")),
            Cell(_value(check, "candidate")),
            _change(check),
            Cell(_limit(check)),
            Cell(verdict, short=_SHORT.get(verdict, ""), tone=_TONES[verdict]),
        ),
        main=check["rule"] == "regression" or verdict in {"FAIL", "INCONCLUSIVE", "WARN"},
    )


def _value(check: Check, side: Literal["baseline", "candidate"]) -> str:
    value = check.get(side)
    if value is None:
        return words.ABSENT
    return _number(check, value)


def _number(check: Check, value: float) -> str:
    unit = check.get("unit")
    if unit:
        return words.quantity(value, unit)
    if check["rule"] == "success":
        return percent(value)
    return f"{value:,.0f}" if float(value).is_integer() or value >= 1000 else f"{value:,.4g}"


def _change(check: Check) -> Cell:
    ratio = check.get("ratio")
    if ratio is None:
        base, mine = check.get("baseline"), check.get("candidate")
        if check["rule"] == "count" and base and mine is not None:
            return Cell(change(mine / base))
        return Cell(words.ABSENT)
    interval = ratio["interval"]
    return Cell(
        change(ratio["median"]),
        "" if interval is None else f"{change(interval['low'])} to {change(interval['high'])}",
    )


def _limit(check: Check) -> str:
    limit = check.get("limit")
    if limit is None:
        return words.ABSENT
    if check["rule"] == "regression":
        return change(limit)
    unit = check.get("unit")
    if unit:
        return f"{limit:g} {unit}"  # as it was written
    if check["rule"] == "count":
        return f"{int(limit):,}" if limit >= 100 else f"{limit:.4g}"
    return f"≥ {_number(check, limit)}" if check["rule"] == "success" else _number(check, limit)


def cases(found: GateSection) -> Sequence[tuple[str, str, str]]:
    """A case for each check: its name, its verdict, and what it says."""
    listed: list[tuple[str, str, str]] = []
    for check in found["checks"]:
        parts = [check["rule"], metric_name(check["subject"])]
        if check["memory_mb"] is not None:
            parts.append(f"{check['memory_mb']} MB")
        if check["python"] is not None:
            parts.append(f"Python {check['python']}")
        limit = check.get("limit")
        if limit is not None and check["rule"] == "limit":
            parts.append(f"limit {limit:g}")
        text = " ".join((check["text"], check.get("culprit", ""))).strip()
        listed.append((", ".join(parts), check["verdict"], text))
    return listed
