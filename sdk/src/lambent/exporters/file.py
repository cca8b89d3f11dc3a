"""Appends OTLP JSON lines to a file (OpenTelemetry's "Protocol File Exporter")."""

from __future__ import annotations

import os

from lambent.exporters import Exporter, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent.span import Span

__all__ = ["FileExporter"]


class FileExporter(Exporter):
    """Writes one ExportTraceServiceRequest a line, each with a single write at the file's end.

    The file is made when it is not there. It is opened for each batch, so that several processes
    may write to it and it may be moved away at any time.
    """

    waits = False
    concurrent = True

    def __init__(
        self, path: str | os.PathLike[str], *, encode: Callable[[Sequence[Span]], bytes] | None = None
    ) -> None:
        self._path = os.fspath(path)
        self._encode = encode
        self._torn = False

    def export(self, spans: Sequence[Span], timeout: float = 0.0) -> Result:  # noqa: ARG002  # files do not wait
        """Append the spans as one line."""
        count = len(spans)
        if not count:
            return Result()
        try:
            encode = self._encode
            if encode is None:
                from lambent.wire import json

                encode = self._encode = json.encode
            line = encode(spans).replace(b"\n", b" ") + b"\n"
            self._append(line)
        except OSError as error:
            return Result(False, count, 0, f"{self._path}: {error.strerror or type(error).__name__}")
        except Exception as error:  # noqa: BLE001  # tracing must not break the function, whatever this is
            return Result(False, count, 0, f"{self._path}: internal {type(error).__name__}")
        return Result(bytes=len(line))

    def _append(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line  # the last one broke off on a full disk: this one stays readable
        # Not waiting for a reader, if it is a pipe: opening one that nobody reads would never end.
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
        try:
            os.set_blocking(file, True)
            written = os.write(file, line)
            self._torn = written < len(line)
            while written < len(line):
                written += os.write(file, line[written:])
            self._torn = False
        finally:
            os.close(file)
