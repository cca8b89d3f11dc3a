"""What an environment writes down: the lines of its log, as they come and for each invocation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Journal:
    """The log of one environment. `on_line` gets every line as it appears."""

    def __init__(self, on_line: Callable[[str], None] | None = None) -> None:
        self._on_line = on_line
        self._lines: list[str] = []

    def line(self, line: str) -> None:
        """Write a line."""
        self._lines.append(line)
        if self._on_line is not None:
            self._on_line(line)

    def take(self) -> tuple[str, ...]:
        """Return the lines since the last time."""
        lines, self._lines = tuple(self._lines), []
        return lines
