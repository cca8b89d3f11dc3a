"""Writes docs/reference/spec-blocks.md: every block of the specifications, and how it is run.

python -m tests.spec.listing
"""

from __future__ import annotations

from pathlib import Path

from tests.spec.blocks import DOCUMENTS, blocks
from tests.spec.table import ENTRIES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "spec-blocks.md"

_HEAD = """\
# The specifications' code blocks

The five documents that lambent was built from lie in `tests/spec`, byte for byte. Each of their Python blocks
is run by `tests/spec/test_spec_blocks.py`, with the package's name changed (`honeyhive` to
`lambent.compat.honeyhive`, `lambda_otel_lite` to `lambent.compat.lambda_otel_lite`, in imports and where
`sys.modules` is asked for it) and what this page lists. What tests return is dropped: pytest refuses it.
Docker, AWS, HoneyHive, OpenAI and collectors are the lab and servers on this machine. This page is made by
`make docs`.

- **function**: deployed to the lab and invoked there.
- **script**: a program of its own, in a fresh process.
- **pytest**: a test file.

"""


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for document, path in DOCUMENTS.items():
        parts.append(f"## {path.name}\n\n| line | run as | what is seen |\n| --- | --- | --- |\n")
        others: dict[str, list[str]] = {}
        for block in blocks():
            if block.document != document:
                continue
            if block.language != "python":
                others.setdefault(block.language, []).append(str(block.line))
                continue
            entry = ENTRIES[block.place]
            notes = [entry.does]
            if entry.after:
                notes.append(f"After {' and '.join(each.partition(':')[2] for each in entry.after)}.")
            names = entry.names.strip()
            if names:
                notes.append(f"A fragment: {_shown(names)}.")
            notes += [f"Mended: {_code(old)} is {_code(new)} ({why})." for old, new, why in entry.mended]
            if entry.attempts > 1:
                notes.append(
                    f"It measures time: tried up to {entry.attempts} times, and not held against a machine "
                    "whose processors other processes keep busy."
                )
            parts.append(f"| {block.line} | {entry.how} | {' '.join(notes)} |\n")
        for language, lines in others.items():
            parts.append(f"\nNot Python: {language}, line{'s' * (len(lines) > 1)} {', '.join(lines)}.\n")
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def _shown(names: str) -> str:
    lines = names.splitlines()
    if len(lines) <= 3:
        return "it is given " + ", ".join(_code(line) for line in lines)
    return f"it is given {len(lines)} lines of what it assumes (see `tests/spec/table.py`)"


def _code(text: str) -> str:
    return f"`{text.strip().replace('|', chr(92) + '|')}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
