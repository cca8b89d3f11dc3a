"""What a tuning found, in words with numbers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambent_lab.measure.results import Figure
    from lambent_lab.measure.results_load import TuneChoice, TuneSection, TuneSize


def conclude(section: TuneSection) -> tuple[str, list[str]]:
    """The headline, and the sentences below it."""
    own = section["architecture"]
    main = own if own in section["choices"] else next(iter(section["choices"]), None)
    if main is None:
        return "No price is known of this architecture: there is no cost.", []
    choices = section["choices"][main]
    if choices["fastest"]["memory_mb"] is None:
        return "No memory size was measured: there is nothing to choose.", []
    parts = [
        f"cheapest {_choice(choices['cheapest'])}",
        f"fastest {_choice(choices['fastest'])}",
        f"balanced {_choice(choices['balanced'])}",
    ]
    headline = f"{'; '.join(parts)} ({main}, {section['prices']['region']})."
    sentences = [_sentence(section, name) for name in section["choices"]]
    prices = section["prices"]
    sentences.append(
        f"With {section['cold_share']:.1%} cold starts, their init billed; in what is balanced, cost has a "
        f"weight of {section['weight']:g}."
    )
    sentences.append(f"Prices of {prices['region']}, as of {prices['as_of']}: {prices['source']}.")
    return headline, sentences


def _choice(choice: TuneChoice) -> str:
    if choice["memory_mb"] is None:
        return "unknown"
    text = f"{choice['memory_mb']} MB"
    if choice["ties"]:
        text += f" (ties with {', '.join(map(str, choice['ties']))})"
    elif not choice["proven"]:
        text += " (not proven: too few environments)"
    return text


def _sentence(section: TuneSection, name: str) -> str:
    """What the cheapest and the fastest size cost and take on one architecture."""
    sizes = {size["memory_mb"]: size for size in section["sizes"]}
    parts = []
    for kind in ("cheapest", "fastest"):
        chosen = section["choices"][name][kind]["memory_mb"]
        if chosen is not None:
            parts.append(f"{kind} {_size(sizes[chosen], name)}")
    text = f"{name}: {'; '.join(parts)}."
    assumed = any(size["cost"][name]["assumed"] for size in section["sizes"])
    return text + (" Times were measured on the other architecture and taken as they are." if assumed else "")


def _size(size: TuneSize, architecture: str) -> str:
    cost = size["cost"][architecture]["mixed"]
    price = "unknown" if cost is None else f"${cost['median']:.3f}{_interval(cost, '$', 3)} a million"
    return f"{size['memory_mb']} MB: {price}, {_time(size['mixed_ms'])}"


def _time(figure: Figure | None) -> str:
    return "no time" if figure is None else f"{figure['median']:.2f} ms{_interval(figure, '', 2)}"


def _interval(figure: Figure, sign: str, digits: int) -> str:
    interval = figure["interval"]
    if interval is None:
        return ""
    return f" ({sign}{interval['low']:.{digits}f}-{sign}{interval['high']:.{digits}f})"
