"""Delivery at the end only: an invocation's end sends nothing, SIGTERM sends everything.

For use with processors that see to themselves, OpenTelemetry's BatchSpanProcessor among them. Lambda
sends SIGTERM only where there is an extension, so an internal one is registered, for no event at all. If
Lambda does not take it, an external one (a layer's) may still bring the signal.

Spans for lambent's own exporters stay in the queue; half full, it is emptied at an invocation's end. So it
is where a process before this one was killed, and left its spans in its flight recorder: the fractions of a
second after SIGTERM would have to do for the spans of two, at the function's share of a CPU.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread

from lambent.delivery import say_once, sigterm
from lambent.delivery.extension_api import ExtensionApi
from lambent.delivery.sync import SyncDelivery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType

    from lambent.config import Config
    from lambent.context import AnySpan

__all__ = ["FinalizeDelivery"]

NAME = "lambent-finalize"
_TRIES = 3
"""So many failed exports at invocations' ends, then what was left behind has to wait for SIGTERM too."""
_registered: set[str] = set()


class FinalizeDelivery(SyncDelivery):
    """Keeps spans until the end of the environment."""

    mode = "finalize"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._half_full = False
        self._tries = _TRIES
        self._settled = allocate_lock()
        sigterm.watch(self)
        if config.runtime_api and config.runtime_api not in _registered:
            _registered.add(config.runtime_api)
            if config.max_concurrency:
                _say(RuntimeError("managed instances have none"))
            else:
                self._register(config.runtime_api)

    def _register(self, address: str) -> None:
        asked = allocate_lock()
        asked.acquire()
        try:
            api = ExtensionApi(address)
            # First the thread: Lambda waits for ever for an extension without one.
            start_new_thread(self._wait, (api, asked))
            self._settled.acquire()
            api.register(NAME, ())
        except Exception as error:  # noqa: BLE001  # no reason for a function to fail
            _say(error)
        finally:
            asked.release()

    def _wait(self, api: ExtensionApi, asked: LockType) -> None:
        asked.acquire()
        try:
            try:
                api.registered()
                self._prepare()
                api.ask()
            finally:
                self._settled.release()
            sigterm.wait_for((api.fileno(),))
            api.event()  # none comes: the wait is what tells Lambda that this extension is idle
        except Exception as error:  # noqa: BLE001  # as above
            _say(error)

    def _prepare(self) -> None:
        """Load what an export needs: at SIGTERM there is no time for that."""
        for exporter in self.exporters:
            prepare = getattr(exporter, "prepare", None)
            if prepare is not None:
                prepare()

    def ready(self) -> None:
        """Wait until Lambda has taken the extension on: after init it would be refused."""
        if self._settled.acquire(timeout=1.0):
            self._settled.release()

    def half_full(self) -> None:
        """Have the next invocation's end empty the queue."""
        self._half_full = True

    def end(self, root: AnySpan, deadline: float | None) -> None:
        """Keep what the invocation has finished, unless there is more than SIGTERM leaves the time for."""
        sigterm.check()
        sigterm.listen_again()
        if self._half_full or (self.recovery is not None and self._tries):
            self._half_full = self.closed  # then what ends is dropped, and that is said
            super().end(root, deadline)
            if not all(lane.delivered for lane in self.lanes or ()):
                self._tries -= 1
        else:
            self.active.discard(root)

    def close(self, seconds: float) -> None:
        """Export what is queued."""
        super().close(seconds)
        self._half_full = True
        sigterm.forget(self)


def _say(error: Exception) -> None:
    say_once(
        "extension",
        f"Lambda took no internal extension on ({type(error).__name__}: {error}): without another "
        "extension it sends no SIGTERM, and the last spans are not delivered",
    )
