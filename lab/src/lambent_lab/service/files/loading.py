"""Which file it is, and of which kind."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, cast

from lambent_lab.errors import UsageError
from lambent_lab.service.files import own, sam, yamls

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from lambent_lab.service.files.definition import Configuration

NAMES = ("lambent.yaml", "lambent.yml", "lambent.toml", "template.yaml", "template.yml", "template.json")
"""What is looked for, in this order."""


def find(folder: Path) -> Path | None:
    """Return the file in a folder that says which functions there are."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def load(
    path: Path, *, parameters: Mapping[str, str] | None = None, layers: Mapping[str, Path] | None = None
) -> Configuration:
    """Read a file of either kind; `parameters` and `layers` are for templates. Raises UsageError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {reason}.") from error
    base = path.absolute().parent
    document: object
    if path.suffix == ".toml":
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path} is no TOML: {error}.") from error
    else:
        document = yamls.parse(text, str(path), "JSON" if path.suffix == ".json" else "YAML")
    template = sam.is_template(document)
    if parameters and not template:
        raise UsageError(f"{path} is no template: only those have parameters.")
    try:
        if template:
            return sam.parse(cast("Mapping[str, Any]", document), base, parameters=parameters, layers=layers)
        return own.parse(document, base)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
