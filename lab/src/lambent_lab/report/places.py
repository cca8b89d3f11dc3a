"""Which cells a file has, what they are called, and which of them have a result.

A cell is one memory size, one Python and one variant. Its name says only what differs between the cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent_lab.measure.doubts import failures_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results import Cell as Summary
    from lambent_lab.measure.results import Figure, Results


@dataclass(frozen=True, slots=True)
class Place:
    """One cell with its name. `failures` not empty: nothing in it is shown as a cost.

    where: the name without that of the variant: cells with the same one share their baseline.
    """

    number: int
    cell: Summary
    where: str
    title: str
    failures: tuple[str, ...]

    @property
    def shown(self) -> bool:
        """Whether the cell has a comparison to show."""
        return not self.failures and self.cell["pairs"] > 0

    def difference(self, key: str) -> Figure | None:
        """What the pairs differ by in one metric, where it was measured."""
        metric = self.cell["metrics"].get(key)
        return None if metric is None else metric["difference"]

    def figure(self, key: str, side: str) -> Figure | None:
        """One metric of the cell's baseline or of its variant, where it was measured."""
        metric = self.cell["metrics"].get(key)
        return None if metric is None else metric["baseline" if side == "baseline" else "candidate"]

    @property
    def variant(self) -> str:
        """The name of the side that is compared with the baseline."""
        return self.cell["variant"]


def places(results: Results) -> list[Place]:
    """Every cell of a file, in its order."""
    cells = results["summary"]
    pythons = {cell["python"] for cell in cells}
    variants = {cell["variant"] for cell in cells}
    found = []
    for number, cell in enumerate(cells):
        parts = [f"{cell['memory_mb']:,} MB"]
        if pythons != {None}:
            parts.append(f"Python {cell['python'] or 'unknown'}")
        where = ", ".join(parts)
        if len(variants) > 1:
            parts.append(label(results, cell["variant"]))
        failures = tuple(failures_of(results, cell))
        found.append(Place(number, cell, where, ", ".join(parts), failures))
    return found


def label(results: Results, side: str) -> str:
    """What a side is called; its name where the file does not say more."""
    target = results["targets"].get(side)
    return side if target is None else target["label"]


def sides(results: Results, shown: Sequence[Place]) -> list[tuple[Place, str, str]]:
    """Every side of every cell, each baseline once: (the cell, the side, its name with its place)."""
    several = len({place.where for place in shown}) > 1
    found: dict[tuple[str, str], tuple[Place, str, str]] = {}
    for place in shown:
        for side in ("baseline", place.variant):
            name = label(results, side)
            named = f"{place.where}: {name}" if several else name
            found.setdefault((place.where, side), (place, side, named))
    return list(found.values())


def variants(shown: Sequence[Place]) -> list[str]:
    """The names of the compared sides, each once, in their order."""
    return list(dict.fromkeys(place.variant for place in shown))


def sizes(shown: Sequence[Place]) -> list[int]:
    """The memory sizes, smallest first."""
    return sorted({place.cell["memory_mb"] for place in shown})


def pythons(shown: Sequence[Place]) -> list[str]:
    """The versions of Python that are known, in their order."""
    known = {place.cell["python"] for place in shown} - {None}
    return sorted((str(each) for each in known), key=version)


def version(text: str) -> tuple[tuple[int, str], ...]:
    """A version as something that sorts as people do: 3.9 before 3.11."""
    return tuple((int(part), "") if part.isdigit() else (0, part) for part in text.split("."))
