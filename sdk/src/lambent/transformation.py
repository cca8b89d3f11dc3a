"""Firehose's transformations: what is answered for each record. Loaded with the first of them.

Source: Amazon Data Firehose's developer guide, "Data transformation": each record is answered under its
`recordId` with a `result` (Ok, Dropped, ProcessingFailed) and data in base64.
"""

from __future__ import annotations

from binascii import b2a_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lambent.triggers.parts import Record

__all__ = ["answer", "result_of"]


def result_of(raw: Mapping[str, object], given: object) -> dict[str, object]:
    """Return the answer for a record of which a function made `given`.

    Bytes and text are the new data, None leaves it as it came, and a mapping that has a `result` is the
    answer itself. Everything else is written as JSON. Raises what JSON raises.
    """
    same = {"recordId": raw.get("recordId"), "result": "Ok", "data": raw.get("data")}
    if given is None:
        return same
    if isinstance(given, dict) and "result" in given:
        return {**same, **given}
    if not isinstance(given, (bytes, bytearray, str)):
        from json import dumps

        given = dumps(given)
    data = given.encode() if isinstance(given, str) else bytes(given)
    return {**same, "data": b2a_base64(data, newline=False).decode("ascii")}


def answer(messages: Iterable[Record], results: Mapping[int, dict[str, object]]) -> dict[str, object]:
    """Return the handler's answer. A record that has none failed, and keeps its data."""
    return {
        "records": [
            results.get(id(each.raw)) or {**result_of(each.raw, None), "result": "ProcessingFailed"}
            for each in messages
        ]
    }
