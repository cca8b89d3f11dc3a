"""Which messages of a batch have failed, by what became of the invocation. Pure.

Rules
- A function's error (its time limit counts) fails the whole batch.
- Without ReportBatchItemFailures every answer is success, whatever it says.
- With it, success is: no answer, null, an empty text, list or object; `batchItemFailures` that are missing,
  null or empty. What it names there has failed, and the rest is done.
- The whole batch fails for what is no JSON, or no object; for `batchItemFailures` that are no list; for an
  item without `itemIdentifier`, with one that is null, empty or no text, or with one that is in no message.

Source: AWS Lambda's developer guide, "Handling errors for an SQS event source", success and failure
conditions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab import strictjson

if TYPE_CHECKING:
    from collections.abc import Collection

_EMPTY: tuple[object, ...] = (None, "", [], {})


def failed(
    payload: bytes, function_error: str | None, ids: Collection[str], *, reporting: bool
) -> frozenset[str]:
    """Return the ids of the messages that have failed."""
    everything = frozenset(ids)
    if function_error is not None:
        return everything
    if not reporting or not payload:
        return frozenset()
    try:
        answer = strictjson.loads(payload)
    except (ValueError, RecursionError):
        return everything
    if any(answer is each or (type(answer) is type(each) and answer == each) for each in _EMPTY):
        return frozenset()
    if not isinstance(answer, dict):
        return everything
    items = answer.get("batchItemFailures")
    if items is None:
        return frozenset()
    named = set()
    for item in items if isinstance(items, list) else [None]:
        name = item.get("itemIdentifier") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in everything:
            return everything
        named.add(name)
    return frozenset(named)
