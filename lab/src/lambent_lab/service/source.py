"""A queue or a stream that a function of the lab is fed from, for callers that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambent_lab.service.core import Deployed
    from lambent_lab.service.lab import Lab
    from lambent_lab.service.sources.registry import EventSource
    from lambent_lab.service.sources.settings import Settings


class Source:
    """An event source mapping. Made by `Function.add_source`."""

    def __init__(self, lab: Lab, mapping: EventSource) -> None:
        self._lab = lab
        self._mapping = mapping

    @property
    def uuid(self) -> str:
        """Its UUID in AWS's API."""
        return self._mapping.uuid

    @property
    def arn(self) -> str:
        """The ARN of the queue or the stream."""
        return self._mapping.settings.source.text

    @property
    def state(self) -> str:
        """Its state in AWS's words: Enabled, Disabled, …"""
        return self._mapping.state

    @property
    def problem(self) -> str | None:
        """What keeps it from being polled, if anything does."""
        return self._mapping.problem

    def enable(self) -> None:
        """Poll, from now on."""
        self._lab.run(self._switch(on=True))

    def disable(self) -> None:
        """Poll no more; return when the batches under way are over."""
        self._lab.run(self._switch(on=False))

    def delete(self) -> None:
        """Forget the mapping; return when the batches under way are over."""
        self._lab.run(self._delete())

    async def _switch(self, *, on: bool) -> None:
        await self._lab.core.sources.change(self.uuid, {"Enabled": on})
        await self._mapping.settled.wait()

    async def _delete(self) -> None:
        await self._lab.core.sources.delete(self.uuid)
        await self._mapping.gone.wait()


async def add(lab: Lab, settings: Settings, deployed: Deployed) -> Source:
    """Make a mapping in the lab's event loop."""
    sources = lab.core.sources
    await sources.check(settings, deployed)
    mapping = sources.add(settings, deployed)
    await mapping.settled.wait()
    return Source(lab, mapping)
