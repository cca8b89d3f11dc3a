"""What `--resume` needs: the options of the run that was interrupted, and the words that go on with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import click
    from click.core import ParameterSource


def again(command: click.Command, name: str, path: Path) -> click.Context:
    """The options with which an interrupted run was begun. Raises UsageError."""
    from lambent_lab.measure.results import read

    words = read(path)["command"]
    if words[1:2] != [name] or len(words) < 3:
        raise UsageError(f"{path} does not say how it was begun: give TARGET and the options again.")
    if any("***" in word for word in words):
        raise UsageError(f"{path} keeps no secrets: give TARGET and all options again, beside --resume.")
    return command.make_context(name, words[2:])


def is_default(source: Callable[[str], ParameterSource | None], name: str) -> bool:
    """Whether the user left an option out."""
    from click.core import ParameterSource

    return source(name) in {None, ParameterSource.DEFAULT}


def resumption(command: Sequence[str], output: Path, name: str, *, alone: bool = True) -> str:
    """The command that goes on with an interrupted run. `alone`: whether it knows its options by itself."""
    from lambent_lab.measure.target import masked_command

    alone = alone and masked_command(command) == list(command)
    return f"lambent {name} --resume {output}{'' if alone else ', with TARGET and the same options'}"
