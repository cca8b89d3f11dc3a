"""A result file in, text out: the terminal's tables and the README's. Nothing is computed again here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = "<!-- benchmark table: begin -->"
END = "<!-- benchmark table: end -->"
OURS = "lambent"
BASELINE = "none"
TIMES = "\u00d7"
DASH = "\u2013"


class MarkersMissingError(Exception):
    """The file has no place for the table. The message says what to add."""


def number(value: float, digits: int) -> str:
    """`value` with as many digits as it deserves: three figures or so."""
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    if abs(value) >= 10:
        return f"{value:.{min(digits, 1)}f}"
    return f"{value:.{digits}f}"


def budget_verdict(budget: float, estimate: dict[str, Any] | None) -> str:
    """`met`, `NOT met`, or `met, but its interval reaches over`; without a value, so."""
    if estimate is None:
        return "not measured"
    if estimate["median"] > budget:
        return "NOT met"
    if estimate["high"] is not None and estimate["high"] > budget:
        return "met, but its interval reaches over"
    return "met"


def terminal(content: dict[str, Any]) -> str:
    """Every measure with every tool: median, interval, ratio to lambent; then lambent's budgets."""
    lines = [_heading(content), ""]
    for measure in content["measures"]:
        what = "marginal over no tracing" if measure["marginal"] else "absolute"
        lines.append(f"{measure['title']}, {measure['unit']} ({what})")
        lines += [_line(measure, row) for row in content["summary"] if row["measure"] == measure["name"]]
        lines.append("")
    lines.append(f"{content['size']['title']}, {content['size']['unit']}")
    for name, peer in content["peers"].items():
        if name != BASELINE:
            amount = number(peer["zipped_bytes"] / 1000, 1)
            lines.append(f"  {name:<26}{amount:>9}   {peer['distributions']} distribution(s)")
    lines += ["", "lambent's budgets"]
    lines += [f"  {text}" for text in budgets(content)]
    if content["absent"]:
        lines += ["", "not measured"]
        lines += [f"  {name}: {reason}" for name, reason in content["absent"].items()]
    return "\n".join(lines)


def _heading(content: dict[str, Any]) -> str:
    machine = content["machine"]
    cut = " · interrupted" if content["interrupted"] else ""
    return (
        f"{machine['cpu']} {TIMES} {machine['cpus']} · Linux {machine['kernel']} · Python {machine['python']}"
        f" · {content['rounds_done']} rounds{cut} · seed {content['seed']} · 99% intervals of the median"
    )


def _line(measure: dict[str, Any], row: dict[str, Any]) -> str:
    name, estimate, digits = row["peer"], row["estimate"], measure["digits"]
    if row["left_out"]:
        return f"  {name:<26}        {DASH}   {row['left_out']}"
    if estimate is None:
        return f"  {name:<26}        {DASH}   {row['reason'] or 'no value'}"[:160]
    text = f"  {name:<26}{number(estimate['median'], digits):>9}"
    if estimate["low"] is not None:
        text += f"  [{number(estimate['low'], digits)} {DASH} {number(estimate['high'], digits)}]"
    text += f"  n={estimate['n']}"
    if row["ratio"] is not None:
        text += f"  {TIMES}{number(row['ratio']['median'], 1)}"
        if row["ratio"]["low"] is not None:
            text += f" [{number(row['ratio']['low'], 1)} {DASH} {number(row['ratio']['high'], 1)}]"
    if row["rejected"]:
        text += f"  ({row['rejected']} rejected: {row['reason'][:60]})"
    if row["outliers"]:
        text += f"  {len(row['outliers'])} outlier(s)"
    if name == BASELINE and measure["marginal"]:
        text += "  (absolute)"
    return text


def budgets(content: dict[str, Any]) -> list[str]:
    """One line for each budget: the limit, what was measured, met or NOT met."""
    lines = []
    for measure in content["measures"]:
        if measure["budget"] is None:
            continue
        row = _row(content, measure["name"], OURS)
        estimate = row["estimate"] if row else None
        limit = f"≤ {measure['budget']:g} {measure['unit']}"
        if row and row["left_out"]:
            lines.append(f"{measure['title']:<62} {limit:>10}   absent: {row['left_out']}")
            continue
        got = f"{number(estimate['median'], measure['digits'])} {measure['unit']}" if estimate else DASH
        lines.append(
            f"{measure['title']:<62} {limit:>10} {got:>12}   {budget_verdict(measure['budget'], estimate)}"
        )
    size = content["size"]
    if OURS in content["peers"]:
        got_kb = content["peers"][OURS]["zipped_bytes"] / 1000
        limit_kb = f"≤ {size['budget']:g} {size['unit']}"
        met = "met" if got_kb <= size["budget"] else "NOT met"
        lines.append(f"{size['title']:<62} {limit_kb:>10} {got_kb:>9.1f} kB   {met}")
    return lines


def markdown(content: dict[str, Any]) -> str:
    """The README's table: a row for each measure, a column for each tool, ratios to lambent beside."""
    names = [name for name in content["peers"] if name != BASELINE]
    if not names:
        return "No tool was measured."
    names.sort(key=lambda name: name != OURS)
    titles = [
        f"**{content['peers'][n]['title']}**" if n == OURS else content["peers"][n]["title"] for n in names
    ]
    titles.insert(1, "its budget")
    versions = {name: content["peers"][name]["versions"].get(name, "") for name in names}
    lines = [
        "| | " + " | ".join(titles) + " |",
        "|---|" + "---:|" * len(titles),
        "| version | " + " | ".join([versions[names[0]], "", *(versions[name] for name in names[1:])]) + " |",
    ]
    for measure in content["measures"]:
        if measure["table"]:
            rows = [_row(content, measure["name"], name) for name in names]
            cells = [_cell(measure, row) for row in rows]
            cells.insert(1, _budget_cell(measure["budget"], rows[0]))
            lines.append(f"| {measure['title']}, {measure['unit']} | " + " | ".join(cells) + " |")
    sizes = []
    for name in names:
        amount = number(content["peers"][name]["zipped_bytes"] / 1000, 1)
        sizes.append(f"{amount} ({content['peers'][name]['distributions']})")
    size = content["size"]
    fits = "met" if content["peers"][names[0]]["zipped_bytes"] / 1000 <= size["budget"] else "NOT met"
    sizes.insert(1, f"\u2264 {size['budget']:g}: {fits}" if names[0] == OURS else DASH)
    lines.append(f"| {content['size']['title']} (how many), kB | " + " | ".join(sizes) + " |")
    machine = content["machine"]
    lines += [
        "",
        f"Medians of {content['rounds_done']} interleaved rounds of fresh processes, above the same function "
        f"without tracing; in parentheses the median ratio to lambent. {machine['cpu']}, "
        f"{machine['cpus']} CPUs, Python {machine['python']}. "
        "A dash: not applicable, or its spans did not arrive.",
    ]
    return "\n".join(lines)


def _cell(measure: dict[str, Any], row: dict[str, Any] | None) -> str:
    if row is None or row["estimate"] is None or row["left_out"]:
        return DASH
    text = number(row["estimate"]["median"], measure["digits"])
    if row["peer"] == OURS:
        return f"**{text}**"
    return f"{text} ({TIMES}{number(row['ratio']['median'], 1)})" if row["ratio"] else text


def _budget_cell(budget: float | None, row: dict[str, Any] | None) -> str:
    """The limit and whether lambent's value is within it."""
    if budget is None or row is None or row["peer"] != OURS:
        return DASH
    said = "absent" if row["left_out"] else budget_verdict(budget, row["estimate"])
    return f"\u2264 {budget:g}: {said.partition(',')[0]}"


def _row(content: dict[str, Any], measure: str, peer: str) -> dict[str, Any] | None:
    rows = [row for row in content["summary"] if row["measure"] == measure and row["peer"] == peer]
    return rows[0] if rows else None


def write_readme(path: Path, table: str, markers: tuple[str, str] = (BEGIN, END)) -> None:
    """Put `table` between the markers of `path`; the rest stays as it is. Raises MarkersMissingError."""
    first, last = markers
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    head, begin, rest = text.partition(first)
    _, end, tail = rest.partition(last)
    if not begin or not end:
        raise MarkersMissingError(f"{path} has no place for the table: add the lines {first} and {last}")
    path.write_text(f"{head}{first}\n{table}\n{last}{tail}", encoding="utf-8")
