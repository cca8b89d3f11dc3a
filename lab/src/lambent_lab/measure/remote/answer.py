"""What an invocation outside the lab came to, with what can be known of it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one invocation; None is what nobody said. See `sampler.ReportLike`."""

    duration_ms: float
    billed_ms: int | None = None
    init_ms: float | None = None
    max_memory_mb: int | None = None
    cpu_ms: float | None = None
    peak_rss: int | None = None
    peak_with_cache: int | None = None
    extension_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One invocation. `init_included`: its duration is the caller's wait, with the init in it when cold.

    Spans are none of what is seen here: `spans` is None, which is not the same as no spans.
    """

    request_id: str
    cold: bool
    report: Figures
    payload: object
    status: str = "success"
    error: str | None = None
    function_error: str | None = None
    spans: Sequence[object] | None = None
    spans_made: int | None = None
    problems: tuple[str, ...] = ()
    started_ns: int = 0
    log: str = ""
    init_included: bool = False

    @property
    def ok(self) -> bool:
        """Whether the function answered without an error."""
        return self.status == "success"
