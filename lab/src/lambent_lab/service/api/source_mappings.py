"""The operations on event source mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.service import names
from lambent_lab.service.api.desk import page
from lambent_lab.service.problems import invalid_parameter
from lambent_lab.service.sources import settings

if TYPE_CHECKING:
    from lambent_lab.service.api.desk import Desk, Document, Parameters


async def create(desk: Desk, request: Parameters) -> Document:
    """CreateEventSourceMapping."""
    reference = names.parse(request["FunctionName"])
    desk.core.find(reference).record.version(reference.qualifier)  # raises where there is none
    if "EventSourceArn" not in request:
        raise invalid_parameter("The lab polls queues and streams only: name one as EventSourceArn.")
    wanted = settings.new(request["EventSourceArn"], reference.name, reference.qualifier, request)
    sources = desk.core.sources
    await sources.check(wanted)
    return sources.add(wanted).document()


async def get(desk: Desk, request: Parameters) -> Document:
    """GetEventSourceMapping."""
    return desk.core.sources.find(request["UUID"]).document()


async def update(desk: Desk, request: Parameters) -> Document:
    """UpdateEventSourceMapping: what is not named stays."""
    function = names.parse(request["FunctionName"]) if "FunctionName" in request else None
    if function is not None:
        desk.core.find(function).record.version(function.qualifier)  # raises where there is none
    return (await desk.core.sources.change(request["UUID"], request, function)).document()


async def delete(desk: Desk, request: Parameters) -> Document:
    """DeleteEventSourceMapping."""
    return (await desk.core.sources.delete(request["UUID"])).document()


async def list_all(desk: Desk, request: Parameters) -> Document:
    """ListEventSourceMappings, of a function or a queue, or all."""
    reference = names.parse(request["FunctionName"]) if "FunctionName" in request else None
    found = [
        source
        for source in desk.core.sources.mappings.values()
        if request.get("EventSourceArn") in {None, source.settings.source.text}
        and (
            reference is None
            or (reference.name, reference.qualifier) == (source.settings.function, source.settings.qualifier)
        )
    ]
    chosen, marker = page(found, request)
    return {"EventSourceMappings": [source.document() for source in chosen]} | marker
