"""Text for a terminal: escaped, measured in cells, cut and wrapped to a width, durations for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from rich.cells import cell_len

# Selectors change how wide the character before them is drawn, differently in every terminal.
_SELECTORS = re.compile("[\ufe00-\ufe0f]")


def escape(text: str, *, ascii_only: bool = False) -> str:
    """Return text without anything a terminal would act on: such characters become backslash escapes."""
    if ascii_only:
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in _SELECTORS.sub("", text)
    )


def cells(text: str) -> int:
    """Return how many terminal cells escaped text takes, counting every character for itself."""
    if text.isascii():
        return len(text)
    return sum(cell_len(letter) for letter in text)


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """Return escaped text in at most `width` cells, its end replaced by the ellipsis when it is longer."""
    if cells(text) <= width:
        return text
    return _head(text, width - cells(ellipsis)) + ellipsis if width >= cells(ellipsis) else ""


def pad(text: str, width: int) -> str:
    """Fill escaped text up to `width` cells."""
    return text + " " * (width - cells(text))


def wrap(text: str, width: int) -> list[str]:
    """Split escaped text into pieces of at most `width` cells, between any two characters."""
    pieces: list[str] = []
    while text:
        # A character wider than the line cannot be split further.
        piece = _head(text, width) or text[0]
        pieces.append(piece)
        text = text[len(piece) :]
    return pieces or [""]


def _head(text: str, width: int) -> str:
    if text.isascii():
        return text[: max(0, width)]
    room = width
    for index, letter in enumerate(text):
        room -= cell_len(letter)
        if room < 0:
            return text[:index]
    return text


def duration(ns: int, *, ascii_only: bool = False) -> str:
    """Return nanoseconds with three digits and a unit, in at most nine characters."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns == 0:
        return "0 ms"
    for limit, unit, name in (
        (10**3, 1, "ns"),
        (10**6, 10**3, "us" if ascii_only else "µs"),
        (10**9, 10**6, "ms"),
        (60 * 10**9, 10**9, "s"),
        (3600 * 10**9, 60 * 10**9, "min"),
        (86400 * 10**9, 3600 * 10**9, "h"),
    ):
        if ns < limit:
            value = ns / unit
            digits = 0 if unit == 1 or value >= 100 else 1 if value >= 10 else 2
            return f"{sign}{value:.{digits}f} {name}"
    return f"{sign}{ns / (86400 * 10**9):.0f} d"


def timestamp(ns: int) -> str:
    """Return a Unix time in nanoseconds as a UTC date and time with milliseconds."""
    moment = datetime.fromtimestamp(ns // 10**9, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ns // 10**6 % 1000:03d} UTC"
