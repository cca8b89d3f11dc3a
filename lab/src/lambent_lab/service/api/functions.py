"""The operations on functions: make, change, tell, list and delete them, their concurrency and their tags."""

from __future__ import annotations

import asyncio
import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambent_lab.environ import ACCOUNT, REGION
from lambent_lab.errors import UsageError
from lambent_lab.service import names
from lambent_lab.service.api import settings
from lambent_lab.service.codes import check_zip
from lambent_lab.service.core import provisioned_qualifiers
from lambent_lab.service.names import LATEST
from lambent_lab.service.problems import ServiceError, invalid_parameter, not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambent_lab.service.core import Core, Deployed
    from lambent_lab.service.pool import Pool

Parameters = dict[str, Any]
Document = dict[str, Any] | None

LOCAL_BUCKETS = ("local", "hot-reload")
"""S3 buckets whose keys are paths of this machine; the second is what LocalStack calls it."""

MAX_LISTED = 50
MAX_ZIP_BYTES = 50 * 1024 * 1024
MAX_UNZIPPED_BYTES = 250 * 1024 * 1024
EMPTY_ZIP = b"PK\x05\x06"
"""What a zip file begins with that has no files: the end of its directory."""


class Desk:
    """What the operations work on: the service, the layers that ARNs are mapped to, and the API's own URL."""

    def __init__(
        self,
        core: Core,
        *,
        layers: Mapping[str, Path] | None = None,
        on_line: Callable[[str], Callable[[str], None] | None] = lambda _: None,
    ) -> None:
        self.core = core
        self.layers = dict(layers or {})
        self.on_line = on_line
        self.url = ""

    def target(self, request: Parameters) -> tuple[Deployed, str | None]:
        """Return the function that a request names, and the qualifier."""
        reference = names.parse(request["FunctionName"], request.get("Qualifier"))
        return self.core.find(reference), reference.qualifier


def code_url(base: str, name: str, number: str) -> str:
    """Return where the lab hands out a version's code; AWS has a signed URL of S3 here."""
    return f"{base}/lambent/code/{name}/{'latest' if number == LATEST else number}"


# -- functions


async def create_function(desk: Desk, request: Parameters) -> Document:
    """CreateFunction."""
    reference = names.parse(request["FunctionName"])
    if reference.qualifier is not None:
        raise invalid_parameter("A function is made without a qualifier: leave it out of FunctionName.")
    desk.core.check_free(reference.name)
    code = await _code(desk, request["Code"], needed=True)
    assert code is not None
    spec, about = settings.new(reference.name, request, code, desk.layers)
    deployed = desk.core.deploy(spec, about, on_line=desk.on_line(reference.name))
    deployed.record.tags.update(request.get("Tags", {}))
    version = await desk.core.described(deployed.record.latest)
    if request.get("Publish"):
        version = await desk.core.publish(deployed)
    return settings.configuration(version)


async def get_function(desk: Desk, request: Parameters) -> Document:
    """GetFunction."""
    deployed, qualifier = desk.target(request)
    version = await desk.core.described(deployed.record.version(qualifier))
    location = code_url(desk.url, deployed.name, version.number)
    document: dict[str, Any] = {
        "Configuration": settings.configuration(version, qualifier=qualifier),
        "Code": {"RepositoryType": "S3", "Location": location},
    }
    if deployed.record.tags:
        document["Tags"] = dict(deployed.record.tags)
    if deployed.record.reserved is not None:
        document["Concurrency"] = {"ReservedConcurrentExecutions": deployed.record.reserved}
    return document


async def get_function_configuration(desk: Desk, request: Parameters) -> Document:
    """GetFunctionConfiguration."""
    deployed, qualifier = desk.target(request)
    version = await desk.core.described(deployed.record.version(qualifier))
    return settings.configuration(version, qualifier=qualifier)


async def list_functions(desk: Desk, request: Parameters) -> Document:
    """ListFunctions."""
    every = request.get("FunctionVersion") == "ALL"
    found = []
    for name in sorted(desk.core.functions):
        record = desk.core.functions[name].record
        found += [(record.latest, record.latest.number if every else None)]
        found += [(version, version.number) for version in record.published.values() if every]
    chosen, marker = page(found, request)
    document = {
        "Functions": [
            settings.configuration(await desk.core.described(version), qualifier=qualifier, listed=True)
            for version, qualifier in chosen
        ]
    }
    return document | marker


async def delete_function(desk: Desk, request: Parameters) -> Document:
    """DeleteFunction."""
    deployed, qualifier = desk.target(request)
    if qualifier is None:
        desk.core.remove(deployed)
    else:
        deployed.drop(deployed.record.remove_version(qualifier).number)
    return None


async def update_function_code(desk: Desk, request: Parameters) -> Document:
    """UpdateFunctionCode."""
    deployed, qualifier = desk.target(request)
    _only_latest(qualifier)
    record = deployed.record
    record.expect(request.get("RevisionId"))
    if "ImageUri" in request:
        raise invalid_parameter("The lab runs packages of the type Zip: it has no container images.")
    code = await _code(desk, request, needed=True)
    assert code is not None
    about = dict(record.latest.about)
    if "Architectures" in request:
        about["Architectures"] = request["Architectures"]
    try:
        spec = settings.with_code(record.latest.spec, code)
    except UsageError as error:
        raise invalid_parameter(str(error)) from error
    if request.get("DryRun"):
        return settings.configuration(await desk.core.described(record.latest))
    described = await asyncio.to_thread(desk.core.codes.describe, code)
    version = desk.core.change(deployed, spec=spec, about=about, code=described)
    if not request.get("Publish"):
        return settings.configuration(version)
    version = await desk.core.publish(deployed)
    return settings.configuration(version, qualifier=version.number)


async def update_function_configuration(desk: Desk, request: Parameters) -> Document:
    """UpdateFunctionConfiguration."""
    deployed, qualifier = desk.target(request)
    _only_latest(qualifier)
    deployed.record.expect(request.get("RevisionId"))
    spec, about = settings.updated(deployed.record.latest, request, desk.layers)
    desk.core.change(deployed, spec=spec, about=about)
    return settings.configuration(await desk.core.described(deployed.record.latest))


def _only_latest(qualifier: str | None) -> None:
    if qualifier not in {None, LATEST}:
        raise invalid_parameter("Published versions do not change: name the function without a qualifier.")


async def _code(desk: Desk, source: Parameters, *, needed: bool) -> Path | None:
    """Return the path of the code that a request brings or names."""
    if "ZipFile" in source:
        try:
            package = base64.b64decode(source["ZipFile"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise ServiceError(
                "SerializationException",
                400,
                "ZipFile is not in base64: clients encode it, the CLI from fileb://.",
            ) from error
        if len(package) > MAX_ZIP_BYTES:
            raise ServiceError(
                "RequestEntityTooLargeException",
                413,
                f"Zipped size must be smaller than {MAX_ZIP_BYTES} bytes",
            )
        if not package or package.startswith(EMPTY_ZIP):
            raise invalid_parameter("Uploaded file must be a non-empty zip")
        if not await asyncio.to_thread(check_zip, package, MAX_UNZIPPED_BYTES):
            raise invalid_parameter(
                "Could not unzip uploaded file. Please check your file, then try to upload again."
            )
        return await asyncio.to_thread(desk.core.codes.keep, package)
    if "S3Bucket" in source:
        bucket, key = source["S3Bucket"], source.get("S3Key", "")
        if bucket not in LOCAL_BUCKETS:
            raise invalid_parameter(
                f"The lab has no S3 bucket {bucket}: send the package as ZipFile, "
                "or name a folder or zip of this machine as S3Key in the S3Bucket `local`."
            )
        path = Path(key)
        if not path.is_absolute() or not await asyncio.to_thread(path.exists):
            raise invalid_parameter(f"S3Key {key!r} in the bucket `{bucket}` is no existing absolute path.")
        return path
    if "ImageUri" in source:
        raise invalid_parameter("The lab runs packages of the type Zip: it has no container images.")
    if needed:
        raise invalid_parameter("Please provide a source for function code.")
    return None


# -- concurrency


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


async def get_account_settings(desk: Desk, _request: Parameters) -> Document:
    """GetAccountSettings."""
    latest = [await desk.core.described(one.record.latest) for one in desk.core.functions.values()]
    return {
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800,
            "CodeSizeUnzipped": MAX_UNZIPPED_BYTES,
            "CodeSizeZipped": MAX_ZIP_BYTES,
            "ConcurrentExecutions": desk.core.fleet.limit,
            "UnreservedConcurrentExecutions": desk.core.unreserved,
        },
        "AccountUsage": {
            "TotalCodeSize": sum(version.code.size for version in latest),
            "FunctionCount": len(latest),
        },
    }


# -- tags


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


# -- pages


def page(found: Sequence[Any], request: Parameters) -> tuple[Sequence[Any], dict[str, str]]:
    """Return the part of a list that a request asks for, and the marker of the next one."""
    marker = request.get("Marker") or "0"
    if not marker.isdecimal():
        raise invalid_parameter(f"The marker {marker!r} is none that the lab gave out.")
    start = int(marker)
    end = start + min(request.get("MaxItems") or MAX_LISTED, MAX_LISTED)
    return found[start:end], {"NextMarker": str(end)} if end < len(found) else {}
