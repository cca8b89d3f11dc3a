"""All environments of a lab, and those of one version: who serves an invocation, and who is ended when.

Rules
- An invocation takes the free environment that was used last, a provisioned one before others. Where there is
  none it gets a new one: invocations never wait for each other, except in an environment that is made for
  several at once.
- When all environments that may exist do, the one idle for longest (of any version) makes room, or one that
  is ending; when there is none, the invocation is refused.
- Whoever has an answer may call again before the lab is through with the invocation. So a call for which
  there is no room waits a moment, if an invocation has been answered and nothing but the lab keeps its
  environment.
- Environments that are idle for long enough are ended; provisioned ones are not, and are replaced when they
  end.
- A version that is retired ends its environments: idle ones now, busy ones after their invocation.
- Only a few environments are in their init phase at once; others begin when those are through. Init has a
  limit in time, which it would miss if a hundred shared the machine's cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from lambent_lab import eager
from lambent_lab.errors import LabError
from lambent_lab.service.problems import throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from lambent_lab.environment import Environment, Invocation
    from lambent_lab.function import FunctionSpec

T = TypeVar("T")

MAX_ENVIRONMENTS = 1000
"""As many as AWS lets an account's functions run at once, unless told otherwise."""

GRACE_S = 0.05
"""What writing up an answered invocation may take at most, to be waited for. A cold start takes longer."""

_INIT_S = 11.0  # what holds a place longer than the init phase may last does so no more


class Member:
    """One environment in a pool."""

    __slots__ = ("active", "capacity", "environment", "idle_since", "pool", "provisioned", "ready", "retired")

    def __init__(self, pool: Pool, environment: Environment, capacity: int, *, provisioned: bool) -> None:
        self.pool = pool
        self.environment = environment
        self.capacity = capacity
        self.provisioned = provisioned
        self.active = 0
        self.idle_since = 0.0
        self.retired = False
        self.ready: asyncio.Future[None] | None = None


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
            freed = loop.create_future()
            self._hoping.add(freed)
            await asyncio.wait([freed], timeout=left)
            self._hoping.discard(freed)
        return possible()

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


class Pool:
    """The environments of one version. `make` makes one from the spec; `on_started` hears of each new one."""

    def __init__(
        self,
        fleet: Fleet,
        spec: FunctionSpec,
        make: Callable[[FunctionSpec], Environment],
        on_started: Callable[[Environment], None] = lambda _: None,
    ) -> None:
        self.spec = spec
        self.members: set[Member] = set()
        self.provisioned = 0
        self.failure: str | None = None
        self.answered = 0  # as the fleet's, of this pool
        self._fleet = fleet
        self._make = make
        self._on_started = on_started
        self._open: list[Member] = []  # with room for an invocation, the one used last at the end
        self._filling: asyncio.Task[Any] | None = None
        fleet.pools.add(self)

    # -- invocations

    async def run(self, work: Callable[[Environment], Coroutine[Any, Any, Invocation]]) -> Invocation:
        """Run an invocation in a free environment or a new one."""
        if not self._open and self.answered:
            await self._fleet.moment(lambda: bool(self._open), lambda: self.answered > 0)
        member = self._take() if self._open else await self._add(provisioned=False, take=True)
        try:
            if member.ready is not None:
                await asyncio.shield(member.ready)
            invocation = await work(member.environment)
        except BaseException:
            # Whatever state it is in, nobody should have it now. Others in it finish first.
            self.take_out(member)
            member.retired = True
            await self._give_back(member)
            raise
        await self._give_back(member)
        return invocation

    def _take(self) -> Member:
        member = self._open[-1]
        member.active += 1
        if member.active >= member.capacity:
            self._open.pop()
        return member

    async def _give_back(self, member: Member) -> None:
        member.active -= 1
        if member.active == 0:
            member.idle_since = self._fleet.clock()
        if not member.retired:
            if member.active == member.capacity - 1:
                self._put_in(member)
        elif member.active == 0 and member in self.members:
            await self._fleet.end(member)

    def _put_in(self, member: Member) -> None:
        # Provisioned ones lie at the end, where environments are taken from.
        if member.provisioned or not self._open or not self._open[-1].provisioned:
            self._open.append(member)
            return
        at = len(self._open)
        while at and self._open[at - 1].provisioned:
            at -= 1
        self._open.insert(at, member)

    # -- environments

    def idle(self) -> Iterable[Member]:
        """Return those that serve nothing now."""
        return [member for member in self._open if member.active == 0 and member.ready is None]

    def take_out(self, member: Member) -> None:
        """Give this one no more invocations."""
        if member in self._open:
            self._open.remove(member)

    def gone(self, member: Member) -> None:
        """One has ended."""
        if member in self.members:
            self.members.discard(member)
            self._fleet.alive -= 1
            self.fill()
        if self._over and not self.members:
            self._fleet.pools.discard(self)

    async def prepare(self) -> None:
        """Have an idle environment."""
        if not self._open:
            await self._add(provisioned=False, take=False)

    async def _add(self, *, provisioned: bool, take: bool) -> Member:
        await self._fleet.room()
        spec = replace(self.spec, initialization="provisioned-concurrency") if provisioned else self.spec
        capacity = spec.max_concurrency or 1
        member = Member(self, self._make(spec), capacity, provisioned=provisioned)
        self.members.add(member)
        self._fleet.alive += 1
        member.active = int(take)
        member.idle_since = self._fleet.clock()
        ready = member.ready = asyncio.get_running_loop().create_future()
        ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        if take and capacity > 1:
            self._put_in(member)  # others need not wait for environments of their own
        try:
            await self._fleet.start(member.environment)
            self._on_started(member.environment)
        except BaseException as error:
            ready.set_exception(error if isinstance(error, LabError) else LabError("The start was given up."))
            self.take_out(member)
            member.retired = True
            await self._fleet.end(member)
            raise
        member.ready = None
        ready.set_result(None)
        if not take:
            if member.retired:
                await self._fleet.end(member)
            else:
                self._put_in(member)
        return member

    # -- those started ahead

    def provision(self, count: int) -> None:
        """Have as many environments started ahead, from now on; those too many become ordinary ones."""
        self.provisioned = count
        self.failure = None
        ahead = [member for member in self.members if member.provisioned and not member.retired]
        for member in ahead[count:]:
            member.provisioned = False
        self.fill()

    @property
    def available(self) -> int:
        """How many environments that were started ahead are through with their start."""
        return sum(m.provisioned and m.ready is None and not m.retired for m in self.members)

    def fill(self) -> None:
        """Begin to start what is missing."""
        if self.provisioned and self.failure is None and (self._filling is None or self._filling.done()):
            self._filling = self._fleet.spawn(self._fill())

    async def filled(self) -> None:
        """Wait until those that are being started ahead are through with their start, well or not."""
        if self._filling is not None:
            await asyncio.wait([self._filling])

    async def _fill(self) -> None:
        while not self._over:
            ahead = sum(member.provisioned and not member.retired for member in self.members)
            missing = self.provisioned - ahead
            if missing <= 0:
                return
            try:
                await asyncio.gather(*(self._add(provisioned=True, take=False) for _ in range(missing)))
            except LabError as error:
                self.failure = str(
                    error
                )  # told by GetProvisionedConcurrencyConfig; not tried again and again
                return

    # -- the end

    _over = False

    def retire(
        self, spec: FunctionSpec | None = None, provisioned: int | None = None, *, over: bool = False
    ) -> list[Member]:
        """Serve with a new spec from now on; return the idle environments, which the caller ends.

        Busy ones end after their invocation. `over`: there will be no more.
        """
        self._over = over
        if provisioned is not None:
            self.provisioned = provisioned
        self.spec = spec or self.spec
        self.failure = None
        idle = list(self.idle())
        for member in self.members:
            member.retired = True
        self._open.clear()
        if over and not self.members:
            self._fleet.pools.discard(self)
        self.fill()
        return idle
