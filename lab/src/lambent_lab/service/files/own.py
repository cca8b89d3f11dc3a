"""The lab's own file: functions under their names, in YAML or TOML.

Rules
- `functions` has a table for each function, `defaults` what all of them share, `layers` the folders or zips
  that ARNs mean.
- Paths are relative to the file. A key that is not known is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import UsageError
from lambent_lab.service import names
from lambent_lab.service.files import definition as read
from lambent_lab.service.files import sources, urls
from lambent_lab.service.files.definition import Configuration, Definition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Reader = "Callable[[object, str], Any]"

KEYS: Mapping[str, tuple[str | None, str, str]] = {
    "code": ("code", "path", "A folder, a zip file or a wheel bundle."),
    "handler": ("handler", "text", "As in `app.handler`."),
    "runtime": ("runtime", "text", "As in `python3.12`; without it, Python of the lab's own version."),
    "python": ("python", "path", "The interpreter, exactly as given."),
    "memory": ("memory_mb", "integer", "MB; with it comes the CPU share. 128 by default."),
    "timeout": ("timeout_s", "number", "Seconds that an invocation may take. 3 by default."),
    "env": ("env", "variables", "Environment variables."),
    "layers": ("layers", "layers", "Folders, zips, or ARNs that `layers` of the file maps."),
    "extensions": ("extensions", "paths", "Executables that run from /opt/extensions."),
    "tmp": ("tmp_mb", "integer", "MB of /tmp. 512 by default."),
    "network": ("network", "text", "`host` or `private`."),
    "log_format": ("log_format", "text", "`Text` or `JSON`."),
    "application_log_level": ("application_log_level", "text", "With JSON: TRACE to FATAL."),
    "system_log_level": ("system_log_level", "text", "With JSON: DEBUG, INFO or WARN."),
    "initialization": (
        "initialization", "text", "`on-demand` or `snap-start`; environments started ahead have their own.",
    ),
    "max_concurrency": ("max_concurrency", "integer", "Invocations at once in one environment."),
    "freeze": ("freeze", "flag", "`false`: environments run on between invocations."),
    "init_cpu": ("init_cpu", "text", "`boost` or `share`."),
    "bytecode": ("bytecode", "flag", "`false`: no .pyc files beside the code."),
    "description": (None, "text", "What AWS's API tells."),
    "tracing": (None, "text", "`Active`: every invocation is sampled; or `PassThrough`."),
    "alias": (None, "text", "Publish a version at the start, and point this alias to it."),
    "concurrency": (
        None, "table", "`reserved`: how many invocations at once; `provisioned`: environments started ahead.",
    ),
    "events": (
        None, "table", "What becomes of asynchronous events: `retries` (0 to 2), `max_age` (60 to 21600 "
        "seconds), `on_success` and `on_failure` (ARNs of destinations), `dead_letter` (a queue or topic).",
    ),
    "sources": (None, "list", "Queues that are polled for it: see below."),
    "url": (
        None, "url", "`true`: the function has a URL; or a table: `auth` (`NONE` or `AWS_IAM`), `mode` "
        "(`BUFFERED` or `RESPONSE_STREAM`), `port`, `cors` (see below).",
    ),
    "tags": (None, "variables", "The function's tags."),
}  # fmt: skip
"""Every key of a function: the FunctionSpec's field it sets, its kind, and what it means."""

_TOP = ("functions", "defaults", "layers")
_CONCURRENCY = ("reserved", "provisioned")
_POLICY = ("retries", "max_age", "on_success", "on_failure")
_EVENTS = (*_POLICY, "dead_letter")


def parse(document: object, base: Path, where: str = "the file") -> Configuration:
    """Return what a parsed file says. Raises UsageError about the first thing that is wrong."""
    top = read.table(document, where)
    for key in top:
        if key not in _TOP:
            raise read.unknown(key, _TOP, where)
    layers = {
        arn: _path(path, f"layers.{arn}", base)
        for arn, path in read.table(top.get("layers"), "layers").items()
    }
    defaults = read.table(top.get("defaults"), "defaults")
    functions = read.table(top.get("functions"), "functions")
    if not functions:
        raise UsageError(
            f"{where} has no functions: write `functions:`, and under it a name, code and handler."
        )
    _check_keys(defaults, "defaults")
    definitions = []
    for name, own in functions.items():
        at = f"functions.{name}"
        found = read.table(own, at)
        _check_keys(found, at)
        definitions.append(_function(name, _merged(defaults, found), at, base, layers))
    return Configuration(definitions=tuple(definitions), layers=layers)


def _check_keys(found: Mapping[str, Any], where: str) -> None:
    for key in found:
        if key not in KEYS:
            raise read.unknown(key, KEYS, where)


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function's keys over the defaults; tables (env, tags, …) are joined."""
    merged = {**defaults, **own}
    for key in ("env", "tags", "concurrency", "events"):
        if isinstance(defaults.get(key), dict) and isinstance(own.get(key), dict):
            merged[key] = {**defaults[key], **own[key]}
    return merged


def _function(
    name: str, found: Mapping[str, Any], at: str, base: Path, layers: Mapping[str, Path]
) -> Definition:
    read.check_name(name, at)
    for needed in ("code", "handler"):
        if needed not in found:
            raise UsageError(f"{at} has no {needed}: every function needs one.")
    options: dict[str, Any] = {"name": name}
    rest: dict[str, Any] = {}
    for key, value in found.items():
        field, kind, _ = KEYS[key]
        parsed = _read(kind, value, f"{at}.{key}", base, layers)
        (options if field else rest)[field or key] = parsed
    concurrency = rest.get("concurrency", {})
    for table, known in (("concurrency", _CONCURRENCY), ("events", _EVENTS)):
        for key in rest.get(table, {}):
            if key not in known:
                raise read.unknown(key, known, f"{at}.{table}")
    policy = None
    if "events" in rest:
        retries, max_age, on_success, on_failure = (rest["events"].get(key) for key in _POLICY)
        policy = read.policy(retries, max_age, on_success, on_failure, f"{at}.events")
    counts = {key: _count(concurrency.get(key), f"{at}.concurrency.{key}") for key in _CONCURRENCY}
    about: dict[str, Any] = {}
    if "description" in rest:
        about["Description"] = rest["description"]
    if "tracing" in rest:
        if rest["tracing"] not in {"Active", "PassThrough"}:
            raise UsageError(f"{at}.tracing cannot be {rest['tracing']!r}: choose Active or PassThrough.")
        about["TracingConfig"] = {"Mode": rest["tracing"]}
    if rest.get("events", {}).get("dead_letter"):
        about["DeadLetterConfig"] = {"TargetArn": read.text(rest["events"]["dead_letter"], f"{at}.events")}
    if "layers" in found:
        about["Layers"] = [str(layer) for layer in found["layers"]]
    alias = rest.get("alias")
    if alias is not None and not names.is_alias(alias):
        raise UsageError(f"{at}.alias cannot be {alias!r}: use letters, digits, '-' and '_', and no number.")
    return Definition(
        options=options,
        about=about,
        reserved=counts["reserved"],
        provisioned=counts["provisioned"],
        alias=alias,
        policy=policy,
        sources=sources.own(rest.get("sources"), f"{at}.sources", name, alias),
        url=rest.get("url"),
        tags=rest.get("tags", {}),
    )


def _read(kind: str, value: object, where: str, base: Path, layers: Mapping[str, Path]) -> Any:
    if kind == "path":
        return _path(value, where, base)
    if kind == "paths":
        return tuple(_path(item, where, base) for item in read.items(value, where))
    if kind == "layers":
        return tuple(_layer(item, where, base, layers) for item in read.items(value, where))
    readers: dict[str, Callable[[object, str], Any]] = {
        "text": read.text,
        "integer": read.integer,
        "number": read.number,
        "flag": read.flag,
        "variables": read.variables,
        "table": read.table,
        "list": read.items,
        "url": urls.own,
    }
    return readers[kind](value, where)


def _count(value: object, where: str) -> int | None:
    if value is None:
        return None
    count = read.integer(value, where)
    if count < 0:
        raise UsageError(f"{where} cannot be {count}: write 0 or more.")
    return count


def _path(value: object, where: str, base: Path) -> Path:
    given = Path(read.text(value, where)).expanduser()
    # Not resolved: a virtual environment's interpreter is a link.
    return given if given.is_absolute() else base / given


def _layer(value: object, where: str, base: Path, layers: Mapping[str, Path]) -> Path:
    given = read.text(value, where)
    if given in layers:
        return layers[given]
    if given.startswith("arn:"):
        raise UsageError(f"{where}: the layer {given} is no folder here: map it under `layers` of the file.")
    return _path(given, where, base)
