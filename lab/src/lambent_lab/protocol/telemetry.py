"""The Telemetry API's values: what a subscription may ask for, and how records are gathered for it.

Rules of a subscription
- It is a `PUT` of /2022-07-01/telemetry.
- It carries a registered extension's identifier; without one the refusals are those of the Extensions API.
- schemaVersion is 2022-07-01, 2022-12-13 or 2025-01-29; `types` is a list of platform, function and
  extension, not empty.
- buffering is optional, and so is each of its numbers: maxItems 1000-10000 (10000), maxBytes 262144-1048576
  (262144), timeoutMs 25-30000 (1000).
- The destination is {"protocol":"HTTP","URI":"http://HOST:PORT/path"} or {"protocol":"TCP","port":PORT}.
  HOST is sandbox.localdomain, sandbox, localhost or 127.0.0.1, all of them the environment's own loopback;
  port 9001 is the Runtime API's own.
- The Logs API, its predecessor, is a `PUT` of /2020-08-15/logs with schemaVersion 2020-08-15 or 2021-03-18;
  the rest is the same. An extension uses one of the two, and on managed instances only the new one (else
  202 Logs.NotSupported).
- Whatever breaks these rules is 400 ValidationError. After init it is 403 Telemetry.SubscriptionClosed, or
  Logs.SubscriptionClosed.
- Accepted, it is 200 "OK"; a second one of the same extension replaces the first.
- A subscriber of the Logs API hears of platform.start, end, report, extension, fault, logsSubscription and
  logsDropped, and of runtimeDone since 2021-03-18. The others hear of all but end and logsSubscription.

Rules of a buffer
- A batch is complete when it has maxItems, when one more record would not fit into maxBytes, or timeoutMs
  after its first record. A record larger than maxBytes is a batch of its own.
- At most 10 complete batches wait. The oldest is dropped then, and platform.logsDropped tells what was in it.
- A batch is delivered as a JSON array (HTTP), or as one record a line (TCP).
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from lambent_lab.protocol.outcomes import Reply
from lambent_lab.protocol.runtime import refusal

VERSION = "/2022-07-01"
PATH = f"{VERSION}/telemetry"
SCHEMAS = ("2022-07-01", "2022-12-13", "2025-01-29")
LOGS_VERSION = "/2020-08-15"
LOGS_PATH = f"{LOGS_VERSION}/logs"
LOGS_SCHEMAS = ("2020-08-15", "2021-03-18")
TYPES = ("platform", "function", "extension")
HOSTS = frozenset({"sandbox.localdomain", "sandbox", "localhost", "127.0.0.1"})
MAX_WAITING = 10
_RESERVED_PORT = 9001
LIMITS = {
    "maxItems": (1000, 10_000, 10_000),
    "maxBytes": (262_144, 1_048_576, 262_144),
    "timeoutMs": (25, 30_000, 1000),
}

OK = Reply(200, b'"OK"')


@dataclass(frozen=True, slots=True)
class Subscription:
    """What an extension asked for. `path` is empty for TCP; the port is one of the environment's loopback."""

    types: tuple[str, ...]
    protocol: Literal["HTTP", "TCP"]
    port: int
    path: str
    max_items: int
    max_bytes: int
    timeout_ms: int
    schema: str = field(default=SCHEMAS[0], kw_only=True)


_LOGS_ONLY = frozenset({"platform.end", "platform.logsSubscription"})
_LOGS = _LOGS_ONLY | {
    "platform.start",
    "platform.report",
    "platform.extension",
    "platform.fault",
    "platform.logsDropped",
}


def hears(schema: str, name: str) -> bool:
    """Tell whether a subscriber of a schema hears of a record. `name` is its type, as in platform.start."""
    if schema not in LOGS_SCHEMAS:
        return name not in _LOGS_ONLY
    if name == "platform.runtimeDone":
        return schema == LOGS_SCHEMAS[1]
    return name in _LOGS or not name.startswith("platform.")


def closed(path: str = PATH) -> Reply:
    """Return the refusal of a subscription that comes after init."""
    api = "Logs" if path == LOGS_PATH else "Telemetry"
    return refusal(403, f"{api}.SubscriptionClosed", f"{api} API subscription is closed")


def not_supported() -> Reply:
    """Return what the Logs API says on managed instances; its status is not an error's."""
    return refusal(202, "Logs.NotSupported", "Logs API is not supported")


def parse(body: bytes, schemas: tuple[str, ...] = SCHEMAS) -> Subscription | Reply:
    """Return the subscription that a request's body asks for, or its refusal."""
    try:
        return _subscription(json.loads(body), schemas)
    except _InvalidError as error:
        return refusal(400, "ValidationError", str(error))
    except (ValueError, RecursionError):
        return refusal(400, "ValidationError", "The body is not JSON")


class _InvalidError(Exception):
    """What is wrong with a subscription."""


def _subscription(document: object, schemas: tuple[str, ...]) -> Subscription:
    if not isinstance(document, dict):
        raise _InvalidError("The body is no object")
    if document.get("schemaVersion") not in schemas:
        raise _InvalidError(f"schemaVersion must be one of {', '.join(schemas)}")
    types = document.get("types")
    if not isinstance(types, list) or not types or any(kind not in TYPES for kind in types):
        raise _InvalidError(f"types must be a list of {', '.join(TYPES)}")
    buffering = document.get("buffering")
    if buffering is None:
        buffering = {}
    if not isinstance(buffering, dict):
        raise _InvalidError("buffering must be an object")
    numbers = [_number(buffering, name, *limits) for name, limits in LIMITS.items()]
    destination = document.get("destination")
    if not isinstance(destination, dict):
        raise _InvalidError("destination must be an object")
    protocol = destination.get("protocol")
    if protocol == "HTTP":
        port, path = _http(destination.get("URI"))
    elif protocol == "TCP":
        port, path = _port(destination.get("port")), ""
    else:
        raise _InvalidError("destination.protocol must be HTTP or TCP")
    kinds, schema = tuple(dict.fromkeys(types)), document["schemaVersion"]
    return Subscription(kinds, protocol, port, path, *numbers, schema=schema)


def _number(buffering: dict[str, object], name: str, low: int, high: int, default: int) -> int:
    value = buffering.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _InvalidError(f"buffering.{name} must be a number from {low} to {high}")
    return value


def _http(uri: object) -> tuple[int, str]:
    if not isinstance(uri, str):
        raise _InvalidError("destination.URI must be a URL")
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise _InvalidError("destination.URI is no URL") from None
    if parts.scheme != "http" or parts.hostname not in HOSTS:
        raise _InvalidError("destination.URI must be http://sandbox.localdomain:PORT/path")
    path = parts.path or "/"
    if any(ord(char) <= ord(" ") or ord(char) > ord("~") for char in path + parts.query):
        raise _InvalidError("destination.URI has characters that no URL has")
    return _port(port), f"{path}?{parts.query}" if parts.query else path


def _port(port: object) -> int:
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536 or port == _RESERVED_PORT:
        raise _InvalidError(f"The destination's port must be a number below 65536 and not {_RESERVED_PORT}")
    return port


def encode(time: str, kind: str, record: object) -> bytes:
    """Return one record as JSON. `time` is RFC 3339 in UTC, `kind` the full type, as in platform.start."""
    return json.dumps({"time": time, "type": kind, "record": record}, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a buffer had to drop."""

    records: int
    size: int


class Buffer:
    """The records that wait for one subscription. Time is any clock's, in seconds."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._open: list[bytes] = []
        self._size = 0
        self._since = 0.0
        self._complete: deque[list[bytes]] = deque()

    def add(self, record: bytes, now: float) -> Dropped | None:
        """Take a record; return what had to be dropped for it."""
        limits = self._subscription
        dropped = None
        if self._open and self._size + len(record) > limits.max_bytes:
            dropped = self._close()
        if not self._open:
            self._since = now
        self._open.append(record)
        self._size += len(record)
        if len(self._open) >= limits.max_items or self._size >= limits.max_bytes:
            dropped = self._close() or dropped
        return dropped

    @property
    def due(self) -> float | None:
        """When the next batch is to be delivered: at once when one is complete, None when there is none."""
        if self._complete:
            return float("-inf")
        return self._since + self._subscription.timeout_ms / 1000 if self._open else None

    def next_batch(self, now: float, *, everything: bool = False) -> list[bytes] | None:
        """Return the oldest batch that is due, or one that is not if `everything` has to go. It stays."""
        due = self.due
        if due is None or (due > now and not everything):
            return None
        if not self._complete:
            self._close()
        return self._complete[0]

    def delivered(self, batch: list[bytes]) -> None:
        """Forget a batch that has arrived. It may have been dropped on its way already."""
        if self._complete and self._complete[0] is batch:
            self._complete.popleft()

    def body(self, batch: list[bytes]) -> bytes:
        """Return a batch as it travels."""
        if self._subscription.protocol == "HTTP":
            return b"[" + b",".join(batch) + b"]"
        return b"".join(record + b"\n" for record in batch)

    def _close(self) -> Dropped | None:
        self._complete.append(self._open)
        self._open, self._size = [], 0
        if len(self._complete) <= MAX_WAITING:
            return None
        lost = self._complete.popleft()
        return Dropped(len(lost), sum(map(len, lost)))
