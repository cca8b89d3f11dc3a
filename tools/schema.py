"""The JSON Schema of the result file, and the tables of its page: both made from the types in the code."""

from __future__ import annotations

import json
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from lambent_lab.measure import results_gate, results_load, shape
from lambent_lab.measure.results import no_sections

SECTIONS = {
    "gate": results_gate.GateSection,
    "load": results_load.LoadSection,
    "soak": results_load.SoakSection,
    "tune": results_load.TuneSection,
}
"""What the types of the file leave open, because each kind of file has its own."""

_NAMES = {**vars(shape), **vars(results_load), **vars(results_gate)}
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def schema() -> str:
    """The schema as text (draft 2020-12). Unknown keys are allowed: a newer file may have some."""
    definitions: dict[str, Any] = {}
    root = _object(shape.Results, definitions)
    header = set(shape.Header.__annotations__)
    root["required"] = [key for key in root["required"] if key in header]
    root["properties"]["schema"] = {"type": "string", "pattern": rf"^{shape.FAMILY}/{shape.VERSION}(\.\d+)*$"}
    for name, section in SECTIONS.items():
        root["properties"][name] = _typed(section, definitions)
    bench = {
        "if": {"properties": {"kind": {"const": "bench"}}},
        "then": {"required": sorted(no_sections())},
    }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{shape.SCHEMA.replace('/', ':')}",
        "title": shape.SCHEMA,
        **root,
        "allOf": [bench],
        "$defs": dict(sorted(definitions.items())),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _typed(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if kind is Any or kind is object:
        return {}
    if is_typeddict(kind):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # holds the place: types may hold themselves
            definitions[kind.__name__] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": [*inside]}
    if origin in {Union, UnionType}:
        return _either([_typed(each, definitions) for each in inside])
    if origin is list:
        return {"type": "array", "items": _typed(inside[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _typed(inside[1], definitions)}
    raise TypeError(f"no JSON Schema for {kind!r}")


def _either(choices: list[dict[str, Any]]) -> dict[str, Any]:
    """One of several types: as one list of names where there is nothing else to say of them."""
    if all(choice.keys() == {"type"} for choice in choices):
        return {"type": [choice["type"] for choice in choices]}
    return {"anyOf": choices}


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, localns=_NAMES, include_extras=True)
    properties, required = {}, []
    for key, hint in hints.items():
        optional = get_origin(hint) is NotRequired
        properties[key] = _typed(get_args(hint)[0] if optional else hint, definitions)
        if not optional:
            required.append(key)
    return {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split()),
        "properties": properties,
        "required": required,
    }


def tables() -> str:
    """Every object of the file as a table: its keys, their types, and what its docstring says."""
    document = json.loads(schema())
    parts = ["## The file", "", *_table(document)]
    for name, each in document["$defs"].items():
        parts += ["", f"## {name}", "", *_table(each)]
    return "\n".join(parts)


def _table(each: dict[str, Any]) -> list[str]:
    rows = [
        f"| `{key}` | {_said(kind)} | {'always' if key in each['required'] else 'where there is one'} |"
        for key, kind in each["properties"].items()
    ]
    return [each["description"], "", "| key | type | there |", "|---|---|---|", *rows]


def _said(kind: dict[str, Any]) -> str:
    if "$ref" in kind:
        name = kind["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in kind:
        return ", ".join(f'`"{each}"`' for each in kind["enum"])
    if "anyOf" in kind:
        return " or ".join(_said(each) for each in kind["anyOf"])
    if kind.get("type") == "array":
        return f"list of {_said(kind['items'])}"
    if kind.get("type") == "object":
        inside = kind.get("additionalProperties")
        return f"object of {_said(inside)}" if inside else "object"
    types = kind.get("type", "anything")
    return " or ".join(types) if isinstance(types, list) else str(types)
