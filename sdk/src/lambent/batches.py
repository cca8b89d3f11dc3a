"""Batches of messages: a span for each record in its sender's trace, one with the totals, and what failed.

Records are looped over with `records`, each handled in `process`; `batch_handler` makes a Lambda handler of a
function for one record. Whatever fails on our side is said once, and the record is handled without its span.
"""

from __future__ import annotations

from _contextvars import ContextVar  # as in `lambent.context`

from lambent.context import CURRENT, NonRecordingSpan, SpanContext
from lambent.parts import Link
from lambent.propagation import parent_of
from lambent.propagation.tracecontext import extract
from lambent.triggers import Description, recognise, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextvars import Token
    from types import TracebackType
    from typing import Any, Self

    from lambent.context import AnySpan
    from lambent.limits import Attributes
    from lambent.tracer import Tracer
    from lambent.triggers.parts import Record

__all__ = ["Batch", "Process", "decorate", "finish", "links", "records"]

_CONSUMER = 4
_BATCH: ContextVar[Batch | None] = ContextVar("lambent-batch", default=None)
_of_raw: dict[int, Batch] = {}
"""The batch of each record that is being looped over: for threads, which do not see the handler's context."""

_described: ContextVar[tuple[object, Description, list[Link], Batch | None] | None] = ContextVar(
    "lambent-described", default=None
)


def links(
    tracer: Tracer, event: object, described: Description, given: Sequence[Any] | None = None
) -> list[Any]:
    """Return the links that are given, and one to the sender of each record that none of these leads to.

    The senders are remembered for the loop over the records.
    """
    senders = _senders(tracer, described)
    _described.set((event, described, senders, _BATCH.get()))
    if not given:
        return list(senders)
    known = {getattr(getattr(link, "context", None), "span_id", 0) for link in given}
    return [*given, *[link for link in senders if link.context.span_id not in known]]


def _senders(tracer: Tracer, described: Description) -> list[Link]:
    """Return a link to the sender of each record, each once."""
    found: dict[tuple[int, int], Link] = {}
    config = tracer.config
    # Then nothing else is asked where it finds one.
    usual = config.propagators[:1] == ("tracecontext",) and "none" not in config.propagators
    for each in described.records:
        context = extract(each.carrier) if usual else None
        if context is None:
            context, _ = parent_of(each.carrier, config, None, message=True)
        if context is not None:
            found.setdefault((context.trace_id, context.span_id), Link(context))
    return list(found.values())


class Batch:
    """The records of one event, and what became of them; current within its block."""

    def __init__(self, tracer: Tracer, event: object, name: str | None) -> None:
        self.tracer = tracer
        described = Description("other")
        self.senders: list[Link] = []
        self.within = False  # an invocation, which ends after all that is done in it
        try:
            known = _described.get()
            if known is not None and known[0] is event:
                _, described, self.senders, _ = known
                self.within = True
            else:
                described = recognise(event)
                self.senders = _senders(tracer, described)
        except Exception as error:  # noqa: BLE001  # see the head of this module
            _say(error)
        self.messages = described.records
        self.of = {id(each.raw): each for each in self.messages}
        given = event.get("Records") if isinstance(event, dict) else None
        self.raws: Sequence[Any] = [each.raw for each in self.messages] or (
            given if isinstance(given, list) else []
        )
        self.attributes = described.attributes
        self.source = described.source
        self.results: dict[int, dict[str, object]] = {}
        """What is answered for each record of Firehose, by its identity."""
        self.name = name or f"{described.source or 'records'}.batch"
        self.open = bool(self.messages) and not tracer.config.disabled
        self.start = self.end = tracer.clock() if self.open else 0
        # Lists, because threads may add to them at once.
        self.outcomes: list[bool] = []
        self.again: list[int] = []
        self.delays: list[float] = [0.0]

    def __enter__(self) -> Self:
        self.parent = CURRENT.get()
        self.outer = _BATCH.get()
        _BATCH.set(self)
        if self.open:
            _of_raw.update(dict.fromkeys(self.of, self))
        return self

    def __exit__(self, *exc: object) -> None:
        self.finish()
        if _BATCH.get() is self:  # a loop that was left may be closed much later, in another one
            _BATCH.set(self.outer)

    def ended(self, well: bool) -> None:
        """Note how the handling of one record ended."""
        self.outcomes.append(well)
        self.end = self.tracer.clock()

    def finish(self) -> None:
        """Make the span with the totals: once, from the first record to the last."""
        if not self.open:
            return
        self.open = False
        for key in self.of:
            if _of_raw.get(key) is self:
                del _of_raw[key]
        count, done = len(self.messages), self.outcomes.count(True)
        failed = len(self.outcomes) - done
        try:
            span = self.tracer.start_span(
                self.name,
                self.parent,
                _CONSUMER,
                {
                    **self.attributes,
                    "messaging.batch.message_count": count,
                    "lambent.batch.succeeded": done,
                    "lambent.batch.failed": failed,
                    "lambent.batch.unprocessed": max(0, count - done - failed),
                    "lambent.batch.redelivered": len(self.again),
                    "lambent.batch.queue_delay_max": max(self.delays),
                },
                self.senders,
                self.start,
            )
            if failed:
                span.set_status(2, f"{failed} of {count} records failed")
            span.end(self.end)
        except Exception as error:  # noqa: BLE001  # see the head of this module
            _say(error)


def records(tracer: Tracer, event: object, name: str | None = None) -> Iterator[Any]:
    """Give the records of an event as they stand in it, and make the span with the totals after the last.

    Records that threads still work on then are waited for until the end of the invocation.
    """
    batch = Batch(tracer, event, name).__enter__()
    try:
        yield from batch.raws
    except BaseException:
        batch.__exit__()
        raise
    batch.end = tracer.clock() if batch.open else 0
    if not batch.within or len(batch.outcomes) >= len(batch.messages):
        batch.__exit__()


def finish() -> None:
    """Make the span with the totals of a loop that was left: it may live as long as its exception does."""
    known, batch = _described.get(), _BATCH.get()
    _described.set(None)
    outer = known[3] if known is not None else None
    while batch is not None and batch is not outer:  # that one belongs to an invocation around this one
        batch.__exit__()
        batch = batch.outer


class Process:
    """The handling of one record, as a context manager: `with tracer.process(record) as span`.

    The span is a child of the record's sender, or of the current span where the record names none, and linked
    to the current one. An exception that leaves the block makes it ERROR and goes on.
    """

    def __init__(
        self, tracer: Tracer, raw: object, name: str | None = None, attributes: Attributes | None = None
    ) -> None:
        self._token: Token[Any] | None = None
        self._well = True
        self._batch = batch = _BATCH.get()
        self._span: AnySpan
        try:
            raw = getattr(raw, "raw_event", raw)  # of one of Powertools' data classes
            if batch is None or id(raw) not in batch.of:
                self._batch = batch = _of_raw.get(id(raw), batch)
            message = (batch.of.get(id(raw)) if batch is not None else None) or record(raw)
            self._span = self._start(tracer, message, name, attributes)
        except Exception as error:  # noqa: BLE001  # see the head of this module
            _say(error)
            self._span = NonRecordingSpan(SpanContext(0, 0))

    def _start(
        self, tracer: Tracer, message: Record | None, name: str | None, attributes: Attributes | None
    ) -> AnySpan:
        batch, current = self._batch, CURRENT.get()
        if current is None and batch is not None:
            current = batch.parent
        if message is None:
            return tracer.start_span(name or "process", current, _CONSUMER, attributes)
        parent, baggage = parent_of(message.carrier, tracer.config, tracer._sampler, message=True)
        if baggage:
            from lambent.propagation.baggage import attach
            from lambent.propagation.baggage import current as entries

            # Before the span starts: the sender's session goes on in it.
            self._token = attach({**entries(), **baggage})
        described = dict(message.attributes)
        if batch is not None and batch.messages:
            described["messaging.batch.message_count"] = len(batch.messages)
        system: Any = message.raw.get("attributes")
        received = system.get("ApproximateReceiveCount") if isinstance(system, dict) else None
        if isinstance(received, str) and received.isascii() and received.isdigit():
            described["lambent.message.redelivery_count"] = again = max(0, int(received) - 1)
            if batch is not None and again:
                batch.again.append(again)
        if message.sent:
            # The clocks of two machines: a message is not received before it is sent.
            delay = max(0.0, round(tracer.clock() / 1e9 - message.sent, 6))
            described["lambent.message.queue_delay"] = delay
            if batch is not None:
                batch.delays.append(delay)
        if attributes:
            described.update(attributes)
        return tracer.start_span(
            name or message.name,
            current if parent is None else parent,
            _CONSUMER,
            described,
            [Link(current.context)] if current is not None and parent is not None else None,
        )

    def __enter__(self) -> AnySpan:
        return self._span.__enter__()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(exc, Exception):
            self._span.set_attribute("error.type", type(exc).__qualname__)
        self._span.__exit__(exc_type, exc, traceback)
        if self._token is not None:
            from lambent.propagation.baggage import detach

            detach(self._token)
        if self._batch is not None:
            self._batch.ended(exc is None and self._well)

    def refuse(self, result: object) -> None:
        """Note that the record is answered as failed, without an exception."""
        self._well = False
        self._span.set_status(2, f"answered with {result}")


def decorate(
    tracer: Tracer,
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    batch_name: str | None = None,
    invocation_name: str | None = None,
    kind: object = None,
) -> Callable[..., Any]:
    """Return the handler, or, without a function, the decorator that makes it."""

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        return _handler(tracer, function, name, batch_name, {"name": invocation_name, "kind": kind})

    return wrapped if function is None else wrapped(function)


def _handler(
    tracer: Tracer,
    function: Callable[..., Any],
    name: str | None,
    batch_name: str | None,
    root: dict[str, object],
) -> Callable[..., Any]:
    """Return a Lambda handler that calls the function for each record; see `Tracer.batch_handler`."""
    from lambent.handler import wrap
    from lambent.wrapping import kind_of, look_like

    rest = (slice(1), slice(2))[_takes_context(function)]

    def answer(batch: Batch, failures: set[int]) -> dict[str, Any]:
        if batch.source == "firehose":
            from lambent.triggers.brokers import answer_of

            return answer_of(batch.messages, batch.results)
        identifiers = [each.id for each in batch.messages if id(each.raw) in failures]
        return {"batchItemFailures": [{"itemIdentifier": each} for each in identifiers]}

    def handler(event: Any, context: Any = None) -> dict[str, Any]:
        with Batch(tracer, event, batch_name) as batch:
            failures: set[int] = set()
            for raw in batch.raws:
                if id(raw) in failures:
                    continue
                try:
                    process = tracer.process(raw, name)
                    with process:
                        _take(batch, process, raw, function(*(raw, context)[rest]))
                except Exception as error:  # noqa: BLE001  # reported, and on the record's span
                    _failed(batch, failures, raw, error)
            return answer(batch, failures)

    async def coroutine(event: Any, context: Any = None) -> dict[str, Any]:
        from asyncio import gather

        with Batch(tracer, event, batch_name) as batch:
            failures: set[int] = set()

            async def one(raw: Any) -> None:
                if id(raw) in failures:
                    return
                try:
                    process = tracer.process(raw, name)
                    with process:
                        _take(batch, process, raw, await function(*(raw, context)[rest]))
                except Exception as error:  # noqa: BLE001  # as above
                    _failed(batch, failures, raw, error)

            if any(each.group or not each.id for each in batch.messages) or not batch.messages:
                for raw in batch.raws:
                    await one(raw)
            else:
                await gather(*map(one, batch.raws))
            return answer(batch, failures)

    chosen = coroutine if kind_of(function) == "coroutine" else handler
    look_like(chosen, function)
    traced = chosen if tracer.config.disabled else wrap(tracer, chosen, **root)
    if chosen is handler:
        return traced
    from lambent.driven import driven

    return driven(traced)


def _take(batch: Batch, process: Any, raw: Any, given: object) -> None:
    """Keep what a function has made of a record, where its source wants to know."""
    if batch.source == "firehose":
        from lambent.triggers.brokers import result_of

        batch.results[id(raw)] = found = result_of(raw, given)
        if found["result"] not in ("Ok", "Dropped") and isinstance(process, Process):
            process.refuse(found["result"])


def _failed(batch: Batch, failures: set[int], raw: object, error: Exception) -> None:
    """Note a failed record, and with it those after it that must wait for it."""
    message = batch.of.get(id(raw))
    if message is None or not message.id:
        raise error  # where single records cannot be reported, the whole batch has failed
    failures.add(id(raw))
    if message.group:  # a FIFO queue waits as a whole, a stream by its shard or partition
        after = batch.messages[[each is message for each in batch.messages].index(True) :]
        whole = "messageId" in message.raw
        failures.update(id(each.raw) for each in after if whole or each.group == message.group)
    from lambent.diagnostics import say

    say(f"record {message.id} failed: {type(error).__name__}: {error}")


def _takes_context(function: Any) -> bool:
    """Whether a function for one record takes the Lambda context too, as a second argument."""
    inner = getattr(function, "__wrapped__", function)
    bound = hasattr(inner, "__self__")
    if not hasattr(inner, "__code__") and not bound:
        inner, bound = type(inner).__call__, True
    code = getattr(getattr(inner, "__func__", inner), "__code__", None)
    if code is None or code.co_argcount < 2 + bound:
        return False
    required = code.co_argcount - len(getattr(inner, "__defaults__", None) or ())
    return bool(required > 1 + bound or code.co_varnames[1 + bound] in ("context", "lambda_context"))


def _say(error: Exception) -> None:
    from lambent.diagnostics import say_once

    say_once("batch", f"a record is not traced ({type(error).__name__}: {error}); it is handled all the same")
