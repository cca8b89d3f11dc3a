"""AWS's parameters of a function, and the specification that an environment is made from: both ways.

Rules
- What an environment needs lives in the FunctionSpec; what AWS's API only tells (Role, Description, …) is
  kept beside it, in `about`, under AWS's names.
- An update changes what it names and nothing else.
- Layers are ARNs that the lab's configuration maps to folders, or paths.
"""

from __future__ import annotations

import math
import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambent_lab.environ import ACCOUNT
from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.service.names import LATEST, qualified_arn
from lambent_lab.service.problems import invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.service.catalog import Alias, Version
    from lambent_lab.service.pool import Pool

ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambent-lab"
"""The role of functions that were given none: the lab asks nobody for permission."""

MAX_VARIABLES_BYTES = 4096

_KEPT = (
    "Role", "Description", "TracingConfig", "SnapStart", "VpcConfig", "DeadLetterConfig", "KMSKeyArn",
    "FileSystemConfigs", "Architectures",
)  # fmt: skip

_RESERVED = frozenset(
    {
        "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT",
    }
)  # fmt: skip
"""Variables that AWS does not let a function set."""


def new(
    name: str, request: Mapping[str, Any], code: Path, layers: Mapping[str, Path]
) -> tuple[FunctionSpec, dict[str, Any]]:
    """Return the specification of a function that is to be made, and what is told about it."""
    if request.get("PackageType", "Zip") != "Zip" or "ImageConfig" in request:
        raise invalid_parameter("The lab runs packages of the type Zip: it has no container images.")
    if not request.get("Handler") or not request.get("Runtime"):
        raise invalid_parameter(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    try:
        spec = FunctionSpec(name=name, code=code, handler=request["Handler"], **_changes(request, layers))
    except UsageError as error:
        raise invalid_parameter(str(error)) from error
    return spec, _told({}, request)


def updated(
    version: Version, request: Mapping[str, Any], layers: Mapping[str, Path]
) -> tuple[FunctionSpec, dict[str, Any]]:
    """Return specification and description with the changes of an UpdateFunctionConfiguration."""
    changes = _changes(request, layers)
    if "Handler" in request:
        changes["handler"] = request["Handler"]
    try:
        spec = replace(version.spec, **changes)
    except UsageError as error:
        raise invalid_parameter(str(error)) from error
    return spec, _told(version.about, request)


def with_code(spec: FunctionSpec, code: Path) -> FunctionSpec:
    """Return the specification with other code."""
    return replace(spec, code=code)


def _changes(request: Mapping[str, Any], layers: Mapping[str, Path]) -> dict[str, Any]:
    """Return the fields of a FunctionSpec that a request sets."""
    changes: dict[str, Any] = {}
    if "MemorySize" in request:
        changes["memory_mb"] = request["MemorySize"]
    if "Timeout" in request:
        changes["timeout_s"] = float(request["Timeout"])
    if "Environment" in request:
        changes["env"] = _variables(request["Environment"].get("Variables") or {})
    if "Runtime" in request:
        changes["runtime"] = request["Runtime"]
    if "Layers" in request:
        changes["layers"] = tuple(_layer(text, layers) for text in request["Layers"])
    if "EphemeralStorage" in request:
        changes["tmp_mb"] = request["EphemeralStorage"]["Size"]
    logging = request.get("LoggingConfig", {})
    if "LogFormat" in logging:
        changes["log_format"] = logging["LogFormat"]
        if logging["LogFormat"] == "Text":
            changes |= {"application_log_level": None, "system_log_level": None}
    if "ApplicationLogLevel" in logging:
        changes["application_log_level"] = logging["ApplicationLogLevel"]
    if "SystemLogLevel" in logging:
        changes["system_log_level"] = logging["SystemLogLevel"]
    managed = request.get("CapacityProviderConfig", {}).get(
        "LambdaManagedInstancesCapacityProviderConfig", {}
    )
    if "PerExecutionEnvironmentMaxConcurrency" in managed:
        changes["max_concurrency"] = managed["PerExecutionEnvironmentMaxConcurrency"]
    return changes


def _variables(variables: Mapping[str, str]) -> dict[str, str]:
    reserved = sorted(_RESERVED & variables.keys())
    if reserved:
        raise invalid_parameter(
            "Lambda was unable to configure your environment variables because the environment variables you "
            "have provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if sum(len(key.encode()) + len(value.encode()) for key, value in variables.items()) > MAX_VARIABLES_BYTES:
        raise invalid_parameter(
            "Lambda was unable to configure your environment variables because the environment variables you "
            "have provided exceeded the 4KB limit."
        )
    return dict(variables)


def _layer(text: object, layers: Mapping[str, Path]) -> Path:
    if not isinstance(text, str):
        raise invalid_parameter(f"A layer is an ARN or a path, not {text!r}.")
    unversioned = text.rpartition(":")[0]
    for name in (text, unversioned):
        if name in layers:
            return layers[name]
    if text.startswith("arn:"):
        raise invalid_parameter(
            f"Layer version {text} does not exist in the lab: "
            "map it to a folder or zip under `layers` in the configuration file."
        )
    path = Path(text).absolute()
    if not path.exists():
        raise invalid_parameter(f"The layer {text} does not exist: name a folder, a zip or a mapped ARN.")
    return path


def _told(before: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    about = {**before, **{name: request[name] for name in _KEPT if name in request}}
    if "Layers" in request:
        about["Layers"] = list(request["Layers"])
    if "LogGroup" in request.get("LoggingConfig", {}):
        about["LogGroup"] = request["LoggingConfig"]["LogGroup"]
    if "CapacityProviderConfig" in request:
        about["CapacityProviderConfig"] = request["CapacityProviderConfig"]
    return about


# -- the documents of answers


def configuration(version: Version, *, qualifier: str | None = None, listed: bool = False) -> dict[str, Any]:
    """Return a FunctionConfiguration. `qualifier` goes into the ARN; AWS's lists leave the state out."""
    spec, about = version.spec, version.about
    document: dict[str, Any] = {
        "FunctionName": spec.name,
        "FunctionArn": qualified_arn(spec.name, qualifier),
        "Runtime": spec.runtime or f"python{sys.version_info[0]}.{sys.version_info[1]}",
        "Role": about.get("Role", ROLE),
        "Handler": spec.handler,
        "CodeSize": version.code.size,
        "Description": about.get("Description", ""),
        # AWS counts whole seconds; a spec of the lab may have a fraction.
        "Timeout": math.ceil(spec.timeout_s),
        "MemorySize": spec.memory_mb,
        "LastModified": version.modified,
        "CodeSha256": version.code.sha256,
        "Version": version.number,
        "TracingConfig": {"Mode": about.get("TracingConfig", {}).get("Mode", "PassThrough")},
        "RevisionId": version.revision,
        "PackageType": "Zip",
        "Architectures": list(about.get("Architectures", [architecture()])),
        "EphemeralStorage": {"Size": spec.tmp_mb},
        "SnapStart": _snap_start(version),
        "LoggingConfig": _logging(version),
    }
    if spec.env:
        document["Environment"] = {"Variables": dict(spec.env)}
    if spec.layers:
        names = about.get("Layers") or [str(path) for path in spec.layers]
        document["Layers"] = [{"Arn": name, "CodeSize": 0} for name in names]
    for name in ("VpcConfig", "DeadLetterConfig", "KMSKeyArn", "FileSystemConfigs", "CapacityProviderConfig"):
        if name in about:
            document[name] = about[name]
    if not listed:
        document |= {"State": "Active", "LastUpdateStatus": "Successful"}
    return document


def _snap_start(version: Version) -> dict[str, str]:
    apply_on = version.about.get("SnapStart", {}).get("ApplyOn", "None")
    on = apply_on == "PublishedVersions" and version.number != LATEST
    return {"ApplyOn": apply_on, "OptimizationStatus": "On" if on else "Off"}


def _logging(version: Version) -> dict[str, str]:
    spec = version.spec
    document = {
        "LogFormat": "JSON" if spec.logs_json else "Text",
        "LogGroup": version.about.get("LogGroup", f"/aws/lambda/{spec.name}"),
    }
    if spec.logs_json:
        document["ApplicationLogLevel"] = spec.application_log_level or "INFO"
        document["SystemLogLevel"] = spec.system_log_level or "INFO"
    return document


def alias_document(function: str, alias: Alias) -> dict[str, Any]:
    """Return an AliasConfiguration."""
    document: dict[str, Any] = {
        "AliasArn": qualified_arn(function, alias.name),
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision,
    }
    if alias.weights:
        document["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.weights)}
    return document


def provisioned_document(pool: Pool, modified: str) -> dict[str, Any]:
    """Return what is told of environments that are started ahead."""
    ready = pool.available >= pool.provisioned
    document: dict[str, Any] = {
        "RequestedProvisionedConcurrentExecutions": pool.provisioned,
        "AvailableProvisionedConcurrentExecutions": pool.available,
        "AllocatedProvisionedConcurrentExecutions": pool.available,
        "Status": "FAILED" if pool.failure else "READY" if ready else "IN_PROGRESS",
        "LastModified": modified,
    }
    if pool.failure:
        document["StatusReason"] = pool.failure
    return document


def architecture() -> str:
    """Return this machine's architecture under AWS's name."""
    return "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
