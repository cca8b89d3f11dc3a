"""What files of another kind than a benchmark say beside what one says: load tests, soaks, tunings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.report import load, soak, tune, words

if TYPE_CHECKING:
    from lambent_lab.measure.results import Results
    from lambent_lab.report.document import Section, State, Tile


def headline(results: Results) -> str | None:
    """The verdict in one sentence, as the file has it."""
    found = load.section_of(results) or soak.section_of(results) or tune.section_of(results)
    return None if found is None else words.capital(found["headline"])


def state(results: Results) -> State:
    """What a finished file comes to: a soak's verdict is about its memory, others only measure."""
    found = soak.section_of(results)
    return "measured" if found is None else soak.state(found)


def tiles(results: Results) -> tuple[Tile, ...]:
    """The figures in large."""
    loaded, soaked, tuned = load.section_of(results), soak.section_of(results), tune.section_of(results)
    if loaded is not None:
        return load.tiles(loaded)
    if soaked is not None:
        return soak.tiles(soaked)
    return () if tuned is None else tune.tiles(tuned)


def sections(results: Results) -> list[Section]:
    """The sections of every kind that the file has."""
    loaded, soaked, tuned = load.section_of(results), soak.section_of(results), tune.section_of(results)
    return [
        *([] if loaded is None else load.sections(loaded)),
        *([] if soaked is None else soak.sections(soaked)),
        *([] if tuned is None else tune.sections(tuned)),
    ]
