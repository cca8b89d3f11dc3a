"""What `lambent serve` writes of queues and streams that functions are fed from."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

GIVEN_UP = "given up"

if TYPE_CHECKING:
    from lambent_lab.commands.events import Printer
    from lambent_lab.commands.feed import Feed
    from lambent_lab.service import Lab
    from lambent_lab.service.sources.poller import Handled
    from lambent_lab.service.sources.registry import EventSource


def hear(lab: Lab, happened: Feed, printer: Printer) -> None:
    """Have mappings and their batches written down; those that are there already at once."""
    sources = lab.core.sources

    def on_state(source: EventSource) -> None:
        happened.tell(partial(printer.fed, state(source)))

    def on_batch(source: EventSource, handled: Handled) -> None:
        happened.tell(partial(printer.handled, batch(source, handled)))

    async def begin() -> None:
        sources.on_state.append(on_state)
        sources.on_batch.append(on_batch)
        for source in sources.mappings.values():
            on_state(source)

    lab.run(begin())


def state(source: EventSource) -> dict[str, Any]:
    """Return what `--json` says of a mapping."""
    return {
        "event": "source",
        **_which(source),
        "state": source.state,
        "batch_size": source.settings.batch_size,
        "polled": source.state == "Enabled" and source.result is not None and source.problem is None,
        "problem": source.problem,
    }


def batch(source: EventSource, handled: Handled) -> dict[str, Any]:
    """Return what `--json` says of a batch."""
    return {
        "event": "batch",
        **_which(source),
        "request_id": handled.request_id,
        "records": handled.records,
        "failed": handled.failed,
        "function_error": handled.function_error,
        "problem": handled.problem,
    }


def _which(source: EventSource) -> dict[str, Any]:
    settings = source.settings
    return {
        "uuid": source.uuid,
        "function": settings.function,
        "qualifier": settings.qualifier,
        "source": settings.source.text,
    }


def state_text(told: dict[str, Any]) -> str | None:
    """Return what people are told of a mapping: nothing of what lasts a moment only."""
    of = f"{told['function']} gets"
    if told["state"] in {"Disabled", "Deleting"}:
        return f"{of} nothing more of {told['source']}: it is {told['state'].lower()}."
    if told["problem"] is not None:
        return f"{of} nothing of {told['source']}: {told['problem']}."
    return f"{of} what comes to {told['source']}." if told["polled"] else None


def batch_text(told: dict[str, Any]) -> str | None:
    """Return what people are told of a batch: that something of it has failed."""
    if not told["failed"]:
        return None
    if str(told["problem"]).startswith(GIVEN_UP):
        records = f"{told['failed']} record{'s were' if told['failed'] > 1 else ' was'}"
        return f"{told['function']}: {records} {told['problem']}, of {told['source']}."
    count = f"{told['failed']} of {told['records']} record{'s' if told['records'] > 1 else ''}"
    why = f" ({told['problem']})" if told["problem"] else ""
    return f"{told['function']}: {count} of {told['source']} will come again{why}."
