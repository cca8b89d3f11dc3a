"""What the families of events have in common: messages, headers, times. Loaded with the first of them."""

from __future__ import annotations

from lambent.triggers import CONTEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Record", "carrier_in", "headers", "last", "put", "seconds", "text"]

_PLACES = ("headers", "metadata", "_trace", "_context")


class Record:
    """One message of a batch. All but `raw`, `carrier` and `shared` is read when it is first asked for.

    `raw` is the message as the event has it; `carrier` may hold its sender's context, names in lower
    case; `id` is what `batchItemFailures` calls it, "" where that cannot name it; `group` is its FIFO
    queue's message group or its shard, "" where order does not matter; `sent` is the time when it was
    sent in seconds since the epoch, 0 if unknown; `attributes` and `name` are for its own span.
    """

    __slots__ = ("_read", "attributes", "carrier", "group", "id", "name", "raw", "sent", "shared")

    attributes: dict[str, object]
    group: str
    id: object
    name: str
    sent: float

    def __init__(
        self,
        raw: Mapping[str, object],
        carrier: Mapping[str, str],
        read: Callable[[Record], None],
        shared: Mapping[str, object],
    ) -> None:
        self.raw = raw
        self.carrier = carrier
        self.shared = shared
        self._read = read

    def __getattr__(self, name: str) -> object:
        if name not in ("attributes", "group", "id", "name", "sent"):
            raise AttributeError(f"a record has no attribute {name!r}")
        self.group, self.id, self.sent, self.name, self.attributes = "", "", 0.0, "", {}
        self._read(self)
        return getattr(self, name)


def text(value: object) -> str:
    """Return the value if it is text, else ""."""
    return value if isinstance(value, str) else ""


def last(arn: str) -> str:
    """Return the last part of an ARN, the name of a queue, a topic or a stream."""
    return arn.rpartition(":")[2].rpartition("/")[2]


def put(attributes: dict[str, object], key: str, value: object) -> None:
    """Set an attribute to a value that is plain and says something."""
    if type(value) is str:
        if value:
            attributes[key] = value
    elif isinstance(value, (int, str)):
        attributes[key] = value


def seconds(value: object) -> float:
    """Return a time in seconds since the epoch, 0 for what is none.

    AWS gives it in seconds, milliseconds or microseconds, as a number or its text, or in ISO 8601.
    """
    try:
        number = float(value)  # type: ignore[arg-type]  # or TypeError
    except (TypeError, ValueError, OverflowError):
        if not isinstance(value, str):
            return 0.0
        from datetime import datetime

        try:
            number = datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            return 0.0
    for _ in range(2):
        if number > 1e11:
            number /= 1000
    return number if 0.0 < number < 1e11 else 0.0


_TEXT = {str}


def headers(given: object, found: dict[str, str] | None = None) -> dict[str, str]:
    """Return headers by their names in lower case.

    Of several values the last counts, as in Lambda's own `headers`; those of context are put together, as
    HTTP does, for the propagators to judge. Bytes are read as UTF-8.
    """
    found = {} if found is None else found
    if isinstance(given, dict):
        try:
            names = "".join(given)
            if names == names.lower() and {*map(type, given.values())} == _TEXT:  # as HTTP APIs do
                found.update(given)
                return found
        except TypeError:
            pass  # a name that is no text
        for name, value in given.items():
            if type(name) is str and type(value) is str:
                found[name.lower()] = value
            elif isinstance(name, (str, bytes)):
                key = (name if isinstance(name, str) else name.decode("latin-1")).lower()
                values = value if isinstance(value, (list, tuple)) else (value,)
                parts = [each for each in map(_decoded, values) if each is not None]
                if parts:
                    found[key] = ",".join(parts) if key in CONTEXT else parts[-1]
    return found


def _decoded(value: object) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else text(value) or None


def carrier_in(payload: object) -> dict[str, str]:
    """Return the context that a payload carries among other things, at its top or among its headers."""
    found: dict[str, str] = {}
    if isinstance(payload, dict):
        for place in (payload, *[payload.get(name) for name in _PLACES]):
            if isinstance(place, dict):
                for name, value in place.items():
                    if isinstance(name, str) and isinstance(value, str) and name.lower() in CONTEXT:
                        found[name.lower()] = value
                if found:
                    break
    return found
