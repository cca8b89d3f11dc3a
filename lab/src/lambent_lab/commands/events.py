"""What `lambent serve` writes: lines for people, or one JSON object for each event."""

from __future__ import annotations

import itertools
import json
import sys
from typing import TYPE_CHECKING, Any, Protocol

import click

from lambent_lab.commands import sources
from lambent_lab.commands.output import Look
from lambent_lab.traces.stdout import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lambent_lab.invocation import Invocation
    from lambent_lab.service.policy import Outcome

_JSON = json.JSONEncoder(allow_nan=False)
_COLOURS = ("cyan", "yellow", "green", "magenta", "blue")


class Printer(Protocol):
    """Writes what happens, with the next `flush`: many lines are one write."""

    def ready(
        self, url: str, rie: str | None, otlp: str, functions: Sequence[str], urls: Mapping[str, str]
    ) -> None:
        """Requests are answered from now on; `urls` are those of functions, by their names."""

    def opened(self, name: str, url: str) -> None:
        """A function has a URL of its own now."""

    def line(self, name: str, line: str) -> None:
        """A function's log has a new line."""

    def done(self, name: str, version: str, invocation: Invocation) -> None:
        """An invocation is over."""

    def over(self, outcome: Outcome) -> None:
        """An asynchronous event has succeeded, or is tried no more."""

    def fed(self, told: dict[str, Any]) -> None:
        """A queue or a stream that a function is fed from is in another state."""

    def handled(self, told: dict[str, Any]) -> None:
        """A batch of records is over."""

    def left(self, count: int) -> None:
        """So many events were still to be run when the end came."""

    def changed(self, name: str) -> None:
        """A function's code has changed."""

    def revised(self, kind: str, what: str) -> None:
        """The file has changed: a function was added, altered or removed, or there is a problem with it."""

    def flush(self) -> None:
        """Write what has been told."""

    def ended(self) -> None:
        """Everything is over."""


class Lines:
    """For people: the functions' logs, each line behind its function's name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._look = Look.of_stdout()
        self._width = max(map(len, names), default=8)
        self._colours: dict[str, str] = {}
        self._next = itertools.cycle(_COLOURS)
        self._text: list[str] = []
        self._fed: dict[str, str] = {}  # what was said of each mapping: not every state is news

    def ready(
        self, url: str, rie: str | None, otlp: str, functions: Sequence[str], urls: Mapping[str, str]
    ) -> None:
        """Say where requests go."""
        named = ", ".join(functions) or "no functions yet"
        self._write(f"Serving {named} at {url}")
        if rie is not None:
            self._write(f"As the runtime interface emulator: {rie}/2015-03-31/functions/function/invocations")
        for name, own in urls.items():
            self.opened(name, own)
        self._write(f"Spans are received at {otlp}")
        self._write(f"Use it with AWS_ENDPOINT_URL_LAMBDA={url}; Ctrl-C ends it.")
        self.flush()

    def opened(self, name: str, url: str) -> None:
        """Say where a function is called."""
        self._write(f"{name} has the URL {url}")

    def line(self, name: str, line: str) -> None:
        """Write a line of the log. Spans are in the trace store, and no reading for people."""
        if MARKER in line:
            return
        label = name.ljust(self._width)
        if self._look.color:
            colour = self._colours.setdefault(name, next(self._next))
            label = click.style(label, fg=colour)
        # awslambdaric separates the lines of a traceback so; a terminal would write them over each other.
        for part in line.rstrip("\r").split("\r"):
            self._write(f"{label} | {part.rstrip()}")

    def done(self, name: str, version: str, invocation: Invocation) -> None:
        """Say nothing: REPORT has been written."""

    def over(self, outcome: Outcome) -> None:
        """Say what was given up, and which destinations have not got it."""
        about = f"{outcome.function}: the event {outcome.request_id}"
        if outcome.failed:
            times = "1 attempt" if outcome.count == 1 else f"{outcome.count} attempts"
            self._write(f"{about} was given up after {times} ({outcome.condition}).")
        for arn, problem in zip(outcome.undelivered, outcome.problems, strict=True):
            self._write(f"{about} was not delivered to {arn}: {problem}.")

    def fed(self, told: dict[str, Any]) -> None:
        """Say whether it is polled."""
        said = sources.state_text(told)
        if said is not None and self._fed.get(told["uuid"]) != said:
            self._fed[told["uuid"]] = said
            self._write(said)

    def handled(self, told: dict[str, Any]) -> None:
        """Say what has failed."""
        said = sources.batch_text(told)
        if said is not None:
            self._write(said)

    def left(self, count: int) -> None:
        """Say how many are lost."""
        self._write(f"{count} event{'s were' if count > 1 else ' was'} still to be run: they are lost.")

    def changed(self, name: str) -> None:
        """Say that the next invocation runs new code."""
        self._write(f"{name} has changed: its next invocation runs the new code.")

    def revised(self, kind: str, what: str) -> None:
        """Say what a change of the file has changed."""
        said = {"added": "is served now", "altered": "has been altered", "removed": "is served no more"}
        self._write(f"{what} {said[kind]}." if kind in said else f"The file cannot be followed: {what}")

    def ended(self) -> None:
        """Say that it is over."""
        click.echo("Ended: no environment is left.", err=True)

    def flush(self) -> None:
        """Write what has been told."""
        text, self._text = self._text, []
        if text:
            click.echo("\n".join(text), color=self._look.color)
            sys.stdout.flush()

    def _write(self, text: str) -> None:
        self._text.append(text)


class JsonLines:
    """For programs. An invocation has its whole log."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def ready(
        self, url: str, rie: str | None, otlp: str, functions: Sequence[str], urls: Mapping[str, str]
    ) -> None:
        """Write where requests go."""
        self._write(
            {
                "event": "ready",
                "url": url,
                "rie_url": rie,
                "otlp_url": otlp,
                "functions": list(functions),
                "function_urls": dict(urls),
            }
        )
        self.flush()

    def opened(self, name: str, url: str) -> None:
        """Write where a function is called."""
        self._write({"event": "url", "function": name, "url": url})

    def line(self, name: str, line: str) -> None:
        """Write nothing: the line comes with its invocation."""

    def done(self, name: str, version: str, invocation: Invocation) -> None:
        """Write what came of an invocation, its response left out."""
        self._write(
            {
                "event": "invocation",
                "function": name,
                "version": version,
                "request_id": invocation.request_id,
                "cold": invocation.cold,
                "status": invocation.status,
                "function_error": invocation.function_error,
                "duration_ms": invocation.duration_ms,
                "init_ms": invocation.init_ms,
                "billed_ms": invocation.billed_ms,
                "memory_mb": invocation.memory_mb,
                "max_memory_mb": invocation.max_memory_mb,
                "trace_header": invocation.trace_header,
                "log": "\n".join(invocation.log),
            }
        )

    def over(self, outcome: Outcome) -> None:
        """Write what became of an asynchronous event."""
        self._write(
            {
                "event": "asynchronous",
                "function": outcome.function,
                "request_id": outcome.request_id,
                "condition": outcome.condition,
                "attempts": outcome.count,
                "delivered": list(outcome.delivered),
                "undelivered": list(outcome.undelivered),
                "problems": list(outcome.problems),
            }
        )

    def fed(self, told: dict[str, Any]) -> None:
        """Write it down."""
        self._write(told)

    def handled(self, told: dict[str, Any]) -> None:
        """Write it down."""
        self._write(told)

    def left(self, count: int) -> None:
        """Write how many are lost."""
        self._write({"event": "lost", "events": count})

    def changed(self, name: str) -> None:
        """Write which function's code has changed."""
        self._write({"event": "changed", "function": name})

    def revised(self, kind: str, what: str) -> None:
        """Write what a change of the file has changed."""
        self._write({"event": kind, "message" if kind == "problem" else "function": what})

    def ended(self) -> None:
        """Write that it is over."""
        self._write({"event": "ended"})
        self.flush()

    def flush(self) -> None:
        """Write what has been told."""
        text, self._text = self._text, []
        if text:
            click.echo("\n".join(text))
            sys.stdout.flush()

    def _write(self, event: dict[str, Any]) -> None:
        self._text.append(_JSON.encode(event))
