"""The functions of a SAM or CloudFormation template.

Rules
- AWS::Serverless::Function with its Globals, AWS::Lambda::Function, the layers of both kinds,
  AWS::Lambda::EventInvokeConfig, AWS::Lambda::EventSourceMapping and AWS::Lambda::Url. Everything else is
  looked at where a function refers to it.
- A function's name is its FunctionName, or its logical id; by that it can be invoked in any case.
- A function has one URL at most: that of its AutoPublishAlias, or else of `$LATEST`.
- Code is a local path, or stands in the template. S3 and images are errors.
- Properties that say nothing to a lab (Policies, VpcConfig, …) are passed over, as are a Role and a
  Description that are not known before something is deployed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import UsageError
from lambent_lab.service import names
from lambent_lab.service.files import definition as read
from lambent_lab.service.files import sources, urls
from lambent_lab.service.files.definition import Configuration, Definition
from lambent_lab.service.files.intrinsics import NOTHING, Resolver
from lambent_lab.service.problems import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent_lab.service.policy import Policy
    from lambent_lab.service.sources.settings import Settings
    from lambent_lab.service.urls.settings import UrlSettings

FUNCTIONS = ("AWS::Serverless::Function", "AWS::Lambda::Function")
EVENTS = "AWS::Lambda::EventInvokeConfig"
URL = "AWS::Lambda::Url"
LAYERS = {"AWS::Serverless::LayerVersion": "ContentUri", "AWS::Lambda::LayerVersion": "Content"}

_ABOUT = ("Architectures", "SnapStart")
_TOLD = ("Description", "Role")


def is_template(document: object) -> bool:
    """Tell whether a document is a template."""
    return isinstance(document, dict) and isinstance(document.get("Resources"), dict)


def parse(
    document: Mapping[str, Any],
    base: Path,
    *,
    parameters: Mapping[str, str] | None = None,
    layers: Mapping[str, Path] | None = None,
) -> Configuration:
    """Return a template's functions. `parameters` are values for its own, `layers` what other ARNs mean."""
    resolver = Resolver(document, parameters)
    resources = read.table(document.get("Resources"), "Resources")
    found_layers = dict(layers or {})
    functions: list[tuple[str, Mapping[str, Any]]] = []
    policies: dict[str, Policy] = {}
    mappings: list[Settings] = []
    found_urls: dict[str, UrlSettings] = {}
    for logical, resource in resources.items():
        kind = read.table(resource, f"Resources.{logical}").get("Type")
        at = f"Resources.{logical}.Properties"
        if "Condition" in resource and not resolver.holds(resource["Condition"], f"Resources.{logical}"):
            continue
        if kind in LAYERS:
            content = resolver.resolve(read.table(resource.get("Properties"), at).get(LAYERS[kind]), at)
            if isinstance(content, str):  # one in S3 is missed only by who uses it
                found_layers[resolver.arn_of(logical, at)] = _path(content, base)
        elif kind in FUNCTIONS:
            functions.append((logical, resource))
        elif kind == sources.MAPPING:
            mapping = sources.of_resource(resolver, read.table(resource.get("Properties"), at), at)
            if mapping is not None:
                mappings.append(mapping)
        elif kind == EVENTS:
            given = read.table(resource.get("Properties"), at)
            whose = read.text(resolver.resolve(given.get("FunctionName"), at), f"{at}.FunctionName")
            policies[_name_in(whose)] = _policy(resolver, given, at)
        elif kind == URL:
            given = read.table(resource.get("Properties"), at)
            whose = read.text(resolver.resolve(given.get("TargetFunctionArn"), at), f"{at}.TargetFunctionArn")
            found_urls[_name_in(whose)] = _url(resolver, given, at)
    shared = read.table(read.table(document.get("Globals"), "Globals").get("Function"), "Globals.Function")
    definitions = [
        _function(logical, resource, shared, resolver, base, found_layers) for logical, resource in functions
    ]
    if not definitions:
        raise UsageError(f"The template has no function: {' or '.join(FUNCTIONS)}.")
    told = (
        replace(
            one,
            policy=policies.get(one.name, one.policy),
            url=found_urls.get(one.name, one.url),
            sources=(*one.sources, *(each for each in mappings if each.function == one.name)),
        )
        for one in definitions
    )
    return Configuration(definitions=tuple(told), layers=found_layers)


def _function(
    logical: str,
    resource: Mapping[str, Any],
    shared: Mapping[str, Any],
    resolver: Resolver,
    base: Path,
    layers: Mapping[str, Path],
) -> Definition:
    at = f"Resources.{logical}.Properties"
    serverless = resource["Type"] == FUNCTIONS[0]
    properties = read.table(resource.get("Properties"), at)
    if serverless:
        properties = merged(shared, properties)

    def value(key: str) -> Any:
        found = resolver.resolve(properties[key], f"{at}.{key}") if key in properties else None
        return None if found is NOTHING else found

    if value("PackageType") == "Image" or "ImageUri" in properties:
        raise UsageError(
            f"{at}: {logical} is a container image, which the lab does not run: use PackageType Zip."
        )
    name = read.check_name(resolver.name_of(logical), at)
    options: dict[str, Any] = {"name": name, "handler": read.text(value("Handler"), f"{at}.Handler")}
    source = None
    code = value("CodeUri" if serverless else "Code")
    if serverless and "InlineCode" in properties:
        source = read.text(value("InlineCode"), f"{at}.InlineCode")
    elif not serverless and isinstance(code, dict) and "ZipFile" in code:
        source = read.text(code["ZipFile"], f"{at}.Code.ZipFile")
    else:
        options["code"] = _path(_local(code if code is not None else ".", at), base)
    if value("Runtime") is not None:
        options["runtime"] = read.text(value("Runtime"), f"{at}.Runtime")
    if value("MemorySize") is not None:
        options["memory_mb"] = read.integer(value("MemorySize"), f"{at}.MemorySize")
    if value("Timeout") is not None:
        options["timeout_s"] = read.number(value("Timeout"), f"{at}.Timeout")
    if value("Environment") is not None:
        of = read.table(value("Environment"), f"{at}.Environment").get("Variables")
        options["env"] = read.variables(of, f"{at}.Environment.Variables")
    if value("EphemeralStorage") is not None:
        size = read.table(value("EphemeralStorage"), f"{at}.EphemeralStorage").get("Size")
        options["tmp_mb"] = read.integer(size, f"{at}.EphemeralStorage.Size")
    options |= _logging(read.table(value("LoggingConfig"), f"{at}.LoggingConfig"))
    about: dict[str, Any] = {key: value(key) for key in _ABOUT if value(key) is not None} | _told(value)
    tracing = value("Tracing") if serverless else read.table(value("TracingConfig"), at).get("Mode")
    if tracing in {"Active", "PassThrough"}:
        about["TracingConfig"] = {"Mode": tracing}
    about |= _dead_letters(value, "DeadLetterQueue" if serverless else "DeadLetterConfig")
    if value("Layers"):
        arns = [read.text(item, f"{at}.Layers") for item in read.items(value("Layers"), f"{at}.Layers")]
        options["layers"] = tuple(_layer(arn, f"{at}.Layers", layers) for arn in arns)
        about["Layers"] = arns
    alias = value("AutoPublishAlias")
    if alias is not None and not names.is_alias(read.text(alias, f"{at}.AutoPublishAlias")):
        raise UsageError(f"{at}.AutoPublishAlias cannot be {alias!r}.")
    ahead = read.table(value("ProvisionedConcurrencyConfig"), at).get("ProvisionedConcurrentExecutions")
    reserved = value("ReservedConcurrentExecutions")
    return Definition(
        options=options,
        about=about,
        reserved=None if reserved is None else read.integer(reserved, f"{at}.ReservedConcurrentExecutions"),
        provisioned=None if ahead is None else read.integer(ahead, f"{at}.ProvisionedConcurrencyConfig"),
        alias=alias,
        policy=_policy(resolver, properties["EventInvokeConfig"], f"{at}.EventInvokeConfig")
        if serverless and "EventInvokeConfig" in properties
        else None,
        sources=sources.of_function(resolver, properties.get("Events"), name, alias, f"{at}.Events")
        if serverless
        else (),
        url=_url(resolver, properties["FunctionUrlConfig"], f"{at}.FunctionUrlConfig")
        if serverless and "FunctionUrlConfig" in properties
        else None,
        tags=_tags(value("Tags"), f"{at}.Tags"),
        source=source,
        other_name=None if logical == name else logical,
    )


def _policy(resolver: Resolver, given: object, at: str) -> Policy:
    """Return what becomes of events. A destination that is not known before a deployment is left out."""
    if isinstance(given, dict) and _is_call(given):
        given = resolver.resolve(given, at)
    properties = read.table(None if given is NOTHING else given, at)

    def number(key: str) -> object:
        found = resolver.resolve(properties[key], f"{at}.{key}") if key in properties else None
        return None if found is NOTHING else found

    arns: dict[str, object] = {}
    for key in ("OnSuccess", "OnFailure"):
        with suppress(UsageError):
            config = read.table(properties.get("DestinationConfig"), at)
            arn = resolver.resolve(read.table(config.get(key), at).get("Destination"), at)
            arns[key] = arn if isinstance(arn, str) else None
    ages = number("MaximumRetryAttempts"), number("MaximumEventAgeInSeconds")
    return read.policy(*ages, arns.get("OnSuccess"), arns.get("OnFailure"), at)


def _url(resolver: Resolver, given: object, at: str) -> UrlSettings:
    """Return what a URL is like."""
    found = resolver.resolve(given, at)
    properties = read.table(None if found is NOTHING else found, at)

    def value(key: str) -> Any:
        found = properties.get(key)
        return None if found is NOTHING else found

    return urls.template(value, at)


def _name_in(text: str) -> str:
    """Return a function's name, which may be given as its ARN."""
    try:
        return names.parse(text).name
    except ServiceError:
        return text


def _told(value: Callable[[str], Any]) -> dict[str, str]:
    told = {}
    for key in _TOLD:
        with suppress(UsageError):
            told[key] = read.text(value(key), key)
    return told


def _dead_letters(value: Callable[[str], Any], key: str) -> dict[str, Any]:
    """Return where dead letters go, as AWS's API has it, if that is known before a deployment."""
    with suppress(UsageError):
        arn = read.table(value(key), key).get("TargetArn")
        return {"DeadLetterConfig": {"TargetArn": arn}} if isinstance(arn, str) else {}
    return {}


def _logging(config: Mapping[str, Any]) -> dict[str, Any]:
    fields = {
        "LogFormat": "log_format",
        "ApplicationLogLevel": "application_log_level",
        "SystemLogLevel": "system_log_level",
    }
    return {field: config[key] for key, field in fields.items() if key in config}


def _tags(value: object, where: str) -> dict[str, str]:
    """Return tags: SAM has a table of them, CloudFormation a list of keys and values."""
    if isinstance(value, list):
        value = {item["Key"]: item["Value"] for item in value if isinstance(item, dict) and len(item) == 2}
    return read.variables(value, where)


def merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function's properties over the Globals, as SAM does: tables and lists are joined."""
    result: dict[str, Any] = dict(shared)
    for key, value in own.items():
        before = shared.get(key)
        if (
            isinstance(before, dict)
            and isinstance(value, dict)
            and not _is_call(before)
            and not _is_call(value)
        ):
            result[key] = merged(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            result[key] = [*before, *value]
        else:
            result[key] = value
    return result


def _is_call(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith(("Fn::", "Ref"))


def _local(code: object, at: str) -> str:
    if isinstance(code, str) and not code.startswith("s3://"):
        return code
    raise UsageError(
        f"{at}: the code {read.shown(code)} is not on this machine: name a folder or a zip file."
    )


def _path(text: str, base: Path) -> Path:
    path = Path(text)
    return path if path.is_absolute() else base / path


def _layer(arn: str, where: str, layers: Mapping[str, Path]) -> Path:
    for known in (arn, arn.rpartition(":")[0]):
        if known in layers:
            return layers[known]
    raise UsageError(
        f"{where}: the layer {arn} is not on this machine: name its folder with --layer {arn}=PATH."
    )
