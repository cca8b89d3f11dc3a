"""The runtimes' names, as Lambda's API has them."""

from __future__ import annotations

from typing import Literal, get_args

Family = Literal["python", "nodejs", "provided"]

RUNTIMES = (
    *(f"python3.{minor}" for minor in range(11, 15)),
    *(f"nodejs{major}.x" for major in (18, 20, 22, 24)),
    *("provided", "provided.al2", "provided.al2023"),
)
"""The runtimes that the lab can run, by Lambda's names."""


def family_of(name: str) -> Family:
    """Return the family of a runtime."""
    families: tuple[Family, ...] = get_args(Family)
    for family in families:
        if name.startswith(family):
            return family
    raise ValueError(name)
