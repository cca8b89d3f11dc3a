"""One function of the lab: its environments, and invocations in them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError, UsageError
from lambent_lab.service.result import make_result
from lambent_lab.traces.stdout import split_log

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lambent_lab.environment import Environment, Invocation
    from lambent_lab.function import FunctionSpec
    from lambent_lab.sandbox import BoxReport
    from lambent_lab.service.lab import Lab
    from lambent_lab.service.result import Result

MAX_EVENT_BYTES = 6 * 1024 * 1024
"""What Lambda accepts as a synchronous invocation's event."""


class Function:
    """A function that can be invoked. Made by `Lab.function`; its methods may be called from several threads.

    An invocation uses an idle environment, or makes one. Environments stay, frozen, until `stop` or the
    end of the lab.
    """

    def __init__(self, lab: Lab, spec: FunctionSpec, make: Callable[[FunctionSpec], Environment]) -> None:
        self.spec = spec
        self._lab = lab
        self._make = make
        # What follows is touched in the lab's event loop only.
        self._idle: list[Environment] = []
        self._all: set[Environment] = set()
        self._generation = 0
        self._box: BoxReport | None = None

    @property
    def name(self) -> str:
        """The function's name."""
        return self.spec.name

    @property
    def box(self) -> BoxReport | None:
        """How the newest environment is held, None before there was one."""
        return self._box

    def start(self) -> None:
        """Make an environment now if there is none; its first invocation is cold all the same."""
        self._lab.run(self._prepare())

    def invoke(self, event: object = None) -> Result:
        """Run the function once and wait for its result.

        `event` is anything JSON can hold; None stands for `{}`. A function that fails is a result, not an
        exception. Raises UsageError for an event that Lambda would not take, LabError when no environment can
        be made.
        """
        payload = encode_event({} if event is None else event)
        invocation = self._lab.run(self._invoke(payload))
        _, printed, problems = split_log(invocation.log)
        received = self._lab.claim(invocation.request_id, invocation.started_ns, invocation.ended_ns)
        spans = {(span.trace_id, span.span_id): span for span in [*received, *printed]}
        try:
            self._lab.save(printed, "stdout")
        except LabError as error:  # the function ran: what came of it is worth more than its record
            problems.append(str(error))
        ordered = sorted(spans.values(), key=lambda span: (span.start_ns, span.span_id))
        return make_result(invocation, ordered, problems)

    def stop(self) -> None:
        """End the environments: idle ones now, busy ones after their invocation. The next one is cold."""
        self._lab.run(self._stop())

    async def _prepare(self) -> None:
        if not self._idle:
            self._idle.append(await self._started())

    async def _started(self) -> Environment:
        environment = self._make(self.spec)
        self._all.add(environment)
        try:
            await environment.start()
            self._box = environment.box
        except BaseException:
            await self._close(environment)
            raise
        return environment

    async def _invoke(self, payload: bytes) -> Invocation:
        generation = self._generation
        environment = self._idle.pop() if self._idle else await self._started()
        try:
            invocation = await environment.invoke(payload)
        except BaseException:
            await self._close(environment)
            raise
        if generation == self._generation:
            self._idle.append(environment)
        else:
            await self._close(environment)
        return invocation

    async def _stop(self) -> None:
        self._generation += 1
        idle, self._idle = self._idle, []
        await _all_done(*(self._close(environment) for environment in idle))

    async def close(self) -> None:
        """End every environment, busy or not. For the lab, in its event loop."""
        self._generation += 1
        self._idle.clear()
        await _all_done(*(self._close(environment) for environment in list(self._all)))

    async def _close(self, environment: Environment) -> None:
        try:
            await environment.close()
        finally:
            self._all.discard(environment)


async def _all_done(*closing: Coroutine[None, None, None]) -> None:
    """Wait for all of them, then raise the first error."""
    for result in await asyncio.gather(*closing, return_exceptions=True):
        if result is not None:
            raise result


def encode_event(event: object) -> bytes:
    """Return an event as JSON. Raises UsageError when JSON cannot hold it or Lambda would not take it."""
    try:
        payload = json.dumps(event, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"The event cannot be written as JSON: {error}.") from error
    if len(payload) > MAX_EVENT_BYTES:
        raise UsageError(
            f"The event has {len(payload)} bytes; Lambda takes {MAX_EVENT_BYTES} at most: send a smaller one."
        )
    return payload
