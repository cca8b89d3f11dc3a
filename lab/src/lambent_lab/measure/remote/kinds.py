"""Which kind of place a target's text names, and the object that reaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.measure.results import TargetKind
    from lambent_lab.measure.sampler import FunctionLike
    from lambent_lab.measure.target import Target

_PREFIXES: dict[str, TargetKind] = {
    "docker:": "docker",
    "http://": "http",
    "https://": "http",
    "aws:": "aws",
}


class Remote(Protocol):
    """A place outside the lab in which one function runs."""

    @property
    def runtime(self) -> str | None:
        """Lambda's name of its runtime, where it says so."""

    def function(self, *, memory: int, timeout: float, env: Mapping[str, str]) -> FunctionLike:
        """The function with this memory, time and these variables. Raises LabError when it cannot have
        them."""

    def close(self) -> None:
        """Leave everything as it was found."""


def kind_of(text: str) -> TargetKind:
    """What a target's text names: the lab, unless it begins as one of the others do."""
    for prefix, kind in _PREFIXES.items():
        if text.startswith(prefix):
            if text == prefix:
                raise UsageError(f"{text!r} names no function: write something after {prefix!r}.")
            return kind
    return "lab"


def open_remote(target: Target) -> Remote:
    """Reach a target that is not in the lab. Raises LabError when it cannot be reached."""
    if target.kind == "aws":
        from lambent_lab.measure.remote.aws import Account

        return Account(target.text, target.reach)
    if target.kind == "docker":
        from lambent_lab.measure.remote.containers import Engine

        return Engine(target.text)
    if target.kind == "http":
        from lambent_lab.measure.remote.rie import Emulator

        return Emulator(target.text, target.reach)
    raise UsageError(f"{target.text} is in the lab, not elsewhere.")
