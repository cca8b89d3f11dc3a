"""Which records a mapping's filters let through: patterns as EventBridge has them. Pure.

Rules
- A pattern is an object. All its keys must match; a nested object goes one step down; a list has the rules of
  one value, of which one must match. `$or` with two objects or more: one of them must.
- A rule is a text, a number, true, false or null, which the value equals, or one of `prefix`, `suffix`,
  `equals-ignore-case`, `anything-but`, `numeric`, `exists`, `wildcard` and `cidr`.
- A value that is a list matches when one of its items does; of a list of objects one must match as a whole.
- `exists` is about values, not about objects: `{"exists": false}` holds where an object is.
- The body of a message is matched as JSON by an object, and as text by a list: a message in the other form is
  filtered out. (JSON is an object or a list here: a number may be meant as text.)

Sources: AWS Lambda's developer guide, "Control which events Lambda sends to your function" and "Using event
filtering with an Amazon SQS event source"; EventBridge's user guide, "Comparison operators".
"""

from __future__ import annotations

import ipaddress
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lambent_lab import strictjson

Test = Callable[[Any], bool]
Node = Callable[[Any], bool]

MAX_FILTERS = 10
"""As many as AWS allows on request; five without."""

_LOWER: Mapping[str, Callable[[Any, Any], bool]] = {">": operator.gt, ">=": operator.ge}
_UPPER: Mapping[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le}


class PatternError(ValueError):
    """A pattern that is none."""


class Filters:
    """The patterns of a mapping, one of which a record must match; all do where there is none.

    `content` is the key of what is text in a record, and may be JSON.
    """

    def __init__(self, patterns: Sequence[str], content: str | None = "body") -> None:
        self._nodes = [_parse(text, content) for text in patterns]

    def let_through(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record, as the function would get it, is to be handed on."""
        return not self._nodes or any(node(record) for node in self._nodes)


def matches(pattern: str, document: object) -> bool:
    """Tell whether a JSON document matches a pattern. Raises PatternError."""
    return _object(_loaded(pattern))(document)


def _parse(text: str, key: str | None) -> Node:
    """Return the test of whole records: their content is looked at as the pattern has it."""
    pattern = _loaded(text)
    body = None if key is None else pattern.get(key)
    node = _object(pattern)

    def check(record: Any) -> bool:
        if body is None or key is None:
            return node(record)
        content = None if record[key] is None else _json(record[key])
        if record[key] is None or isinstance(body, dict) != (content is not None):
            return False
        return node({**record, key: record[key] if content is None else content})

    return check


def _json(text: str) -> object:
    """Return what a text says as JSON, or None when it is just text."""
    try:
        found: object = strictjson.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, (dict, list)) else None


def _loaded(text: str) -> dict[str, Any]:
    try:
        pattern = strictjson.loads(text)
    except (ValueError, RecursionError) as error:
        raise PatternError(f"it is no JSON: {error}") from error
    if not isinstance(pattern, dict) or not pattern:
        raise PatternError("it must be an object with something in it")
    return pattern


def _object(pattern: Mapping[str, Any]) -> Node:
    """Return the test of an object, or of a list of them."""
    if not pattern:
        raise PatternError("an object has nothing in it")
    parts: list[Node] = []
    for key, inner in pattern.items():
        if key == "$or" and _is_or(inner):
            parts.append(_any([_object(each) for each in inner]))
        else:
            parts.append(_at(key, _object(inner) if isinstance(inner, dict) else _leaf(key, inner)))

    def check(value: Any) -> bool:
        if isinstance(value, list):
            items = _flat(value)
            objects = [item for item in items if isinstance(item, dict)]
            return any(check(item) for item in objects) if objects else check({})
        return all(part(value if isinstance(value, dict) else {}) for part in parts)

    return check


def _is_or(inner: object) -> bool:
    return (
        isinstance(inner, list)
        and len(inner) > 1
        and all(isinstance(each, dict) and not set(each) <= _RULES.keys() for each in inner)
    )


def _any(nodes: Sequence[Node]) -> Node:
    return lambda value: any(node(value) for node in nodes)


def _at(key: str, node: Node) -> Node:
    return lambda value: node(value.get(key, []))  # an empty list has no values: as if it were not there


def _leaf(key: str, rules: object) -> Node:
    """Return the test of one value."""
    if not isinstance(rules, list) or not rules:
        raise PatternError(f"{key!r} must have an object or a list of rules, not {json.dumps(rules)}")
    tests = [_rule(rule) for rule in rules]

    def check(value: Any) -> bool:
        values = [each for each in _flat([value]) if not isinstance(each, dict)]
        return any(test(values) for test in tests)

    return check


def _flat(values: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found.extend(_flat(value) if isinstance(value, list) else [value])
    return found


def _rule(rule: Any) -> Test:
    """Return the test that one rule makes of the values there are."""
    if isinstance(rule, dict):
        if len(rule) != 1:
            raise PatternError(f"a rule has one name: {json.dumps(rule)}")
        ((name, argument),) = rule.items()
        if name == "exists":
            if not isinstance(argument, bool):
                raise PatternError("exists is true or false")
            return lambda values: bool(values) is argument
        one = _named(name, argument)
    elif isinstance(rule, list):
        raise PatternError("a rule is no list")
    else:
        one = _equal(rule)
    return lambda values: any(map(one, values))


def _named(name: str, argument: Any) -> Test:
    make = _RULES.get(name)
    if make is None:
        raise PatternError(f"there is no rule {name!r}: known are {', '.join(_RULES)}")
    return make(argument)


def _equal(wanted: Any) -> Test:
    if isinstance(wanted, bool) or wanted is None:
        return lambda value: value is wanted
    return lambda value: not isinstance(value, bool) and bool(value == wanted)


def _text(name: str, argument: Any) -> str:
    if not isinstance(argument, str):
        raise PatternError(f"{name} needs a text, not {json.dumps(argument)}")
    return argument


def _of_text(name: str, compare: Callable[[str, str], bool]) -> Callable[[Any], Test]:
    """Return the maker of a rule about texts, which may be told not to look at the case."""

    def make(argument: Any) -> Test:
        if isinstance(argument, dict) and argument.keys() == {"equals-ignore-case"}:
            folded = _text(name, argument["equals-ignore-case"]).casefold()
            return lambda value: isinstance(value, str) and compare(value.casefold(), folded)
        wanted = _text(name, argument)
        return lambda value: isinstance(value, str) and compare(value, wanted)

    return make


def _ignore_case(argument: Any) -> Test:
    wanted = _text("equals-ignore-case", argument).casefold()
    return lambda value: isinstance(value, str) and value.casefold() == wanted


def _wildcard(argument: Any) -> Test:
    text = _text("wildcard", argument)
    parts = re.findall(r"\\[\\*]|\\|\*+|[^\\*]+", text)
    if "\\" in parts or any(part.startswith("**") for part in parts):
        raise PatternError(f"wildcard {text!r}: two stars in a row, or a backslash before neither \\ nor *")
    pattern = re.compile(
        "".join(".*" if part == "*" else re.escape(part[1:] if part[0] == "\\" else part) for part in parts),
        re.DOTALL,
    )
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _anything_but(argument: Any) -> Test:
    if isinstance(argument, dict):
        if len(argument) != 1:
            raise PatternError("anything-but has one rule")
        ((name, inner),) = argument.items()
        if name not in {"prefix", "suffix", "equals-ignore-case", "wildcard"}:
            raise PatternError(f"anything-but does not go with {name!r}")
        inners = inner if isinstance(inner, list) else [inner]
        if not inners:
            raise PatternError("anything-but needs something")
        tests = [_named(name, each) for each in inners]
    else:
        wanted = argument if isinstance(argument, list) else [argument]
        if not wanted or any(isinstance(each, (dict, list, bool)) or each is None for each in wanted):
            raise PatternError("anything-but needs texts or numbers")
        tests = [_equal(each) for each in wanted]
    return lambda value: not any(test(value) for test in tests)


def _numeric(argument: Any) -> Test:
    if not isinstance(argument, list) or len(argument) not in {2, 4}:
        raise PatternError("numeric needs an operator and a number, or a range of two such pairs")
    pairs = list(zip(argument[::2], argument[1::2], strict=True))
    for name, bound in pairs:
        if isinstance(bound, bool) or not isinstance(bound, (int, float)):
            raise PatternError(f"numeric {json.dumps(name)} needs a number, not {json.dumps(bound)}")
    names = [str(name) for name, _ in pairs]
    if len(pairs) == 2 and (names[0] not in _LOWER or names[1] not in _UPPER or pairs[0][1] >= pairs[1][1]):
        raise PatternError("a numeric range has its lower bound first, then an upper one that is greater")
    known = {"=": operator.eq, **_LOWER, **_UPPER}
    for name in names:
        if name not in known:
            raise PatternError(f"numeric knows no {name!r}: known are {', '.join(known)}")
    checks = [(known[str(name)], bound) for name, bound in pairs]

    def check(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return all(compare(value, bound) for compare, bound in checks)

    return check


def _cidr(argument: Any) -> Test:
    try:
        network = ipaddress.ip_network(_text("cidr", argument), strict=False)
    except ValueError as error:
        raise PatternError(f"cidr: {error}") from error

    def check(value: Any) -> bool:
        try:
            return isinstance(value, str) and ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return check


_RULES: Mapping[str, Callable[[Any], Test]] = {
    "prefix": _of_text("prefix", str.startswith),
    "suffix": _of_text("suffix", str.endswith),
    "equals-ignore-case": _ignore_case,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "wildcard": _wildcard,
    "cidr": _cidr,
    "exists": _equal,  # which is about all values, and looked at before
}
