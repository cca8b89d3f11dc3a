"""The environments of one version: who serves an invocation, and which are started ahead.

Rules
- An invocation takes the free environment that was used last, a provisioned one before others. Where there is
  none it gets a new one: invocations never wait for each other, except in an environment that is made for
  several at once.
- Provisioned environments are replaced when they end.
- A version that is retired ends its environments: idle ones now, busy ones after their invocation.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from lambent_lab.environment import Environment, Invocation
    from lambent_lab.function import FunctionSpec
    from lambent_lab.service.fleet import Fleet


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
