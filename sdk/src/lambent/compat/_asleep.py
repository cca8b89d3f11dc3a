"""Tracers of HoneyHive's beyond those that an environment can afford: asleep until they are used again.

Programs make one in each invocation, with arguments of its own, and close none. Loaded when there are many.
Rules:

- In Lambda only so many keep what a tracer has. The oldest that is idle lets go of its connection, its flight
  recorder and its memory; what is left is its configuration and its account.
- Idle is one whose spans have all ended and been dealt with, that nobody else depends on, and whose exporters
  can be made anew.
- Whatever is asked of one that sleeps wakes it: it is made again in its place.
- With a backend that takes nothing none may be idle. Far above that number the oldest gives up what waits,
  counted and said; what the flight recorder has of it is the next process's to deliver.
"""

from __future__ import annotations

from _thread import RLock, get_ident
from os import register_at_fork
from typing import TYPE_CHECKING, Any

import lambent
from lambent.diagnostics import say_once
from lambent.propagation.baggage import BAGGAGE
from lambent.session import SessionId
from lambent.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent.stats import Stats

__all__ = ["rest"]

_FAR = 4  # times as many: then what waits for a backend that takes nothing is given up
_LAST_TRY_S = 0.1
_KEPT = ("config", "_account", "_holders", "_lost", "stats")

_gate = RLock()
_worker = 0
"""The thread that puts one to sleep or wakes one: for it they are as they are."""
_kinds: dict[type, type] = {}


def _renew() -> None:
    global _gate, _worker  # a forked child has not the thread that may hold it
    _gate, _worker = RLock(), 0


register_at_fork(after_in_child=_renew)


class _Asleep:
    """What a tracer that sleeps is besides."""

    _awake: type
    _made: Callable[[Any], None]

    def __getattribute__(self, name: str) -> Any:
        if name not in _KEPT and not name.startswith("__") and _worker != get_ident():
            _wake(self)
        return object.__getattribute__(self, name)

    def stats(self) -> Stats:
        """Return the account: for that none is woken."""
        account: Stats | None = vars(self).get("_account")
        return account or Tracer.stats(self)  # type: ignore[arg-type]  # which it is


def rest(awake: list[Any], most: int, made: Callable[[Any], None]) -> None:
    """Put the oldest idle ones to sleep until `most` are awake, never the newest.

    `made` is called with each that is made again.
    """
    global _worker  # noqa: PLW0603  # see there
    with _gate:
        before, _worker = _worker, get_ident()
        try:
            for tracer in awake[:-1]:
                if len(awake) <= most:
                    break
                if _is_idle(tracer) or (len(awake) > _FAR * most and _gives_up(tracer)):
                    if tracer not in awake:  # another thread has closed it
                        continue
                    awake.remove(tracer)
                    _put_to_sleep(tracer, made)
                    say_once(
                        "honeyhive tracers",
                        f"more than {most} HoneyHiveTracers are open: the oldest are closed, and opened "
                        "again when they are used; make one outside the handler, or close() it",
                    )
        finally:
            _worker = before


def _is_idle(tracer: Any) -> bool:
    delivery = tracer.delivery
    return _can_be_made_again(tracer) and not (delivery.started - _ended(delivery) or delivery.waiting)


def _can_be_made_again(tracer: Any) -> bool:
    delivery, config = tracer.delivery, tracer.config
    sessions = [entry for entry in BAGGAGE.get().values() if type(entry) is SessionId]
    return not (
        tracer is lambent._default
        or tracer._provider is not None
        or config.instrument
        or config.processors
        or any(not isinstance(each, str) for each in config.exporters)
        or delivery.mode != "sync"
        or delivery.active
        or delivery.closed
        or any(session.owner is delivery for session in sessions)
    )


def _ended(delivery: Any) -> int:
    return int(delivery.taken + delivery.handed_over + delivery.queued + delivery.refused)


def _gives_up(tracer: Any) -> bool:
    """Have one deliver what waits, or count it as lost; return whether it can sleep now."""
    delivery = tracer.delivery
    if not _can_be_made_again(tracer) or delivery.started - _ended(delivery):
        return False
    delivery.close(_LAST_TRY_S)
    return True


def _put_to_sleep(tracer: Any, made: Callable[[Any], None]) -> None:
    kind = type(tracer)
    asleep = _kinds.get(kind)
    if asleep is None:
        asleep = _kinds[kind] = type(
            kind.__name__, (_Asleep, kind), {"_awake": kind, "_made": staticmethod(made)}
        )
    tracer.__class__ = asleep  # first: who comes from now on waits, and wakes it
    Tracer.close(tracer)
    own = vars(tracer)
    own["_account"] = Tracer.stats(tracer)
    for name in [name for name in own if name not in _KEPT]:
        del own[name]


def _wake(tracer: Any) -> None:
    global _worker  # noqa: PLW0603  # see there
    with _gate:
        before, _worker = _worker, get_ident()
        try:
            kind = type(tracer)
            if not issubclass(kind, _Asleep):  # another thread was faster
                return
            account: Stats = vars(tracer).pop("_account")
            Tracer.__init__(tracer, tracer.config)
            delivery = tracer.delivery
            delivery.started = account.started
            delivery.handed_over = account.acknowledged
            delivery.drops = dict(account.dropped)
            delivery.refused = account.lost
            delivery.sampled_out, delivery.recovered = account.sampled_out, account.recovered
            flushes = account.flushes
            delivery.flushes, delivery.flush_total = flushes.count, flushes.total
            delivery.flush_longest, delivery.flush_last = flushes.longest, flushes.last
            tracer.__class__ = kind._awake
            kind._made(tracer)
        finally:
            _worker = before
