"""The operations on who may invoke a function: kept and told as AWS does, and asked about by nobody.

Rules
- AddPermission makes a statement of the function's resource policy, or of that of a version or an alias.
- The lab lets everybody in, whatever a policy says: scripts that give leave run here as they do in AWS.
- A policy has a revision id of its own, and is gone with its last statement.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

from lambent_lab.service import names
from lambent_lab.service.catalog import ResourcePolicy
from lambent_lab.service.names import LATEST
from lambent_lab.service.problems import conflict, invalid_parameter, not_found, stale_revision

if TYPE_CHECKING:
    from lambent_lab.service.api.desk import Desk, Document, Parameters
    from lambent_lab.service.core import Deployed

_ACCOUNT = re.compile(r"\d{12}")
_SERVICE = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?|[a-z0-9-]+\.amazon\.com")

_EQUAL = {
    "PrincipalOrgID": "aws:PrincipalOrgID",
    "SourceAccount": "AWS:SourceAccount",
    "FunctionUrlAuthType": "lambda:FunctionUrlAuthType",
    "EventSourceToken": "lambda:EventSourceToken",
}
"""What a request names, and the key that a statement's condition has for it."""


async def add(desk: Desk, request: Parameters) -> Document:
    """AddPermission."""
    deployed, qualifier = _target(desk, request)
    policies = deployed.record.resource_policies
    policy = policies.get(qualifier or LATEST)
    _expect(policy, request)
    statement = _statement(deployed, qualifier, request)
    if policy is None:
        policy = policies[qualifier or LATEST] = ResourcePolicy("")
    sid = request["StatementId"]
    if sid in policy.statements:
        raise conflict(
            f"The statement id ({sid}) provided already exists. Please provide a new statement id, "
            "or remove the existing statement."
        )
    policy.statements[sid] = statement
    policy.revision = str(uuid.uuid4())
    return {"Statement": _text(statement)}


async def get(desk: Desk, request: Parameters) -> Document:
    """GetPolicy."""
    deployed, qualifier = _target(desk, request)
    policy = deployed.record.resource_policies.get(qualifier or LATEST)
    if policy is None:
        raise not_found("The resource you requested does not exist.")
    document = {"Version": "2012-10-17", "Id": "default", "Statement": list(policy.statements.values())}
    return {"Policy": _text(document), "RevisionId": policy.revision}


async def remove(desk: Desk, request: Parameters) -> Document:
    """RemovePermission."""
    deployed, qualifier = _target(desk, request)
    policies = deployed.record.resource_policies
    policy = policies.get(qualifier or LATEST)
    if policy is None:
        raise not_found("No policy is associated with the given resource.")
    _expect(policy, request)
    if policy.statements.pop(request["StatementId"], None) is None:
        raise not_found(f"Statement {request['StatementId']} is not found in resource policy.")
    policy.revision = str(uuid.uuid4())
    if not policy.statements:
        del policies[qualifier or LATEST]
    return None


def _target(desk: Desk, request: Parameters) -> tuple[Deployed, str | None]:
    deployed, qualifier = desk.target(request)
    if qualifier == LATEST:
        raise invalid_parameter("We currently do not support adding policies for $LATEST.")
    deployed.record.version(qualifier)  # raises where there is none
    return deployed, qualifier


def _expect(policy: ResourcePolicy | None, request: Parameters) -> None:
    revision = request.get("RevisionId")
    if revision is not None and (policy is None or revision != policy.revision):
        raise stale_revision()


def _statement(deployed: Deployed, qualifier: str | None, request: Parameters) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": _principal(request["Principal"]),
        "Action": request["Action"],
        "Resource": names.qualified_arn(deployed.name, qualifier),
    }
    equal = {key: request[name] for name, key in _EQUAL.items() if name in request}
    condition: dict[str, Any] = {"StringEquals": equal} if equal else {}
    if "InvokedViaFunctionUrl" in request:
        truth = "true" if request["InvokedViaFunctionUrl"] else "false"
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": truth}
    if "SourceArn" in request:
        condition["ArnLike"] = {"AWS:SourceArn": request["SourceArn"]}
    if condition:
        statement["Condition"] = condition
    return statement


def _principal(text: str) -> object:
    if text == "*":
        return text
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:aws:iam::{text}:root"}
    if text.startswith("arn:"):
        return {"AWS": text}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    raise invalid_parameter("The provided principal was invalid. Please check the principal and try again.")


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
