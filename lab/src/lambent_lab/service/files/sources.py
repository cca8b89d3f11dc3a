"""Queues and streams that files connect with functions: the lab's own `sources`, a template's events.

Rules
- Of the lab's own file: `sources` is a list; `queue` is an ARN, or a name in the lab's account.
- Of a template: a function's Events of the types SQS, Kinesis and DynamoDB, and
  AWS::Lambda::EventSourceMapping. Events of other types are passed over, as is a source that is not known
  before something is deployed (the stream of a table, for one).
- Where the function has an alias (`alias`, AutoPublishAlias), its records go to that.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import UsageError
from lambent_lab.service import names
from lambent_lab.service.files import definition as read
from lambent_lab.service.files.intrinsics import NOTHING
from lambent_lab.service.problems import ServiceError
from lambent_lab.service.sources import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent_lab.service.files.intrinsics import Resolver
    from lambent_lab.service.sources.settings import Settings

MAPPING = "AWS::Lambda::EventSourceMapping"
_EVENTS = {"SQS": "Queue", "Kinesis": "Stream", "DynamoDB": "Stream"}
_POLLED = tuple(f"arn:aws:{kind}:" for kind in settings.KINDS)

KEYS: Mapping[str, tuple[str, str]] = {
    "queue": ("EventSourceArn", "The queue's ARN, or its name."),
    "stream": ("EventSourceArn", "Or the ARN of a Kinesis stream, or of a table's stream."),
    "batch_size": ("BatchSize", "Records of one event at most. 10 by default, of a stream 100."),
    "window": ("MaximumBatchingWindowInSeconds", "Seconds in which a batch is gathered. 0 by default."),
    "filters": ("FilterCriteria", "A list of patterns, of which a message must match one."),
    "report_failures": ("FunctionResponseTypes", "`true`: ReportBatchItemFailures."),
    "max_concurrency": ("ScalingConfig", "Of a queue: batches at once at most."),
    "start": ("StartingPosition", "Of a stream: `TRIM_HORIZON` or `LATEST`."),
    "retries": ("MaximumRetryAttempts", "Of a stream: -1, the default, is without end."),
    "max_age": ("MaximumRecordAgeInSeconds", "Of a stream: -1, the default, is any."),
    "bisect": ("BisectBatchOnFunctionError", "Of a stream. `true`: what fails is tried again in halves."),
    "parallel": ("ParallelizationFactor", "Of a stream: batches of a shard at once. 1 by default."),
    "on_failure": ("DestinationConfig", "Of a stream: the ARN that is told what is given up."),
    "enabled": ("Enabled", "`false`: not polled until the API says so."),
}
"""Every key of a source: what AWS's API calls it, and what it means."""


def own(value: object, at: str, function: str, alias: str | None) -> tuple[Settings, ...]:
    """Return the mappings of a function of the lab's own file."""
    if value is None:
        return ()
    return tuple(
        _own(item, f"{at}.{number}", function, alias) for number, item in enumerate(read.items(value, at), 1)
    )


def _own(item: object, at: str, function: str, alias: str | None) -> Settings:
    found = read.table(item, at)
    for key in found:
        if key not in KEYS:
            raise read.unknown(key, KEYS, at)
    which = [key for key in ("queue", "stream") if key in found]
    if len(which) != 1:
        raise UsageError(f"{at} needs a queue or a stream: name the one, or write its ARN.")
    source = read.text(found[which[0]], f"{at}.{which[0]}")
    request: dict[str, Any] = {}
    for key in ("batch_size", "window", "retries", "max_age", "parallel"):
        if key in found:
            request[KEYS[key][0]] = read.integer(found[key], f"{at}.{key}")
    if "start" in found:
        request["StartingPosition"] = read.text(found["start"], f"{at}.start")
    if "bisect" in found:
        request["BisectBatchOnFunctionError"] = read.flag(found["bisect"], f"{at}.bisect")
    if "on_failure" in found:
        arn = read.text(found["on_failure"], f"{at}.on_failure")
        request["DestinationConfig"] = {"OnFailure": {"Destination": arn}}
    if "max_concurrency" in found:
        most = read.integer(found["max_concurrency"], f"{at}.max_concurrency")
        request["ScalingConfig"] = {"MaximumConcurrency": most}
    if "enabled" in found:
        request["Enabled"] = read.flag(found["enabled"], f"{at}.enabled")
    if read.flag(found.get("report_failures", False), f"{at}.report_failures"):
        request["FunctionResponseTypes"] = [settings.REPORT]
    if "filters" in found:
        patterns = read.items(found["filters"], f"{at}.filters")
        request["FilterCriteria"] = {
            "Filters": [{"Pattern": settings.pattern_text(each)} for each in patterns]
        }
    return settings.stated(source, function, alias, request, at)


def of_function(
    resolver: Resolver, events: object, function: str, alias: str | None, at: str
) -> tuple[Settings, ...]:
    """Return the mappings that a function's Events are, of a template."""
    found = []
    with suppress(UsageError):
        for name, event in read.table(events, at).items():
            key = _EVENTS.get(str(read.table(event, f"{at}.{name}").get("Type")))
            if key is not None:
                properties = read.table(event.get("Properties"), f"{at}.{name}.Properties")
                found.append((key, properties, f"{at}.{name}.Properties"))
    made = (_made(resolver, key, given, function, alias, where) for key, given, where in found)
    return tuple(each for each in made if each is not None)


def of_resource(resolver: Resolver, properties: Mapping[str, Any], at: str) -> Settings | None:
    """Return the mapping that a template's own resource is; None when it is of no queue that is known."""
    whose = read.text(resolver.resolve(properties.get("FunctionName"), at), f"{at}.FunctionName")
    try:
        reference = names.parse(whose)
    except ServiceError as error:
        raise UsageError(f"{at}.FunctionName: {error}") from error
    return _made(resolver, "EventSourceArn", properties, reference.name, reference.qualifier, at)


def _made(
    resolver: Resolver, key: str, given: Mapping[str, Any], function: str, qualifier: str | None, at: str
) -> Settings | None:
    try:
        source = resolver.resolve(given.get(key), f"{at}.{key}")
    except UsageError:
        return None
    if not isinstance(source, str) or not source.startswith(_POLLED):
        return None
    request: dict[str, Any] = {}
    for name, convert in _CONVERTED.items():
        value = resolver.resolve(given[name], f"{at}.{name}") if name in given else NOTHING
        if value is not NOTHING and value is not None:
            request[name] = convert(value, f"{at}.{name}")
    return settings.stated(source, function, qualifier, request, at)


def _filters(value: object, at: str) -> dict[str, Any]:
    filters = read.items(read.table(value, at).get("Filters", []), f"{at}.Filters")
    return {
        "Filters": [
            {"Pattern": settings.pattern_text(read.table(each, at).get("Pattern", ""))} for each in filters
        ]
    }


def _scaling(value: object, at: str) -> dict[str, int]:
    most = read.table(value, at).get("MaximumConcurrency")
    return {} if most is None else {"MaximumConcurrency": read.integer(most, f"{at}.MaximumConcurrency")}


def _truth(value: object, at: str) -> bool:
    """Return a truth value, which a parameter gives as text."""
    words = {"true": True, "false": False}
    return read.flag(words.get(value.lower(), value) if isinstance(value, str) else value, at)


def _on_failure(value: object, at: str) -> dict[str, Any]:
    arn = read.table(read.table(value, at).get("OnFailure"), at).get("Destination")
    return {"OnFailure": {"Destination": read.text(arn, at)}} if arn else {}


_CONVERTED: Mapping[str, Callable[[object, str], Any]] = {
    "StartingPosition": read.text,
    "StartingPositionTimestamp": lambda value, _at: value,
    "ParallelizationFactor": read.integer,
    "BisectBatchOnFunctionError": _truth,
    "MaximumRecordAgeInSeconds": read.integer,
    "MaximumRetryAttempts": read.integer,
    "TumblingWindowInSeconds": read.integer,
    "DestinationConfig": _on_failure,
    "BatchSize": read.integer,
    "MaximumBatchingWindowInSeconds": read.integer,
    "Enabled": _truth,
    "FunctionResponseTypes": read.items,
    "FilterCriteria": _filters,
    "ScalingConfig": _scaling,
}
