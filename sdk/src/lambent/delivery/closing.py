"""What delivery does rarely: it says what is lost, begins anew in a forked child, ends. Loaded then."""

from __future__ import annotations

from sys import modules
from time import monotonic

from lambent.context import CURRENT, SUPPRESSED
from lambent.diagnostics import say, say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.context import AnySpan
    from lambent.delivery.sync import SyncDelivery
    from lambent.tracer import Tracer

__all__ = [
    "at_the_end_of_workers", "close", "close_all", "end_others", "flush_late", "landed", "lose",
    "say_dropped", "start_anew",
]  # fmt: skip


def say_dropped(delivery: SyncDelivery) -> bool:
    """Say how many spans were dropped since the last time, and the last one's reason; return False."""
    count, delivery._dropped = delivery._dropped, 0
    if not count:  # another thread has just said so
        return False
    why = delivery._why
    reason = {
        "closed": "the tracer was closed",
        "queue_full": f"the queue of {delivery.size} spans was full",
        "queue_bytes": f"the queue of {delivery._config.queue_bytes} bytes was full",
    }.get(why, why)
    say(f"dropped {count} spans: {reason}")
    return False


def flush_late(delivery: SyncDelivery, remaining: float, root: AnySpan | None) -> bool:
    """Export what needs no time, since there is none before the deadline; say what has to wait."""
    if remaining > 0 and not any(lane.waits for lane in delivery._choose()):
        return delivery.flush(remaining, root)  # a line is written, and there may be no next invocation
    if not delivery.waiting:
        return delivery.flush(0, root)
    say(
        f"{delivery.waiting} spans wait for the next invocation: "
        f"{max(0.0, remaining) * 1000:.0f} ms before the deadline there is no time to export them"
    )
    return False


def end_others(ended: SyncDelivery, deadline: float | None, known: set[SyncDelivery]) -> None:
    """Deliver also what an invocation has finished with tracers that know of no invocation.

    All together they have the time of one: each gets an equal share of what those before it have left.
    """
    others = [each for each in [*known] if each is not ended and each.mode == "sync" and not each.active]
    others = [each for each in others if each.waiting]
    until = monotonic() + ended.timeout
    for done, delivery in enumerate(others):
        share = max(0.0, until - monotonic()) / (len(others) - done)
        # `flush_before` takes the margin off again.
        end = monotonic() + share + (delivery._config.deadline_margin or 0.1)
        delivery.flush_before(end if deadline is None else min(end, deadline))


def landed(delivery: SyncDelivery, deadline: float) -> bool:
    """Wait for what other threads have in their hands or are exporting; return whether all of it arrived."""
    if CURRENT.get() is SUPPRESSED:  # an exporter that flushes its own tracer would wait for itself
        return False
    lanes = delivery.lanes or []
    for flight in [*delivery._flights, *[flight for lane in lanes for flight in lane.flying]]:
        if not flight.acquire(timeout=max(0.0, deadline - monotonic())):
            return False
        flight.release()
    return all(lane.delivered for lane in lanes)


def lose(delivery: SyncDelivery) -> None:
    """Count what the last flush has left as lost."""
    left = delivery.waiting
    if left:
        kept = sum([len(lane.pending) for lane in delivery.lanes or () if lane.failing])
        for verb, number in (("lost", left - kept), ("gave up", kept)):
            if number:
                say(f"{verb} {number} spans: the tracer was closed without time to export them")
        delivery.drops["closed"] = delivery.drops.get("closed", 0) + left
        delivery.taken += delivery.queued
        delivery._queue.clear()
        for lane in delivery.lanes or ():
            lane.pending.clear()


def close(delivery: SyncDelivery, seconds: float) -> None:
    """Close the exporters after a last flush."""
    lanes = delivery.lanes or []
    lose(delivery)
    if delivery.processors is not None:
        delivery.processors.close(max(seconds, 0.1))
    for exporter in [*delivery._immediate, *[lane.exporter for lane in lanes]]:
        try:
            end = getattr(exporter, "close", None) or getattr(exporter, "shutdown", None)
            if end is not None:
                end()
        except Exception as error:  # noqa: BLE001  # a user's exporter
            say_once("close", f"an exporter failed to close: {type(error).__name__}: {error}")


def close_all(tracer: Tracer) -> None:
    """Close everything that a tracer has: its delivery, and what watches and records."""
    from lambent import _forget

    _forget(tracer)
    if tracer.config.instrument:
        from lambent.instrument import stop

        stop(tracer)
    tracer.delivery.close(tracer.config.timeout)
    if tracer.watchdog is not None:
        tracer.watchdog.close()
    if tracer.recorder is not None:
        tracer.recorder.close()


def start_anew(delivery: SyncDelivery) -> None:
    """In a forked child: forget what is the parent's."""
    delivery._queue.clear()
    delivery._flights = set()
    delivery.started = delivery.sampled_out = delivery.refused = delivery.taken = delivery.handed_over = 0
    delivery._dropped = 0
    delivery._bytes = delivery._measured = 0
    delivery.drops.clear()
    delivery.untold = False
    delivery.active.clear()
    if "multiprocessing.util" in modules:
        at_the_end_of_workers(delivery)
    if delivery.processors is not None:
        delivery.processors.in_child()
    if delivery.lanes is not None:
        from lambent.delivery.lane import lanes_of

        delivery.lanes = lanes_of([lane.exporter for lane in delivery.lanes], delivery)
        for lane in delivery.lanes:
            bounded = getattr(lane.exporter, "_bounded", None)  # of ours that stand for a user's
            if bounded is not None and hasattr(bounded, "renew"):
                bounded.renew()


def at_the_end_of_workers(delivery: SyncDelivery) -> None:
    """Close the delivery when a process of multiprocessing ends that it is in: no exit handler runs there."""
    from multiprocessing import process, util

    def finalize(found: SyncDelivery) -> None:
        util.Finalize(found, _end, (found,), exitpriority=_LAST)

    # A child that has been spawned imports the main module before it is told that it has a parent.
    if process.parent_process() is not None or getattr(process.current_process(), "_inheriting", False):
        finalize(delivery)
    # A fork may become one: what has been registered before that is forgotten.
    util.register_after_fork(delivery, finalize)


def _end(delivery: SyncDelivery) -> None:
    delivery.close(delivery._config.timeout)
    if delivery.recorder is not None:
        delivery.recorder.close()


_LAST = -100  # what the worker's own finalizers trace is sent as well
