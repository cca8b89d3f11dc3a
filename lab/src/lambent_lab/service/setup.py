"""From a file's definitions to functions of a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.service.names import LATEST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lambent_lab.service.core import Core, Deployed
    from lambent_lab.service.files import Definition
    from lambent_lab.service.function import Function
    from lambent_lab.service.lab import Lab


def deploy(lab: Lab, definition: Definition, on_line: Callable[[str], None] | None = None) -> Function:
    """Make the function that a file defines, with its concurrency and alias. Raises UsageError."""
    function = lab.add(spec_of(lab.core, definition), definition.about, on_line=on_line)
    lab.run(furnish(lab.core, lab.core.functions[definition.name], definition))
    lab.run(lab.core.sources.follow((), definition.sources))
    return function


def spec_of(core: Core, definition: Definition) -> FunctionSpec:
    """Return the spec of the function that a file defines. Raises UsageError."""
    options: dict[str, Any] = dict(definition.options)
    if definition.source is not None:
        options["code"] = _written(core, definition)
    try:
        return FunctionSpec(**options)
    except UsageError as error:
        raise UsageError(f"{definition.name}: {error}") from error


async def furnish(core: Core, deployed: Deployed, definition: Definition) -> None:
    """Give a function the tags, concurrency, alias, policy and URL that its file says. Raises LabError."""
    deployed.record.tags.update(definition.tags)
    if definition.reserved is not None:
        core.reserve(deployed, definition.reserved)
    if definition.alias is not None and definition.alias not in deployed.record.aliases:
        version = await core.publish(deployed)
        deployed.record.add_alias(definition.alias, version.number)
    if definition.policy is not None:
        for qualifier in filter(None, (LATEST, definition.alias)):
            deployed.record.policies[qualifier] = definition.policy
    if definition.url is not None:
        from lambent_lab.service.urls.doors import urls_of

        await urls_of(core).put(deployed, definition.alias or LATEST, definition.url)
    if definition.provisioned:
        # AWS has no environments ahead for $LATEST; a developer without versions wants them all the same.
        core.provision(deployed, definition.alias or LATEST, definition.provisioned)


def _written(core: Core, definition: Definition) -> Path:
    """Write the code that stands in a file into a folder, under the name that the handler expects."""
    assert definition.source is not None
    module, _, _ = str(definition.options["handler"]).rpartition(".")
    runtime = str(definition.options.get("runtime", "python"))
    suffix = "js" if runtime.startswith("nodejs") else "py"
    return core.codes.write(f"{module}.{suffix}", definition.source)
