"""New environments when code changes on disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lambent_lab.service.core import Core, Deployed

DEBOUNCE_MS = 200
"""How long changes may go on before they count as one."""


def places(deployed: Deployed) -> tuple[Path, ...]:
    """Return the folders and files that a function's `$LATEST` is made of."""
    spec = deployed.record.latest.spec
    return tuple(path.resolve() for path in (spec.code, *spec.layers, *spec.extensions))


def touched(places: Iterable[Path], changed: Iterable[Path]) -> bool:
    """Tell whether one of the changed files is one of the places, or lies below one."""
    return any(place == path or place in path.parents for place in places for path in changed)


async def watch(
    core: Core, deployed: Iterable[Deployed], told: Callable[[str], None], ready: asyncio.Event | None = None
) -> None:
    """Reload functions whose files change, until cancelled; `told` hears the name of each.

    An invocation under way finishes with the old code; the next one runs the new. Functions made later over
    the API have packages, which do not change.
    """
    from watchfiles import DefaultFilter, awatch

    watched = {function: places(function) for function in deployed}
    # A file is watched by its folder: editors and builds replace files.
    folders = {place if place.is_dir() else place.parent for all_of in watched.values() for place in all_of}
    if not folders:
        return
    stop = asyncio.Event()
    changes = awatch(
        *folders,
        watch_filter=DefaultFilter(),
        debounce=DEBOUNCE_MS,
        step=50,
        stop_event=stop,
        yield_on_timeout=True,
        rust_timeout=500,
    )
    try:
        async for batch in changes:
            if ready is not None:
                ready.set()  # the first turn of the watcher is over: it sees what comes now
            paths = [Path(name) for _, name in batch]
            if not paths:
                continue
            for function, found in watched.items():
                if touched(found, paths) and core.functions.get(function.name) is function:
                    core.reload(function)
                    told(function.name)
    finally:
        stop.set()
