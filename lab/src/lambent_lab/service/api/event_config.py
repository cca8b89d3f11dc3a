"""The operations on what asynchronous invocation does with events: FunctionEventInvokeConfig."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lambent_lab.service import names, parcels
from lambent_lab.service.api.desk import page
from lambent_lab.service.names import LATEST
from lambent_lab.service.policy import Policy
from lambent_lab.service.problems import ServiceError, invalid_parameter, not_found

if TYPE_CHECKING:
    from lambent_lab.service.api.desk import Desk, Document, Parameters
    from lambent_lab.service.core import Deployed


async def put(desk: Desk, request: Parameters) -> Document:
    """PutFunctionEventInvokeConfig: what is not named is removed."""
    deployed, qualifier = _target(desk, request)
    return _set(desk, deployed, qualifier, Policy(), request)


async def update(desk: Desk, request: Parameters) -> Document:
    """UpdateFunctionEventInvokeConfig: what is not named stays."""
    deployed, qualifier = _target(desk, request)
    return _set(desk, deployed, qualifier, _known(deployed, qualifier), request)


async def get(desk: Desk, request: Parameters) -> Document:
    """GetFunctionEventInvokeConfig."""
    deployed, qualifier = _target(desk, request)
    return _document(deployed, qualifier, _known(deployed, qualifier))


async def delete(desk: Desk, request: Parameters) -> Document:
    """DeleteFunctionEventInvokeConfig."""
    deployed, qualifier = _target(desk, request)
    _known(deployed, qualifier)
    del deployed.record.policies[qualifier]
    return None


async def list_all(desk: Desk, request: Parameters) -> Document:
    """ListFunctionEventInvokeConfigs."""
    deployed, _ = desk.target(request)
    chosen, marker = page(sorted(deployed.record.policies.items()), request)
    return {"FunctionEventInvokeConfigs": [_document(deployed, *each) for each in chosen]} | marker


def _target(desk: Desk, request: Parameters) -> tuple[Deployed, str]:
    deployed, qualifier = desk.target(request)
    deployed.record.version(qualifier)  # raises where there is none
    return deployed, qualifier or LATEST


def _known(deployed: Deployed, qualifier: str) -> Policy:
    found = deployed.record.policies.get(qualifier)
    if found is None:
        arn = names.qualified_arn(deployed.name, qualifier)
        raise not_found(f"The function {arn} doesn't have an EventInvokeConfig")
    return found


def _set(desk: Desk, deployed: Deployed, qualifier: str, before: Policy, request: Parameters) -> Document:
    changes: dict[str, Any] = {}
    if "MaximumRetryAttempts" in request:
        changes["retries"] = request["MaximumRetryAttempts"]
    if "MaximumEventAgeInSeconds" in request:
        changes["max_age_s"] = request["MaximumEventAgeInSeconds"]
    config = request.get("DestinationConfig", {})
    for name, setting in (("OnSuccess", "on_success"), ("OnFailure", "on_failure")):
        if name in config:
            arn = config[name].get("Destination") or None
            _check(desk, deployed, arn, success=name == "OnSuccess")
            changes[setting] = arn
    if not changes:
        raise invalid_parameter("You must specify at least one of error handling or destination setting.")
    policy = replace(before, modified=round(time.time(), 3), **changes)
    deployed.record.policies[qualifier] = policy
    return _document(deployed, qualifier, policy)


def _check(desk: Desk, deployed: Deployed, arn: str | None, *, success: bool) -> None:
    """Refuse what is no destination, a function that is not there, or one that would call itself."""
    if arn is None:
        return
    try:
        kind = parcels.check(arn, success=success).service
    except parcels.UnfitError as error:
        raise invalid_parameter(f"The destination {error}.") from error
    if kind != "lambda":
        return
    try:
        other = desk.core.find(names.parse(arn))
    except ServiceError as error:
        raise invalid_parameter(f"The destination {arn} is no function of the lab: {error}") from error
    if other is deployed:
        raise invalid_parameter(f"The destination {arn} is the function itself: its events would never end.")


def _document(deployed: Deployed, qualifier: str, policy: Policy) -> dict[str, Any]:
    document: dict[str, Any] = {
        "LastModified": policy.modified,
        "FunctionArn": names.qualified_arn(deployed.name, qualifier),
    }
    if policy.retries is not None:
        document["MaximumRetryAttempts"] = policy.retries
    if policy.max_age_s is not None:
        document["MaximumEventAgeInSeconds"] = policy.max_age_s
    document["DestinationConfig"] = {
        name: {} if arn is None else {"Destination": arn}
        for name, arn in (("OnSuccess", policy.on_success), ("OnFailure", policy.on_failure))
    }
    return document
