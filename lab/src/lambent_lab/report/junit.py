"""The result as JUnit XML, for what shows tests: a case for each thing that was measured or decided.

The common schema (Jenkins', which is Ant's with a root): `testsuites` holds one `testsuite`, this its
`properties` and `testcase`s. What failed has a `failure`, what there is no value for is `skipped`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree as ET

from lambent_lab.report import gate, soak
from lambent_lab.report.bench import HEADLINES
from lambent_lab.report.places import places
from lambent_lab.report.verdict import SUBJECTS, effect
from lambent_lab.report.view import page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent_lab.measure.results import Results
    from lambent_lab.measure.results_load import SoakSection
    from lambent_lab.report.places import Place

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, however it is escaped."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test case. seconds: the time it stands for; text: what it came to."""

    name: str
    outcome: Literal["passed", "failed", "error", "skipped"] = "passed"
    text: str = ""
    seconds: float = 0.0


def render(results: Results) -> str:
    """The whole file."""
    document = page(results)
    cases = list(_cases(results))
    told = any(case.outcome in {"failed", "error"} for case in cases)
    if not cases or (document.state == "failed" and not told):
        outcome: Literal["error", "passed"] = "error" if document.state == "failed" else "passed"
        cases.append(Case(results["kind"], outcome, "\n".join((document.verdict, *document.reasons))))
    kind = f"lambent {results['kind']}"
    totals = {
        "tests": str(len(cases)),
        "failures": str(sum(case.outcome == "failed" for case in cases)),
        "errors": str(sum(case.outcome == "error" for case in cases)),
        "time": f"{results['elapsed_s']:.3f}",
    }
    root = ET.Element("testsuites", {"name": kind, **totals})
    started = results["started"].partition("+")[0].removesuffix("Z")
    skipped = str(sum(case.outcome == "skipped" for case in cases))
    # What strict readers ask for as well. No file keeps the host's name: this stands for an unknown one.
    more = {"skipped": skipped, "timestamp": clean(started), "hostname": "localhost", "id": "0"}
    suite = ET.SubElement(root, "testsuite", {"name": kind, **totals, **more, "package": "lambent"})
    properties = ET.SubElement(suite, "properties")
    for name, value in document.facts:
        ET.SubElement(properties, "property", {"name": clean(name), "value": clean(value)})
    for case in cases:
        _case(suite, case, clean(f"lambent.{results['kind']}.{document.title}"))
    said = [document.verdict, *document.reasons, *document.warnings]
    ET.SubElement(suite, "system-out").text = clean("\n".join(said))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def clean(text: str) -> str:
    """Text without what XML cannot hold, which is shown as it is escaped in Python."""
    return _ILLEGAL.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


def _case(suite: ET.Element, case: Case, group: str) -> None:
    attributes = {"classname": group, "name": clean(case.name), "time": f"{case.seconds:.6f}"}
    element = ET.SubElement(suite, "testcase", attributes)
    text = clean(case.text)
    head = text.partition("\n")[0]
    if case.outcome in {"failed", "error"}:
        tag = "failure" if case.outcome == "failed" else "error"
        ET.SubElement(element, tag, {"message": head, "type": tag}).text = text
    elif case.outcome == "skipped":
        ET.SubElement(element, "skipped", {"message": head})
    elif text:
        ET.SubElement(element, "system-out").text = text


_OUTCOMES: dict[str, Literal["passed", "failed", "error", "skipped"]] = {
    "FAIL": "failed",
    "INCONCLUSIVE": "error",
}


def _cases(results: Results) -> Iterator[Case]:
    judged = gate.section_of(results)
    if judged is not None:
        for name, outcome, text in gate.cases(judged):
            yield Case(name, _OUTCOMES.get(outcome, "passed"), text)
        return
    soaked = soak.section_of(results)
    if soaked is not None:
        yield from _grown(soaked)
    for place in places(results):
        for key, name in HEADLINES.items():
            yield _measured(place, key, f"{name}, {place.title}")


def _grown(soaked: SoakSection) -> Iterator[Case]:
    """A case for the memory of each side, and one for what tracing adds to it."""
    trends = [(side["label"], side["trends"].get("rss_mb")) for side in soaked["sides"].values()]
    added = soaked["differences"].get("rss_mb")
    trends.append(("difference", None if added is None else added["trend"]))
    for name, trend in trends:
        if trend is None or trend["verdict"] in {"absent", "inconclusive"}:
            yield Case(f"memory does not grow, {name}", "skipped", "Whether it grows cannot be told.")
        else:
            grows = trend["verdict"] == "grows"
            said = f"{trend['per_1000']} {trend['unit']} in 1,000 invocations"
            yield Case(f"memory does not grow, {name}", "failed" if grows else "passed", said)


def _measured(place: Place, key: str, name: str) -> Case:
    if place.failures:
        return Case(name, "failed", "\n".join(place.failures))
    metric = place.cell["metrics"].get(key)
    if metric is None or metric["difference"] is None or metric["candidate"] is None:
        return Case(name, "skipped", "Not measured.")
    if metric["unit"] != "ms":
        return Case(name, "passed", f"{metric['difference']['median']:+.3f} {metric['unit']}")
    said = effect(metric["difference"], SUBJECTS[key])
    return Case(name, "passed", said, metric["candidate"]["median"] / 1000)
