"""What a changed file changes in the service that runs its functions: some come, some go, some are altered.

Rules
- Everything is read and checked before anything is changed: a file with a mistake changes nothing.
- A function that is altered keeps its versions and aliases; its next invocation runs in a new environment.
- What a file has always said is not said again: a function that was changed or deleted over the API stays
  that way until its own entry changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lambent_lab.errors import LabError
from lambent_lab.service import setup
from lambent_lab.service.names import LATEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.function import FunctionSpec
    from lambent_lab.service.core import Core, Deployed
    from lambent_lab.service.files import Configuration, Definition

Change = tuple[Literal["added", "altered", "removed", "problem"], str]
"""What has happened, and to which function; of a problem, what it is."""


async def revise(
    core: Core, before: Configuration, after: Configuration, on_line: Callable[[str], Callable[[str], None]]
) -> list[Change]:
    """Make the service what the file says now, and return what has changed.

    Raises UsageError when it cannot be what the file says; then nothing has changed.
    """
    old = {one.name: one for one in before.definitions}
    new = {one.name: one for one in after.definitions}
    different = {name: one for name, one in new.items() if old.get(name) != one}
    specs = {name: setup.spec_of(core, one) for name, one in different.items()}
    changes: list[Change] = []
    for name in old.keys() - new.keys():
        if name in core.functions:
            await core.sources.follow(old[name].sources, ())
            core.remove(core.functions[name])
            changes.append(("removed", name))
    for name, definition in different.items():
        deployed = core.functions.get(name)
        try:
            if deployed is None:
                deployed = core.deploy(specs[name], definition.about, on_line=on_line(name))
                changes.append(("added", name))
                await setup.furnish(core, deployed, definition)
                await core.sources.follow((), definition.sources)
            else:
                changes.append(("altered", name))
                await _alter(core, deployed, specs[name], old.get(name), definition)
        except LabError as error:
            changes.append(("problem", f"{name}: {error}"))
    return changes


async def _alter(
    core: Core, deployed: Deployed, spec: FunctionSpec, old: Definition | None, new: Definition
) -> None:
    core.change(deployed, spec=spec, about=dict(new.about))
    record = deployed.record
    record.tags.clear()
    if new.reserved is None:
        record.reserved = None
    if new.policy is None and old is not None and old.policy is not None:
        record.policies.clear()
    if core.urls is not None and old is not None and old.url is not None:
        before = old.alias or LATEST
        if new.url is None or before != (new.alias or LATEST):
            await core.urls.remove(deployed, before)
    if old is not None and old.provisioned:
        core.provision(deployed, old.alias if old.alias in record.aliases else LATEST, 0)
    if new.alias is not None and new.alias in record.aliases:
        version = await core.publish(deployed)
        record.change_alias(new.alias, version=version.number, description=None, weights=None, revision=None)
    await setup.furnish(core, deployed, new)
    await core.sources.follow(() if old is None else old.sources, new.sources)
