"""Writes each batch as one JSON line on stdout, for a forwarder that reads the function's log.

The keys are those of the `otlp-stdout-span-exporter` package, whose readers understand the line.
"""

from __future__ import annotations

import sys
from _thread import RLock
from binascii import b2a_base64
from os import register_at_fork

from lambent import __version__
from lambent.exporters import Exporter, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from lambent.span import Span

    class TextStream(Protocol):
        """What is written to."""

        def write(self, text: str, /) -> object: ...
        def flush(self) -> object: ...


__all__ = ["MAX_LINE", "StdoutExporter", "write_line"]

MAX_LINE = 256 * 1024 - 26
"""Bytes of a line, its newline included: CloudWatch Logs takes events of 256 KB and counts 26 bytes
of its own with each (PutLogEvents)."""

_LONG = 65_536  # a pipe holds no more, where nobody says otherwise

_turn = RLock()
"""Held while a line is written, by a thread that may write another one in a signal handler meanwhile."""


def _renew() -> None:
    global _turn  # noqa: PLW0603  # of all exporters: they have one stdout
    _turn = RLock()


register_at_fork(after_in_child=_renew)


class StdoutExporter(Exporter):
    """Writes OTLP protobuf in base64 to stdout, compressed, one write for each line.

    `source` names the service. `level` is gzip's, 0 to 9, where 0 leaves the payload
    uncompressed. `endpoint` tells the forwarder where the spans would have gone. `headers` end
    up readable in the log: they are written only because they are given here. `log_level` is the
    line's own level for log filters, such as "INFO". `write` takes a whole line, newline
    included, and replaces `stream`, which replaces `sys.stdout`.

    Raises ValueError for a level that gzip does not have.
    """

    waits = False
    concurrent = True

    def __init__(
        self,
        *,
        source: str,
        level: int = 6,
        endpoint: str = "http://localhost:4318/v1/traces",
        headers: Mapping[str, str] | None = None,
        log_level: str | None = None,
        stream: TextStream | None = None,
        write: Callable[[str], object] | None = None,
        encode: Callable[[Sequence[Span]], bytes] | None = None,
    ) -> None:
        if not 0 <= level <= 9:
            raise ValueError(f"no gzip level {level}: choose 0 (no compression) to 9")
        self._level = level
        self._stream = stream
        self._write = write or self._to_stream
        self._encode = encode
        self._said = ""
        encoding = '"content-encoding":"gzip",' if level else ""
        self._prefix = (
            f'{{"__otel_otlp_stdout":{quoted(__version__)},"source":{quoted(source)},'
            f'"endpoint":{quoted(endpoint)},"method":"POST",'
            f'"content-type":"application/x-protobuf",{encoding}"payload":"'
        )
        suffix = '","base64":true'
        if headers:
            pairs = [f"{quoted(name)}:{quoted(value)}" for name, value in headers.items()]
            suffix += f',"headers":{{{",".join(pairs)}}}'
        if log_level is not None:
            suffix += f',"level":{quoted(log_level)}'
        self._suffix = suffix + "}\n"

    def export(self, spans: Sequence[Span], timeout: float = 0.0) -> Result:  # noqa: ARG002  # stdout does not wait
        """Write the spans, in several lines where one would be longer than a log event."""
        result = Result()
        if spans:
            self._export(spans, result)
            result.ok = not result.lost
            # A pipe that nobody reads is the same news with every invocation.
            result.quiet = bool(result.lost) and result.reason == self._said
            self._said = result.reason
        return result

    def _export(self, spans: Sequence[Span], result: Result) -> None:
        try:
            line = self._line(spans)
            size = len(line)
            if size > MAX_LINE and len(spans) > 1:
                half = len(spans) // 2
                self._export(spans[:half], result)
                self._export(spans[half:], result)
                return
            self._write(line)
        except Exception as error:  # noqa: BLE001  # tracing must not break the function, whatever this is
            result.lost += len(spans)
            result.reason = f"stdout: {getattr(error, 'strerror', None) or type(error).__name__}"
            return
        result.bytes += size
        if size > MAX_LINE:
            result.warning = f"one span alone makes a line of {size} bytes: the log may cut it"

    def _line(self, spans: Sequence[Span]) -> str:
        encode = self._encode
        if encode is None:
            from lambent.wire import protobuf  # bundled

            encode = self._encode = protobuf.encode
        payload = encode(spans)
        if self._level:
            from lambent.exporters._gzip import compress  # bundled

            payload = compress(payload, self._level)
        return f"{self._prefix}{b2a_base64(payload, newline=False).decode('ascii')}{self._suffix}"

    def _to_stream(self, line: str) -> None:
        # Looked up each time: the runtime client, a test or the user may have replaced it.
        write_line(self._stream or sys.stdout, line)


def write_line(stream: TextStream, line: str) -> None:
    """Write a line to a stream in one piece."""
    # What the function has printed so far goes first, in a write of its own; then the text
    # layer passes on the whole line at once. Without a buffer of its own it does so piece by piece.
    flush = getattr(stream, "flush", None) or bool  # a replaced stdout may only write
    with _turn:
        flush()
        if len(line) > _LONG:
            from lambent.exporters._pipe import write_unbuffered

            if write_unbuffered(stream, line):
                return
        stream.write(line)
        flush()


def quoted(text: str) -> str:
    """Return the text as a JSON string. `json` is loaded for odd ones only."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    from json import dumps

    return dumps(text)
