"""The cleaning of attributes, for those that are more than plain. Loaded when such a one comes.

The rules are OpenTelemetry's (Common specification, "Attribute"), with the choices that its
Python SDK makes where the text leaves one: a full collection gives up its oldest entry, a value of
another type is turned into text, a string is cut to the limit, and every loss is counted.
"""

from __future__ import annotations

from lambent.limits import SCALARS, clean_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent.limits import Attributes

__all__ = ["are_plain", "clean_attributes", "clean_value", "put_attribute"]

_DEEPEST = 24
"""How deep values may lie in each other: decoders of protobuf refuse a whole request beyond 100
messages, and each list or mapping is two or three."""


def _has_text(value: object) -> bool:
    """Whether `str(value)` says more than where the object lies in memory."""
    kind = type(value)
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__


def clean_value(value: object, length: int | None, depth: int = 0) -> object:
    """Return the value as OpenTelemetry's attribute types hold it.

    Strings are cut to `length` characters, sequences become tuples, mappings new dicts with text
    keys, both cleaned all the way down; anything else becomes its text, or None when it has none. No type of
    the user's is left: what its methods do would be done in the middle of an export.
    Raises ValueError for what lies too deep to be decoded again.
    """
    if value is None or type(value) in SCALARS:
        return value if type(value) is not str or length is None else value[:length]
    if isinstance(value, (str, int, float, bytes)):
        return _plain(value, length)
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, (list, tuple, range)):
        return tuple([clean_value(item, length, depth + 1) for item in value])
    if isinstance(value, dict):
        return _clean_mapping(value, length, depth + 1)
    # Loaded by every interpreter; only unusual values come this far.
    from collections.abc import Mapping, Sequence

    if isinstance(value, Mapping):
        return _clean_mapping(value, length, depth + 1)
    if isinstance(value, Sequence) and not isinstance(value, (bytearray, memoryview)):
        return tuple([clean_value(item, length, depth + 1) for item in value])
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    return str(value) if _has_text(value) else None


def _plain(value: object, length: int | None) -> object:
    """Return what a value of a subclass is as one of Python's own type, whatever the subclass says it is."""
    if isinstance(value, str):
        text = str.__str__(value)
        return text if length is None else text[:length]
    if isinstance(value, int):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else b"".join([value])  # type: ignore[list-item]  # bytes


def _clean_mapping(mapping: Mapping[object, object], length: int | None, depth: int = 0) -> dict[str, object]:
    cleaned: dict[str, object] = {}
    for key, value in mapping.items():
        if not key:
            continue
        if not isinstance(key, str) and not _has_text(key):
            continue
        key = clean_name(key)  # noqa: PLW2901  # the text stands for the key from here on
        cleaned[key] = clean_value(value, length, depth)
    return cleaned


def are_plain(attributes: Attributes) -> bool:
    """Return whether there is nothing to clean: keys are text, values plain scalars."""
    for key, value in attributes.items():
        if type(value) not in SCALARS or type(key) is not str or not key:
            return False
    return True


def clean_attributes(
    attributes: Attributes, count: int | None, length: int | None
) -> tuple[dict[str, object], int]:
    """Return a clean copy of the attributes and how many of them were dropped."""
    if length is None and are_plain(attributes):
        cleaned = dict(attributes)
    else:
        cleaned = _clean_mapping(attributes, length)  # type: ignore[arg-type]  # keys are checked there
    dropped = len(attributes) - len(cleaned)
    if count is not None and len(cleaned) > count:
        surplus = len(cleaned) - count
        for key in list(cleaned)[:surplus]:
            del cleaned[key]
        dropped += surplus
    return cleaned, dropped


def put_attribute(
    attributes: dict[str, object], key: object, value: object, count: int | None, length: int | None
) -> int:
    """Set one attribute, the slow and complete way; return how many were dropped for it."""
    if count == 0 or not key or not isinstance(key, str):
        return 1
    cleaned = clean_value(value, length)
    key = clean_name(key)
    attributes.pop(key, None)  # a value set again moves to the end, as in OpenTelemetry's SDK
    dropped = 0
    if count is not None and len(attributes) >= count:
        del attributes[next(iter(attributes))]
        dropped = 1
    attributes[key] = cleaned
    return dropped
