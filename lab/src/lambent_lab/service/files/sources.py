"""Queues that files connect with functions: the lab's own `sources`, a template's events and mappings.

Rules
- Of the lab's own file: `sources` is a list; `queue` is an ARN, or a name in the lab's account.
- Of a template: a function's Events of the type SQS, and AWS::Lambda::EventSourceMapping. Events of other
  types are passed over, as is a queue that is not known before something is deployed.
- Where the function has an alias (`alias`, AutoPublishAlias), its messages go to that.
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

KEYS: Mapping[str, tuple[str, str]] = {
    "queue": ("EventSourceArn", "The queue's ARN, or its name."),
    "batch_size": ("BatchSize", "Messages of one event at most. 10 by default."),
    "window": ("MaximumBatchingWindowInSeconds", "Seconds in which a batch is gathered. 0 by default."),
    "filters": ("FilterCriteria", "A list of patterns, of which a message must match one."),
    "report_failures": ("FunctionResponseTypes", "`true`: ReportBatchItemFailures."),
    "max_concurrency": ("ScalingConfig", "Batches at once at most."),
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
    if "queue" not in found:
        raise UsageError(f"{at} has no queue: name it, or write its ARN.")
    queue = read.text(found["queue"], f"{at}.queue")
    request: dict[str, Any] = {}
    for key in ("batch_size", "window"):
        if key in found:
            request[KEYS[key][0]] = read.integer(found[key], f"{at}.{key}")
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
    return settings.stated(queue, function, alias, request, at)


def of_function(
    resolver: Resolver, events: object, function: str, alias: str | None, at: str
) -> tuple[Settings, ...]:
    """Return the mappings that a function's Events are, of a template."""
    found = []
    with suppress(UsageError):
        for name, event in read.table(events, at).items():
            if read.table(event, f"{at}.{name}").get("Type") == "SQS":
                properties = read.table(event.get("Properties"), f"{at}.{name}.Properties")
                found.append((properties, f"{at}.{name}.Properties"))
    made = (_made(resolver, "Queue", given, function, alias, where) for given, where in found)
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
        queue = resolver.resolve(given.get(key), f"{at}.{key}")
    except UsageError:
        return None
    if not isinstance(queue, str) or not queue.startswith(settings.QUEUES):
        return None
    request: dict[str, Any] = {}
    for name, convert in _CONVERTED.items():
        value = resolver.resolve(given[name], f"{at}.{name}") if name in given else NOTHING
        if value is not NOTHING and value is not None:
            request[name] = convert(value, f"{at}.{name}")
    return settings.stated(queue, function, qualifier, request, at)


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


_CONVERTED: Mapping[str, Callable[[object, str], Any]] = {
    "BatchSize": read.integer,
    "MaximumBatchingWindowInSeconds": read.integer,
    "Enabled": _truth,
    "FunctionResponseTypes": read.items,
    "FilterCriteria": _filters,
    "ScalingConfig": _scaling,
}
