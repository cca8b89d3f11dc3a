"""Numbers and names as text. Rounded, never computed; what is absent is a dash."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results import Figure

ABSENT = "–"  # noqa: RUF001 - a dash is the field's sign for "no value"


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


def quantity(value: float | None, unit: str) -> str:
    """A number with its unit."""
    return ABSENT if value is None else f"{number(value, unit)} {unit}"


def whole(value: float | None) -> str:
    """A count, with thousands separated."""
    return ABSENT if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """A share of 1 as a percentage."""
    return (
        ABSENT
        if value is None
        else f"{value:.3%}"
        if 0.99 < value < 1 or 0 < value < 0.01
        else f"{value:.1%}"
    )


def between(low: float, high: float, unit: str = "") -> str:
    """A range of positive numbers, as 1.70-2.10 with the longer dash that ranges have."""
    return f"{number(low, unit)}\u2013{number(high, unit)}"


def signed_range(figure: Figure | None, unit: str = "") -> str:
    """The interval of a difference; empty when there is none."""
    if figure is None or figure["interval"] is None:
        return ""
    return f"{signed(figure['interval']['low'], unit)} to {signed(figure['interval']['high'], unit)}"


def plain_range(figure: Figure | None, unit: str = "") -> str:
    """The interval of a quantity; empty when there is none."""
    if figure is None or figure["interval"] is None:
        return ""
    return f"{number(figure['interval']['low'], unit)} to {number(figure['interval']['high'], unit)}"


def ratio_range(figure: Figure | None) -> str:
    """The interval of a ratio; empty when there is none."""
    if figure is None or figure["interval"] is None:
        return ""
    return f"{figure['interval']['low']:.3f} to {figure['interval']['high']:.3f}"


def listed(parts: Sequence[str]) -> str:
    """Words as a list in a sentence."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def capital(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]
