"""The Telemetry API's side of one environment: subscriptions, records, and their delivery.

Rules
- What happens before anybody has subscribed is kept until init is over, so that a subscriber gets all of it.
  A function without subscribers pays for nothing afterwards.
- Batches go out when they are due, and all of them before the environment is frozen and before it ends.
  Nothing is sent to processes that stand still.
- A delivery that fails stays in front and is tried again when the next one is due.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from lambent_lab.http import Response
from lambent_lab.protocol import telemetry as protocol
from lambent_lab.protocol.outcomes import Reply
from lambent_lab.protocol.runtime import bad_body, only, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lambent_lab.http import BadBody, Request
    from lambent_lab.protocol.extensions import Extension, ExtensionsApi

    Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

DELIVERY_S = 1.0  # how long one delivery may take
FLUSH_S = 1.0  # how long the freeze or the end waits for all of them

_ACCEPTED = re.compile(rb"http/1\.[01] 2\d\d")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,9})\r\n")

Kind = Literal["platform", "function", "extension"]


class Telemetry:
    """The records of one environment, from one init to its end.

    `on_subscription` is called with the API, the name of a subscriber and the types that it asked for;
    `managed` tells that the environment is on a managed instance, `connect` connects to a port of the
    network that it is in.
    """

    def __init__(
        self,
        on_subscription: Callable[[Literal["telemetry", "logs"], str, tuple[str, ...]], None] | None = None,
        *,
        managed: bool = False,
        connect: Connect | None = None,
    ) -> None:
        self.active = True
        self._connect = connect or _connect
        self._on_subscription = on_subscription
        self._open = True
        self._managed = managed
        self._past: list[tuple[Kind, str, bytes, bytes]] = []
        self._subscribers: dict[str, _Subscriber] = {}

    @property
    def open(self) -> bool:
        """Whether subscriptions are accepted."""
        return self._open

    @property
    def subscribed(self) -> bool:
        """Whether anybody gets the records."""
        return bool(self._subscribers)

    def handle(self, request: Request, bad: BadBody | None, extensions: ExtensionsApi) -> Response:
        """Answer one request."""
        reply = self._answer(request, bad, extensions)
        return Response(reply.status, reply.body, reply.headers)

    def _answer(self, request: Request, bad: BadBody | None, extensions: ExtensionsApi) -> Reply:
        logs = request.path == protocol.LOGS_PATH
        if not logs and request.path != protocol.PATH:
            return Reply(404, b"404 page not found\n", (("Content-Type", "text/plain"),))
        refused = only("PUT", request) or (None if bad is None else bad_body(bad))
        who = refused or extensions.identify(request)
        if isinstance(who, Reply):
            return who
        if logs and self._managed:
            return protocol.not_supported()
        schemas = protocol.LOGS_SCHEMAS if logs else protocol.SCHEMAS
        subscription = protocol.parse(request.body, schemas)
        if isinstance(subscription, Reply):
            return subscription
        return self._subscribe(who, subscription) if self._open else protocol.closed(request.path)

    def _subscribe(self, who: Extension, subscription: protocol.Subscription) -> Reply:
        logs = subscription.schema in protocol.LOGS_SCHEMAS
        old = self._subscribers.get(who.identifier)
        if old is not None:
            if old.logs is not logs:
                text = "The extension is subscribed to the other API already"
                return refusal(403, "Logs.InvalidState" if logs else "Telemetry.InvalidState", text)
            old.close()
        subscriber = self._subscribers[who.identifier] = _Subscriber(subscription, self._connect)
        for past in self._past if old is None else ():
            subscriber.add(*past)
        if self._on_subscription is not None:
            self._on_subscription("logs" if logs else "telemetry", who.name, subscription.types)
        return protocol.OK

    def close_subscriptions(self) -> None:
        """Init is over: who has not subscribed by now does not. Safe to call again."""
        self._open = False
        self._past.clear()
        self.active = self.subscribed

    def record(self, kind: Kind, name: str, record: object, at: float | None = None) -> None:
        """Take a record, as of now or a moment of the performance counter."""
        if self.active:
            ago = 0.0 if at is None else time.perf_counter() - at
            encoded = protocol.encode(timestamp(time.time() - ago), name, record)
            self._hand_out(kind, name, encoded, encoded)

    def output(self, kind: Kind, line: str, *, structured: bool) -> None:
        """Take a line that the function or an extension wrote.

        `structured` tells that the log is in JSON: lines that are JSON objects travel as such then, to
        subscribers of a schema that knows it.
        """
        if not self.active:
            return
        now = timestamp(time.time())
        text = encoded = protocol.encode(now, kind, line)
        if structured and line.startswith("{"):
            with suppress(ValueError, RecursionError):
                encoded = protocol.encode(now, kind, json.loads(line))
        self._hand_out(kind, kind, encoded, text)

    def _hand_out(self, kind: Kind, name: str, record: bytes, text: bytes) -> None:
        if self._open:
            self._past.append((kind, name, record, text))
        for subscriber in self._subscribers.values():
            subscriber.add(kind, name, record, text)

    def pause(self) -> None:
        """Send nothing from now on: the environment is about to stand still."""
        for subscriber in self._subscribers.values():
            subscriber.pause()

    def resume(self) -> None:
        """The environment runs again."""
        for subscriber in self._subscribers.values():
            subscriber.resume()

    async def flush(self, limit_s: float = FLUSH_S) -> None:
        """Deliver everything, as far as the subscribers take it within the limit."""
        flushing = [subscriber.flush() for subscriber in self._subscribers.values()]
        if flushing:
            await asyncio.wait(flushing, timeout=limit_s)

    def close(self) -> None:
        """Drop what is left and every connection."""
        self.active = self._open = False
        for subscriber in self._subscribers.values():
            subscriber.close()
        self._subscribers.clear()


class _Subscriber:
    """One subscription with its buffer, its timer and its deliveries, one at a time."""

    def __init__(self, subscription: protocol.Subscription, connect: Connect) -> None:
        self._connect = connect
        self.logs = subscription.schema in protocol.LOGS_SCHEMAS
        self._subscription = subscription
        self._buffer = protocol.Buffer(subscription)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._connection: asyncio.StreamWriter | None = None
        self._everything = False
        self._held = False
        self._failing = False  # the last delivery failed: the timer is for the next try

    def add(self, kind: Kind, name: str, record: bytes, text: bytes) -> None:
        """Take a record of a type that was subscribed to; `text` is its form in the older schemas."""
        schema = self._subscription.schema
        if kind not in self._subscription.types or not protocol.hears(schema, name):
            return
        older = self.logs or schema == protocol.SCHEMAS[0]
        dropped = self._buffer.add(text if older else record, self._loop.time())
        if dropped is not None:
            about = {
                "reason": "The subscriber has not taken the records as fast as they came",
                "droppedRecords": dropped.records,
                "droppedBytes": dropped.size,
            }
            notice = protocol.encode(timestamp(time.time()), "platform.logsDropped", about)
            self._buffer.add(notice, self._loop.time())
        self._schedule()

    def pause(self) -> None:
        """Send nothing until `resume`."""
        self._held = True
        self._failing = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def resume(self) -> None:
        """Send again."""
        if self._held:
            self._held = False
            self._schedule()

    def flush(self) -> asyncio.Task[None]:
        """Deliver everything now; the task ends when that is done or has failed."""
        self._everything = True
        return self._deliveries()

    def close(self) -> None:
        """Stop at once."""
        self.pause()
        if self._task is not None:
            self._task.cancel()
        self._hang_up()

    def _schedule(self) -> None:
        due = self._buffer.due
        if due is None or self._held or self._failing:
            return
        at = max(due, self._loop.time())
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._failing = False
        self._deliveries()

    def _deliveries(self) -> asyncio.Task[None]:
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._deliver())
        return self._task

    async def _deliver(self) -> None:
        while batch := self._buffer.next_batch(self._loop.time(), everything=self._everything):
            try:
                async with asyncio.timeout(DELIVERY_S):
                    await self._send(self._buffer.body(batch))
            except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                self._hang_up()
                if not self._held:
                    self._failing = True
                    self._retry()
                break
            self._buffer.delivered(batch)
        self._everything = False
        self._schedule()

    def _retry(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._subscription.timeout_ms / 1000, self._on_time)

    async def _send(self, body: bytes) -> None:
        if self._subscription.protocol == "HTTP":
            await _post(self._connect, self._subscription.port, self._subscription.path, body)
            return
        if self._connection is None or self._connection.is_closing():
            _, self._connection = await self._connect(self._subscription.port)
        self._connection.write(body)
        await self._connection.drain()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


async def _post(connect: Connect, port: int, path: str, body: bytes) -> None:
    """POST a JSON document to a port of the loopback. Raises OSError when it is not accepted."""
    reader, writer = await connect(port)
    try:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: sandbox.localdomain:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        # The body means nothing, but closing before it is read would be an error to the server.
        if length := _LENGTH.search(answer):
            await reader.readexactly(int(length[1]))
        if not _ACCEPTED.match(answer):
            raise OSError(f"The subscriber answered {answer[:40]!r}")
    finally:
        writer.close()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


def timestamp(seconds: float) -> str:
    """Return a moment since the epoch as the API writes it."""
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
