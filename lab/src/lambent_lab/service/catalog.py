"""What the service knows of a function: its versions, aliases and reserved concurrency. Pure.

Rules
- `$LATEST` changes; a published version never does. Publishing what was published last makes no new version.
- Every change gives a new revision id; a request may insist on the one it has seen.
- An alias names one version, and may send a part of its invocations to a second published one.
- A version that an alias names cannot be deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lambent_lab.service.names import LATEST, is_alias, is_number, qualified_arn
from lambent_lab.service.policy import Policy
from lambent_lab.service.problems import (
    conflict,
    function_not_found,
    invalid_parameter,
    not_found,
    stale_revision,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent_lab.function import FunctionSpec

Stamp = tuple[str, str]
"""A new revision id, and the time as AWS writes it."""


@dataclass(frozen=True, slots=True)
class Code:
    """A function's code as AWS's API describes it: the SHA-256 in base64, and bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version. `about` has what AWS's API says of a function and no environment needs to know."""

    number: str
    spec: FunctionSpec
    about: Mapping[str, Any]
    code: Code
    revision: str
    modified: str

    @property
    def arn(self) -> str:
        """The ARN with the version's number; without one it would mean $LATEST."""
        return qualified_arn(self.spec.name, self.number)

    def runs_as(self, other: Version) -> bool:
        """Tell whether both have the same code and configuration, whatever they are called."""
        same = replace(other.spec, code=self.spec.code, version=self.spec.version)
        about = dict(self.about, Description="") == dict(other.about, Description="")
        unpublished = replace(self.spec, initialization="on-demand") == replace(
            same, initialization="on-demand"
        )
        return unpublished and about and self.code == other.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for a version; `weights` has the part of invocations (0 to 1) that goes to another one."""

    name: str
    version: str
    revision: str
    description: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)

    def choose(self, draw: float) -> str:
        """Return the version that an invocation gets. `draw` is uniform in [0, 1)."""
        for version, weight in self.weights.items():
            if draw < weight:
                return version
        return self.version


@dataclass(slots=True)
class ResourcePolicy:
    """Who may invoke a function, a version or an alias: statements by their ids."""

    revision: str
    statements: dict[str, dict[str, Any]] = field(default_factory=dict)


class Record:
    """A function: `latest`, the published versions by number, and the aliases by name."""

    def __init__(self, name: str, latest: Version, stamp: Callable[[], Stamp]) -> None:
        self.name = name
        self.latest = latest
        self.published: dict[str, Version] = {}
        self.aliases: dict[str, Alias] = {}
        self.reserved: int | None = None
        self.tags: dict[str, str] = {}
        self.policies: dict[str, Policy] = {}
        """What asynchronous invocation does with events, by version or alias."""
        self.resource_policies: dict[str, ResourcePolicy] = {}
        """Who may invoke, by version or alias: only told, never asked about."""
        self._stamp = stamp
        self._numbers = 0

    # -- versions

    def version(self, qualifier: str | None, draw: float = 1.0) -> Version:
        """Return the version that a qualifier means. Raises ServiceError when there is none."""
        if qualifier is None or qualifier == LATEST:
            return self.latest
        alias = self.aliases.get(qualifier)
        found = self.published.get(qualifier if alias is None else alias.choose(draw))
        if alias is not None and alias.version == LATEST:
            return self.latest
        if found is None:
            raise function_not_found(qualified_arn(self.name, qualifier))
        return found

    def expect(self, revision: str | None) -> None:
        """Raise PreconditionFailed when $LATEST has another revision."""
        if revision is not None and revision != self.latest.revision:
            raise stale_revision()

    def change(self, **changes: Any) -> Version:
        """Change $LATEST (`spec`, `about`, `code`) and return it."""
        revision, modified = self._stamp()
        self.latest = replace(self.latest, revision=revision, modified=modified, **changes)
        return self.latest

    def unchanged(self) -> Version | None:
        """Return the version published last if $LATEST is still the same."""
        last = self.published.get(str(self._numbers))
        return last if last is not None and self.latest.runs_as(last) else None

    def next_number(self) -> str:
        """Return the number that the next version gets."""
        return str(self._numbers + 1)

    def publish(self, spec: FunctionSpec, description: str | None) -> Version:
        """Keep $LATEST as a version with the next number. `spec` is the one it runs with from now on."""
        number = self.next_number()
        about = dict(self.latest.about)
        if description is not None:
            about["Description"] = description
        revision, modified = self._stamp()
        made = replace(
            self.latest, number=number, spec=spec, about=about, revision=revision, modified=modified
        )
        self._numbers += 1
        self.published[number] = made
        return made

    def remove_version(self, qualifier: str) -> Version:
        """Forget a published version and return it."""
        if qualifier == LATEST:
            raise invalid_parameter("$LATEST version cannot be deleted without deleting the function.")
        if not is_number(qualifier):
            raise invalid_parameter("Deletion of aliases is not currently supported.")
        if qualifier not in self.published:
            raise function_not_found(qualified_arn(self.name, qualifier))
        users = [
            alias.name
            for alias in self.aliases.values()
            if qualifier == alias.version or qualifier in alias.weights
        ]
        if users:
            raise conflict(
                f"Version {qualifier} of {self.name} is in use by the alias {', '.join(sorted(users))}: "
                "point the alias to another version, or delete it."
            )
        return self.published.pop(qualifier)

    def policy(self, qualifier: str | None) -> Policy:
        """Return what is set for the events of a version or alias; $LATEST's does not count for others."""
        return self.policies.get(qualifier or LATEST) or Policy()

    # -- aliases

    def alias(self, name: str) -> Alias:
        """Return an alias. Raises ServiceError when there is none."""
        found = self.aliases.get(name)
        if found is None:
            raise not_found(f"Cannot find alias arn: {qualified_arn(self.name, name)}")
        return found

    def add_alias(
        self, name: str, version: str, description: str = "", weights: Mapping[str, float] | None = None
    ) -> Alias:
        """Make an alias."""
        if not is_alias(name):
            raise invalid_parameter(f"An alias cannot be called {name!r}: use letters, digits, '-' and '_'.")
        self._check_target(version, weights or {})
        if name in self.aliases:
            raise conflict(f"Alias already exists: {qualified_arn(self.name, name)}")
        revision, _ = self._stamp()
        made = Alias(
            name=name,
            version=version,
            description=description,
            weights=dict(weights or {}),
            revision=revision,
        )
        self.aliases[name] = made
        return made

    def change_alias(
        self,
        name: str,
        *,
        version: str | None,
        description: str | None,
        weights: Mapping[str, float] | None,
        revision: str | None,
    ) -> Alias:
        """Change what is not None."""
        known = self.alias(name)
        if revision is not None and revision != known.revision:
            raise stale_revision()
        new_version = known.version if version is None else version
        new_weights = known.weights if weights is None else dict(weights)
        self._check_target(new_version, new_weights)
        fresh, _ = self._stamp()
        made = Alias(
            name=name,
            version=new_version,
            description=known.description if description is None else description,
            weights=new_weights,
            revision=fresh,
        )
        self.aliases[name] = made
        return made

    def _check_target(self, version: str, weights: Mapping[str, float]) -> None:
        if version != LATEST and version not in self.published:
            raise function_not_found(qualified_arn(self.name, version))
        if len(weights) > 1:
            raise invalid_parameter("Number of items in AdditionalVersionWeights cannot be greater than 1")
        for other, weight in weights.items():
            if version == LATEST:
                raise invalid_parameter(
                    "$LATEST is not supported for an alias pointing to more than 1 version"
                )
            if other == version:
                raise invalid_parameter(
                    f"Invalid function version {other}. "
                    f"Function version {other} is already included in routing configuration."
                )
            if other not in self.published:
                raise function_not_found(qualified_arn(self.name, other))
            if not 0 <= weight <= 1:
                raise invalid_parameter(f"The weight {weight} of version {other} must lie between 0 and 1.")
