"""What a reader of the numbers must be told: failures, missing spans, an unfit machine. Pure.

A `failure` means that what was asked for was not measured (the run exits with 1); a `warning` says why a
number may be unstable or may not mean what it seems to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lambent_lab.measure.plan import where
from lambent_lab.measure.records import broken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.measure.results import Cell, Doubt, Metric, Results, Sample, SpanCount

TOLERANCE = 0.05
"""An A/A ratio further than this from 1 makes the machine unfit for small effects (a gate's delta)."""

WIDE = 0.10
"""An interval of the ratio is called wide when it is wider than this and than half of the effect."""

_MANY = 1000
"""As many spans an invocation may be more than a queue holds, which is where to look when some are lost."""

_HEADLINE = {"cold_ms": "cold start", "warm_ms": "warm invocation"}


def doubts(results: Results) -> list[Doubt]:
    """All warnings about a run, failures first."""
    found = [
        *_errors(results["samples"]),
        *_preflight(results),
        *_problems(results["samples"]),
        *_elsewhere(results),
        *_load(results),
        *_box(results),
    ]
    for cell in results["summary"]:
        found += _Of(results, cell).doubts()
    explained = results["interrupted"] or results["error"] is not None
    if not explained and not any(cell["pairs"] for cell in results["summary"]):
        found.append(_failure("no-pairs", "No pair was measured completely: there is nothing to compare."))
    # The variants of one place share its baseline: what is said of that is said once.
    once: dict[tuple[str, str], Doubt] = {}
    for doubt in found:
        once.setdefault((doubt["code"], doubt["text"]), doubt)
    return sorted(once.values(), key=lambda warning: warning["severity"] != "failure")


def failures_of(results: Results, cell: Cell) -> list[str]:
    """What failed in a cell, in words: where something did, it has no cost and no speed to tell."""
    return [
        doubt["text"]
        for doubt in results["warnings"]
        if doubt["severity"] == "failure"
        and doubt["memory_mb"] in {None, cell["memory_mb"]}
        and doubt.get("python") in {None, cell["python"]}
        and doubt.get("variant") in {None, cell["variant"]}
    ]


def _failure(code: str, text: str) -> Doubt:
    return {"code": code, "severity": "failure", "memory_mb": None, "text": text}


def _warning(code: str, text: str) -> Doubt:
    return {"code": code, "severity": "warning", "memory_mb": None, "text": text}


def _errors(samples: Sequence[Sample]) -> list[Doubt]:
    broken = [sample for sample in samples if sample["error"] is not None]
    if not broken:
        return []
    text = f"{len(broken)} of {len(samples)} environments broke; the first: {broken[0]['error']}"
    return [_failure("environment", text)]


def _problems(samples: Sequence[Sample]) -> list[Doubt]:
    found = [each for sample in samples for i in sample["invocations"] for each in i.get("problems", [])]
    if not found:
        return []
    return [_warning("unreadable", f"Spans in the log could not be read, {len(found)} times: {found[0]}")]


def _load(results: Results) -> list[Doubt]:
    before, usable = results["load_before"], results["machine"]["cores_usable"]
    if before is None or before[0] <= usable / 2:
        return []
    text = (
        f"This result may be unstable: the load average was {before[0]:.1f} on {usable} cores before it "
        "began. Measure again on a quiet machine."
    )
    return [_warning("load", text)]


def _box(results: Results) -> list[Doubt]:
    box = results["box"]
    if box is None or not box["cannot"]:
        return []
    text = f"The box ({box['kind']}) cannot do everything on this machine: {'; '.join(box['cannot'])}."
    return [_warning("box", text)]


def _preflight(results: Results) -> list[Doubt]:
    """Sides that did not work at all in one place of the matrix, where others did."""
    found: list[Doubt] = []
    # Of several (a run that was gone on with) the last one says what could be measured.
    flights = {
        (sample["side"], sample["memory_mb"], sample["python"]): sample
        for sample in results["samples"]
        if sample["kind"] == "preflight"
    }
    for sample in flights.values():
        reason = broken(sample)
        if reason is None or results["error"] is not None:
            continue
        place = where(sample["memory_mb"], sample["python"])
        text = f"{results['targets'][sample['side']]['label']} failed {place} and was not measured there"
        doubt = _failure("preflight", f"{text}: {reason.rstrip('.')}.")
        doubt |= {"memory_mb": sample["memory_mb"], "python": sample["python"]}
        if sample["side"] != "baseline":
            doubt["variant"] = sample["side"]
        found.append(doubt)
    return found


def _elsewhere(results: Results) -> list[Doubt]:
    """What is not known of functions outside the lab."""
    found: list[Doubt] = []
    kinds = {info["kind"] for info in results["targets"].values()}
    outside = [info for info in results["targets"].values() if info["kind"] != "lab"]
    for info in {each["target"]: each for each in outside}.values():
        if info["mode"] != "off":
            text = (
                f"Whether the spans of {info['target']} arrived cannot be seen from here: it was not checked."
            )
            found.append(_warning("spans-unseen", text))
    if kinds & {"http", "docker"} and kinds - {"http", "docker"}:
        text = (
            "Not all times mean the same: at a URL and in a container they are what the caller "
            "waited, in the "
            "lab and in AWS what the platform reports."
        )
        found.append(_warning("two-clocks", text))
    if "http" in kinds:
        text = (
            "The memory of a function behind a URL is its own: the size that is shown is the one "
            "that was asked "
            "for."
        )
        found.append(_warning("memory-unset", text))
    return found


class _Of:
    """What there is to say about one cell."""

    def __init__(self, results: Results, cell: Cell) -> None:
        self._results = results
        self._cell = cell
        self._found: list[Doubt] = []
        self._candidate = results["targets"][cell["variant"]]
        self._baseline = results["targets"]["baseline"]
        self._place = where(cell["memory_mb"], cell["python"])
        several = len(results["targets"]) > 2
        self._where = f"{self._place} ({self._candidate['label']})" if several else self._place

    def doubts(self) -> list[Doubt]:
        """All of it."""
        self._invocations(self._cell["variant"], "candidate")
        self._invocations("baseline", "baseline")
        self._spans()
        self._stability()
        return self._found

    def _say(
        self, severity: Literal["failure", "warning"], code: str, text: str, *, shared: bool = False
    ) -> None:
        doubt: Doubt = {
            "code": code,
            "severity": severity,
            "memory_mb": self._cell["memory_mb"],
            "text": text,
            "python": self._cell["python"],
        }
        if not shared:
            doubt["variant"] = self._cell["variant"]
        self._found.append(doubt)

    def _invocations(self, side: str, part: Literal["candidate", "baseline"]) -> None:
        counts = self._cell[part]["invocations"]
        shared = part == "baseline"
        at = f"{self._place} ({self._results['targets'][side]['label']})"
        total = counts["cold"] + counts["warm"] + counts["failed"]
        if counts["failed"]:
            text = (
                f"{counts['failed']} of {total} invocations {at} failed: "
                f"{self._first_error(side)} They are in no figure."
            )
            self._say("failure", "failed", text, shared=shared)
        if counts["unexpectedly_cold"]:
            text = f"{counts['unexpectedly_cold']} invocations {at} were cold though a warm one was expected."
            self._say("warning", "cold-again", text, shared=shared)
        first_warm = [
            sample["id"]
            for sample in self._samples(side)
            if sample["kind"] in {"ab", "aa"}
            and sample["invocations"]
            and not sample["invocations"][0]["cold"]
        ]
        if first_warm:
            text = (
                f"{len(first_warm)} environments {at} were not new: they have no cold start, and "
                "the interval "
                "does not cover how environments differ."
            )
            self._say("warning", "not-cold", text, shared=shared)

    def _samples(self, side: str) -> list[Sample]:
        place = (self._cell["memory_mb"], self._cell["python"], side)
        return [
            sample
            for sample in self._results["samples"]
            if (sample["memory_mb"], sample["python"], sample["side"]) == place
        ]

    def _first_error(self, side: str) -> str:
        for sample in self._samples(side):
            for invocation in sample["invocations"]:
                if invocation["error"]:
                    return f"{invocation['error'].rstrip('.')}."
        return "unknown."

    def _spans(self) -> None:
        candidate, baseline = self._cell["candidate"]["spans"], self._cell["baseline"]["spans"]
        turned_off = self._baseline["mode"] == "off"
        expected = self._candidate["mode"] != "off"
        if candidate["invocations"] and expected:
            if candidate["delivered"] == 0:
                text = (
                    f"0 of {candidate['invocations']} invocations delivered a trace {self._where}: what was "
                    "measured is not tracing. Is the handler decorated, an exporter set, "
                    "OTEL_SDK_DISABLED unset?"
                )
                # Two bundles of which neither traces are compared as what they are.
                severe = turned_off or self._baseline["switch"] is not None or baseline["delivered"] > 0
                self._say("failure" if severe else "warning", "no-spans", text)
            elif not candidate["uniform"]:
                text = f"Spans differ between invocations {self._where}: {_spread(candidate)}."
                self._say("warning", "spans-vary", text)
            if 0 < candidate["without"] < candidate["invocations"]:
                text = (
                    f"{candidate['without']} of {candidate['invocations']} invocations delivered no trace "
                    f"{self._where}: they were sampled out, or their spans were lost."
                )
                self._say("warning", "spans-missing", text)
        if candidate.get("lost"):
            text = (
                f"{candidate['lost']} of {candidate.get('made')} spans that the function made were "
                "not received "
                f"{self._where}: what was measured is not all of tracing."
            )
            each = (candidate.get("made") or 0) / candidate["invocations"]
            if each >= _MANY:
                text += (
                    f" An invocation makes {each:,.0f}, perhaps more than its queue holds "
                    "(LAMBDA_SPAN_PROCESSOR_QUEUE_SIZE, LAMBENT_QUEUE_BYTES)."
                )
            self._say("failure", "spans-lost", text)
        if turned_off and baseline["delivered"]:
            text = (
                f"The baseline delivered {baseline['delivered']} spans {self._place} although "
                f"{self._baseline['switch']} was set: its tracing was not off, and the difference "
                "is not the cost "
                "of tracing."
            )
            self._say("failure", "baseline-traced", text, shared=True)

    def _stability(self) -> None:
        for name, word in _HEADLINE.items():
            metric = self._cell["metrics"][name]
            self._wide(metric, f"{word} {self._where}")
            same = metric["aa_ratio"]
            if same is not None and abs(same["median"] - 1) > TOLERANCE:
                text = (
                    "This machine is noisy: the baseline against itself differed by "
                    f"{same['median'] - 1:+.1%} "
                    f"({word} {self._place}, {same['n']} A/A pairs)."
                )
                self._say("warning", "noise", text, shared=True)

    def _wide(self, metric: Metric, about: str) -> None:
        ratio = metric["ratio"]
        if ratio is None:
            return
        if ratio["interval"] is None:
            text = (
                f"No interval for the {about}: it takes 8 pairs, there "
                f"{'is' if ratio['n'] == 1 else 'are'} {ratio['n']} (--cold 8 or more)."
            )
            self._say("warning", "few-pairs", text)
            return
        width = ratio["interval"]["high"] - ratio["interval"]["low"]
        if width > max(WIDE, abs(ratio["median"] - 1) / 2):
            text = (
                f"The interval of the {about} is wide ({width:.0%} of the baseline): more pairs (--cold) "
                "narrow it."
            )
            self._say("warning", "wide", text)


def _spread(spans: SpanCount) -> str:
    return ", ".join(f"{per} in {count}" for per, count in spans["per_invocation"].items())
