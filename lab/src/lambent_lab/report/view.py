"""A result file as a document: what it is about, the verdict, and the sections of its kind.

Nothing is computed here: every number is one of the result file, only rounded. A cell in which something
failed shows counts and the reason, and no cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.report import bench, gate, kinds, verdict, words
from lambent_lab.report.document import Document
from lambent_lab.report.facts import facts
from lambent_lab.report.places import label, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results import Results
    from lambent_lab.measure.results_gate import GateSection
    from lambent_lab.report.document import Section, State
    from lambent_lab.report.places import Place


def page(results: Results) -> Document:
    """All the words of a report."""
    found = places(results)
    shown = [place for place in found if place.shown]
    reasons = [doubt["text"] for doubt in results["warnings"] if doubt["severity"] == "failure"]
    if results["error"]:
        reasons.insert(0, results["error"])
    state: State = "interrupted" if results["interrupted"] else kinds.state(results)
    if reasons:
        state = "failed"
    box = results["box"]
    judged = gate.section_of(results)
    if judged is not None:
        return _gate(results, judged, found)
    return Document(
        kind=results["kind"],
        title=_title(results),
        subtitle=_subtitle(results),
        state=state,
        verdict=_verdict(results, state, shown),
        reasons=tuple(reasons),
        warnings=tuple(
            dict.fromkeys(
                doubt["text"]
                for doubt in results["warnings"]
                if doubt["severity"] == "warning" and doubt["code"] != "box"
            )
        ),
        tiles=kinds.tiles(results) or bench.tiles(shown),
        sections=(*kinds.sections(results), *_measured(results, found)),
        facts=facts(results),
        cannot=() if box is None else tuple(box["cannot"]),
    )


def _measured(results: Results, found: Sequence[Place]) -> list[Section]:
    """The sections of a benchmark, where there is one."""
    return bench.sections(results, found) if results["samples"] or results["summary"] else []


def _gate(results: Results, judged: GateSection, found: Sequence[Place]) -> Document:
    """A gate's verdict, with the measurement it rests on below it."""
    box = results["box"]
    doubts = [f"Interrupted after {results['counts']['pairs']:,} pairs."] if results["interrupted"] else []
    told = {"load", "unreadable", "cold-again"}
    doubts += [each["text"] for each in results["warnings"] if each["code"] in told]
    return Document(
        kind=results["kind"],
        title=_title(results),
        subtitle=_subtitle(results),
        state=gate.state(results, judged),
        verdict=gate.sentence(judged),
        reasons=gate.reasons(judged),
        warnings=(*gate.warnings(judged), *doubts),
        sections=(gate.section(results, judged), *bench.sections(results, found)),
        facts=facts(results),
        cannot=() if box is None else tuple(box["cannot"]),
    )


def _title(results: Results) -> str:
    targets = results["targets"]
    named = targets.get("candidate") or next(
        (target for name, target in targets.items() if name != "baseline"), targets.get("baseline")
    )
    return results["kind"] if named is None else named["target"]


def _subtitle(results: Results) -> str:
    """Who is compared with whom, and what tells them apart."""
    baseline = results["targets"].get("baseline")
    others = [name for name in results["targets"] if name != "baseline"]
    if baseline is None or not others:
        return ""
    said = f"{words.listed([label(results, name) for name in others])} against {baseline['label']}"
    if baseline["switch"] is not None:
        return f"{said} (the same bundle with {baseline['switch']})"
    first = results["targets"][others[0]]
    return f"{said} ({baseline['target']})" if baseline["target"] != first["target"] else said


def _verdict(results: Results, state: State, shown: Sequence[Place]) -> str:
    told = kinds.headline(results)
    if told is not None:
        return f"Interrupted. {told}" if results["interrupted"] else told
    if state == "failed":
        return "Not a result: something failed, and what follows says what."
    done = "compared" if results["samples"] else "measured"
    text = verdict.sentence(results, shown) or f"Nothing was {done}."
    if results["interrupted"]:
        counts, settings = results["counts"], results["settings"]
        others = len(results["targets"].keys() - {"baseline"})
        cells = len(settings["memory_mb"]) * others * len((settings["python"] or "").split(","))
        text = f"Interrupted after {counts['pairs']:,} of {settings['pairs'] * cells:,} pairs. {text}"
    return text
