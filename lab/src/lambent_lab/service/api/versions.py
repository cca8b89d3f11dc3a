"""The operations on versions and aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.service.api import settings
from lambent_lab.service.api.desk import page
from lambent_lab.service.names import LATEST
from lambent_lab.service.problems import invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.service.api.desk import Desk, Document, Parameters


async def publish_version(desk: Desk, request: Parameters) -> Document:
    """PublishVersion."""
    deployed, _ = desk.target(request)
    record = deployed.record
    record.expect(request.get("RevisionId"))
    latest = await desk.core.described(record.latest)
    wanted = request.get("CodeSha256")
    if wanted and wanted != latest.code.sha256:
        raise invalid_parameter(
            f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({latest.code.sha256}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )
    version = await desk.core.publish(deployed, request.get("Description"))
    return settings.configuration(version, qualifier=version.number)


async def list_versions(desk: Desk, request: Parameters) -> Document:
    """ListVersionsByFunction."""
    deployed, _ = desk.target(request)
    record = deployed.record
    chosen, marker = page((record.latest, *record.published.values()), request)
    documents = [
        settings.configuration(await desk.core.described(version), qualifier=version.number, listed=True)
        for version in chosen
    ]
    return {"Versions": documents} | marker


def _weights(request: Parameters) -> Mapping[str, float] | None:
    routing = request.get("RoutingConfig")
    return None if routing is None else dict(routing.get("AdditionalVersionWeights") or {})


async def create_alias(desk: Desk, request: Parameters) -> Document:
    """CreateAlias."""
    deployed, _ = desk.target(request)
    alias = deployed.record.add_alias(
        request["Name"], request["FunctionVersion"], request.get("Description", ""), _weights(request)
    )
    return settings.alias_document(deployed.name, alias)


async def get_alias(desk: Desk, request: Parameters) -> Document:
    """GetAlias."""
    deployed, _ = desk.target(request)
    return settings.alias_document(deployed.name, deployed.record.alias(request["Name"]))


async def update_alias(desk: Desk, request: Parameters) -> Document:
    """UpdateAlias."""
    deployed, _ = desk.target(request)
    alias = deployed.record.change_alias(
        request["Name"],
        version=request.get("FunctionVersion"),
        description=request.get("Description"),
        weights=_weights(request),
        revision=request.get("RevisionId"),
    )
    return settings.alias_document(deployed.name, alias)


async def delete_alias(desk: Desk, request: Parameters) -> Document:
    """DeleteAlias. Of an alias that is not there as well: AWS answers 204."""
    deployed, _ = desk.target(request)
    deployed.record.aliases.pop(request["Name"], None)
    return None


async def list_aliases(desk: Desk, request: Parameters) -> Document:
    """ListAliases."""
    deployed, _ = desk.target(request)
    version = request.get("FunctionVersion")
    if version is not None and version != LATEST:
        deployed.record.version(version)
    found = [
        settings.alias_document(deployed.name, alias)
        for _, alias in sorted(deployed.record.aliases.items())
        if version in {None, alias.version, *alias.weights}
    ]
    chosen, marker = page(found, request)
    return {"Aliases": list(chosen)} | marker
