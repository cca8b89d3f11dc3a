"""What is measured: a function, and the environment variables that it gets on either side."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

SWITCHES = ("OTEL_SDK_DISABLED", "LAMBENT_DISABLED")
"""The variables that turn tracing off when they are `true`."""

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|HEADERS", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


class Place(Protocol):
    """Where a function is."""

    @property
    def code(self) -> Path:
        """Its folder."""

    @property
    def handler(self) -> str:
        """Its handler in Lambda's form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One side of a comparison.

    text: what the user wrote; label: its name in reports; switch: the variable (`K=V`) that alone tells this
    side from the other one, or None; mode: when spans leave, where the side is told ("off": no tracing).
    """

    text: str
    code: Path
    handler: str
    label: str
    env: Mapping[str, str] = field(default_factory=dict)
    switch: str | None = None
    mode: str | None = None

    @property
    def switched_off(self) -> bool:
        """Whether this side is one on which tracing was turned off by its own variable."""
        name, _, value = (self.switch or "").partition("=")
        return name in SWITCHES and value.strip().lower() == "true"


def sides(
    candidate: str, baseline: str | None, env: Mapping[str, str], locate: Callable[[str], Place]
) -> tuple[Target, Target]:
    """The candidate and the baseline of a comparison. Raises UsageError.

    Without a baseline it is the candidate with tracing switched off by one variable; `K=V` names that
    variable; anything else is a target of its own. `locate` finds the function that a text names.
    """
    own = _side(candidate, locate(candidate), "candidate", env)
    if baseline is not None and not _VARIABLE.match(baseline):
        return own, _side(baseline, locate(baseline), "baseline", env)
    switch = baseline or f"{SWITCHES[0]}=true"
    name, _, value = switch.partition("=")
    if env.get(name) == value:
        raise UsageError(f"Both sides would have {switch}: remove it from --env, or choose another baseline.")
    other = replace(own, label="baseline", env={**env, name: value}, switch=switch)
    if other.switched_off:
        return replace(own, label="traced"), replace(other, label="untraced", mode="off")
    return own, other


def _side(text: str, place: Place, label: str, env: Mapping[str, str]) -> Target:
    return Target(text=text, code=place.code, handler=place.handler, label=label, env=env)


def masked(env: Mapping[str, str]) -> dict[str, str]:
    """The variables with the values of secret-looking names (keys, tokens, headers, …) hidden."""
    return {name: "***" if _SECRET.search(name) else value for name, value in env.items()}


def masked_command(arguments: Iterable[str]) -> list[str]:
    """A command line with secret-looking `NAME=VALUE` arguments hidden (also as `--env=NAME=VALUE`)."""
    shown: list[str] = []
    for argument in arguments:
        match = re.fullmatch(r"(?s)(--?[\w-]+=)?([A-Za-z_]\w*)=(.*)", argument)
        if match and _SECRET.search(match[2]):
            shown.append(f"{match[1] or ''}{match[2]}=***")
        else:
            shown.append(argument)
    return shown
