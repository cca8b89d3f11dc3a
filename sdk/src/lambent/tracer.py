"""The tracer: makes spans, says which is the parent of which, and hands finished ones to delivery."""

from __future__ import annotations

from _imp import source_hash as check
from marshal import dumps
from time import time_ns

from lambent.context import CURRENT, EMPTY_TRACE_STATE, SUPPRESSED, SpanContext
from lambent.delivery.sync import SyncDelivery
from lambent.ids import ids_for, parent_in
from lambent.limits import NAMES, NO_SHAPES, SCALARS, clean_name, clean_time, learn_names, learn_shape
from lambent.span import NonRecordingSpan, Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, ParamSpec, TypeVar

    from lambent.batches import Process
    from lambent.config import Config
    from lambent.current import CurrentSpan
    from lambent.delivery.recorder import Recorder
    from lambent.delivery.watchdog import Watchdog
    from lambent.handler import Invocation
    from lambent.ids import Ids
    from lambent.limits import Attributes, Shape
    from lambent.otel.provider import Provider
    from lambent.parts import Link
    from lambent.resource import InstrumentationScope, Resource
    from lambent.sampling import Sampler
    from lambent.stats import Stats

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["CHECK_KEY", "Tracer"]

CHECK_KEY = 0x6C616D62656E7432  # of the hash that checks what the flight recorder writes

_current = CURRENT.get
_are_names = NAMES.issuperset


class Tracer:
    """Makes spans and delivers them. Get one from `lambent.init()`.

    Safe to share between threads and tasks; several tracers live side by side, each with its own
    resource and exporters.
    """

    on_end: Callable[[Span], None]  # takes a span that has ended; `_watch` puts more before delivery
    _provider: Provider | None = None
    _watching_starts: tuple[Callable[[Span, object], object], ...] = ()
    _watching_ends: tuple[Callable[[Span], None], ...] = ()
    straight: tuple[Recorder, Callable[..., bytes], list[Span], SyncDelivery] | None
    """A finished span's way where that is only the recorder, with what packs an end, and the queue."""
    shapes: dict[str, Shape]  # what spans of these names are usually started with: see `limits.learn_shape`
    whole: Tracer | None = None  # what this one is only a face of, as the OpenTelemetry API's are

    def __init__(self, config: Config, *, clock: Callable[[], int] = time_ns, ids: Ids | None = None) -> None:
        self.config = config
        self.clock = clock
        self.limits = config.limits
        self._identity: tuple[Resource, InstrumentationScope] | None = None
        # What `Span.set_attribute` may decide by itself: text of any length, so many attributes.
        self.plain_limits = config.limits.span_attribute_length is None
        self.attribute_count = 1 << 62 if config.limits.attributes is None else config.limits.attributes
        self._ids = ids if ids is not None else ids_for(config)
        self._pop_span_id = getattr(self._ids, "pop", None) or self._ids.span_id  # of an empty pool it knows
        self._sampler: Sampler | None = None
        if config.sampler != "parentbased_always_on":
            from lambent.sampling import sampler_of

            self._sampler = sampler_of(config)
        if config.mode == "sync":
            self.delivery = SyncDelivery(config)
        else:
            from lambent.delivery.choose import make

            self.delivery = make(config)
        self.on_end = self.delivery.on_end
        self.on_start: Callable[[Span, object], object] | None = None  # takes spans and their contexts
        self.straight = None
        self.shapes = {} if self._sampler is None and self.plain_limits else NO_SHAPES
        self.recorder: Recorder | None = None
        self.watchdog: Watchdog | None = None
        # Whether its invocations' spans say more than what is there without options.
        self.says_more = config.upstream or config.semconv or config.capture != "none" or self.delivery.debug
        self._watches = bool(config.function_name and config.watchdog and not config.test_mode)
        if (config.function_name if config.recorder is None else config.recorder) and not config.test_mode:
            self.on_start = self._begin_recording  # a process that traces nothing needs no file
            self._watching_starts = (self._begin_recording,)
            self.shapes = NO_SHAPES
        if config.session_name or (config.backend == "honeyhive" and not config.test_mode):
            from lambent.session import attach

            attach(self)
        if config.processors:
            from lambent.delivery.processors import ProcessorChain

            self.delivery.processors = chain = ProcessorChain(config.processors)
            self._watch(chain.on_start, chain.on_end)
        if config.count_spans:
            from lambent.delivery.counting import Counter

            self.delivery.counter = counter = Counter(self.delivery)
            self._watch(on_end=counter.on_end)

    @classmethod
    def init(cls, **arguments: object) -> Tracer:
        """Return a new tracer: the same as `lambent.init`."""
        from lambent import init

        return init(**arguments)

    def _watch(
        self, on_start: Callable[[Span, object], object] | None = None,
        on_end: Callable[[Span], None] | None = None,
    ) -> None:  # fmt: skip
        """Have functions called with each span as it starts, and as it ends, before delivery."""
        from lambent.delivery.watching import watch

        watch(self, on_start, on_end)

    def _begin_recording(self, span: Span, context: object) -> bool:
        from lambent.delivery.recorder import attach  # bundled

        attach(self, self._begin_recording)
        if self.on_start is not None and self._begin_recording not in self._watching_starts:
            self.on_start(span, context)
        return self._begin_recording not in self._watching_starts  # then it has told all of them

    def _guard(self) -> Watchdog | None:
        """Return the watchdog, made with the first invocation; None where there is none."""
        if self.watchdog is None and self._watches:
            from lambent.delivery.watchdog import guard  # bundled

            guard(self)
        return self.watchdog

    @property
    def resource(self) -> Resource:
        """Who makes the spans: the function, its service, its place in the cloud."""
        return self._identify()[0]

    @property
    def scope(self) -> InstrumentationScope:
        """Which library makes them."""
        return self._identify()[1]

    def _identify(self) -> tuple[Resource, InstrumentationScope]:
        if self._identity is None:
            from lambent import __version__
            from lambent.resource import InstrumentationScope, detect  # bundled

            self._identity = detect(self.config, __version__), InstrumentationScope("lambent", __version__)
        return self._identity

    @property
    def provider(self) -> Provider:
        """The tracer as OpenTelemetry's instrumentations take it. LambentError without opentelemetry-api."""
        if self._provider is not None:
            return self._provider
        from lambent.otel import provider_of

        return provider_of(self)

    # Spans.

    def start_span(
        self,
        name: str,
        context: object = None,
        kind: object = 0,
        attributes: Attributes | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span | NonRecordingSpan:
        """Start a span, a child of the current one or of `context`.

        The span is a context manager that makes itself current, records an exception that leaves
        the block, and ends. Without `with`, call its `end()`; it is then never current.

        `context`: a span, a `SpanContext` or an OpenTelemetry context; `kind`: a `SpanKind`, ours or
        OpenTelemetry's; `start_time`: nanoseconds since the epoch.
        """
        try:
            shape = self.shapes.get(name)
        except TypeError:
            shape = None  # it is no name
        parent: Any = _current()  # a span where `_recorded` is not negative
        if (
            shape is None or context is not None or links is not None or start_time is not None
            or not (record_exception and set_status_on_exception)
            or (parent is not None and parent._recorded < 0)
        ):  # fmt: skip
            shape = shape or None  # something, so that from each condition it is one jump to here
        else:
            known, number, pick, count, place = shape
            # A copy, for another thread may change the original. No attribute has an empty name.
            plain = attributes.copy() if type(attributes) is dict else {} if attributes is None else {"": 0}
            if kind == number and len(plain) == count:
                try:
                    values = pick(plain) if count else ()
                except KeyError:  # as many, but others
                    values = (None,)
                for value in values:
                    if type(value) not in SCALARS:
                        break
                else:
                    try:
                        span_id = self._pop_span_id()
                    except IndexError:
                        span_id = self._ids.span_id()
                    if parent is None:
                        trace_id, above = self._ids.trace_id(), 0
                    else:
                        trace_id, above = parent._trace_id, parent._span_id
                    start = self.clock()
                    span = Span(self, known, trace_id, span_id, parent, number, start, plain, count)
                    self.delivery.started += 1
                    recorder = self.recorder
                    if recorder is not None:  # as in `Recorder.started`
                        recorder._live.append(span)
                        try:
                            record: tuple[Any, ...] = place, trace_id, span_id, above, start, values
                            if not above:
                                due, recorder.due = recorder.due, 0  # as in `Recorder.take_due`
                                if due:
                                    due += start
                                    recorder.told = span
                                record = *record, due, 0
                            data = dumps(record, 2)
                            recorder._write(data + check(CHECK_KEY, data))
                        except Exception:  # noqa: BLE001  # as there
                            recorder.put(span, started=True)
                    return span
        started = self._start(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )
        if shape is None and self.shapes is not NO_SHAPES:
            learn_shape(self.shapes, started, self)
        return started

    def _start(  # noqa: C901, PLR0912  # nearly as often: each call that is spared is a tenth of it
        self, name: str, context: object, kind: Any, attributes: Attributes | None,
        links: Sequence[Link] | None, start_time: int | None, record_exception: bool,
        set_status_on_exception: bool,
    ) -> Span | NonRecordingSpan:  # fmt: skip
        given = _current() if context is None else parent_in(context)
        if kind != 0 and (type(kind) is not int or not 0 < kind < 5):
            from lambent.codes import number_of

            kind = number_of(kind)
        trace_state = EMPTY_TRACE_STATE
        parent: Span | SpanContext | None
        if given is None:
            parent = None
            trace_id = self._ids.trace_id()
        elif type(given) is Span or isinstance(given, Span):
            parent = given
            trace_id = given._trace_id
            trace_state = given._trace_state
        else:
            parent = given.context if isinstance(given, NonRecordingSpan) else given
            trace_id = parent.trace_id
            trace_state = parent.trace_state
            if (self._sampler is None and not parent.trace_flags & 1) or given is SUPPRESSED:
                return self._unsampled(trace_id, parent)
        plain: dict[str, object] | None = None
        if type(attributes) is dict and self.plain_limits and len(attributes) <= self.attribute_count:
            try:
                if _are_names(attributes) or learn_names(attributes):
                    for value in attributes.values():
                        if type(value) not in SCALARS:
                            break
                    else:
                        plain = attributes.copy()
            except Exception:  # noqa: BLE001  # another thread changes them, or a key that is none
                plain = None
        try:
            span_id = self._pop_span_id()
        except IndexError:
            span_id = self._ids.span_id()
        span = Span(
            self, name if type(name) is str else clean_name(name), trace_id, span_id, parent, kind,
            self.clock() if start_time is None else clean_time(start_time, self.clock), plain,
        )  # fmt: skip
        if trace_state is not EMPTY_TRACE_STATE:
            span._trace_state = trace_state
            span._recorded = -1
        added: Attributes | None = None
        if self._sampler is not None:
            from lambent.sampling import decide

            added = decide(self._sampler, span, attributes, links)
            if added is None:
                return self._unsampled(trace_id, span.parent)
        if plain is None and attributes is not None:
            span._start_attributes(attributes)
        if added or links is not None or not record_exception or not set_status_on_exception:
            span._start_rarely(added, links, record_exception, set_status_on_exception)
        self.delivery.started += 1
        if self.on_start is not None:
            self.on_start(span, context)
        return span

    trace = start_span

    def _unsampled(self, trace_id: int, parent: SpanContext | None) -> NonRecordingSpan:
        self.delivery.sampled_out += 1
        state = parent.trace_state if parent is not None else None
        random = parent.trace_flags & 2 if parent is not None else 0
        return NonRecordingSpan(SpanContext(trace_id, self._ids.span_id(), False, random, state), self)

    def start_as_current_span(
        self,
        name: str,
        context: object = None,
        kind: object = 0,
        attributes: Attributes | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """Start a span for a `with` block, or for each call of a function; OpenTelemetry's signature."""
        from lambent.current import CurrentSpan

        return CurrentSpan(
            self,
            end_on_exit,
            {"name": name, "context": context, "kind": kind, "attributes": attributes, "links": links,
             "start_time": start_time, "record_exception": record_exception,
             "set_status_on_exception": set_status_on_exception},
        )  # fmt: skip

    # Invocations.

    def handler(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a Lambda handler: each invocation becomes a root span and is delivered.

        Sync, async and generator handlers; what the handler returns or raises is left as it is.
        """
        from lambent.handler import wrap  # bundled

        self.delivery.ready()
        return wrap(self, function)

    def invocation(
        self,
        event: object,
        context: object = None,
        *,
        name: str | None = None,
        kind: object = None,
        attributes: Attributes | None = None,
        **more: Any,
    ) -> Invocation:
        """Return a context manager around the handling of one event, for code that cannot be decorated.

        Tell it the response with `set_response`, so that its status is known. Where the caller's context is
        not the event's own, `carrier` holds its headers, or `parent` is it; `more` is for `start_span`.
        """
        from lambent.handler import Invocation

        return Invocation(
            self, event, context, {"name": name, "kind": kind, "attributes": attributes, **more}
        )

    # Batches.

    def records(self, event: object, name: str | None = None) -> Iterator[Any]:
        """Give an event's records for a loop with `process`, then make a span with the batch's totals."""
        from lambent.batches import records

        return records(self, event, name)

    def process(
        self, record: object, name: str | None = None, attributes: Attributes | None = None
    ) -> Process:
        """Return a context manager around one record: its span, a child of the sender's."""
        from lambent.batches import Process

        return Process(self, record, name, attributes)

    def batch_handler(self, function: Callable[..., Any] | None = None, **names: Any) -> Callable[..., Any]:
        """Make a function for one record, sync or async, a Lambda handler for batches; a decorator.

        `name`, `batch_name`, `invocation_name` and `kind` are those of the spans. Records that raise are
        answered as `batchItemFailures`, which the event source must be told to read, Firehose's in its form.
        """
        from lambent.batches import decorate

        return decorate(self, function, **names)

    # Delivery.

    def force_flush(self, timeout_millis: float | None = None) -> bool:
        """Deliver what is finished, within the time given; return whether all of it was taken.

        Without a time the configured timeout applies, and in an invocation what is left of its own. An
        empty queue touches nothing.
        """
        delivery = self.delivery
        return delivery.flush_in_time() if timeout_millis is None else delivery.flush(timeout_millis / 1000)

    def stats(self) -> Stats:
        """Return what became of the spans so far: started, delivered, dropped and why."""
        return self.delivery.stats()

    def close(self) -> None:
        """Deliver what is finished, then release connections and files. Later spans are dropped."""
        from lambent.delivery.closing import close_all

        close_all(self)
