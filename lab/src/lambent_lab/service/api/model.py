"""The constraints of AWS's API, as botocore's service model states them: lengths, ranges, patterns, choices.

The model is botocore's data file, read when it is first needed (some milliseconds); botocore itself is not
imported. Invoke, whose way is short, does not come past here.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lambent_lab.errors import LabError
from lambent_lab.service.problems import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FILE = "data/lambda/2015-03-31/service-2.json.gz"
_OURS = frozenset({"LayerVersionArn"})
"""The kinds of value that can be more to the lab than to AWS (here: a path); others check them."""

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "blob": (str,),
    "integer": (int,),
    "long": (int,),
    "double": (int, float),
    "float": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float, str),
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
}


@cache
def load() -> Mapping[str, Any]:
    """Return the model. Raises LabError when botocore is not installed."""
    found = importlib.util.find_spec("botocore")
    if found is None or not found.submodule_search_locations:
        raise LabError("botocore is not installed: install boto3, the lab's AWS API needs its service model.")
    path = Path(next(iter(found.submodule_search_locations))) / _FILE
    return cast("Mapping[str, Any]", json.loads(gzip.decompress(path.read_bytes())))


def operation_for(method: str, path: str, query: str = "") -> str | None:
    """Return the name of AWS's operation with this method, path and query, whether the lab has it or not."""
    found: str | None = None
    for name, operation in load()["operations"].items():
        http = operation["http"]
        template, _, wanted = http["requestUri"].partition("?")
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template.rstrip("/")))
        if http["method"] != method or re.fullmatch(pattern, path.rstrip("/")) is None:
            continue
        if wanted in query.split("&") if wanted else found is None:  # the one with a parameter is more exact
            found = cast("str", name)
    return found


def parameters(
    operation: str, path: Mapping[str, str], query: Mapping[str, list[str]], body: object
) -> dict[str, Any]:
    """Return the checked parameters of a request. Raises ServiceError in AWS's words.

    The body's members have their own names; those of the query are numbers where the model says so.
    Unknown members are ignored, as AWS does.
    """
    shapes = load()["shapes"]
    shape = shapes[load()["operations"][operation]["input"]["shape"]]
    if not isinstance(body, dict):
        raise _serialization("Start of structure or map found where not expected.")
    values: dict[str, Any] = {}
    for name, member in shape["members"].items():
        where, wire = member.get("location"), member.get("locationName", name)
        if where == "uri" and wire in path:
            values[name] = path[wire]
        elif where == "querystring" and wire in query:
            values[name] = _from_text(query[wire], shapes[member["shape"]])
        elif where is None and body.get(name) is not None:
            values[name] = body[name]
    problems = list(_check(shape, values, ""))
    if problems:
        from lambent_lab.service.names import invalid

        raise invalid(*problems)
    return values


def _from_text(texts: list[str], shape: Mapping[str, Any]) -> object:
    if shape["type"] == "list":
        return texts
    text = texts[0]
    if shape["type"] in {"integer", "long"}:
        if re.fullmatch(r"-?\d{1,18}", text) is None:
            raise _serialization("STRING_VALUE can not be converted to an Integer")
        return int(text)
    return text


def _check(shape: Mapping[str, Any], value: Any, where: str) -> Iterator[str]:
    """Yield what is wrong with a value, as AWS words it."""
    kind = shape["type"]
    kinds = _KINDS[kind]
    if type(value) not in kinds:  # a bool is an int for Python, not for AWS
        raise _serialization(f"{_found(value)} can not be converted to {_wanted(kind)}")
    rules = _rules(shape, value)
    shown = _shown(value)
    for rule in rules:
        yield f"Value {shown} at '{where}' failed to satisfy constraint: Member must {rule}"
    shapes = load()["shapes"]
    if kind == "structure":
        for name in shape.get("required", ()):
            if value.get(name) is None:
                at = _at(where, name)
                yield f"Value null at '{at}' failed to satisfy constraint: Member must not be null"
        for name, member in shape["members"].items():
            if value.get(name) is not None:
                yield from _check(shapes[member["shape"]], value[name], _at(where, name))
    elif kind == "map":
        for key, inner in value.items():
            yield from _check(shapes[shape["key"]["shape"]], key, f"{where}.key")
            yield from _check(shapes[shape["value"]["shape"]], inner, f"{where}.{key}.member")
    elif kind == "list":
        if shape["member"]["shape"] in _OURS:
            return
        for number, inner in enumerate(value, 1):
            yield from _check(shapes[shape["member"]["shape"]], inner, f"{where}.{number}.member")


def _rules(shape: Mapping[str, Any], value: Any) -> Iterator[str]:
    low, high = shape.get("min"), shape.get("max")
    if "enum" in shape and value not in shape["enum"]:
        yield f"satisfy enum value set: [{', '.join(shape['enum'])}]"
    if "pattern" in shape and not _matches(shape["pattern"], value):
        yield f"satisfy regular expression pattern: {shape['pattern']}"
    if isinstance(value, (int, float)):
        if low is not None and value < low:
            yield f"have value greater than or equal to {low}"
        if high is not None and value > high:
            yield f"have value less than or equal to {high}"
    elif shape["type"] != "blob":
        if low is not None and len(value) < low:
            yield f"have length greater than or equal to {low}"
        if high is not None and len(value) > high:
            yield f"have length less than or equal to {high}"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:  # Java's and Python's patterns are not quite the same
        return None


def _matches(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


def _at(where: str, name: str) -> str:
    name = name[:1].lower() + name[1:]
    return f"{where}.{name}" if where else name


def _shown(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, (dict, list, bool)) else str(value)
    return f"'{text[:200]}'"


def _wanted(kind: str) -> str:
    return {"string": "a String", "integer": "an Integer", "long": "a Long"}.get(
        kind, f"a {kind.capitalize()}"
    )


def _found(value: object) -> str:
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    names = {str: "STRING_VALUE", int: "NUMBER_VALUE", float: "DECIMAL_VALUE", dict: "START_OBJECT"}
    return names.get(type(value), "START_ARRAY")


def _serialization(message: str) -> ServiceError:
    return ServiceError("SerializationException", 400, message)
