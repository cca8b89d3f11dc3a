"""Trace and span ids: 128 and 64 random bits from the kernel, never zero; and whose trace a span is of.

Ids are drawn from a pool that one system call fills, so an id costs a `list.pop`. Two rules keep
a pool from being used twice:

* after a fork the child throws its copy away;
* after a SnapStart restore many environments run on from one memory image, and nobody tells us:
  there the pool holds no more than is drawn at once, and every id comes from the kernel, which the
  hypervisor seeds anew.

The generator is a plain object with two methods so that tests inject their own
(`lambent.testing.SequentialIds`).
"""

from __future__ import annotations

import os

from lambent.context import NonRecordingSpan, SpanContext
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from lambent.config import Config

    class Ids(Protocol):
        """What makes ids."""

        def trace_id(self) -> int: ...
        def span_id(self) -> int: ...


__all__ = ["KernelIds", "ids_for", "parent_in"]


class KernelIds:
    """Ids from `os.urandom`, fetched `at_once` (1: nothing is kept for later)."""

    __slots__ = ("__weakref__", "_at_once", "_pool", "pop")

    def __init__(self, at_once: int = 128) -> None:
        self._at_once = at_once
        self._pool: list[int] = []
        self.pop = self._pool.pop
        """Return a new span id if there is one at hand, or raise IndexError: `span_id` without its call."""
        os.register_at_fork(after_in_child=self._pool.clear)

    def span_id(self) -> int:
        """Return a new span id, 1 … 2^64-1."""
        try:
            # One step, so that no two threads are given the same id.
            return self._pool.pop()
        except IndexError:
            return self._draw()

    def trace_id(self) -> int:
        """Return a new trace id, 1 … 2^128-1."""
        try:
            return self._pool.pop() << 64 | self._pool.pop()
        except IndexError:
            return self._draw() << 64 | self.span_id()

    def _draw(self) -> int:
        """Return a number that is not zero, and put the others drawn with it into the pool."""
        while True:
            drawn = memoryview(os.urandom(8 * self._at_once)).cast("Q").tolist()
            if 0 in drawn:
                drawn = [number for number in drawn if number]
            if drawn:
                number = drawn.pop()
                self._pool.extend(drawn)
                return number


_shared: KernelIds | None = None


def ids_for(config: Config) -> Ids:
    """Return the process's generator."""
    global _shared  # noqa: PLW0603  # one pool a process: it registers itself for forks
    if _shared is None:
        _shared = KernelIds(1 if config.initialization_type == "snap-start" else 128)
    return _shared


def parent_in(context: object) -> Span | NonRecordingSpan | SpanContext | None:
    """Return the parent that a `context` argument names; an invalid one means a new trace."""
    if isinstance(context, NonRecordingSpan):
        context = context.context
    if isinstance(context, SpanContext):
        return context if context.is_valid else None
    if isinstance(context, Span):
        return context
    from lambent.otel import parent_in as in_otel

    return in_otel(context)
