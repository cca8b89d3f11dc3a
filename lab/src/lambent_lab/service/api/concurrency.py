"""The operations on concurrency: what a function has reserved, and what is started ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.service import names
from lambent_lab.service.api import settings
from lambent_lab.service.api.desk import page
from lambent_lab.service.core import provisioned_qualifiers
from lambent_lab.service.names import LATEST
from lambent_lab.service.problems import ServiceError, invalid_parameter

if TYPE_CHECKING:
    from lambent_lab.service.api.desk import Desk, Document, Parameters
    from lambent_lab.service.core import Deployed
    from lambent_lab.service.pool import Pool


async def put_function_concurrency(desk: Desk, request: Parameters) -> Document:
    """PutFunctionConcurrency."""
    deployed, qualifier = desk.target(request)
    if qualifier is not None:
        raise invalid_parameter(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
            "operation. Please specify either a function name or an unqualified function ARN."
        )
    desk.core.reserve(deployed, request["ReservedConcurrentExecutions"])
    return {"ReservedConcurrentExecutions": deployed.record.reserved}


async def get_function_concurrency(desk: Desk, request: Parameters) -> Document:
    """GetFunctionConcurrency."""
    deployed, _ = desk.target(request)
    reserved = deployed.record.reserved
    return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}


async def delete_function_concurrency(desk: Desk, request: Parameters) -> Document:
    """DeleteFunctionConcurrency."""
    deployed, _ = desk.target(request)
    deployed.record.reserved = None
    return None


async def put_provisioned_concurrency(desk: Desk, request: Parameters) -> Document:
    """PutProvisionedConcurrencyConfig."""
    deployed, qualifier = desk.target(request)
    count = request["ProvisionedConcurrentExecutions"]
    if qualifier in {None, LATEST}:
        raise invalid_parameter(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
        )
    if count > (desk.core.unreserved if deployed.record.reserved is None else deployed.record.reserved):
        raise invalid_parameter(
            "Requested Provisioned Concurrency should not be greater than the "
            "reservedConcurrentExecution for function"
        )
    assert qualifier is not None
    pool = desk.core.provision(deployed, qualifier, count)
    return settings.provisioned_document(pool, deployed.record.latest.modified)


async def get_provisioned_concurrency(desk: Desk, request: Parameters) -> Document:
    """GetProvisionedConcurrencyConfig."""
    deployed, pool = _provisioned(desk, request)
    return settings.provisioned_document(pool, deployed.record.latest.modified)


async def delete_provisioned_concurrency(desk: Desk, request: Parameters) -> Document:
    """DeleteProvisionedConcurrencyConfig."""
    deployed, _ = _provisioned(desk, request)
    desk.core.provision(deployed, request["Qualifier"], 0)
    return None


async def list_provisioned_concurrency(desk: Desk, request: Parameters) -> Document:
    """ListProvisionedConcurrencyConfigs."""
    deployed, _ = desk.target(request)
    chosen, marker = page(sorted(provisioned_qualifiers(deployed).items()), request)
    configs = [
        {
            "FunctionArn": names.qualified_arn(deployed.name, number),
            **settings.provisioned_document(pool, deployed.record.latest.modified),
        }
        for number, pool in chosen
    ]
    return {"ProvisionedConcurrencyConfigs": configs} | marker


def _provisioned(desk: Desk, request: Parameters) -> tuple[Deployed, Pool]:
    deployed, qualifier = desk.target(request)
    pool = deployed.pools().get(deployed.record.version(qualifier).number)
    if pool is None or not pool.provisioned:
        raise ServiceError(
            "ProvisionedConcurrencyConfigNotFoundException",
            404,
            "No Provisioned Concurrency Config found for this function",
        )
    return deployed, pool
