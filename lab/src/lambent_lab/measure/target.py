"""What is measured: a function, where it runs, and the environment variables that it gets on either side."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lambent_lab.errors import UsageError
from lambent_lab.measure.remote import kind_of
from lambent_lab.measure.shape import FAMILY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lambent_lab.measure.results import TargetKind

SWITCHES = ("OTEL_SDK_DISABLED", "LAMBENT_DISABLED")
"""The variables that turn tracing off when they are `true`."""

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|HEADERS", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_MADE = {"__pycache__", ".git", ".lambent"}
_MARKS = {
    ".json": f'"schema": "{FAMILY}/'.encode(),
    ".html": b'<meta name="generator" content="lambent',
}
"""What a result file and its page begin with."""

_LARGEST = 300 * 2**20
"""Somewhat more than Lambda lets a package have: what is larger (a whole workspace, say) has no digest."""


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
    side from the other one, or None; mode: when spans leave, where the side is told ("off": no tracing);
    kind: where it runs; reach: how a function outside the lab is reached (region, endpoint_url, restart).
    """

    text: str
    code: Path = Path()
    handler: str = ""
    label: str
    env: Mapping[str, str] = field(default_factory=dict)
    switch: str | None = None
    mode: str | None = None
    kind: TargetKind = "lab"
    reach: Mapping[str, str] = field(default_factory=dict)

    @property
    def switched_off(self) -> bool:
        """Whether this side is one on which tracing was turned off by its own variable."""
        name, _, value = (self.switch or "").partition("=")
        return name in SWITCHES and value.strip().lower() == "true"

    def with_variable(self, variable: str, label: str) -> Target:
        """The same function with one variable (`K=V`) more, which tells it from the others."""
        name, _, value = variable.partition("=")
        other = replace(self, label=label, env={**self.env, name: value}, switch=variable)
        return replace(other, mode="off") if other.switched_off else other


def target(
    text: str,
    label: str,
    env: Mapping[str, str],
    locate: Callable[[str], Place],
    reach: Mapping[str, str] | None = None,
) -> Target:
    """The side that a text names: FOLDER/module.function, docker:IMAGE, a URL, or aws:FUNCTION.

    `locate` finds the function of a folder. Raises UsageError.
    """
    kind = kind_of(text)
    if kind != "lab":
        return Target(text=text, label=label, env=env, kind=kind, reach=reach or {})
    place = locate(text)
    return Target(text=text, code=place.code, handler=place.handler, label=label, env=env)


def sides(
    candidate: str,
    baseline: str | None,
    env: Mapping[str, str],
    locate: Callable[[str], Place],
    reach: Mapping[str, str] | None = None,
) -> tuple[Target, Target]:
    """The candidate and the baseline of a comparison. Raises UsageError.

    Without a baseline it is the candidate with tracing switched off by one variable; `K=V` names that
    variable; anything else is a target of its own. `locate` finds the function that a text names.
    """
    own = target(candidate, "candidate", env, locate, reach)
    if baseline is not None and not _VARIABLE.match(baseline):
        return own, target(baseline, "baseline", env, locate, reach)
    switch = baseline or f"{SWITCHES[0]}=true"
    name, _, value = switch.partition("=")
    if env.get(name) == value:
        raise UsageError(f"Both sides would have {switch}: remove it from --env, or choose another baseline.")
    other = own.with_variable(switch, "baseline")
    if other.switched_off:
        return replace(own, label="traced"), replace(other, label="untraced")
    return own, other


def digest_of(code: Path) -> str | None:
    """A digest of a function's files, without what Python caches and the files that measuring writes.

    None when they are too many, or unreadable.

    Equal files have equal digests, wherever they are and however old.
    """
    found = hashlib.sha256()
    try:
        if code.is_file():
            found.update(code.read_bytes())
            return found.hexdigest()
        files = [path for path in sorted(code.rglob("*")) if _counts(path, code)]
        if sum(path.stat().st_size for path in files) > _LARGEST:
            return None
        for path in files:
            inside = path.relative_to(code)
            content = path.read_bytes()
            found.update(f"{inside.as_posix()}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
            found.update(content)
    except OSError:
        return None
    return found.hexdigest()


def _counts(path: Path, folder: Path) -> bool:
    return not _MADE & set(path.relative_to(folder).parts) and path.is_file() and not _is_result(path)


def _is_result(path: Path) -> bool:
    """Whether a file is one of ours: a run writes it where it is started, often beside the code."""
    mark = _MARKS.get(path.suffix)
    if mark is None:
        return False
    with path.open("rb") as file:
        return mark in file.read(1024)


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
