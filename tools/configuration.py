"""The page of all options of the SDK, from their table in the code."""

from __future__ import annotations

from tools.markdown import NOTE
from tools.options import MEANINGS

from lambent._arguments import ARGUMENTS
from lambent.config import OPTIONS

RENAMED = {"resource_attributes": "resource"}


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


def page() -> str:
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
