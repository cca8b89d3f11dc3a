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
    options: dict[str, Any] = dict(definition.options)
    if definition.source is not None:
        options["code"] = _written(lab.core, definition)
    try:
        spec = FunctionSpec(**options)
    except UsageError as error:
        raise UsageError(f"{definition.name}: {error}") from error
    function = lab.add(spec, definition.about, on_line=on_line)
    deployed = lab.core.functions[definition.name]
    deployed.record.tags.update(definition.tags)
    lab.run(_furnish(lab.core, deployed, definition))
    return function


async def _furnish(core: Core, deployed: Deployed, definition: Definition) -> None:
    if definition.reserved is not None:
        core.reserve(deployed, definition.reserved)
    if definition.alias is not None:
        version = await core.publish(deployed)
        deployed.record.add_alias(definition.alias, version.number)
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
