"""An export in the middle of an invocation, where spans leave at its end otherwise. Loaded when it is wanted.

The invocation goes on meanwhile: a thread exports, one at a time for each delivery, and its end waits for
what is under way as long as it may. Without a thread the spans wait for the end, as far as there is room.
"""

from __future__ import annotations

import os
from _thread import start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.delivery.sync import SyncDelivery

__all__ = ["export_early"]

_busy: set[SyncDelivery] = set()
os.register_at_fork(after_in_child=_busy.clear)


def export_early(delivery: SyncDelivery) -> None:
    """Have a thread export what is queued, unless one is at it."""
    if delivery in _busy:
        return
    _busy.add(delivery)
    try:
        start_new_thread(_export, (delivery,))
    except RuntimeError:  # no thread to be had
        _busy.discard(delivery)


def _export(delivery: SyncDelivery) -> None:
    try:
        delivery.flush_in_time()
    except Exception as error:  # noqa: BLE001  # nobody catches what leaves a thread
        from lambent.diagnostics import say_once

        say_once("export", f"spans could not be exported: {type(error).__name__}: {error}")
    finally:
        _busy.discard(delivery)
