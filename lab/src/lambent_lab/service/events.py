"""Asynchronous invocation: events wait for room, are run, and tried again where that failed.

Rules
- An event is run as soon as there is room; those of one function begin in the order in which they came. Each
  attempt has the same request id and trace header.
- What the function fails on (its time limit counts) is tried again up to twice, after a minute and after two;
  `retry_s` is that minute.
- A failure of the lab itself is not counted. The event is tried again after a second, then after twice as
  long each time, five minutes at most.
- An event that grows too old is given up; at once where the function may not run at all (reserved
  concurrency of 0).
- What becomes of an event goes to its destination.
- The queue is in memory: what waits when the lab ends is gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError
from lambent_lab.service.policy import Outcome, retry_wait_s
from lambent_lab.service.problems import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.environment import Invocation
    from lambent_lab.service.core import Call, Core, Deployed
    from lambent_lab.service.policy import Condition, Policy

_log = logging.getLogger(__name__)

RETRY_S = 60.0
"""What AWS waits before an event is tried again for the first time."""

_LOOK_S = 1.0  # how often the first in a line looks whether there is room, if nothing tells it
_LEAST_S, _MOST_S = 1.0, 300.0


@dataclass(slots=True, kw_only=True)
class _Event:
    """One event: whose, what it brings along, since when it waits, and what has come of it so far."""

    deployed: Deployed
    call: Call
    hops: int
    request_id: str
    since: float = field(default_factory=time.monotonic)
    count: int = 0
    version: str | None = None
    invocation: Invocation | None = None

    @property
    def policy(self) -> Policy:
        """What is set for it now."""
        return self.deployed.record.policy(self.call.qualifier)

    @property
    def left_s(self) -> float:
        """How long it may still wait."""
        return self.since + self.policy.age_s - time.monotonic()

    def over(self, condition: Condition) -> Outcome:
        """What has become of it."""
        return Outcome(
            function=self.deployed.name,
            request_id=self.request_id,
            qualifier=self.call.qualifier,
            condition=condition,
            count=self.count,
            version=self.version,
            invocation=self.invocation,
        )


class Events:
    """The events of all functions. `on_over` hears what becomes of each. Belongs to the lab's event loop."""

    def __init__(self, core: Core, retry_s: float = RETRY_S) -> None:
        self.retry_s = retry_s
        self.waiting = 0
        self.on_over: list[Callable[[Outcome], None]] = []
        self._core = core
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, deployed: Deployed, call: Call, hops: int = 0) -> None:
        """Have a function run with an event, beside the caller."""
        request_id = call.request_id or str(uuid.uuid4())
        event = _Event(
            deployed=deployed, call=replace(call, request_id=request_id), hops=hops, request_id=request_id
        )
        self.waiting += 1
        task = self._core.fleet.spawn_raising(self._see_to(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Forget what waits, and end what runs: before environments are ended, so that none begins anew."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)

    async def _see_to(self, event: _Event) -> None:
        try:
            outcome = event.over(await self._condition(event))
            outcome = await self._core.destinations.hand_on(outcome, event.deployed, event.call, event.hops)
        finally:
            self.waiting -= 1
        for hear in self.on_over:
            hear(outcome)

    async def _condition(self, event: _Event) -> Condition:
        """Run the event until it is over."""
        trouble_s = _LEAST_S
        while True:
            known = self._given_up(event)
            if known is not None:
                return known
            try:
                ran = await self._attempt(event)
            except Exception as error:  # noqa: BLE001 - nobody waits for this: it is told, and tried again
                if isinstance(error, ServiceError) and error.code == "ResourceNotFoundException":
                    return "ResourceNotFound"
                if not isinstance(error, LabError):
                    _log.error("an event of %s failed", event.deployed.name, exc_info=error)
                await asyncio.sleep(min(trouble_s, max(0.0, event.left_s)))
                trouble_s = min(2 * trouble_s, _MOST_S)
                continue
            if not ran:
                continue
            assert event.invocation is not None
            if event.invocation.function_error is None:
                return "Success"
            if event.count >= event.policy.attempts:
                return "RetriesExhausted"
            await asyncio.sleep(min(retry_wait_s(self.retry_s, event.count), max(0.0, event.left_s)))

    def _given_up(self, event: _Event) -> Condition | None:
        """Why an event is not run any more, if it is not."""
        deployed = event.deployed
        if self._core.functions.get(deployed.name) is not deployed:
            return "ResourceNotFound"
        if deployed.record.reserved == 0:
            return "ZeroReservedConcurrency"
        return "EventAgeExceeded" if event.left_s <= 0 else None

    async def _attempt(self, event: _Event) -> bool:
        """Run the event once when it is its turn; tell whether it ran, or is not to be run any more."""
        core, deployed = self._core, event.deployed
        async with deployed.line:
            while not core.admits(deployed):
                if self._given_up(event) is not None:
                    return False
                await core.fleet.wait_freed(_LOOK_S)
            if self._given_up(event) is not None:
                return False
            version = core.choose(deployed, event.call.qualifier)
        # The next one in the line looks in the loop's next turn, when this one has been counted.
        invocation = await core.run(deployed, version, event.call)
        event.count += 1
        event.version, event.invocation = version.number, invocation
        return True
