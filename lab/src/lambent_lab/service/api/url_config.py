"""The operations on function URLs: FunctionUrlConfig.

Rules
- `FunctionUrl` is where the lab listens for it, and works as it stands. The id that AWS puts into the URL is
  in the event (`apiId`).
- A URL belongs to `$LATEST` (without a qualifier) or to an alias, never to a version.
- An update changes what it names; `Cors` without anything in it ends CORS.
- A URL outlives its alias, and then refuses who calls it; it ends with its function.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lambent_lab.service import names
from lambent_lab.service.api.desk import page
from lambent_lab.service.names import LATEST
from lambent_lab.service.problems import not_found
from lambent_lab.service.urls import Cors, UrlSettings
from lambent_lab.service.urls.doors import urls_of

if TYPE_CHECKING:
    from lambent_lab.service.api.desk import Desk, Document, Parameters
    from lambent_lab.service.core import Deployed
    from lambent_lab.service.urls.doors import Door

_NO_FUNCTION = "Function does not exist"
_NO_URL = "The resource you requested does not exist."


async def create(desk: Desk, request: Parameters) -> Document:
    """CreateFunctionUrlConfig."""
    deployed, qualifier = _target(desk, request, _NO_FUNCTION)
    if qualifier != LATEST and qualifier not in deployed.record.aliases:
        raise not_found(_NO_FUNCTION)
    settings = UrlSettings(
        auth=request["AuthType"],
        mode=request.get("InvokeMode", "BUFFERED"),
        cors=Cors.of(request.get("Cors")),
    )
    document = _document(await urls_of(desk.core).create(deployed, qualifier, settings))
    del document["LastModifiedTime"]
    return document


async def get(desk: Desk, request: Parameters) -> Document:
    """GetFunctionUrlConfig."""
    return _document(_door(desk, request))


async def update(desk: Desk, request: Parameters) -> Document:
    """UpdateFunctionUrlConfig."""
    door = _door(desk, request, _NO_FUNCTION)
    changes: dict[str, Any] = {}
    if "AuthType" in request:
        changes["auth"] = request["AuthType"]
    if "InvokeMode" in request:
        changes["mode"] = request["InvokeMode"]
    if "Cors" in request:
        changes["cors"] = Cors.of(request["Cors"])
    door.change(replace(door.settings, **changes))
    return _document(door)


async def delete(desk: Desk, request: Parameters) -> Document:
    """DeleteFunctionUrlConfig."""
    door = _door(desk, request)
    await urls_of(desk.core).remove(door.deployed, door.qualifier)
    return None


async def list_all(desk: Desk, request: Parameters) -> Document:
    """ListFunctionUrlConfigs."""
    deployed, _ = _target(desk, request, _NO_FUNCTION)
    found = sorted(urls_of(desk.core).of(deployed).items())
    chosen, marker = page([door for _, door in found], request)
    return {"FunctionUrlConfigs": [_document(door) for door in chosen]} | marker


def _target(desk: Desk, request: Parameters, missing: str) -> tuple[Deployed, str]:
    reference = names.parse(request["FunctionName"], request.get("Qualifier"))
    deployed = desk.core.functions.get(reference.name)
    if deployed is None:
        raise not_found(missing)
    return deployed, reference.qualifier or LATEST


def _door(desk: Desk, request: Parameters, missing: str = _NO_URL) -> Door:
    deployed, qualifier = _target(desk, request, missing)
    door = urls_of(desk.core).of(deployed).get(qualifier)
    if door is None:
        raise not_found(_NO_URL)
    return door


def _document(door: Door) -> dict[str, Any]:
    settings = door.settings
    document: dict[str, Any] = {
        "FunctionUrl": door.url,
        "FunctionArn": door.arn,
        "AuthType": settings.auth,
        "InvokeMode": settings.mode,
        "CreationTime": door.created,
        "LastModifiedTime": door.modified,
    }
    if settings.cors is not None:
        document["Cors"] = settings.cors.document()
    return document
