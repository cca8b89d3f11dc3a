"""Who is told how far a benchmark is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Who is told how far the benchmark is."""

    def begin(self, environments: int, invocations: int) -> None:
        """The plan, in environments and invocations."""

    def estimate(self, seconds: float) -> None:
        """What has been planned will take about so long, by what the preflight took."""

    def environment(self, side: str, memory_mb: int) -> None:
        """A fresh environment of this side begins."""

    def invocation(self) -> None:
        """One invocation is done."""

    def skip(self, invocations: int) -> None:
        """So many planned invocations will not happen: their environment broke."""


class Silence:
    """A Progress that says nothing."""

    def begin(self, environments: int, invocations: int) -> None:
        """Say nothing."""

    def estimate(self, seconds: float) -> None:
        """Say nothing."""

    def environment(self, side: str, memory_mb: int) -> None:
        """Say nothing."""

    def invocation(self) -> None:
        """Say nothing."""

    def skip(self, invocations: int) -> None:
        """Say nothing."""
