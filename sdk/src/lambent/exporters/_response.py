"""An HTTP/1.1 response, read from whatever pieces arrive. No I/O (RFC 9112).

The states and what moves between them:

    HEAD      --1xx-->            HEAD       an interim response is skipped
    HEAD      --204, 304-->       DONE       no body, whatever the header says
    HEAD      --chunked-->        SIZE       Transfer-Encoding wins over Content-Length
    HEAD      --length n-->       COUNTED    DONE at once when n is 0
    HEAD      --neither-->        UNTIL_END  the end of the connection ends the body
    SIZE      --n > 0-->          COUNTED    and back to CHUNK_END
    CHUNK_END --empty line-->     SIZE
    SIZE      --0-->              TRAILER
    TRAILER   --empty line-->     DONE

A server may be broken or hostile: the header is limited to MAX_HEAD bytes, all of it together to
MAX_TOTAL. A longer body is not read to its end: the status is known, the connection is given up.
"""

from __future__ import annotations

from lambent.exporters._endpoint import ProtocolError

__all__ = ["MAX_HEAD", "MAX_TOTAL", "ProtocolError", "Response"]

MAX_HEAD = 32 * 1024
MAX_TOTAL = 1024 * 1024

_HEAD, _SIZE, _COUNTED, _CHUNK_END, _TRAILER, _UNTIL_END, _DONE = range(7)
_HEX = b"0123456789abcdefABCDEF"
_BLANK = b" \t"


class Response:
    """One response, complete once `feed` or `end` has returned True.

    `status` is the code, `headers` maps lower-case names to values, `body` is what there was of
    it. `reusable` says whether another request may follow on the same connection.
    """

    __slots__ = (
        "_chunked",
        "_data",
        "_left",
        "_parts",
        "_seen",
        "_state",
        "_total",
        "bodiless",
        "headers",
        "reusable",
        "status",
    )

    def __init__(self, *, bodiless: bool = False) -> None:
        self.bodiless = bodiless  # the answer to CONNECT: what follows its header is not HTTP
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.reusable = False
        self._data = b""
        self._parts: list[bytes] = []  # joined in the end: a server may send a byte at a time
        self._state = _HEAD
        self._seen = 0
        self._total = 0
        self._left = 0
        self._chunked = False

    @property
    def body(self) -> bytes:
        """What there was of the body."""
        return b"".join(self._parts)

    @property
    def surplus(self) -> bool:
        """Whether more has arrived than the response."""
        return bool(self._data)

    @property
    def started(self) -> bool:
        """Whether anything has arrived."""
        return self._total > 0

    def feed(self, data: bytes) -> bool:
        """Take what has arrived. Return whether the response is complete.

        Raises ProtocolError.
        """
        self._total += len(data)
        self._data = self._data + data if self._data else data
        while self._state != _DONE:
            state = self._state
            if state == _HEAD:
                moved = self._head()
            elif state == _COUNTED:
                moved = self._counted()
            elif state == _UNTIL_END:
                self._take(len(self._data))
                moved = False
            else:
                moved = self._line()
            if not moved:
                break
        if self._state == _DONE:
            if self._data:
                self.reusable = False  # bytes that nobody asked for
            return True
        if self._total > MAX_TOTAL:
            if self._state == _HEAD:
                raise ProtocolError("an endless header")
            self.reusable = False
            self._state = _DONE
            return True
        return False

    def end(self) -> bool:
        """The connection has ended. Return True when that completes the response.

        Raises ProtocolError when it cuts the response short.
        """
        if self._state == _UNTIL_END:
            self._state = _DONE
        elif self._state != _DONE:
            raise ProtocolError("an answer cut short" if self.started else "no answer")
        return True

    def _head(self) -> bool:
        data = self._data
        # Most servers end lines with CR LF; a bare LF is to be understood as well.
        start = self._seen
        end = data.find(b"\r\n\r\n", start)
        skip = 4
        bare = data.find(b"\n\n", start, end if end >= 0 else len(data))
        if bare >= 0:
            end, skip = bare, 2
        if end < 0:
            if len(data) > MAX_HEAD:
                raise ProtocolError("an endless header")
            if data[:7] != b"HTTP/1."[: len(data)]:
                raise ProtocolError("no HTTP/1.1 status line")
            self._seen = max(0, len(data) - 3)
            return False
        if end > MAX_HEAD or (self.status and self._total - len(data) + end > MAX_HEAD):
            raise ProtocolError("an endless header")
        self._data = data[end + skip :]
        self._seen = 0
        lines = data[:end].split(b"\n")
        self._status(lines[0])
        self._fields(lines)
        if 100 <= self.status < 200:
            if self.status == 101:
                raise ProtocolError("a change of protocol that nobody asked for")
            return True
        self._framing(lines[0])
        return True

    def _status(self, line: bytes) -> None:
        # b"HTTP/1.1 200 OK"; the reason may be missing, with or without its space.
        code = line[9:12]
        if line[:7] != b"HTTP/1." or line[8:9] != b" " or len(code) != 3 or not code.isdigit():
            raise ProtocolError("no HTTP/1.1 status line")
        if line[12:13] not in (b"", b" ", b"\r"):
            raise ProtocolError("no HTTP/1.1 status line")
        self.status = int(code)
        if self.status < 100:
            raise ProtocolError("no HTTP/1.1 status line")

    def _fields(self, lines: list[bytes]) -> None:
        headers: dict[bytes, bytes] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not name or name.strip() != name:
                raise ProtocolError("a header line that is none")
            name = name.lower()
            value = value.strip()
            if name in headers:
                if name == b"content-length" and headers[name] != value:
                    raise ProtocolError("two lengths for one body")
                value = headers[name] + b", " + value if name != b"content-length" else value
            headers[name] = value
        self.headers = headers

    def _framing(self, status_line: bytes) -> None:
        headers = self.headers
        connection = headers.get(b"connection", b"").lower()
        if status_line[7:8] == b"0":
            self.reusable = b"keep-alive" in connection
        else:
            self.reusable = b"close" not in connection
        if self.bodiless or self.status in (204, 304):
            self._state = _DONE
            return
        coding = headers.get(b"transfer-encoding")
        if coding is not None:
            if coding.lower().rpartition(b",")[2].strip() == b"chunked":
                self._chunked = True
                self._state = _SIZE
            else:
                self._state = _UNTIL_END
            if b"content-length" in headers:
                self.reusable = False  # RFC 9112 section 6.3: a sign of smuggling
        else:
            length = headers.get(b"content-length")
            if length is not None:
                if not length.isdigit() or len(length) > 18:
                    raise ProtocolError("a length that is no number")
                self._left = int(length)
                self._state = _COUNTED if self._left else _DONE
            else:
                self._state = _UNTIL_END
        if self._state == _UNTIL_END:
            self.reusable = False

    def _take(self, count: int) -> None:
        if count:
            self._parts.append(self._data[:count])
        self._data = self._data[count:]

    def _counted(self) -> bool:
        count = min(self._left, len(self._data))
        if not count:
            return False
        self._take(count)
        self._left -= count
        if self._left:
            return False
        self._state = _CHUNK_END if self._chunked else _DONE
        return True

    def _line(self) -> bool:
        line, newline, rest = self._data.partition(b"\n")
        if not newline:
            if len(line) > MAX_HEAD:
                raise ProtocolError("an endless line")
            return False
        self._data = rest
        line = line.rstrip(b"\r")
        if self._state == _CHUNK_END:
            if line:
                raise ProtocolError("a chunk longer than it says")
            self._state = _SIZE
        elif self._state == _TRAILER:
            if not line:
                self._state = _DONE
        else:
            size = line.partition(b";")[0].strip(_BLANK)
            if not size or len(size) > 15 or size.strip(_HEX):
                raise ProtocolError("a chunk without a size")
            self._left = int(size, 16)
            self._state = _COUNTED if self._left else _TRAILER
        return True
