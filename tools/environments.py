"""The pages of an environment's life: the Runtime API, extensions, and what an environment goes through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tools.markdown import NOTE, rules

from lambent_lab import aftermath, course, initphase, journal, response, shutdown, telemetry, workers
from lambent_lab import environment as lambent_lab_environment
from lambent_lab.http import server as http_server
from lambent_lab.protocol import extensions as extensions_api
from lambent_lab.protocol import prelude
from lambent_lab.protocol import runtime as runtime_api
from lambent_lab.protocol import streaming as streaming_limits
from lambent_lab.protocol import telemetry as telemetry_api

if TYPE_CHECKING:
    from collections.abc import Mapping

LIFE = (
    "[*] --> init: start",
    "init --> waiting: runtime and extensions wait",
    "init --> snapshot: SnapStart",
    "snapshot --> restoring: first invocation",
    "restoring --> running: hooks have run",
    "restoring --> empty: failure, 10 s over",
    "init --> empty: failure, time over",
    "waiting --> running: event (thawed)",
    "running --> waiting: all wait again (frozen)",
    "running --> empty: timeout, crash, out of memory",
    "waiting --> empty: a process has ended",
    "empty --> init: next invocation, /tmp as it was",
    "waiting --> [*]: SPINDOWN",
    "empty --> [*]: SPINDOWN",
)
"""The life of an environment as `environment` and its modules have it, from state to state."""

_FAILED, _LATE = "new ones; SHUTDOWN FAILURE", "new ones; SHUTDOWN TIMEOUT"
FAILURES = (
    ("the handler raised, or the runtime reported an error", "its own", "none", "the same processes"),
    ("the function's time was over", "`Sandbox.Timedout`", "`timeout`", _LATE),
    ("the runtime ended", "`Runtime.ExitError`", "`error`", _FAILED),
    ("the runtime was killed for its memory", "`Runtime.OutOfMemory`", "`error`", _FAILED),
    ("an extension ended, also for its memory", "`Extension.Crash`", "`error`", _FAILED),
    ("an extension gave up", "`Extension.InitError`, `Extension.ExitError`", "`error`", _FAILED),
    ("the response was too large", "`Function.ResponseSizeTooLarge`", "`error`", "the same processes"),
    ("a hook failed before the snapshot", "the exception's", "`error`", "new ones"),
    ("a hook failed after the restore", "the exception's", "`error`", "new ones"),
    ("an extension was late after the answer", "none: the answer stays", "`timeout`", _LATE),
)
"""What can go wrong: the error document's type, REPORT's status, and what serves the next invocation."""


def states(transitions: Mapping[tuple[Any, Any], Any]) -> list[str]:
    """Return a state machine's table, and its drawing."""
    moves = [(state, call, after) for (state, call), after in transitions.items()]
    return [
        "| state | call | next state |",
        "|---|---|---|",
        *(f"| {state.value} | {call.value} | {after.value} |" for state, call, after in moves),
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> STARTED",
        *(f"    {state.name} --> {after.name}: {call.value}" for state, call, after in moves),
        "```",
    ]


def runtime() -> str:
    """Return the page of the Runtime API and of streamed responses, in the words and tables of its code."""
    return "\n".join(
        [
            "# The Runtime API in the lab",
            "",
            NOTE,
            "",
            *rules(runtime_api),
            "",
            *states(runtime_api.TRANSITIONS),
            "",
            "## Responses",
            "",
            *rules(response),
            "",
            "## Limits of streamed responses",
            "",
            *rules(streaming_limits),
            "",
            "Python code that runs environments itself sets other limits with",
            "`Environment(spec, stream_limits=StreamLimits(size=..., burst=..., rate=...))`.",
            "",
            "## Streamed HTTP responses",
            "",
            *rules(prelude),
            "",
            "## HTTP",
            "",
            *rules(http_server),
            "",
        ]
    )


def environment() -> str:
    """Return the page of an environment's life, in the words of its code."""
    seconds = [
        ("init on demand", initphase.INIT_LIMIT_S, "then it is run again inside the invocation"),
        (
            "init ahead of invocations",
            initphase.AHEAD_LIMIT_S,
            "or the function's timeout if that is longer",
        ),
        ("restore", initphase.RESTORE_LIMIT_S, "hooks after the restore included"),
        ("end, internal extensions", shutdown.INTERNAL_S, f"{shutdown.INTERNAL_RUNTIME_S:g} s the runtime's"),
        ("end, external extensions", shutdown.EXTERNAL_S, f"{shutdown.EXTERNAL_RUNTIME_S:g} s the runtime's"),
        ("a delivery of telemetry", telemetry.DELIVERY_S, "then it is tried again later"),
        ("deliveries before a freeze", telemetry.FLUSH_S, "all of them together"),
    ]
    return "\n".join(
        [
            "# The life of an environment",
            "",
            NOTE,
            "",
            "```mermaid",
            "stateDiagram-v2",
            *(f"    {line}" for line in LIFE),
            "```",
            "",
            *rules(lambent_lab_environment),
            "",
            "## Times",
            "",
            "| what | seconds | |",
            "|---|---|---|",
            *(f"| {what} | {limit:g} | {more} |" for what, limit, more in seconds),
            "",
            "## Init and restore",
            "",
            *rules(initphase),
            "",
            "## An invocation",
            "",
            *rules(course),
            "",
            "## After the answer",
            "",
            *rules(aftermath),
            "",
            "## What the caller sees",
            "",
            "| what happened | `errorType` | `Status` in REPORT | what runs afterwards |",
            "|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in FAILURES),
            "",
            "## Managed instances",
            "",
            *rules(workers),
            "",
            "## The log",
            "",
            *rules(journal),
            "",
            "The states of a runtime are in [runtime-api.md](runtime-api.md), those of extensions, their end",
            "and the Telemetry API in [extensions.md](extensions.md). Where AWS leaves a question open, the",
            "lab's answer is in [the design record](../design/lives.md).",
            "",
        ]
    )


def extensions() -> str:
    """Return the page of what extensions can do in the lab, in the words and tables of its code."""
    limits = [
        f"| `{name}` | {low} | {high} | {default} |"
        for name, (low, high, default) in telemetry_api.LIMITS.items()
    ]
    return "\n".join(
        [
            "# Extensions in the lab",
            "",
            NOTE,
            "",
            f"`FunctionSpec.extensions` names executable files, {extensions_api.MAX_EXTENSIONS} at most:",
            "they are the external extensions and run from `/opt/extensions`, or, where the machine allows",
            "no mounts, from the real folder of the layer. Whatever else registers is an internal extension.",
            "",
            "## Extensions API, `/2020-01-01`",
            "",
            *rules(extensions_api),
            "",
            *states(extensions_api.TRANSITIONS),
            "",
            "When init and an invocation are over, with extensions, is in [environment.md](environment.md).",
            "",
            "## Telemetry API, `/2022-07-01`",
            "",
            *rules(telemetry_api),
            "",
            "| buffering | least | most | default |",
            "|---|---|---|---|",
            *limits,
            "",
            "## The end",
            "",
            *rules(shutdown),
            "",
        ]
    )
