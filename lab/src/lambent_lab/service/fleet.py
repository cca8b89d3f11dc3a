"""All environments of a lab: how many there may be, which begin and end when.

Rules
- When all environments that may exist do, the one idle for longest (of any version) makes room, or one that
  is ending; when there is none, the invocation is refused.
- Whoever has an answer may call again before the lab is through with the invocation. So a call for which
  there is no room waits a moment, if an invocation has been answered and nothing but the lab keeps its
  environment.
- Environments that are idle for long enough are ended; provisioned ones are not.
- Only a few environments are in their init phase at once; others begin when those are through. Init has a
  limit in time, which it would miss if a hundred shared the machine's cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, TypeVar

from lambent_lab import eager
from lambent_lab.errors import LabError
from lambent_lab.service.problems import throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from lambent_lab.environment import Environment
    from lambent_lab.service.pool import Member, Pool

T = TypeVar("T")

MAX_ENVIRONMENTS = 1000
"""As many as AWS lets an account's functions run at once, unless told otherwise."""

GRACE_S = 0.05
"""What writing up an answered invocation may take at most, to be waited for. A cold start takes longer."""

_INIT_S = 11.0  # what holds a place longer than the init phase may last does so no more


class Fleet:
    """All environments: `limit` at most, each idle for `idle_s` at most (None: for ever)."""

    def __init__(
        self,
        *,
        limit: int = MAX_ENVIRONMENTS,
        idle_s: float | None = None,
        starts: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.idle_s = idle_s
        self.clock = clock
        self.alive = 0
        self.pools: set[Pool] = set()
        self._gate = asyncio.Semaphore(starts or max(2, 2 * (os.cpu_count() or 1)))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reaper: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Future[None]] = set()
        self._hoping: set[asyncio.Future[None]] = set()
        self.answered = 0  # invocations that have been answered, and will be over in no time

    async def moment(self, possible: Callable[[], bool], hope: Callable[[], bool]) -> bool:
        """Wait until something is possible, for a moment and while there is hope; tell whether it is."""
        loop = asyncio.get_running_loop()
        until = loop.time() + GRACE_S
        while not possible() and hope() and (left := until - loop.time()) > 0:
            await self.wait_freed(left)
        return possible()

    async def wait_freed(self, timeout_s: float) -> None:
        """Wait until an invocation is over, or for so long."""
        freed = asyncio.get_running_loop().create_future()
        self._hoping.add(freed)
        try:
            await asyncio.wait([freed], timeout=timeout_s)
        finally:
            self._hoping.discard(freed)

    def freed(self) -> None:
        """An invocation is over."""
        for waiting in self._hoping:
            if not waiting.done():
                waiting.set_result(None)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let something go on beside the caller; `close` ends it. Its LabErrors are nobody's."""
        return self.spawn_raising(_quiet(work))

    def spawn_raising(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """As `spawn`, for a caller that looks at the outcome, if it stays."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._seen)
        return task

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something begin at once that may go on beside the caller, and raises nothing."""
        eager.begin(self._kept(work))

    async def _kept(self, work: Coroutine[Any, Any, None]) -> None:
        # Without a callback at the task's end, which would cost every invocation a turn of the event loop.
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await work
        finally:
            self._tasks.discard(task)

    def _seen(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that went away does not ask

    def watch_idle(self) -> None:
        """Begin to end environments that are idle for too long."""
        if self.idle_s is not None and self._reaper is None:
            self._reaper = asyncio.get_running_loop().create_task(self._reap())

    async def _reap(self) -> None:
        assert self.idle_s is not None
        while True:
            await asyncio.sleep(max(0.05, min(self.idle_s / 4, 5.0)))
            self.reap(self.clock() - self.idle_s)

    def reap(self, since: float) -> None:
        """End the environments that have been idle since a time or longer."""
        for pool in self.pools:
            for member in pool.idle():
                if member.idle_since <= since and not member.provisioned:
                    pool.take_out(member)
                    self.spawn(self.end(member))

    async def room(self) -> None:
        """Make sure that one more environment may exist. Raises ServiceError when it may not."""
        while self.alive >= self.limit:
            idle = (m for pool in self.pools for m in pool.idle() if not m.provisioned)
            oldest = min(idle, key=lambda member: member.idle_since, default=None)
            if oldest is not None:
                oldest.pool.take_out(oldest)
                await self.end(oldest)
            elif self._ending:
                await asyncio.wait(self._ending, return_when=asyncio.FIRST_COMPLETED)
            elif not await self.moment(
                lambda: self.alive < self.limit or self._spare(), lambda: self.answered > 0
            ):
                raise throttled(reserved=False)

    def _spare(self) -> bool:
        return any(not member.provisioned for pool in self.pools for member in pool.idle())

    async def start(self, environment: Environment) -> None:
        """Start an environment when it is its turn. Its place is free again when its init phase is over."""
        await self._gate.acquire()
        try:
            await environment.start()
        except BaseException:
            self._gate.release()
            raise
        self.spawn(self._hold(environment))

    async def _hold(self, environment: Environment) -> None:
        try:
            await environment.wait_initialized(_INIT_S)
        finally:
            self._gate.release()
        environment.prepare_next()

    def end(self, member: Member) -> Coroutine[Any, Any, None]:
        """End an environment that is given no more invocations. From the call on it counts as ending."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ending.add(ended)
        return self._end(member, ended)

    async def _end(self, member: Member, ended: asyncio.Future[None]) -> None:
        try:
            await member.environment.close()
        finally:
            member.pool.gone(member)
            self._ending.discard(ended)
            ended.set_result(None)

    async def end_all(self, members: Iterable[Member]) -> None:
        """End several environments, then raise the first error."""
        for result in await asyncio.gather(*map(self.end, members), return_exceptions=True):
            if result is not None:
                raise result

    async def close(self) -> None:
        """End every environment, busy or not, then raise the first error."""
        if self._reaper is not None:
            self._reaper.cancel()
        members = [member for pool in self.pools for member in pool.members]
        for pool in list(self.pools):
            pool.retire(provisioned=0, over=True)
        try:
            await self.end_all(members)
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=10)


async def _quiet(work: Coroutine[Any, Any, Any]) -> None:
    with contextlib.suppress(LabError):
        await work
