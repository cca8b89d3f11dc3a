"""The operations on tags, which only functions have here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.environ import ACCOUNT, REGION
from lambent_lab.service import names
from lambent_lab.service.problems import invalid_parameter, not_found

if TYPE_CHECKING:
    from lambent_lab.service.api.desk import Desk, Document, Parameters
    from lambent_lab.service.core import Deployed


def _tagged(desk: Desk, request: Parameters) -> Deployed:
    arn = request["Resource"]
    if not arn.startswith(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"):
        raise not_found(f"The lab has no resource {arn}.")
    reference = names.parse(arn)
    if reference.qualifier is not None:
        raise invalid_parameter(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return desk.core.find(reference)


async def list_tags(desk: Desk, request: Parameters) -> Document:
    """ListTags."""
    return {"Tags": dict(_tagged(desk, request).record.tags)}


async def tag_resource(desk: Desk, request: Parameters) -> Document:
    """TagResource."""
    deployed = _tagged(desk, request)
    if not request["Tags"]:
        raise invalid_parameter("An error occurred and the request cannot be processed.")
    deployed.record.tags.update(request["Tags"])
    return None


async def untag_resource(desk: Desk, request: Parameters) -> Document:
    """UntagResource."""
    deployed = _tagged(desk, request)
    for key in request["TagKeys"]:
        deployed.record.tags.pop(key, None)
    return None
