"""Write the pages of docs/reference and the schema made from the code; `--check` only compares them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lambent_lab.commands import cli
from lambent_lab.measure import conforming

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools import api, backends, configuration, environments, schema, services, triggers
from tools.markdown import NOTE, with_table

HOW_TO = Path(__file__).resolve().parent.parent / "docs" / "how-to"
REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
MEASURE = Path(__file__).resolve().parent.parent / "lab" / "src" / "lambent_lab" / "measure"


COMMON = """## What holds for all of them

| exit code | |
|---|---|
| 0 | done; of a gate: PASS |
| 1 | the function, or what was measured, failed; of a gate: FAIL |
| 2 | wrong usage, said in one line; nothing was run |
| 3 | of a gate: INCONCLUSIVE |
| 130 | interrupted; what was measured so far is written |
| 141 | whoever read the output has left |
| 143 | ended by SIGTERM, where there was nothing to write |

Reports and [JSON](json-output.md) go to the standard output, progress, warnings and errors to standard error.

| variable | |
|---|---|
| `LAMBENT_TRACES` | the file of the traces (default: `.lambent/traces.db` under the current folder) |
| `LAMBENT_LAB_BOX` | the kind of box: `cgroup-v2`, `cgroup-v1` or `signal` (default: the best there is) |
| `LAMBENT_LAB_FILES` | `folders`: mount nothing |
| `NO_COLOR`, `TERM=dumb` | no colours |
| `PATH`, `HOME`, `PYENV_ROOT`, `UV_PYTHON_INSTALL_DIR`, `XDG_DATA_HOME` | where other Pythons are found |
| `NVM_DIR` | where other versions of Node.js are found |
| `XDG_CACHE_HOME` | where clients of other runtimes are kept, under `lambent` (default: `~/.cache`) |
| `DOCKER_HOST` | where Docker is |
| `AWS_…` | credentials and region of `aws:` targets and of destinations, as boto3 reads them |

Nothing of the environment reaches a function: `--env` does.

`eval "$(_LAMBENT_COMPLETE=bash_source lambent)"` completes commands and options in bash; for zsh it is
`zsh_source`, for fish `fish_source`.
"""


def commands() -> str:
    """Return the page of all commands, in the words of their `--help`."""
    lines = ["# Commands", "", NOTE, "", COMMON]

    def page(group: click.Command, path: str) -> None:
        context = click.Context(group, info_name=path, terminal_width=100, max_content_width=100)
        context.help_option_names = cli.context_settings["help_option_names"]
        lines.extend([f"## {path}", "", "```text", group.get_help(context).rstrip(), "```", ""])
        if isinstance(group, click.Group):
            for name in group.list_commands(context):
                inner = group.get_command(context, name)
                if inner is not None:
                    page(inner, f"{path} {name}")

    page(cli, "lambent")
    return "\n".join(lines)


def main() -> int:
    """Write the pages, or with `--check` compare them; return the exit code."""
    pages = {
        REFERENCE / "configuration.md": configuration.page(),
        REFERENCE / "commands.md": commands(),
        REFERENCE / "python.md": api.page(NOTE),
        REFERENCE / "runtime-api.md": environments.runtime(),
        REFERENCE / "extensions.md": environments.extensions(),
        REFERENCE / "environment.md": environments.environment(),
        REFERENCE / "lambda-api.md": services.service(),
        REFERENCE / "function-files.md": services.files(),
        REFERENCE / "triggers.md": with_table(REFERENCE / "triggers.md", triggers.table()),
        REFERENCE / "result-file.md": with_table(REFERENCE / "result-file.md", schema.tables()),
        MEASURE / conforming.NAME: schema.schema(),
        HOW_TO / "choose-a-backend.md": with_table(HOW_TO / "choose-a-backend.md", backends.table()),
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
