"""An export in the middle of an invocation, where spans leave at its end otherwise. Loaded when it is wanted.

The invocation goes on meanwhile: a thread exports, one at a time for each delivery, and its end waits for
what is under way as long as it may. Without a thread the spans wait for the end, as far as there is room.
"""

from __future__ import annotations

import os
from _thread import start_new_thread

from lambent.delivery import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.delivery.sync import SyncDelivery

__all__ = ["export_early"]

_busy: set[SyncDelivery] = set()
_asked: set[SyncDelivery] = set()
"""Whose queue has filled up to its half since a thread has begun to empty it."""


def _in_child() -> None:
    _busy.clear()
    _asked.clear()


os.register_at_fork(after_in_child=_in_child)


def export_early(delivery: SyncDelivery) -> None:
    """Have a thread export what is queued. One that is at it looks again: nobody asks a second time."""
    _asked.add(delivery)  # first: whoever is just about to end looks for it after it has said so
    if delivery in _busy:
        return
    _busy.add(delivery)
    _asked.discard(delivery)
    try:
        start_new_thread(_export, (delivery,))
    except RuntimeError:  # no thread to be had
        _busy.discard(delivery)


def _export(delivery: SyncDelivery) -> None:
    try:
        delivery.flush_in_time()
    except Exception as error:  # noqa: BLE001  # nobody catches what leaves a thread
        say_once("export", f"spans could not be exported: {type(error).__name__}: {error}")
    finally:
        _busy.discard(delivery)
        if delivery in _asked:
            _asked.discard(delivery)
            delivery.half_full()  # if the invocation still goes on
