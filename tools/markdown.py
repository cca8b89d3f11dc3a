"""What the pages made from the code have in common: their mark, and the rules of a module's header."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

NOTE = "<!-- Made by `make docs`; change the code, not this page. -->"


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


def with_table(page: Path, table: str) -> str:
    """Return a page of people's with what stands between its two marks replaced."""
    before, note, rest = page.read_text().partition(f"{NOTE}\n")
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{note}\n{table}\n\n{end}{after}"
