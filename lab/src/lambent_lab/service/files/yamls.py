"""YAML as templates use it: CloudFormation's short tags, dates as text, no key twice."""

from __future__ import annotations

from typing import Any

import yaml

from lambent_lab.errors import UsageError

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """A safe loader that knows `!Ref` and its like."""

    # A template's version is a date to YAML, and text to everybody else.
    yaml_implicit_resolvers = {  # noqa: RUF012 - the name and kind are PyYAML's
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002, RUF100 - PyYAML's
        """Return a mapping; the same key twice is an error, as whoever wrote it meant something else."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool, type(None))):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> object:
    """Return `!Name value` as `{"Fn::Name": value}`, the long form of the same."""
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tagged)


def parse(text: str, where: str, kind: str = "YAML") -> object:
    """Return a document. Raises UsageError when it is no YAML; `kind` says what it was meant to be."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe one
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no {kind}: {' '.join(str(error).split())}.") from error
