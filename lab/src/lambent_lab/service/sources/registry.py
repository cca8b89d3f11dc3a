"""All event source mappings of a lab: made, changed, listed and deleted.

Rules
- A queue and a function (or version, or alias) have one mapping between them.
- Over the API the queue has to be there when its mapping is made. One of a file waits for its queue, and
  says so: emulators are started in any order.
- A mapping outlives its function, as in AWS: it polls nothing until there is one of that name again.
- What is asked for while a change is being made waits for that, some seconds at most; AWS refuses it at
  once.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lambent_lab.environ import ACCOUNT, REGION
from lambent_lab.errors import LabError
from lambent_lab.service.aws import CallError
from lambent_lab.service.names import Reference
from lambent_lab.service.problems import ServiceError, conflict, invalid_parameter, not_found
from lambent_lab.service.sources.settings import SERVICES, Settings, changed, check_visibility
from lambent_lab.service.sources.states import SETTLED, TRANSITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lambent_lab.service.core import Core, Deployed
    from lambent_lab.service.sources.poller import Handled, Poller
    from lambent_lab.service.sources.states import State, Step
    from lambent_lab.service.sources.stream_poller import StreamPoller

BUSY_S = 5.0
_PROBLEM = "PROBLEM: "


class EventSource:
    """One mapping. `deployed` is its function, where it is not whichever has the name.

    `done` says how far a stream's shards are done.
    """

    def __init__(self, settings: Settings, deployed: Deployed | None) -> None:
        self.uuid = str(uuid.uuid4())
        self.settings = settings
        self.deployed = deployed
        self.state: State = "Creating"
        self.modified = time.time()
        self.result: str | None = None
        self.poller: Poller | StreamPoller | None = None
        self.done: dict[str, str] = {}
        self.settled = asyncio.Event()
        self.gone = asyncio.Event()

    def step(self, step: Step) -> None:
        """Go on to another state."""
        self.state = TRANSITIONS[self.state, step]
        if self.state in SETTLED:
            self.settled.set()
        else:
            self.settled.clear()

    @property
    def problem(self) -> str | None:
        """What keeps it from polling."""
        if self.result is None or not self.result.startswith(_PROBLEM):
            return None
        return self.result.removeprefix(_PROBLEM)

    def document(self) -> dict[str, Any]:
        """Return what AWS's API tells of it."""
        made = {
            "UUID": self.uuid,
            **self.settings.document(),
            "LastModified": round(self.modified, 3),
            "State": self.state,
            "StateTransitionReason": "USER_INITIATED",
            "EventSourceMappingArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{self.uuid}",
        }
        if self.result is not None:
            made["LastProcessingResult"] = self.result
        return made


class Sources:
    """The mappings by their UUIDs. Belongs to the lab's event loop.

    `on_state` hears when one is in another state, or in trouble or out of it; `on_batch` of batches.
    """

    def __init__(self, core: Core) -> None:
        self.mappings: dict[str, EventSource] = {}
        self.on_state: list[Callable[[EventSource], None]] = []
        self.on_batch: list[Callable[[EventSource, Handled], None]] = []
        self._core = core
        self._closing = False

    def find(self, name: str) -> EventSource:
        """Return a mapping by its UUID. Raises ServiceError."""
        found = self.mappings.get(name)
        if found is None:
            raise not_found("The resource you requested does not exist.")
        return found

    def add(self, settings: Settings, deployed: Deployed | None = None) -> EventSource:
        """Make a mapping; it begins in the loop's next turn. Raises ServiceError where there is one."""
        for known in self.mappings.values():
            if known.settings.key == settings.key and known.deployed is deployed:
                raise conflict(
                    f'An event source mapping with SQS arn (" {settings.source.text} ") and function '
                    f'(" {settings.function} ") already exists. Please update or delete the existing mapping '
                    f"with UUID {known.uuid}"
                )
        source = EventSource(settings, deployed)
        self.mappings[source.uuid] = source
        self._core.fleet.spawn(self._become(source))
        return source

    async def check(self, settings: Settings, deployed: Deployed | None = None) -> None:
        """Raise ServiceError where a mapping's queue cannot be polled, or its function not be found."""
        function = deployed or self._core.find(Reference(settings.function, settings.qualifier))
        version = function.record.version(settings.qualifier)
        if settings.stream:
            await self._check_stream(settings)
            return
        aws, queue = self._core.aws, settings.source
        try:
            url = await aws.queue_url(queue)
            names = ["VisibilityTimeout"]
            asked = await aws.call(
                "sqs", queue.region, "get_queue_attributes", QueueUrl=url, AttributeNames=names
            )
        except CallError as error:
            aws.forget_queue(queue)
            raise invalid_parameter(
                f"Error occurred while ReceiveMessage. SQS Error Code: {error.code}. "
                f"SQS Error Message: {str(error).removeprefix(f'{error.code}: ')}"
            ) from error
        except LabError as error:
            raise invalid_parameter(f"The queue {queue.text} cannot be polled: {error}.") from error
        visibility = int(asked.get("Attributes", {}).get("VisibilityTimeout", 30))
        check_visibility(visibility, version.spec.timeout_s)

    async def _check_stream(self, settings: Settings) -> None:
        source = settings.source
        stream: dict[str, Any] = {"StreamArn": source.text}
        if source.service == "kinesis":
            stream = {"StreamName": source.resource.removeprefix("stream/")}
        operation = "describe_stream_summary" if source.service == "kinesis" else "describe_stream"
        try:
            await self._core.aws.call(SERVICES[source.service], source.region, operation, **stream)
        except CallError as error:
            raise invalid_parameter(f"Stream not found: {source.text} ({error})") from error
        except LabError as error:
            raise invalid_parameter(f"The stream {source.text} cannot be polled: {error}.") from error

    async def change(
        self, name: str, request: Mapping[str, Any], function: Reference | None = None
    ) -> EventSource:
        """Change a mapping: what is not named stays. Raises ServiceError."""
        source = await self._when_settled(name)
        before = source.settings
        settings = changed(before, request)
        if function is not None:
            settings = replace(settings, function=function.name, qualifier=function.qualifier)
        if settings.enabled:
            await self.check(settings, source.deployed)
            source = await self._when_settled(name)
        self._alter(source, settings)
        return source

    async def follow(self, before: Iterable[Settings], after: Iterable[Settings]) -> None:
        """Make what a file says of the mappings it said before: some come, some go, some are changed.

        Raises ServiceError.
        """
        old, new = ({one.key: one for one in given} for given in (before, after))
        known = {one.settings.key: one.uuid for one in self.mappings.values() if one.deployed is None}
        for key in old.keys() - new.keys():
            if key in known:
                await self.delete(known[key])
        for key, settings in new.items():
            if key not in old or key not in known:
                self.add(settings)
            elif settings != old[key]:
                source = await self._when_settled(known[key])
                self._alter(source, settings)

    def _alter(self, source: EventSource, settings: Settings) -> None:
        step: Step = "update"
        if settings.enabled != source.settings.enabled:
            step = "enable" if settings.enabled else "disable"
        source.settings = settings
        source.modified = time.time()
        self._step(source, step)
        self._core.fleet.spawn(self._become(source))

    async def delete(self, name: str) -> EventSource:
        """Delete a mapping, when the batches that are under way are over."""
        source = await self._when_settled(name)
        self._step(source, "delete")
        self._core.fleet.spawn(self._end(source))
        return source

    async def close(self) -> None:
        """End all of them. Messages that are not handled go back to their queues."""
        self._closing = True
        ending = [source.poller.stop() for source in self.mappings.values() if source.poller is not None]
        await asyncio.gather(*ending, return_exceptions=True)

    async def _when_settled(self, name: str) -> EventSource:
        source = self.find(name)
        try:
            async with asyncio.timeout(BUSY_S):
                while source.state not in SETTLED:  # somebody else may have been quicker
                    await source.settled.wait()
        except TimeoutError:
            source = self.find(name)
            raise ServiceError(
                "ResourceInUseException",
                400,
                f"Cannot update the event source mapping because it is in use. (It is {source.state}.)",
            ) from None
        return self.find(name)

    async def _become(self, source: EventSource) -> None:
        """Make a mapping what its settings say."""
        if source.poller is not None:
            await source.poller.stop(patiently=True)
            source.poller = None
        if self._closing:
            return
        if source.settings.enabled:
            source.poller = poller = self._poller(source)
            poller.start()
            await poller.ready()
        self._step(source, "polling" if source.settings.enabled else "idle")

    def _poller(self, source: EventSource) -> Poller | StreamPoller:
        # What polls is loaded by whoever has something polled.
        from lambent_lab.service.sources.poller import Poller
        from lambent_lab.service.sources.stream_poller import StreamPoller

        told: dict[str, Any] = {
            "find": lambda: self._function(source),
            "heard": lambda handled: self._heard(source, handled),
            "trouble": lambda problem: self._trouble(source, problem),
        }
        if source.settings.stream:
            return StreamPoller(self._core, source.settings, name=source.uuid, done=source.done, **told)
        return Poller(self._core, source.settings, **told)

    async def _end(self, source: EventSource) -> None:
        if source.poller is not None:
            await source.poller.stop(patiently=True)
        del self.mappings[source.uuid]
        source.gone.set()

    def _function(self, source: EventSource) -> Deployed:
        return source.deployed or self._core.find(
            Reference(source.settings.function, source.settings.qualifier)
        )

    def _step(self, source: EventSource, step: Step) -> None:
        source.step(step)
        self._tell(source)

    def _tell(self, source: EventSource) -> None:
        for hear in self.on_state:
            hear(source)

    def _heard(self, source: EventSource, handled: Handled) -> None:
        if handled.problem is None:
            source.result = "OK"
        for hear in self.on_batch:
            hear(source, handled)

    def _trouble(self, source: EventSource, problem: str | None) -> None:
        if source.result is not None and problem == source.problem:
            return
        source.result = "No records processed" if problem is None else f"{_PROBLEM}{problem}"
        self._tell(source)
