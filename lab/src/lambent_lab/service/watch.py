"""New environments when code changes on disk.

Rules
- An invocation under way finishes with the old code; the next one runs the new.
- A folder is known by its path, not by its inode: a build that removes it and makes it again has changed it,
  as has whoever points a link elsewhere.
- A function that has got other code or layers over the API is watched there from then on.
- The file that says which functions there are is looked at by its size and time, twice in a row: whoever
  writes it may not be through.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from lambent_lab.service.core import Core, Deployed

DEBOUNCE_MS = 200
"""How long changes may go on before they count as one."""

TURN_MS = 200
"""How often folders are looked at for having been replaced."""


@dataclass(frozen=True, slots=True)
class Place:
    """Something that a function is made of: its path, where that leads, and the folder to watch for it.

    `identity` is the folder's device and inode; None: it is not there.
    """

    path: Path
    target: Path
    folder: Path
    identity: tuple[int, int] | None

    @classmethod
    def at(cls, path: Path) -> Place:
        """Look at a path. A file is watched by its folder: editors and builds replace files."""
        target = path.resolve()
        folder = target if target.is_dir() or not target.exists() else target.parent
        identity = None
        with suppress(OSError):
            about = folder.stat()
            identity = (about.st_dev, about.st_ino)
        return cls(path, target, folder, identity)

    def touched(self, changed: Iterable[Path]) -> bool:
        """Tell whether one of the changed files is this one, or lies below it."""
        return any(self.target == path or self.target in path.parents for path in changed)


class File:
    """A file that says which functions there are.

    `revise` follows its change and returns the functions to watch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.revise: Callable[[], Awaitable[Iterable[Deployed]]] | None = None
        self._read = self._last = self._look()  # made before it is read: what changes meanwhile has changed

    def _look(self) -> tuple[int, int, int, int] | None:
        try:
            about = self.path.stat()
        except OSError:
            return None
        return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns

    def changed(self) -> bool:
        """Tell, once, that it has changed and does so no more."""
        before, self._last = self._last, self._look()
        if self._last != before or self._last == self._read:
            return False
        self._read = self._last
        return True


def places(deployed: Deployed) -> tuple[Place, ...]:
    """Return what a function's `$LATEST` is made of, as it is now."""
    spec = deployed.record.latest.spec
    return tuple(Place.at(path) for path in (spec.code, *spec.layers, *spec.extensions))


def moved(before: Iterable[Place], now: Iterable[Place]) -> bool:
    """Tell whether the same paths lead to other places."""
    first, second = list(before), list(now)
    return first != second and [place.path for place in first] == [place.path for place in second]


async def watch(
    core: Core,
    deployed: Iterable[Deployed],
    told: Callable[[str], None],
    ready: asyncio.Event | None = None,
    file: File | None = None,
) -> None:
    """Reload functions whose files change, until cancelled; `told` hears the name of each.

    `ready` is set when changes are seen from now on, or when this ends. Functions made later over the API
    have packages, which do not change; those that come with a change of `file` are watched as well. Raises
    LabError when the system lets nobody watch.
    """
    try:
        await _watch(core, deployed, told, ready or asyncio.Event(), file)
    finally:
        if ready is not None:
            ready.set()  # whoever waits for it looks at the outcome


async def _watch(
    core: Core,
    deployed: Iterable[Deployed],
    told: Callable[[str], None],
    ready: asyncio.Event,
    file: File | None,
) -> None:
    known = {function: places(function) for function in deployed}
    # What was replaced while nobody watched its new folder is loaded once more when somebody does.
    again: set[Deployed] = set()
    while known or file is not None:
        folders = {place.folder for found in known.values() for place in found if place.identity is not None}
        async with aclosing(_turns(folders)) as turns:
            async for changed in turns:
                ready.set()
                now = {function: places(function) for function in known}
                replaced = {function for function in known if moved(known[function], now[function])}
                for function, found in now.items():
                    if (
                        function in replaced | again or any(place.touched(changed) for place in found)
                    ) and core.functions.get(function.name) is function:
                        core.reload(function)
                        told(function.name)
                again = replaced
                if file is not None and file.revise is not None and file.changed():
                    now = {function: places(function) for function in await file.revise()}
                if now != known:
                    known = now
                    break


async def _turns(folders: Iterable[Path]) -> AsyncGenerator[list[Path], None]:
    """Yield which files have changed, or none after some time; end when a folder is not there."""
    from watchfiles import DefaultFilter, awatch

    existing = list(folders)
    if not existing:
        await asyncio.sleep(TURN_MS / 1000)
        yield []
        return
    stop = asyncio.Event()
    try:
        changes = awatch(
            *existing,
            watch_filter=DefaultFilter(ignore_dirs=(*DefaultFilter.ignore_dirs, ".lambent")),
            debounce=DEBOUNCE_MS,
            step=50,
            stop_event=stop,
            yield_on_timeout=True,
            rust_timeout=TURN_MS,
        )
        async with aclosing(changes):
            async for batch in changes:
                yield [Path(name) for _, name in batch]
    except FileNotFoundError:
        await asyncio.sleep(TURN_MS / 1000)
        yield []  # it went while this began: look again
    except OSError as error:
        raise LabError(
            f"The code cannot be watched ({error}): serve without --watch, "
            "or raise fs.inotify.max_user_watches and max_user_instances."
        ) from error
    finally:
        stop.set()
