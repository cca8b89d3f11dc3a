"""The operations on functions: make, change, tell, list and delete them; and the account they are in."""

from __future__ import annotations

import asyncio
import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import UsageError
from lambent_lab.service import names
from lambent_lab.service.api import settings
from lambent_lab.service.api.desk import page
from lambent_lab.service.codes import check_zip
from lambent_lab.service.names import LATEST
from lambent_lab.service.problems import ServiceError, invalid_parameter
from lambent_lab.staging import MAX_UNZIPPED, MAX_ZIPPED

if TYPE_CHECKING:
    from lambent_lab.service.api.desk import Desk, Document, Parameters

LOCAL_BUCKETS = ("local", "hot-reload")
"""S3 buckets whose keys are paths of this machine; the second is what LocalStack calls it."""

EMPTY_ZIP = b"PK\x05\x06"
"""What a zip file begins with that has no files: the end of its directory."""


def code_url(base: str, name: str, number: str) -> str:
    """Return where the lab hands out a version's code; AWS has a signed URL of S3 here."""
    return f"{base}/lambent/code/{name}/{'latest' if number == LATEST else number}"


async def create_function(desk: Desk, request: Parameters) -> Document:
    """CreateFunction."""
    reference = names.parse(request["FunctionName"])
    if reference.qualifier is not None:
        raise invalid_parameter("A function is made without a qualifier: leave it out of FunctionName.")
    desk.core.check_free(reference.name)
    code = await _code(desk, request["Code"])
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
    code = await _code(desk, request)
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


async def _code(desk: Desk, source: Parameters) -> Path:
    """Return the path of the code that a request brings or names."""
    if "ImageUri" in source:
        raise invalid_parameter("The lab runs packages of the type Zip: it has no container images.")
    if "ZipFile" in source:
        try:
            package = base64.b64decode(source["ZipFile"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise ServiceError(
                "SerializationException",
                400,
                "ZipFile is not in base64: clients encode it, the CLI from fileb://.",
            ) from error
        if len(package) > MAX_ZIPPED:
            raise ServiceError(
                "RequestEntityTooLargeException",
                413,
                f"Zipped size must be smaller than {MAX_ZIPPED} bytes",
            )
        if not package or package.startswith(EMPTY_ZIP):
            raise invalid_parameter("Uploaded file must be a non-empty zip")
        if not await asyncio.to_thread(check_zip, package, MAX_UNZIPPED):
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
    raise invalid_parameter("Please provide a source for function code.")


async def get_account_settings(desk: Desk, _request: Parameters) -> Document:
    """GetAccountSettings."""
    latest = [await desk.core.described(one.record.latest) for one in desk.core.functions.values()]
    return {
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800,
            "CodeSizeUnzipped": MAX_UNZIPPED,
            "CodeSizeZipped": MAX_ZIPPED,
            "ConcurrentExecutions": desk.core.fleet.limit,
            "UnreservedConcurrentExecutions": desk.core.unreserved,
        },
        "AccountUsage": {
            "TotalCodeSize": sum(version.code.size for version in latest),
            "FunctionCount": len(latest),
        },
    }
