"""Write the pages of docs/reference and the schema made from the code; `--check` only compares them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lambent._arguments import ARGUMENTS
from lambent.backends import PRESETS, Preset
from lambent.config import OPTIONS
from lambent_lab import aftermath, course, initphase, journal, response, shutdown, telemetry, workers
from lambent_lab import environment as lambent_lab_environment
from lambent_lab.commands import cli
from lambent_lab.http import server as http_server
from lambent_lab.measure import conforming
from lambent_lab.protocol import extensions as extensions_api
from lambent_lab.protocol import prelude
from lambent_lab.protocol import runtime as runtime_api
from lambent_lab.protocol import streaming as streaming_limits
from lambent_lab.protocol import telemetry as telemetry_api
from lambent_lab.service import catalog, core, fleet, pool, serving
from lambent_lab.service.api import invoke, model, routes, settings, streaming
from lambent_lab.service.files import intrinsics, loading, own, sam

if TYPE_CHECKING:
    from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools import api, schema, triggers
from tools.options import MEANINGS

HOW_TO = Path(__file__).resolve().parent.parent / "docs" / "how-to"
REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
MEASURE = Path(__file__).resolve().parent.parent / "lab" / "src" / "lambent_lab" / "measure"
NOTE = "<!-- Made by `make docs`; change the code, not this page. -->"
RENAMED = {"resource_attributes": "resource"}
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


def shown(default: object) -> str:
    """Return a default as a reader would write it into a variable."""
    if default is None or default in ("", (), {}):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`"
    return f"`{default}`"


def argument(option: str) -> str:
    """Return the argument of `init` that sets an option, "" where there is none."""
    if option.endswith("_limit"):
        return "`limits`"
    name = RENAMED.get(option, option)
    return f"`{name}`" if name in ARGUMENTS else ""


def configuration() -> str:
    """Return the page of all options."""
    rows = [
        "| variable | argument of `lambent.init` | default | meaning |",
        "|---|---|---|---|",
    ]
    if {option[0] for option in OPTIONS} != MEANINGS.keys():
        raise SystemExit(
            "tools/options.py: each option of lambent.config has a meaning, and nothing else has"
        )
    for name, variables, _, default in OPTIONS:
        names = "<br>".join(f"`{variable}`" for variable in variables)
        value = 1000 if name == "timeout" else None if name == "deadline_margin" else default
        rows.append(f"| {names} | {argument(name)} | {shown(value)} | {MEANINGS[name]} |")
    return "\n".join(
        [
            "# Configuration",
            "",
            NOTE,
            "",
            "An argument wins over its variables; of several variables the first that is set wins; an",
            "empty variable is an unset one. A wrong value in a variable is reported once on stderr and",
            "replaced by the default. A wrong or unknown argument raises `lambent.ConfigError`.",
            "`exporter` and `exporters` are the same argument.",
            "",
            *rows,
            "",
        ]
    )


def commands() -> str:
    """Return the page of all commands, in the words of their `--help`."""
    lines = ["# Commands", "", NOTE, ""]

    def page(group: click.Command, path: str) -> None:
        context = click.Context(group, info_name=path, terminal_width=100, max_content_width=100)
        lines.extend([f"## {path}", "", "```text", group.get_help(context).rstrip(), "```", ""])
        if isinstance(group, click.Group):
            for name in group.list_commands(context):
                inner = group.get_command(context, name)
                if inner is not None:
                    page(inner, f"{path} {name}")

    page(cli, "lambent")
    return "\n".join(lines)


def rules(module: ModuleType) -> list[str]:
    """Return the rules in a module's header, as a list in Markdown with its headings in bold."""
    _, _, text = (module.__doc__ or "").partition("\n\n")
    lines = []
    for line in text.splitlines():
        if line.startswith("Rules"):
            lines.extend(
                ["" if line == "Rules" else f"**{line.removeprefix('Rules of ').capitalize()}**", ""]
            )
        elif line.startswith("The table below"):
            break
        else:
            lines.append(line)
    return "\n".join(lines).strip().splitlines()


def runtime() -> str:
    """Return the page of the Runtime API and of streamed responses, in the words and tables of its code."""
    moves = [(state, call, after) for (state, call), after in runtime_api.TRANSITIONS.items()]
    drawn = [f"    {state.name} --> {after.name}: {call.value}" for state, call, after in moves]
    return "\n".join(
        [
            "# The Runtime API in the lab",
            "",
            NOTE,
            "",
            *rules(runtime_api),
            "",
            "| state | call | next state |",
            "|---|---|---|",
            *(f"| {state.value} | {call.value} | {after.value} |" for state, call, after in moves),
            "",
            "```mermaid",
            "stateDiagram-v2",
            "    [*] --> STARTED",
            *drawn,
            "```",
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
    moves = [
        f"| {state.value} | {call.value} | {after.value} |"
        for (state, call), after in extensions_api.TRANSITIONS.items()
    ]
    drawn = [
        f"    {state.name} --> {after.name}: {call.value}"
        for (state, call), after in extensions_api.TRANSITIONS.items()
    ]
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
            "| state | call | next state |",
            "|---|---|---|",
            *moves,
            "",
            "```mermaid",
            "stateDiagram-v2",
            "    [*] --> STARTED",
            *drawn,
            "```",
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


def address(template: str) -> str:
    """Return a template of a base URL as a reader would say it."""
    if template.startswith("{") and template.endswith("}") and template.count("{") == 1:
        return f"`{template[1:-1]}`"
    condition = ""
    if template.startswith("{?"):
        name, _, template = template[2:].partition("}")
        condition = " with a European key" if name == "european_key" else f" with `{name}`"
    for name, words in (("{region}", "<region>"), ("{suffix}", "amazonaws.com"), ("{cluster}", "<region>")):
        template = template.replace(name, words)
    return f"`{template.replace('|', ', else ')}`{condition}"


def header(name: str, template: str) -> str:
    """Return a header with its value."""
    return f"`{name}: {template}`"


def over_grpc(preset: Preset) -> str:
    """Return what takes the place of the last address over gRPC."""
    return f"<br>over gRPC {address(preset.grpc_url)}" if preset.grpc_url else ""


def backends() -> str:
    """Return the table of backends."""
    rows = [
        "| `backend` | takes | address, the first that is set | headers | resource attributes |",
        "|---|---|---|---|---|",
    ]
    for name, preset in PRESETS.items():
        takes = [f"`{variable}`" for variable in preset.needs or (preset.key,)]
        if preset.signed:
            takes.append("AWS credentials")
        if not preset.needs:
            takes[0] += " (optional)"
        headers = [header(*each) for each in preset.headers.items()]
        if preset.signed:
            headers.append("signed (SigV4)")
        attributes = [
            f"`{attribute}` = `{str(value).strip('{}').replace('|{', ', else ')}`"
            for attribute, value in preset.attributes.items()
        ]
        cells = [
            f"**{preset.title}**<br>`{name}`",
            "<br>".join(takes),
            "<br>".join(map(address, preset.urls)) + f"<br>then `{preset.path}`" + over_grpc(preset),
            "<br>".join(headers),
            "<br>".join(attributes),
        ]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def with_table(page: Path, table: str) -> str:
    """Return a page of people's with what stands between its two marks replaced."""
    before, note, rest = page.read_text().partition(f"{NOTE}\n")
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{note}\n{table}\n\n{end}{after}"


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
            "## Response streams",
            "",
            *rules(streaming),
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
            "## SAM and CloudFormation templates",
            "",
            *rules(sam),
            "",
            *rules(intrinsics),
            "",
        ]
    )


def main() -> int:
    """Write the pages, or with `--check` compare them; return the exit code."""
    pages = {
        REFERENCE / "configuration.md": configuration(),
        REFERENCE / "commands.md": commands(),
        REFERENCE / "python.md": api.page(NOTE),
        REFERENCE / "runtime-api.md": runtime(),
        REFERENCE / "extensions.md": extensions(),
        REFERENCE / "environment.md": environment(),
        REFERENCE / "lambda-api.md": service(),
        REFERENCE / "function-files.md": files(),
        REFERENCE / "triggers.md": with_table(REFERENCE / "triggers.md", triggers.table()),
        REFERENCE / "result-file.md": with_table(REFERENCE / "result-file.md", schema.tables()),
        MEASURE / conforming.NAME: schema.schema(),
        HOW_TO / "choose-a-backend.md": with_table(HOW_TO / "choose-a-backend.md", backends()),
    }
    stale = []
    for path, text in pages.items():
        if not path.exists() or path.read_text() != text:
            stale.append(path)
            if "--check" not in sys.argv:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                print(f"wrote {path}")
    if stale and "--check" in sys.argv:
        print(f"stale: {', '.join(map(str, stale))}; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
