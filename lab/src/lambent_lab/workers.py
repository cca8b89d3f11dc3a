"""The workers of one runtime on a managed instance: several conversations at once.

Rules
- Each `next` is that of a worker and begins a conversation of its own. As many may wait as the environment
  serves at once; one more is refused (Runtime.TooManyIdleRuntimes, 403).
- The first `next` of any of them ends the init phase. `init/error` ends it too, and is refused after that.
- An event goes to the worker that has waited longest. Its answer is known by the request id.
- A worker that is late loses its event, not its life: its answer is refused (410 InvokeTimeout), and
  its next `next` is as good as any. An id that is nobody's, or was answered, is InvalidRequestID (400).
- The end of the process ends every conversation.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from lambent_lab.http import BadBody, Request, Response
from lambent_lab.protocol.runtime import VERSION, refusal
from lambent_lab.runtime import Conversation, Exited, InitDone, NotStarted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lambent_lab.http import Answer as HttpAnswer
    from lambent_lab.protocol import Event, InitFailed
    from lambent_lab.response import Delivery
    from lambent_lab.runtime import Ended

MAX_LATE = 1000
"""How many late invocations are remembered."""

_NEXT = f"{VERSION}/runtime/invocation/next"
_INIT_ERROR = f"{VERSION}/runtime/init/error"
_INVOCATION = f"{VERSION}/runtime/invocation/"
_GRACE_S = 0.02  # what a process wrote right before its end may be read right after it


class Workers:
    """The Runtime API's side of a process with up to `limit` workers."""

    in_snapshot = False

    def __init__(self, on_idle: Callable[[], None], limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_idle = on_idle
        self._limit = limit
        self._waiting: deque[Conversation] = deque()
        self._running: dict[str, Conversation] = {}
        self._late: OrderedDict[str, None] = OrderedDict()
        self._changed = asyncio.Event()
        self._over = False
        self.init: asyncio.Future[tuple[InitDone | InitFailed | Exited | NotStarted, float]] = (
            self._loop.create_future()
        )

    @property
    def ready(self) -> bool:
        """Whether a worker waits for an event."""
        self._forget_lost()
        return bool(self._waiting)

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait until a worker waits for an event, and tell whether one does."""
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                while not self.ready:
                    if self._over:
                        return False
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return not self._over

    def hand_over(
        self,
        event: Event,
        delivery: Delivery | None = None,
        at_once: Callable[[Ended], None] | None = None,
    ) -> asyncio.Future[Ended | None]:
        """Give an event to a worker that waits: see `Conversation.hand_over`."""
        self._forget_lost()
        worker = self._waiting.popleft()
        self._running[event.request_id] = worker
        return worker.hand_over(event, delivery, at_once)

    def finish(self, request_id: str, *, late: bool) -> None:
        """Forget an invocation. `late` tells that its time was over before it was answered."""
        if self._running.pop(request_id, None) is not None and late:
            self._late[request_id] = None
            if len(self._late) > MAX_LATE:
                self._late.popitem(last=False)

    def process_ended(self, status: int) -> None:
        """The process is gone. Whatever it had sent before is read first."""
        self._over = True
        for worker in self._running.values():
            worker.process_ended(status)
        self._loop.call_later(_GRACE_S, self._conclude, status, time.perf_counter())

    def handle(self, request: Request, bad: BadBody | None = None) -> HttpAnswer | Awaitable[HttpAnswer]:
        """Answer one request, now or later."""
        path = request.path
        if path == _NEXT and request.method == "GET":
            return self._next(request)
        if path.startswith(_INVOCATION):
            request_id = path.removeprefix(_INVOCATION).partition("/")[0]
            worker = self._running.get(request_id)
            if worker is not None:
                return worker.handle(request, bad)
            if request_id in self._late:
                del self._late[request_id]
                return _refused(410, "InvokeTimeout", "Invoke timeout")
        newcomer = Conversation(lambda: None)
        answer = newcomer.handle(request, bad)
        if path == _INIT_ERROR and newcomer.init.done():
            if self.init.done():
                return _refused(403, "InvalidStateTransition", "The init phase is over")
            self.init.set_result(newcomer.init.result())
        return answer

    def _next(self, request: Request) -> HttpAnswer | Awaitable[HttpAnswer]:
        self._forget_lost()
        if len(self._waiting) >= self._limit:
            return _refused(403, "Runtime.TooManyIdleRuntimes", f"{self._limit} workers wait already")
        worker = Conversation(self._waits)
        self._waiting.append(worker)
        return worker.handle(request)

    def _forget_lost(self) -> None:
        """Forget the workers that have hung up while they waited."""
        if not all(worker.ready for worker in self._waiting):
            self._waiting = deque(worker for worker in self._waiting if worker.ready)

    def _waits(self) -> None:
        if not self.init.done():
            self.init.set_result((InitDone(), time.perf_counter()))
        self._changed.set()
        self._on_idle()

    def _conclude(self, status: int, at: float) -> None:
        if not self.init.done():
            self.init.set_result((Exited(status), at))
        self._changed.set()


def _refused(status: int, error_type: str, message: str) -> Response:
    reply = refusal(status, error_type, message)
    return Response(reply.status, reply.body, reply.headers)
