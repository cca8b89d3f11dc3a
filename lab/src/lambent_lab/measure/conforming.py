"""Whether a document has the shape that the shipped JSON Schema asks for, and what is wrong first.

It knows the keywords that the schema uses, and no others; a test compares it with `jsonschema`. The first
thing that is wrong is named with its place, as `samples[3].invocations[0].duration_ms`.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "performance-results.schema.json"
"""The schema's file, in this package."""

_PLAIN_KEY = re.compile(r"[A-Za-z_]\w*")
_KNOWN = frozenset(
    {
        "$schema",
        "$id",
        "$defs",
        "$ref",
        "title",
        "description",
        "type",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "enum",
        "const",
        "pattern",
        "anyOf",
        "allOf",
        "if",
        "then",
    }
)


@cache
def schema() -> dict[str, Any]:
    """The schema of the result file."""
    found: dict[str, Any] = json.loads(files("lambent_lab.measure").joinpath(NAME).read_text("utf-8"))
    return found


def problem(document: object) -> str | None:
    """What is wrong first with a result file, in words; None when it has the shape."""
    return _wrong(document, schema(), "")


def _wrong(value: object, rule: Mapping[str, Any], place: str) -> str | None:
    assert rule.keys() <= _KNOWN, rule.keys() - _KNOWN
    if "$ref" in rule:
        return _wrong(value, schema()["$defs"][rule["$ref"].rpartition("/")[2]], place)
    if "type" in rule and not _is_of(value, rule["type"]):
        return _expected(place, _types(rule["type"]), value)
    return _choice(value, rule, place) or _children(value, rule, place)


def _choice(value: object, rule: Mapping[str, Any], place: str) -> str | None:
    """What is wrong by the keywords that are about the whole value."""
    if "enum" in rule and not any(_same(value, each) for each in rule["enum"]):
        return _expected(place, " or ".join(json.dumps(each) for each in rule["enum"]), value)
    if "const" in rule and not _same(value, rule["const"]):
        return _expected(place, json.dumps(rule["const"]), value)
    if "pattern" in rule and isinstance(value, str) and not re.search(rule["pattern"], value):
        return _expected(place, f"a text like {rule['pattern']}", value)
    if "anyOf" in rule:
        found = [_wrong(value, each, place) for each in rule["anyOf"]]
        if None not in found:
            # Of a choice between null and something, only the something is worth a word.
            likely = [
                said for said, each in zip(found, rule["anyOf"], strict=True) if each != {"type": "null"}
            ]
            return likely[-1] if value is not None else found[0]
    for each in rule.get("allOf", ()):
        said = _wrong(value, each, place)
        if said is not None:
            return said
    if "if" in rule and _wrong(value, rule["if"], place) is None:
        return _wrong(value, rule.get("then", {}), place)
    return None


def _children(value: object, rule: Mapping[str, Any], place: str) -> str | None:
    """What is wrong first within the value."""
    if isinstance(value, list):
        inner = rule.get("items")
        if inner:
            for number, each in enumerate(value):
                said = _wrong(each, inner, f"{place}[{number}]")
                if said is not None:
                    return said
    if isinstance(value, dict):
        missing = [key for key in rule.get("required", ()) if key not in value]
        if missing:
            return f"{', '.join(missing)} missing{f' in {place}' if place else ''}"
        properties, others = rule.get("properties", {}), rule.get("additionalProperties")
        for key, each in value.items():
            inner = properties.get(key, others)
            if inner:
                said = _wrong(each, inner, _below(place, key))
                if said is not None:
                    return said
    return None


def _is_of(value: object, names: str | list[str]) -> bool:
    if isinstance(names, list):
        return any(_is_of(value, name) for name in names)
    if names == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if names == "integer":
        whole = isinstance(value, float) and value.is_integer()
        return whole or (isinstance(value, int) and not isinstance(value, bool))
    kinds = {"string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}
    return isinstance(value, kinds[names])


def _same(value: object, other: object) -> bool:
    """Equal as JSON is: true is not 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _types(names: str | list[str]) -> str:
    words = {"integer": "a whole number", "array": "a list", "object": "an object", "null": "null"}
    each = [names] if isinstance(names, str) else names
    return " or ".join(words.get(name, f"a {name}") for name in each)


def _expected(place: str, what: str, value: object) -> str:
    shown = json.dumps(value, default=str)
    return f"{place or 'the file'}: expected {what}, found {shown if len(shown) <= 60 else f'{shown[:57]}…'}"


def _below(place: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{place}[{json.dumps(key)}]"
    return f"{place}.{key}" if place else key
