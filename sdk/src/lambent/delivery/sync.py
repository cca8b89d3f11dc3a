"""Synchronous delivery: what an invocation finished is exported at its end, before the response.

Also what every mode of delivery stands on: the queue of finished spans, the exporters that empty it,
and the account of what became of each span. Rules:

- The queue is bounded by spans and by an estimate of their bytes; an export by the time there is.
- A span that is not delivered is counted under a reason and said, never forgotten.
- Ending a span takes no lock. Whoever empties the queue takes one for a moment (`_gate`).
- Invocations that run at the same time in one process deliver their own spans and do not wait for each
  other's. With one at a time, all that is finished goes.
"""

from __future__ import annotations

from _thread import allocate_lock
from sys import modules
from time import monotonic

from lambent.delivery import say_once
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Sequence

    from lambent.config import Config
    from lambent.context import AnySpan
    from lambent.delivery.counting import Counter
    from lambent.delivery.lane import Lane
    from lambent.delivery.processors import ProcessorChain
    from lambent.delivery.recorder import Recorder
    from lambent.exporters import Exporter
    from lambent.stats import Stats

__all__ = ["LONGEST", "SyncDelivery", "add", "outermost"]

LONGEST = 86_400.0
"""Seconds: more than any invocation has, and less than what locks and sockets refuse."""

_UNMEASURED = 8
"""So many spans wait before their bytes are first estimated: most invocations never get there."""

# Those that are not closed yet: what an exit or a fork has to look after.
_open: set[SyncDelivery] = set()
_watching: set[str] = set()


def _watch(delivery: SyncDelivery, exits: bool) -> None:
    """Have the delivery flushed at exit, if its process has exits, and emptied in forks."""
    _open.add(delivery)
    if "multiprocessing.util" in modules:  # its processes end without an exit
        from lambent.delivery.closing import at_the_end_of_workers

        at_the_end_of_workers(delivery)
    if "forks" not in _watching:
        _watching.add("forks")
        from os import register_at_fork

        register_at_fork(after_in_child=_in_child)
    if exits and "exit" not in _watching:
        _watching.add("exit")
        import atexit

        atexit.register(_at_exit)


def _in_child() -> None:
    from lambent.delivery.forked import free_imports

    free_imports()
    for delivery in list(_open):
        delivery.in_child()


def _at_exit() -> None:
    for delivery in list(_open):
        delivery.at_exit()


class SyncDelivery:
    """The queue of finished spans and the exporters that empty it.

    Exporters are chosen and loaded when there is something to export for the first time.
    """

    mode = "sync"
    ending = False  # whether this is the last chance: what fails now is not kept

    def __init__(self, config: Config) -> None:
        self._config = config
        self.debug = config.log_level == "debug"
        self.timeout = config.timeout
        self._queue: list[Span] = []
        self._append = self._queue.append
        self.size = config.queue_size
        self._room = self._fresh = min(self.size, _UNMEASURED, config.queue_bytes >> 17)
        self._bytes = self._measured = self._written = 0
        self._dropped = 0  # since it was last said
        self._why = ""
        self._gate = allocate_lock()
        self._flights: set[LockType] = set()  # a lock for each flush that has spans in its hands
        self.active: set[AnySpan] = set()
        self.due: float | None = None  # when the invocation that began last has to end, in monotonic seconds
        self.closed = False
        self.drops: dict[str, int] = {}
        self.started = self.sampled_out = self.refused = self.taken = self.handed_over = 0
        self.recovered = self.flushes = 0
        self.flush_total = self.flush_longest = self.flush_last = 0.0
        self.on_acknowledged: Callable[[Sequence[Span]], None] | None = None
        """Called with spans that an exporter has delivered, all or some of them; set by who keeps copies."""
        self.recovery: Callable[[float, float], None] | None = None
        """Called after a successful export with its deadline and its start: there is more to be delivered."""
        self.recorder: Recorder | None = None
        self.counter: Counter | None = None
        self.processors: ProcessorChain | None = None
        self.untold = False  # whether spans were dropped that no invocation span has told of yet
        self._immediate: list[Exporter] = []
        self.lanes: list[Lane] | None = None
        if config.test_mode or config.exporters or config.processors:
            # Some exporters take a span the moment it ends (memory), so they are needed from the start.
            self._choose()
        # Lambda stops its processes without an exit; elsewhere a script ends, and its spans must not.
        _watch(self, not config.function_name)

    def on_end(self, span: Span) -> None:
        """Take a finished span. Called by the span, in whatever thread ends it."""
        if len(self._queue) < self._room:
            self._append(span)
        else:
            self._crowded(span)

    def _crowded(self, span: Span) -> None:
        """Take a span if there is room in spans and bytes; an invocation's own span always."""
        waiting = len(self._queue)
        recorder = self.recorder
        if recorder is not None and waiting + 17 < self.size // 2:
            # It has written them, so it knows. Far from every limit the next look is as late as it may be.
            grown = recorder.written - self._written
            if 0 < 64 * (self._bytes + grown) < self._config.queue_bytes:
                self._written += grown
                self._bytes += grown
                self._measured = waiting + 1
                self._room = waiting + 17
                self._append(span)
                return
        try:
            from lambent.delivery.size import take
        except Exception:  # noqa: BLE001  # no file can be opened any more: see `say_once`
            self.drop("queue_full")
            return
        take(self, span)

    def half_full(self) -> None:
        """Learn that half of the room is taken: a thread exports now, whenever the next end may come."""
        from lambent.delivery.early import export_early

        export_early(self)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count spans that are lost, under a reason."""
        self.refused += count  # first: at no time more is dropped than has ended
        add(self.drops, reason, count)
        self._dropped += count
        self._why = reason
        self.untold = True

    def give_up(self, spans: Sequence[Span]) -> None:
        """Hold on to spans no more that this process does not deliver. What was recorded of them stays."""
        if self.recorder is not None:
            from lambent.delivery.recorder_rare import given_up

            given_up(self.recorder, spans)

    def _on_end_immediate(self, span: Span) -> None:
        if self.closed:
            self.drop("closed")
            return
        for exporter in self._immediate:
            try:
                exporter.on_end(span)
            except Exception as error:  # noqa: BLE001  # a user's exporter must not reach the function
                say_once("on_end", f"an exporter failed: {type(error).__name__}: {error}")
        if self.lanes:
            type(self).on_end(self, span)
        else:
            self.handed_over += 1

    @property
    def queued(self) -> int:
        """How many finished spans are in the queue that all exporters share."""
        return len(self._queue)

    @property
    def waiting(self) -> int:
        """How many finished spans wait for an export."""
        return len(self._queue) + sum([len(lane.pending) for lane in self.lanes or ()])

    @property
    def exporters(self) -> Sequence[Exporter]:
        """The exporters in use."""
        lanes = self._choose()
        return [*self._immediate, *[lane.exporter for lane in lanes]]

    def _choose(self) -> list[Lane]:
        if self.lanes is None:
            from lambent.delivery.lane import lanes_of  # bundled

            config = self._config
            chosen: Sequence[Exporter] = ()
            if config.exporters or config.test_mode or not config.processors:
                from lambent.exporters.choose import choose  # bundled

                chosen = choose(config)
            immediate = [exporter for exporter in chosen if getattr(exporter, "immediate", False)]
            lanes = lanes_of([exporter for exporter in chosen if exporter not in immediate], self)
            with self._gate:
                if self.lanes is None:  # else another thread's first export was faster
                    self._immediate, self.lanes = immediate, lanes
                    if immediate or not lanes:
                        self.on_end = self._on_end_immediate  # type: ignore[method-assign]  # chosen once, for speed
        return self.lanes

    def ready(self) -> None:
        """Wait for what has to be settled while the function's module is loaded. Here: nothing."""

    def begin(self, root: AnySpan) -> None:
        """Learn that an invocation runs, by its root span."""
        self.active.add(root)

    def end(self, root: AnySpan, deadline: float | None) -> None:
        """Deliver what the invocation has finished; `deadline` is Lambda's, in monotonic seconds."""
        try:
            beside = root if len(self.active) > 1 else None
            if deadline is None:
                self.flush(self.timeout, beside)
            else:
                self.flush_before(deadline, beside)
        finally:
            self.active.discard(root)
            if len(_open) > 1:
                from lambent.delivery.closing import end_others

                end_others(self, deadline, _open)

    def flush_before(self, deadline: float, root: AnySpan | None = None) -> bool:
        """Export what is queued, leaving a margin before the invocation's deadline (monotonic seconds).

        With no time at all the spans stay queued for the next invocation, and that is said.
        """
        remaining = deadline - monotonic()
        seconds = remaining - (self._config.deadline_margin or (remaining * 0.02 if remaining > 5 else 0.1))
        if seconds > self.timeout:  # noqa: PLR1730  # min() takes thrice as long
            seconds = self.timeout
        if seconds > 0:
            return self.flush(seconds, root)
        from lambent.delivery.closing import flush_late

        return flush_late(self, remaining, root)

    def flush_in_time(self) -> bool:
        """Export what is queued within the configured time, and the invocation's where one runs."""
        if self.active and self.due is not None and self.due > monotonic():
            return self.flush_before(self.due)
        return self.flush(self.timeout)

    def flush(self, seconds: float, root: AnySpan | None = None) -> bool:
        """Export what is queued within `seconds`; return whether every exporter took all of it.

        What another thread is exporting is waited for. Without time the spans stay queued. With the
        `root` of an invocation only what is not another invocation's goes, and nobody is waited for.
        """
        lanes = self.lanes
        if (
            not self._queue
            and not self._flights
            and (not lanes or not any(lane.pending or lane.flying or lane.lock.locked() for lane in lanes))
        ):
            delivered = not self._dropped or self._report_dropped()
            return delivered and (self.processors is None or self.processors.flush(seconds))
        if not seconds > 0:
            return False
        start = monotonic()
        deadline = start + (seconds if seconds < LONGEST else LONGEST)  # noqa: FURB136  # min() takes thrice as long
        flight = allocate_lock()
        flight.acquire()
        self._flights.add(flight)
        try:
            spans = self._take(root)
            if spans and self._dropped:
                # Whoever reads the traces learns that some are missing, not only who reads the log.
                spans[-1]._attributes.setdefault("lambent.spans.dropped", sum(self.drops.values()))  # noqa: SLF001  # it has ended
            try:
                lanes = lanes or (self._choose() if spans else [])
            except BaseException:  # no file can be opened any more: another time
                with self._gate:
                    self._queue[:0] = spans
                    self.taken -= len(spans)
                raise
            if len(lanes) == 1:
                delivered = lanes[0].send(spans, deadline, root is not None)
            else:
                from lambent.delivery.fanout import send_all

                delivered = send_all(lanes, spans, deadline, root is not None)
        finally:
            self._flights.discard(flight)
            flight.release()
        if root is None and (self._flights or (len(lanes) > 1 and any(lane.flying for lane in lanes))):
            from lambent.delivery.closing import landed

            delivered = landed(self, deadline) and delivered
        recovery = self.recovery
        if recovery is not None and (delivered or (len(lanes) > 1 and any(lane.delivered for lane in lanes))):
            recovery(deadline, start)
        took = monotonic() - start
        self.flushes += 1
        self.flush_total += took
        self.flush_last = took
        if took > self.flush_longest:  # noqa: PLR1730  # max() takes thrice as long
            self.flush_longest = took
        if self.debug:
            from lambent.debug import flushed

            flushed(len(spans), took, delivered)
        if self.processors is not None and not self.processors.flush(deadline - start - took):
            delivered = False
        return delivered if not self._dropped else self._report_dropped()

    def _take(self, root: AnySpan | None = None) -> list[Span]:
        """Take spans out of the queue: all of them, or those that belong to no other invocation."""
        queue = self._queue
        with self._gate:
            # Only append happens elsewhere, so the first n are ours whatever other threads do.
            count = len(queue)
            spans = queue[:count]
            others = self.active - {root} if root is not None else None
            if others:
                owners = [outermost(span) for span in spans]
                queue[:count] = [span for span, owner in zip(spans, owners, strict=True) if owner in others]
                spans = [span for span, owner in zip(spans, owners, strict=True) if owner not in others]
            else:
                del queue[:count]
            self._bytes = self._measured = 0
            if self.recorder is not None:
                self._written = self.recorder.written
                if others:
                    from lambent.delivery.size import estimate

                    self._measured = len(queue)
                    self._bytes = sum([estimate(span) for span in queue])
            if not self.closed:
                self._room = self._fresh
            self.taken += len(spans)
        return spans

    def tell_acknowledged(self, spans: Sequence[Span]) -> None:
        """Tell who keeps copies that these have arrived."""
        if self.on_acknowledged is not None:
            try:
                self.on_acknowledged(spans)
            except Exception as error:  # noqa: BLE001  # what hangs on delivery must not stop it
                say_once(
                    "acknowledged", f"spans could not be marked as sent: {type(error).__name__}: {error}"
                )

    def _report_dropped(self) -> bool:
        from lambent.delivery.closing import say_dropped

        return say_dropped(self)

    def stats(self) -> Stats:
        """Return the account of every span so far."""
        from lambent.stats import collect

        return collect(self)

    def last_flush(self, seconds: float) -> None:
        """Export what there is: the process ends."""
        self.ending = True
        self.flush(seconds)

    def at_exit(self) -> None:
        """Close with the configured time, unless Lambda is the one that ends the process."""
        if not self._config.function_name:
            self.close(self.timeout)

    def in_child(self) -> None:
        """After a fork: what was queued is the parent's to export, and its locks may be held there."""
        from lambent.delivery.closing import start_anew

        self._gate = allocate_lock()
        start_anew(self)

    def close(self, seconds: float) -> None:
        """Export what is queued, then close the exporters. Spans that end later are dropped."""
        if not self.closed:
            self.last_flush(seconds)
            self.closed = True
            self.size = self._room = 0
            _open.discard(self)
            from lambent.delivery.closing import close

            close(self, seconds)


def add(counts: dict[str, int], reason: str, count: int) -> None:
    """Add to one of the counts. There is no call in the addition, so no other thread can come between."""
    if reason not in counts:
        counts.setdefault(reason, 0)
    counts[reason] += count


def outermost(span: Span) -> Span:
    """Return the span of this process that the span is under: its invocation's root, if it has one."""
    parent = span._parent  # noqa: SLF001  # delivery belongs to the core here: it says whose a span is
    while isinstance(parent, Span):
        span, parent = parent, parent._parent  # noqa: SLF001  # as above
    return span
