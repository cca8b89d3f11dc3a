"""A function as a file defines it, and the checks that every kind of file needs."""

from __future__ import annotations

import difflib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import UsageError
from lambent_lab.service import names
from lambent_lab.service.policy import MAX_AGE_S, Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lambent_lab.service.sources.settings import Settings
    from lambent_lab.service.urls.settings import UrlSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One function.

    `options` are arguments of FunctionSpec, `about` what only AWS's API tells; `alias` is published with the
    first version. `policy` says what becomes of asynchronous events, `url` what the function's URL is like,
    `sources` which queues it is fed from. `source` is code that stands in the file itself, not in a path.
    `other_name` invokes it as well: a template's logical id.
    """

    options: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)
    reserved: int | None = None
    provisioned: int | None = None
    alias: str | None = None
    policy: Policy | None = None
    sources: tuple[Settings, ...] = ()
    url: UrlSettings | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    other_name: str | None = None

    @property
    def name(self) -> str:
        """The function's name."""
        return str(self.options["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a file says: functions, and which folders or zips the ARNs of layers mean."""

    definitions: tuple[Definition, ...]
    layers: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for definition in self.definitions:
            if definition.name in seen:
                raise UsageError(f"Two functions are called {definition.name}: give each its own name.")
            seen.add(definition.name)
            keys = [source.key for source in definition.sources]
            if len(set(keys)) < len(keys):
                raise UsageError(f"{definition.name} has a queue twice among its sources: name it once.")


def check_name(name: str, where: str) -> str:
    """Return a function's name. Raises UsageError when Lambda would not take it."""
    if not names.is_name(name):
        raise UsageError(
            f"{where}: a function cannot be called {name!r}: use up to 64 letters, digits, '-' and '_'."
        )
    return name


def unknown(key: object, known: Iterable[str], where: str) -> UsageError:
    """Return the error about a key that nobody knows, with the nearest that is known."""
    known = sorted(known)
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
    return UsageError(f"{where} has the unknown key {key!r}: {hint}")


def table(value: object, where: str) -> dict[str, Any]:
    """Return a mapping whose keys are text; nothing is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UsageError(f"{where} must be a table of names and values, not {shown(value)}.")
    return value


def items(value: object, where: str) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise UsageError(f"{where} must be a list, not {shown(value)}.")
    return value


def text(value: object, where: str) -> str:
    """Return text."""
    if not isinstance(value, str):
        raise UsageError(f"{where} must be text, not {shown(value)}.")
    return value


def integer(value: object, where: str) -> int:
    """Return a whole number; a template's parameters are text even where they are numbers."""
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{where} must be a whole number, not {shown(value)}.")
    return value


def number(value: object, where: str) -> float:
    """Return a number, or one that stands in text."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{where} must be a number, not {shown(value)}.")
    return float(value)


def policy(retries: object, max_age: object, on_success: object, on_failure: object, at: str) -> Policy:
    """Return what becomes of events. Raises UsageError for numbers that AWS does not take."""
    ranges = (("retries", retries, 0, 2), ("maximum age", max_age, 60, MAX_AGE_S))
    counts = [None if given is None else integer(given, f"{at}, the {what},") for what, given, _, _ in ranges]
    for count, (what, _, low, high) in zip(counts, ranges, strict=True):
        if count is not None and not low <= count <= high:
            raise UsageError(f"{at}: the {what} cannot be {count}: choose {low} to {high}.")
    arns = [None if arn is None else text(arn, at) or None for arn in (on_success, on_failure)]
    return Policy(retries=counts[0], max_age_s=counts[1], on_success=arns[0], on_failure=arns[1])


def flag(value: object, where: str) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool):
        raise UsageError(f"{where} must be true or false, not {shown(value)}.")
    return value


def variables(value: object, where: str) -> dict[str, str]:
    """Return environment variables; numbers and truth values are written as YAML writes them."""
    found = {}
    for key, item in table(value, where).items():
        if isinstance(item, bool):
            found[key] = "true" if item else "false"
        elif isinstance(item, (str, int, float)):
            found[key] = str(item)
        else:
            raise UsageError(f"{where}.{key} must be text or a number, not {shown(item)}.")
    return found


def shown(value: object) -> str:
    """Return a value as a message shows it: shortened."""
    if value is None:
        return "nothing"
    shown_text = repr(value)
    return shown_text if len(shown_text) <= 60 else f"{shown_text[:57]}..."
