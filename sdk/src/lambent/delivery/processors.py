"""Processors: what a program puts between a span and its delivery. Loaded when there is one.

- They are called in the order they were given, in the thread that starts or ends the span.
- One of OpenTelemetry's SDK is given OpenTelemetry's spans, any other one lambent's own.
- What fails in one is said once and stops neither the others nor the function.
- What they trace themselves is not recorded: it would never end.
- Flushing them takes the time there is and no more, whatever they wait for.
"""

from __future__ import annotations

import sys
from time import monotonic

from lambent.context import CURRENT, SUPPRESSED
from lambent.delivery.bounded import Bounded, LateError
from lambent.delivery.sync import LONGEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from opentelemetry.sdk.trace import ReadableSpan

    from lambent.otel.readable import Translator
    from lambent.span import Span
    from lambent.tracer import Tracer

__all__ = ["ProcessorChain", "SpanProcessor", "add"]


class SpanProcessor:
    """A processor of lambent's own kind: override what you need."""

    def on_start(self, span: Span, parent_context: object = None) -> None:
        """Take a span that has just been started; it can still be written to. Runs in the function's code."""

    def on_end(self, span: Span) -> None:
        """Take a span that has just ended; it can only be read. Runs in the function's code."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002  # for who overrides it
        """Send what is kept back; return whether all of it went."""
        return True

    def shutdown(self) -> None:
        """Let go of everything."""


class _Member:
    """One processor: what it is, and which of its methods there are."""

    def __init__(self, processor: Any) -> None:
        self.name = type(processor).__name__
        self.foreign = _is_opentelemetrys(processor)
        self.on_start = getattr(processor, "on_start", None)
        # Not stable yet in OpenTelemetry's SDK, whose older versions have none; its own one does nothing.
        base = getattr(sys.modules.get("opentelemetry.sdk.trace"), "SpanProcessor", None)
        own = getattr(type(processor), "_on_ending", None)
        self.on_ending: Any = None
        if own is not getattr(base, "_on_ending", None):
            self.on_ending = getattr(processor, "_on_ending", None)
        self.on_end = getattr(processor, "on_end", None)
        self.force_flush = getattr(processor, "force_flush", None)
        self.shutdown = getattr(processor, "shutdown", None)
        self.bounded = Bounded()


def _is_opentelemetrys(processor: object) -> bool:
    sdk = sys.modules.get("opentelemetry.sdk.trace")  # without it, nothing can be one of its processors
    return sdk is not None and isinstance(processor, sdk.SpanProcessor)


class ProcessorChain:
    """The processors of one tracer, in order."""

    def __init__(self, processors: Sequence[object]) -> None:
        self._members: tuple[_Member, ...] = ()
        self._ending: tuple[_Member, ...] = ()
        self._translator: Translator | None = None
        for processor in processors:
            self.add(processor)

    def add(self, processor: object) -> None:
        """Put one more at the end."""
        member = _Member(processor)
        if member.foreign and self._translator is None:
            from lambent.otel.readable import Translator

            self._translator = Translator()
        self._members += (member,)
        if member.on_ending is not None:
            self._ending += (member,)

    def on_start(self, span: Span, context: object) -> None:
        """Show a started span to each processor."""
        token = CURRENT.set(SUPPRESSED)
        live = around = None
        try:
            for member in self._members:
                if member.on_start is None:
                    continue
                try:
                    if member.foreign and self._translator is not None:
                        if live is None:
                            live = self._translator.live(span)
                            around = self._translator.parent_context(span, context)
                        member.on_start(live, parent_context=around)
                    else:
                        member.on_start(span, context)
                except Exception as error:  # noqa: BLE001  # a user's processor must not reach the function
                    _say(member, "on_start", error)
        finally:
            CURRENT.reset(token)

    def on_end(self, span: Span) -> None:
        """Hand a finished span to each processor, after each has been told that it ends."""
        token = CURRENT.set(SUPPRESSED)
        readable: ReadableSpan | None = None
        try:
            for member in self._ending:
                try:
                    translator = self._translator if member.foreign else None
                    member.on_ending(translator.live(span) if translator is not None else span)
                except Exception as error:  # noqa: BLE001  # as above
                    _say(member, "_on_ending", error)
            for member in self._members:
                if member.on_end is None:
                    continue
                try:
                    if member.foreign and self._translator is not None:
                        if readable is None:
                            readable = self._translator.finished(span)
                        member.on_end(readable)
                    else:
                        member.on_end(span)
                except Exception as error:  # noqa: BLE001  # as above
                    _say(member, "on_end", error)
        finally:
            CURRENT.reset(token)

    def flush(self, seconds: float) -> bool:
        """Flush each within `seconds` in all; return whether every one said that all of it went."""
        deadline = monotonic() + (min(seconds, LONGEST) if seconds > 0 else 0.0)
        complete = True
        for member in self._members:
            left = max(0.0, deadline - monotonic())
            flush = member.force_flush
            if flush is None:
                continue
            try:
                # The number is a hint that some ignore: the time is kept here.
                said = member.bounded.call(flush, left, max(1, int(left * 1000)))
                if said is False:
                    complete = False
            except LateError as error:
                complete = False
                from lambent.diagnostics import say

                say(f"{member.name} was not flushed: {error}")
            except Exception as error:  # noqa: BLE001  # as above
                complete = False
                _say(member, "force_flush", error)
        return complete

    def close(self, seconds: float) -> None:
        """Shut each down, within `seconds` in all."""
        deadline = monotonic() + min(seconds, LONGEST)
        for member in self._members:
            if member.shutdown is None:
                continue
            try:
                member.bounded.call(member.shutdown, max(0.0, deadline - monotonic()))
            except Exception as error:  # noqa: BLE001  # as above
                _say(member, "shutdown", error)

    def in_child(self) -> None:
        """After a fork: what was under way is the parent's."""
        for member in self._members:
            member.bounded.renew()


def add(tracer: Tracer, processor: object) -> None:
    """Put one more processor behind a tracer's others, for the spans that start from now on."""
    chain = tracer.delivery.processors
    if chain is None:
        tracer.delivery.processors = chain = ProcessorChain(())
        tracer._watch(chain.on_start, chain.on_end)  # noqa: SLF001  # made for this
    chain.add(processor)


def _say(member: _Member, what: str, error: Exception) -> None:
    from lambent.diagnostics import say_once

    say_once(
        f"processor {member.name} {what}", f"{member.name}.{what} failed: {type(error).__name__}: {error}"
    )
