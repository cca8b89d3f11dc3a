"""The Lambda service itself, in one event loop: functions by name, and who may run how much at once.

Rules
- A function with reserved concurrency has that many invocations at once, and no more; all others share what
  is left of the account's. Over it, an invocation is refused at once.
- Whoever calls has the answer when the function has given it; the environment is busy until extensions are
  done.
- A change of `$LATEST` retires its environments; published versions keep theirs.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lambent_lab import xray
from lambent_lab.service.aws import Aws
from lambent_lab.service.catalog import Code, Record, Stamp, Version
from lambent_lab.service.codes import Codes
from lambent_lab.service.destinations import Destinations
from lambent_lab.service.events import RETRY_S, Events
from lambent_lab.service.fleet import MAX_ENVIRONMENTS, Fleet
from lambent_lab.service.names import LATEST, Reference, is_number, qualified_arn
from lambent_lab.service.pool import Pool
from lambent_lab.service.problems import (
    conflict,
    function_not_found,
    invalid_parameter,
    throttled,
)
from lambent_lab.service.settling import Settling
from lambent_lab.service.sources.registry import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent_lab.environment import Environment, Invocation
    from lambent_lab.function import FunctionSpec
    from lambent_lab.response import ResponseSink
    from lambent_lab.sandbox import BoxReport
    from lambent_lab.service.urls.doors import Urls

MIN_UNRESERVED = 100
"""What AWS leaves the functions without a reservation; of a smaller account, a tenth."""

NO_CODE = Code("", 0)
"""Stands for code that nobody has asked about yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What an invocation brings along. `client_context` and `cognito_identity` are JSON text.

    `observed`: whether `Core.on_done` hears of it.
    """

    payload: bytes
    observed: bool = True
    request_id: str | None = None
    qualifier: str | None = None
    trace_header: str | None = None
    client_context: str | None = None
    cognito_identity: str | None = None
    tenant_id: str | None = None
    sink: ResponseSink | None = None


class Deployed:
    """A function in the service: its record, its environments, and how many invocations are under way."""

    def __init__(self, core: Core, record: Record, on_line: Callable[[str], None] | None) -> None:
        self.record = record
        self.active = 0
        self.box: BoxReport | None = None
        self.line = asyncio.Lock()
        """In it the function's events wait for room, in the order in which they came."""
        self._core = core
        self._on_line = on_line
        self._pools: dict[str, Pool] = {}

    @property
    def name(self) -> str:
        """The function's name."""
        return self.record.name

    def pool(self, version: Version) -> Pool:
        """Return the environments of a version."""
        pool = self._pools.get(version.number)
        if pool is None:
            pool = Pool(self._core.fleet, version.spec, self._make, self._started)
            self._pools[version.number] = pool
        return pool

    def pools(self) -> Mapping[str, Pool]:
        """All environments by version."""
        return self._pools

    def _make(self, spec: FunctionSpec) -> Environment:
        return self._core.make(self._core.adjust(spec), on_line=self._on_line)

    def _started(self, environment: Environment) -> None:
        self.box = environment.box

    def drop(self, number: str) -> None:
        """End the environments of a version that is no more."""
        pool = self._pools.pop(number, None)
        if pool is not None:
            self._core.retire(pool, provisioned=0, over=True)

    def close(self) -> None:
        """End them all."""
        for number in list(self._pools):
            self.drop(number)


class Core:
    """All functions of a lab. `make` makes an environment from a spec and a callback for log lines.

    `max_environments` stands for the account's concurrency. `retry_s` is what an event waits for until it is
    tried again for the first time. `aws` calls queues and what else events come from and go to. `adjust` may
    change the spec of every environment that is made; `on_done` hears of every invocation. Everything here
    belongs to one event loop.
    """

    def __init__(
        self,
        make: Callable[..., Environment],
        *,
        max_environments: int = MAX_ENVIRONMENTS,
        idle_s: float | None = None,
        retry_s: float = RETRY_S,
        aws: Aws | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.make = make
        self.fleet = Fleet(limit=max_environments, idle_s=idle_s)
        self.codes = Codes()
        self.functions: dict[str, Deployed] = {}
        self.aws = aws or Aws()
        self.destinations = Destinations(self, self.aws)
        self.events = Events(self, retry_s)
        self.sources = Sources(self)
        self.on_done: list[Callable[[Deployed, Version, Invocation], None]] = []
        self.adjust: Callable[[FunctionSpec], FunctionSpec] = lambda spec: spec
        self.urls: Urls | None = None
        """The URLs of functions, once there were any (see `urls.doors.urls_of`)."""
        self._draw = draw
        self._active = 0  # invocations of functions without a reservation

    # -- functions

    def deploy(
        self,
        spec: FunctionSpec,
        about: Mapping[str, Any] | None = None,
        *,
        on_line: Callable[[str], None] | None = None,
        replaces: bool = False,
    ) -> Deployed:
        """Make a function. One of the same name is a conflict, or replaced (it goes on for its holders)."""
        if not replaces:
            self.check_free(spec.name)
        revision, modified = stamp()
        latest = Version(
            number=LATEST,
            spec=spec,
            about=dict(about or {}),
            code=NO_CODE,
            revision=revision,
            modified=modified,
        )
        deployed = Deployed(self, Record(spec.name, latest, stamp), on_line)
        self.functions[spec.name] = deployed
        return deployed

    def check_free(self, name: str) -> None:
        """Raise a conflict when there is a function of this name."""
        if name in self.functions:
            raise conflict(f"Function already exist: {name}")

    def find(self, reference: Reference) -> Deployed:
        """Return a function by its name. Raises ServiceError when there is none."""
        found = self.functions.get(reference.name)
        if found is None:
            raise function_not_found(reference.arn)
        return found

    def remove(self, deployed: Deployed) -> None:
        """Forget a function and end its environments."""
        if self.functions.get(deployed.name) is deployed:
            del self.functions[deployed.name]
        if self.urls is not None:
            self.urls.forget(deployed)
        deployed.close()

    # -- versions

    def change(self, deployed: Deployed, **changes: Any) -> Version:
        """Change `$LATEST` (`spec`, `about`, `code`); the next invocation runs with it."""
        before = deployed.record.latest.spec
        latest = deployed.record.change(**changes)
        if latest.spec != before or "code" in changes:
            self.reload(deployed)
        return latest

    def reload(self, deployed: Deployed) -> None:
        """Serve from new environments from the next invocation on: code or configuration have changed."""
        pool = deployed.pools().get(LATEST)
        if pool is not None:
            self.retire(pool, spec=deployed.record.latest.spec)

    def retire(self, pool: Pool, **options: Any) -> None:
        """Retire a pool; its idle environments end beside the caller."""
        for member in pool.retire(**options):
            self.fleet.spawn(self.fleet.end(member))

    async def described(self, version: Version) -> Version:
        """Return a version with its code's hash and size. Those of `$LATEST` follow its folder."""
        code = version.code
        if code is NO_CODE or version.number == LATEST:
            code = await asyncio.to_thread(self.codes.describe, version.spec.code)
        if code == version.code:
            return version
        found = replace(version, code=code)
        record = self.functions[version.spec.name].record if version.spec.name in self.functions else None
        if record is not None and record.latest is version:
            record.latest = found
        return found

    async def publish(self, deployed: Deployed, description: str | None = None) -> Version:
        """Publish `$LATEST`, unless it is what was published last."""
        record = deployed.record
        await self.described(record.latest)
        same = record.unchanged()
        if same is not None:
            return same
        spec, number = record.latest.spec, record.next_number()
        code = await asyncio.to_thread(self.codes.freeze, spec.code)
        snap = record.latest.about.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions"
        initialization = "snap-start" if snap else spec.initialization
        spec = replace(spec, code=code, version=number, initialization=initialization)
        return record.publish(spec, description)

    # -- concurrency

    @property
    def unreserved(self) -> int:
        """How many invocations at once are left for the functions without a reservation."""
        reserved = sum(function.record.reserved or 0 for function in self.functions.values())
        return self.fleet.limit - reserved

    def reserve(self, deployed: Deployed, count: int) -> None:
        """Reserve concurrency for a function. Raises ServiceError when it leaves too little for others."""
        least = MIN_UNRESERVED if self.fleet.limit >= 10 * MIN_UNRESERVED else self.fleet.limit // 10
        if count < 0:
            raise invalid_parameter("ReservedConcurrentExecutions cannot be less than 0.")
        if self.unreserved + (deployed.record.reserved or 0) - count < least:
            raise invalid_parameter(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{least}]."
            )
        deployed.record.reserved = count

    def provision(self, deployed: Deployed, qualifier: str, count: int) -> Pool:
        """Have environments of a version, or of the one an alias names, started ahead; 0 ends that."""
        version = deployed.record.version(qualifier)
        pool = deployed.pool(version)
        pool.provision(count)
        return pool

    # -- invocations

    async def invoke(
        self,
        deployed: Deployed,
        call: Call,
        on_answer: Callable[[bytes, str | None], None] | None = None,
    ) -> Invocation:
        """Run a function once. Raises ServiceError when it has no such version or there is no room.

        `on_answer` is called once with what the caller gets, before extensions are done.
        """
        return await self.run(deployed, self.choose(deployed, call.qualifier), call, on_answer)

    async def feed(self, deployed: Deployed, payload: bytes, qualifier: str | None) -> Invocation:
        """Run a function with an event that nobody waits for the answer of, in a trace of its own.

        Raises ServiceError as `invoke`.
        """
        active = deployed.record.latest.about.get("TracingConfig", {}).get("Mode") == "Active"
        header = xray.header("Sampled=1" if active else None)
        return await self.invoke(deployed, Call(payload=payload, qualifier=qualifier, trace_header=header))

    def choose(self, deployed: Deployed, qualifier: str | None) -> Version:
        """Return the version that one invocation gets; an alias may send it to either of two."""
        return deployed.record.version(qualifier, self._draw() if qualifier is not None else 1.0)

    async def run(
        self,
        deployed: Deployed,
        version: Version,
        call: Call,
        on_answer: Callable[[bytes, str | None], None] | None = None,
    ) -> Invocation:
        """Run one version once."""
        reserved = deployed.record.reserved is not None
        if not self.admits(deployed) and not await self.fleet.moment(
            lambda: self.admits(deployed), lambda: self.fleet.answered > 0
        ):
            raise throttled(reserved=reserved)
        shared = int(not reserved)
        settling = Settling(self.fleet, deployed.pool(version))
        self._active += shared
        deployed.active += 1
        options: dict[str, Any] = {
            "request_id": call.request_id or str(uuid.uuid4()),
            "trace_header": call.trace_header,
            "client_context": call.client_context,
            "cognito_identity": call.cognito_identity,
        }
        if call.qualifier is not None:
            options["function_arn"] = qualified_arn(deployed.name, call.qualifier)
        if call.tenant_id is not None:
            options["tenant_id"] = call.tenant_id
        if call.sink is not None:
            options["sink"] = call.sink
        if on_answer is not None or call.sink is not None:
            options["on_answer"] = settling.wrap(on_answer)
        try:
            invocation = await deployed.pool(version).run(
                lambda environment: environment.invoke(call.payload, **options)
            )
        finally:
            self._active -= shared
            deployed.active -= 1
            settling.over()
        if call.observed:
            for hear in self.on_done:
                hear(deployed, version, invocation)
        return invocation

    def admits(self, deployed: Deployed) -> bool:
        """Tell whether one more invocation is within the function's concurrency, or the account's."""
        reserved = deployed.record.reserved
        return self._active < self.unreserved if reserved is None else deployed.active < reserved

    async def close(self) -> None:
        """End every environment and remove stored code."""
        try:
            if self.urls is not None:
                await self.urls.close()
            await self.events.close()
            await self.sources.close()
            await self.fleet.close()
        finally:
            self.aws.close()
            self.codes.close()


def stamp() -> Stamp:
    """Return a new revision id, and now as AWS writes it."""
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return str(uuid.uuid4()), f"{now}+0000"


def provisioned_qualifiers(deployed: Deployed) -> dict[str, Pool]:
    """Return which versions have environments started ahead."""
    return {
        number: pool
        for number, pool in deployed.pools().items()
        if pool.provisioned and (number == LATEST or is_number(number))
    }
