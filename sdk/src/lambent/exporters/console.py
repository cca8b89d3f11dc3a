"""Prints spans for people: one line a span, children under their parents."""

from __future__ import annotations

import sys

from lambent.exporters import Exporter, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from lambent.span import Span

    class TextStream(Protocol):
        """What is written to."""

        def write(self, text: str, /) -> object: ...
        def flush(self) -> object: ...


__all__ = ["ConsoleExporter", "render"]

_VALUE_LENGTH = 100


class ConsoleExporter(Exporter):
    """Prints to `stream`, by default to what `sys.stdout` is at that time.

    A line reads: trace id (its first 8 digits), start within the batch and duration in
    milliseconds, name, kind, status when one is set, attributes.
    """

    waits = False
    concurrent = True

    def __init__(self, stream: TextStream | None = None) -> None:
        self._stream = stream

    def export(self, spans: Sequence[Span], timeout: float = 0.0) -> Result:  # noqa: ARG002  # nothing to wait for
        """Print the spans in the order in which they started."""
        if not spans:
            return Result()
        try:
            text = "".join([f"{line}\n" for line in render(spans)])
            stream = self._stream or sys.stdout
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            stream.flush()
        except Exception as error:  # noqa: BLE001  # a closed stream is not the function's problem
            return Result(False, len(spans), 0, f"console: {type(error).__name__}")
        return Result(bytes=len(text))


def render(spans: Sequence[Span]) -> list[str]:
    """Return one line for each span, children below their parents and indented."""
    firsts: dict[int, int] = {}
    lines = []
    for span, depth in _tree(spans):
        trace_id = span.context.trace_id
        offset = (span.start_time - firsts.setdefault(trace_id, span.start_time)) / 1e6
        duration = ((span.end_time or span.start_time) - span.start_time) / 1e6
        parts = [
            f"{trace_id:032x}"[:8],
            f"{f'{offset:+.1f}':>9} {duration:9.1f} ms ",
            "  " * depth + _plain(span.name),
            span.kind.name,
        ]
        status = span.status
        if status.status_code:
            parts.append(status.status_code.name)
            if status.description:
                parts.append(f"({_plain(status.description)})")
        parts += [f"{_plain(str(key))}={_plain(_text(value))}" for key, value in span.attributes.items()]
        lines.append(" ".join(parts))
    return lines


def _tree(spans: Sequence[Span]) -> list[tuple[Span, int]]:
    """Return spans and their depths, depth first, siblings by start."""
    ordered = sorted(spans, key=lambda span: span.start_time)
    known = {(span.context.trace_id, span.context.span_id) for span in spans}
    below: dict[tuple[int, int] | None, list[Span]] = {}
    for span in ordered:
        parent = (span.context.trace_id, span.parent.span_id) if span.parent else None
        below.setdefault(parent if parent in known else None, []).append(span)
    found: list[tuple[Span, int]] = []
    waiting = [(span, 0) for span in reversed(below.pop(None, []))]
    while waiting:
        span, depth = waiting.pop()
        found.append((span, depth))
        children = below.pop((span.context.trace_id, span.context.span_id), [])
        waiting += [(child, depth + 1) for child in reversed(children)]
    # Ids that go round in a circle have no top: they are shown all the same.
    return found + [(span, 0) for rest in below.values() for span in rest]


def _text(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return f"<{type(value).__name__}>"


def _plain(text: str) -> str:
    """Return the text cut to a length, its line breaks and control characters made visible."""
    if len(text) > _VALUE_LENGTH:
        text = f"{text[: _VALUE_LENGTH - 1]}…"
    if text.isprintable():
        return text
    return "".join(
        [
            letter if letter.isprintable() else letter.encode("unicode_escape", "replace").decode("ascii")
            for letter in text
        ]
    )
