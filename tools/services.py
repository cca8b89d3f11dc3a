"""The pages of the Lambda service: AWS's API as the lab has it, and the files that name functions."""

from __future__ import annotations

from tools.markdown import NOTE, rules

from lambent_lab.service import aws, catalog, core, destinations, events, fleet, parcels, pool, serving
from lambent_lab.service.api import invoke, model, routes, settings, streaming, url_config
from lambent_lab.service.files import intrinsics, loading, own, sam, sources, urls
from lambent_lab.service.sources import (
    filters,
    poller,
    records,
    registry,
    states,
    stream_poller,
    stream_records,
    verdicts,
)  # fmt: skip
from lambent_lab.service.sources import settings as mapping
from lambent_lab.service.urls import answer, cors, doors, event, exchange, signature


def service() -> str:
    """Return the page of AWS's API as the lab has it."""
    ours = {route.operation for route in routes.ROUTES}
    rows = [
        f"| {route.operation} | `{route.method} {route.path}` | {route.status} | {route.scope} |"
        for route in routes.ROUTES
    ]
    missing = [name for name in sorted(model.load()["operations"]) if name not in ours]
    return "\n".join(
        [
            "# AWS's Lambda API in the lab",
            "",
            NOTE,
            "",
            "`lambent serve` and `Lab.serve` answer these operations, to boto3 and the aws CLI as they are.",
            "Everything is in one account, `123456789012`, in `us-east-1`.",
            "",
            *rules(serving),
            "",
            "| operation | request | status | what the lab does of it |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Invocations",
            "",
            *rules(invoke),
            "",
            "## Asynchronous invocation",
            "",
            *rules(events),
            "",
            "### Destinations",
            "",
            *rules(destinations),
            *rules(parcels),
            "",
            "### Endpoints",
            "",
            *rules(aws),
            "",
            "## Event source mappings",
            "",
            "Queues and streams are polled at their endpoints, as destinations are called.",
            "",
            *rules(registry),
            *rules(mapping),
            "",
            "### Polling a queue",
            "",
            *rules(poller),
            *rules(records),
            "",
            "### Reading a stream",
            "",
            *rules(stream_poller),
            *rules(stream_records),
            "",
            "### Filters",
            "",
            *rules(filters),
            "",
            "### What has failed",
            "",
            *rules(verdicts),
            "",
            "### States",
            "",
            *rules(states),
            "",
            "| state | what is asked for, or is so then | next |",
            "|---|---|---|",
            *(f"| {state} | {step} | {after} |" for (state, step), after in states.TRANSITIONS.items()),
            "",
            "## Response streams",
            "",
            *rules(streaming),
            "",
            "## Function URLs",
            "",
            *rules(url_config),
            *rules(doors),
            *rules(exchange),
            "",
            "### The event",
            "",
            *rules(event),
            "",
            "### The response",
            "",
            *rules(answer),
            "",
            "### CORS",
            "",
            *rules(cors),
            "",
            "### AWS_IAM",
            "",
            *rules(signature),
            "",
            "## Versions and aliases",
            "",
            *rules(catalog),
            "",
            "## Concurrency",
            "",
            *rules(core),
            "",
            *rules(fleet),
            *rules(pool),
            "",
            "## Parameters of functions",
            "",
            *rules(settings),
            "",
            "## What the lab does not have",
            "",
            ", ".join(f"`{name}`" for name in missing) + ".",
            "",
        ]
    )


def files() -> str:
    """Return the page of the files that `lambent serve` reads."""
    rows = [f"| `{key}` | {kind} | {meaning} |" for key, (_, kind, meaning) in own.KEYS.items()]
    queues = [f"| `{key}` | `{theirs}` | {meaning} |" for key, (theirs, meaning) in sources.KEYS.items()]
    return "\n".join(
        [
            "# Files of functions",
            "",
            NOTE,
            "",
            "`lambent serve` reads the file it is given, or the first of these in the current folder:",
            f"{', '.join(f'`{name}`' for name in loading.NAMES)}.",
            "",
            "## The lab's own",
            "",
            *rules(own),
            "",
            "| key of a function | kind | meaning |",
            "|---|---|---|",
            *rows,
            "",
            "### `sources`",
            "",
            *rules(sources),
            "",
            "| key of a source | in AWS's API | meaning |",
            "|---|---|---|",
            *queues,
            "",
            "### `url`",
            "",
            *rules(urls),
            "",
            "## SAM and CloudFormation templates",
            "",
            *rules(sam),
            "",
            *rules(intrinsics),
            "",
        ]
    )
