"""The code blocks of the five specifications, as they stand there.

A block is known by its document and the line of its opening: `000:32`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

HERE = Path(__file__).parent
DOCUMENTS = {path.name[:3]: path for path in sorted(HERE.glob("0*"))}

_RST = re.compile(r"^( *)\.\. code-block:: *(\S+)\n((?:\1 +.*\n|\s*\n)*)", re.MULTILINE)
_MARKDOWN = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_IMPORTS = re.compile(r"^(\s*)(from|import) (honeyhive|lambda_otel_lite)\b", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block: where it is, its language, its code without the indentation around it."""

    document: str
    line: int
    language: str
    code: str

    @property
    def place(self) -> str:
        """What it is known by."""
        return f"{self.document}:{self.line}"

    @property
    def renamed(self) -> str:
        """The code with the packages of lambent in place of the others."""
        code = _IMPORTS.sub(r"\1\2 lambent.compat.\3", self.code)
        return code.replace('"honeyhive" in sys.modules', '"lambent.compat.honeyhive" in sys.modules')


def blocks() -> list[Block]:
    """Return every block of every document, in order."""
    found = []
    for document, path in DOCUMENTS.items():
        text = path.read_text(encoding="utf-8")
        pattern = _RST if path.suffix == ".rst" else _MARKDOWN
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(document, line, match[2], dedent(match[3]).strip("\n") + "\n"))
    return found


PYTHON = {block.place: block for block in blocks() if block.language == "python"}
