"""Where an environment's processes will live, before anything runs there: its box, its room, its folder.

Rules
- Premises that are given up are taken apart, also when their making was not over: what the kernel was asked
  for cannot be taken back half-way, so that is waited for.
- A service has the next ones made ahead, when an environment has been started: of the latest MAX_AHEAD kinds,
  one each. Nothing runs in them, and they are gone with the lab.
- Of one kind are premises with the same staged folders, memory, size of /tmp and network. Staging names other
  folders as soon as code has changed: no environment begins in what was made before.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lambent_lab import environ
from lambent_lab.errors import LabError
from lambent_lab.sandbox import Folders, Order, Tmp, forced_kind, make_box, make_room, workspace
from lambent_lab.staging import stage

if TYPE_CHECKING:
    from lambent_lab.function import FunctionSpec
    from lambent_lab.sandbox import Box, Room
    from lambent_lab.staging import Stage

MAX_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """What premises were made for. `folders` is without a scratch folder."""

    folders: Folders
    memory_mb: int
    tmp_mb: int
    network: Literal["host", "private"]
    box: str | None

    @classmethod
    def of(cls, spec: FunctionSpec, prepared: Stage) -> Kind:
        """Return the kind that a function needs."""
        return cls(_folders(spec, prepared, Path()), spec.memory_mb, spec.tmp_mb, spec.network, forced_kind())


class Premises:
    """A box and a room, once `make` is through, for one environment."""

    def __init__(self, disk: Order) -> None:
        self.box: Box | None = None
        self.room: Room | None = None
        self._disk = disk
        self._scratch: Path | None = None
        self._making: asyncio.Task[tuple[Box, Room]] | None = None

    async def make(self, spec: FunctionSpec, prepared: Stage, mark: str) -> tuple[Box, Room]:
        """Make them, unless that was done ahead. `mark` tells the processes that will run there."""
        if self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._make(spec, prepared, mark))
        return await asyncio.shield(self._making)

    async def _make(self, spec: FunctionSpec, prepared: Stage, mark: str) -> tuple[Box, Room]:
        place = workspace()
        scratch = self._scratch = Path(tempfile.mkdtemp(prefix="env-", dir=place.folder))
        place.record_mark(mark)
        box = self.box = make_box(
            place.unique(),
            memory_mb=spec.memory_mb,
            mark=mark,
            record=place.record_cgroup,
            kind=forced_kind(),
        )
        place.add(box)
        room = self.room = await make_room(
            _folders(spec, prepared, scratch),
            Tmp(size_mb=spec.tmp_mb, disk=self._disk.take),
            network=spec.network,
        )
        if room.user is not None:
            place.record_user(room.user.uid)
        box.gather(room.crowd)
        return box, room

    async def close(self) -> None:
        """Kill everything that runs and remove the box, the room and /tmp."""
        self._disk.cancel()
        if self._making is not None:
            await asyncio.wait([self._making])
            self._making.exception()  # told to whoever had them made
        if self.box is not None:
            try:
                await self.box.close()
            finally:
                workspace().discard(self.box)
        if self.room is not None:
            await self.room.close()
        if self._scratch is not None:
            await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)


class Ahead:
    """Premises that are made before somebody needs them. Belongs to one event loop; `close` ends it."""

    def __init__(self) -> None:
        self._ready: dict[Kind, tuple[Premises, Stage]] = {}  # the oldest first
        self._preparing: asyncio.Task[None] | None = None
        self._over = False

    def promises(self, spec: FunctionSpec) -> bool:
        """Tell whether there may be premises for a function, as far as that is known before it is staged."""
        return any((kind.memory_mb, kind.tmp_mb) == (spec.memory_mb, spec.tmp_mb) for kind in self._ready)

    def take(self, kind: Kind, mark: str) -> Premises | None:
        """Return premises that are ready, the caller's from now on; None when there are none.

        The caller holds the folders that they are made of.
        """
        premises, prepared = self._ready.pop(kind, (None, None))
        if premises is None or prepared is None or premises.box is None:
            return None
        prepared.release()
        workspace().record_mark(mark)
        premises.box.expect(mark)
        return premises

    def prepare(self, spec: FunctionSpec) -> None:
        """Have premises made for a function's next environment, unless others are being made just now."""
        if not self._over and (self._preparing is None or self._preparing.done()):
            self._preparing = asyncio.get_running_loop().create_task(self._prepare(spec))

    async def close(self) -> None:
        """Take apart what nobody has taken."""
        self._over = True
        if self._preparing is not None:
            await asyncio.wait([self._preparing])
        while self._ready:
            await self._discard(next(iter(self._ready)))

    async def _prepare(self, spec: FunctionSpec) -> None:
        with suppress(LabError, OSError):  # an environment that needs them will meet the same, and say so
            prepared = await asyncio.to_thread(stage, spec)
            kind = Kind.of(spec, prepared)
            if kind in self._ready:
                prepared.release()
                return
            premises = Premises(Order(spec.tmp_mb))
            try:
                await premises.make(spec, prepared, environ.log_stream(spec.version))
            except BaseException:
                await premises.close()
                prepared.release()
                raise
            self._ready[kind] = premises, prepared
            while len(self._ready) > MAX_AHEAD:
                await self._discard(next(iter(self._ready)))

    async def _discard(self, kind: Kind) -> None:
        premises, prepared = self._ready.pop(kind)
        try:
            await premises.close()
        finally:
            prepared.release()


def _folders(spec: FunctionSpec, prepared: Stage, scratch: Path) -> Folders:
    return Folders(
        python=prepared.runtime.program,
        home=prepared.home,
        code=prepared.code,
        runtime=prepared.client,
        layer=prepared.layer,
        visible=environ.visible(spec, prepared.runtime),
        scratch=scratch,
    )
