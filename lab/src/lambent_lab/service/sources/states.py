"""The states of a mapping, and how many batches it has under way: tables. Pure.

Rules
- A change is asked for, and is made when the batches under way are through: until then the state says which
  it is. Who asks for another one waits for that, some seconds at most.
- As many batches are under way as the mapping has pollers. It begins with five, as AWS does; one more for
  each batch that went well, up to MaximumConcurrency (or 1000); half as many after an error or for want of
  room.
- With ReportBatchItemFailures errors of the function do not slow it down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["Creating", "Enabling", "Enabled", "Disabling", "Disabled", "Updating", "Deleting"]
Step = Literal["update", "enable", "disable", "delete", "polling", "idle"]
"""What is asked for; then what is so: it is polled, or it is not."""

TRANSITIONS: Mapping[tuple[State, Step], State] = {
    ("Creating", "polling"): "Enabled",
    ("Creating", "idle"): "Disabled",
    ("Enabled", "update"): "Updating",
    ("Enabled", "enable"): "Updating",
    ("Enabled", "disable"): "Disabling",
    ("Enabled", "delete"): "Deleting",
    ("Disabled", "update"): "Updating",
    ("Disabled", "enable"): "Enabling",
    ("Disabled", "disable"): "Updating",
    ("Disabled", "delete"): "Deleting",
    ("Updating", "polling"): "Enabled",
    ("Updating", "idle"): "Disabled",
    ("Enabling", "polling"): "Enabled",
    ("Disabling", "idle"): "Disabled",
}

SETTLED: frozenset[State] = frozenset({"Enabled", "Disabled"})
"""The states in which something can be asked for."""

FIRST, MOST = 5, 1000

End = Literal["done", "failed", "throttled"]
"""What has become of a batch: it was handled, or a part of it; the function failed; there was no room."""


def pollers(now: int, end: End, most: int, *, reporting: bool) -> int:
    """Return how many batches may be under way after one has come to its end."""
    if end == "done":
        return min(now + 1, most)
    if end == "failed" and reporting:
        return now
    return max(now // 2, 1)
