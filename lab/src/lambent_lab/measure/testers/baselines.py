"""A file of figures to compare with: `PerformanceBenchmark` of specification 001.

Rules
- A baseline of another machine is history, not a measure: its verdict is "other machine", with what differs.
- Each metric has a direction. Throughput that rises is an improvement, time that rises a regression. It is
  told by the metric's name, or given; a name that says nothing is taken for "lower is better", and said so.
- What cannot be compared (absent, no number, a baseline of 0) is listed with the reason. When nothing could
  be compared, that is the verdict: it is no pass.
- The file is replaced in one step. One that cannot be read is an error, never an empty file.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lambent_lab.errors import UsageError
from lambent_lab.measure.machine import describe
from lambent_lab.measure.results import write_text
from lambent_lab.measure.testers.plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    Direction = Literal["lower", "higher"]

IMPROVEMENT_PERCENT = 5.0
"""A metric that is better by more than this is an improvement (specification 001)."""

OTHER_MACHINE = "other machine"

_MACHINE = ("cpu_model", "architecture", "cores_usable", "memory_gb", "system", "python")
_BAD = re.compile(
    r"(^|_)(errors?|fail(ed|ures?|ing)?|drop(s|ped)?|lost|losses|leak(s|ed)?|overhead|timeouts?|retries)(_|$)"
)
_GOOD = re.compile(
    r"throughput|(^|_)per_s(ec|ecs|econd)?(_|$)|(^|_)(rps|qps|tps|ops|hits?|success(es|ful)?|succeeded|availability"
    r"|bandwidth|operations|delivered|acknowledged|accuracy|score|speedup)(_|$)"
)
_COST = re.compile(
    r"(^|_)(time|times|ms|us|ns|s|secs?|seconds|latency|duration|p\d+|avg|mean|median|min|max|std|dev|memory|rss|mb|kb"
    r"|bytes|size|cpu|cost|lag|ratio|count|spans)(_|$)"
)


def direction(metric: str) -> tuple[Direction, bool]:
    """Whether lower or higher values of this metric are better, and whether its name says so."""
    name = _words(metric)
    if _BAD.search(name):
        return "lower", True
    if _GOOD.search(name):
        return "higher", True
    return "lower", _COST.search(name) is not None


def _words(metric: str) -> str:
    """A metric's name as words_with_underscores."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", metric).lower())


class PerformanceBenchmark:
    """Baselines in a file, and what is measured compared with them.

    benchmark_file: JSON; it need not exist. version: what the baselines are recorded as (default: what git
    says of the working folder, "current" without it). directions: "lower" or "higher" is better, for metrics
    whose names do not say. Raises UsageError when the file cannot be read.
    """

    def __init__(
        self,
        benchmark_file: str | Path = "performance_baselines.json",
        *,
        version: str | None = None,
        directions: Mapping[str, Direction] | None = None,
        machine: Mapping[str, Any] | None = None,
    ) -> None:
        self.benchmark_file = Path(benchmark_file)
        self.baselines: dict[str, Any] = _load(self.benchmark_file)
        self._version = version
        self._directions = dict(directions or {})
        wrong = sorted({each for each in self._directions.values() if each not in {"lower", "higher"}})
        if wrong:
            raise UsageError(f"A direction is 'lower' or 'higher', not {wrong[0]!r}.")
        self._machine = fingerprint() if machine is None else dict(machine)

    def save_baselines(self) -> None:
        """Write the file, in one step. Raises LabError when that fails; the old file is then as it was."""
        write_text(self.benchmark_file, json.dumps(self.baselines, indent=2, allow_nan=False) + "\n")

    def record_baseline(self, test_name: str, metrics: Mapping[str, Any]) -> None:
        """Take these figures as the baseline of a test, with the time, the version and the machine."""
        self.baselines[test_name] = {
            "metrics": _figures(metrics),
            "timestamp": time.time(),
            "version": self._version or _git_version() or "current",
            "machine": self._machine,
        }

    def check_regression(
        self, test_name: str, current_metrics: Mapping[str, Any], threshold_percent: float = 20.0
    ) -> dict[str, Any]:
        """Compare figures with the baseline of a test; without one, record them.

        `status` is "baseline_recorded", "regression" (a metric is worse by more than the threshold),
        "improvement", "pass", "other machine" or "nothing compared"; `message` says it in a sentence.
        `change_percent` is the change of the value: a throughput that fell has a negative one. Every change
        is in `changes`, also where the machine is another. Raises UsageError for a threshold below 0.
        """
        if not threshold_percent >= 0:
            raise UsageError(f"threshold_percent must be at least 0, got {threshold_percent}.")
        if test_name not in self.baselines:
            self.record_baseline(test_name, current_metrics)
            return {
                "status": "baseline_recorded",
                "message": f"Baseline recorded for {test_name}",
                "machine": {"same": True, "differs": {}},
            }
        recorded = self.baselines[test_name]
        current = _figures(current_metrics)
        changes, not_compared = self._changes(recorded["metrics"], current)
        worse = [each for each in changes if each["worse_by_percent"] > threshold_percent]
        better = [each for each in changes if each["worse_by_percent"] < -IMPROVEMENT_PERCENT]
        differs = _differences(recorded.get("machine"), self._machine)
        if differs:
            status, worse, better = OTHER_MACHINE, [], []
        elif not changes:
            status = "nothing compared"
        else:
            status = "regression" if worse else "improvement" if better else "pass"
        return {
            "status": status,
            "regressions": [_documented(each) for each in worse],
            "improvements": [_documented(each) for each in better],
            "baseline": recorded["metrics"],
            "current": current,
            "message": _message(test_name, status, worse, better, differs, threshold_percent),
            "threshold_percent": threshold_percent,
            "changes": [_documented(each) for each in changes],
            "not_compared": not_compared,
            "machine": {
                "same": None if differs is None else not differs,
                "differs": {} if differs is None else differs,
            },
        }

    def _changes(
        self, baseline: Mapping[str, Any], current: Mapping[str, Any]
    ) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        """Every metric that both have, and those that cannot be compared."""
        changes: list[dict[str, Any]] = []
        refused: list[dict[str, str]] = []
        for metric in {**baseline, **current}:
            before, now = baseline.get(metric), current.get(metric)
            reason = _not_comparable(metric in baseline, metric in current, before, now)
            known = self._directions.get(metric)
            better, sure = (known, True) if known else direction(metric)
            if not reason and before == 0 and not (better == "lower" and _BAD.search(_words(metric))):
                reason = "its baseline is 0"
            if reason:
                refused.append({"metric": metric, "reason": reason})
                continue
            assert before is not None
            assert now is not None
            change: float | None = None
            if before:
                change = (now - before) / before * 100
                worse = change if better == "lower" else -change
            else:  # errors, failures, leaks: from none to some is worse by more than any percentage
                worse = math.inf if now > 0 else 0.0
            changes.append(
                {
                    "metric": metric,
                    "baseline": before,
                    "current": now,
                    "change_percent": change,
                    "direction": f"{better} is better" + ("" if sure else " (assumed)"),
                    "worse_by_percent": worse,
                }
            )
        return changes, refused


def _figures(metrics: object) -> dict[str, Any]:
    """The figures by name. Raises UsageError when they have no names: such a file could not be read again."""
    found = plain(metrics)
    if not isinstance(found, dict):
        raise UsageError(f"Metrics are a dictionary of names and numbers, not {type(metrics).__name__}.")
    return found


def fingerprint() -> dict[str, Any]:
    """What makes this machine the one that it is, for timings: its processor, memory, system and Python."""
    facts = describe()
    return {
        "cpu_model": facts["cpu_model"],
        "architecture": facts["architecture"],
        "cores_usable": facts["cores_usable"],
        "memory_gb": round(facts["memory_mb"] / 1024),
        "system": facts["system"],
        "python": ".".join(facts["python"].split(".")[:2]),
    }


def _differences(recorded: Any, here: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """What differs, as [recorded, here]; None when the baseline does not say where it was recorded."""
    if recorded is None:
        return None
    if not isinstance(recorded, dict):
        return {"machine": [recorded, dict(here)]}
    return {
        name: [recorded.get(name), here.get(name)]
        for name in _MACHINE
        if recorded.get(name) != here.get(name)
    }


def _not_comparable(was: bool, is_now: bool, before: object, now: object) -> str:
    if not is_now:
        return "it was not measured now"
    if not was:
        return "it is not in the baseline"
    for value, where in ((before, "in the baseline"), (now, "now")):
        if value is None:
            return f"it is absent {where}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"it is no number {where}"
        if value < 0:
            return f"it is below 0 {where}"
    return ""


def _documented(change: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in change.items() if name != "worse_by_percent"}


def _message(
    test_name: str,
    status: str,
    worse: list[dict[str, Any]],
    better: list[dict[str, Any]],
    differs: dict[str, list[Any]] | None,
    threshold: float,
) -> str:
    if differs:
        what = ", ".join(f"{name} {was} there, {now} here" for name, (was, now) in differs.items())
        return (
            f"{test_name}: the baseline is of another machine ({what}); record one here to compare with "
            "(other machine)"
        )
    shown = ", ".join(_shown(each) for each in worse or better)
    texts = {
        "regression": f"worse by more than {threshold:g}%: {shown}",
        "improvement": f"better: {shown}",
        "pass": f"no metric is worse by more than {threshold:g}%",
        "nothing compared": "no metric could be compared; see not_compared",
    }
    return f"{test_name}: {texts[status]}"


def _shown(change: Mapping[str, Any]) -> str:
    percent = change["change_percent"]
    by = "" if percent is None else f" ({percent:+.1f}%)"
    return f"{change['metric']} {change['baseline']:g} to {change['current']:g}{by}"


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"Could not read the baselines in {path}: {reason}.") from error
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"{path} is no file of baselines: it is not JSON ({error}). Restore it, or move it away."
        ) from error
    if not isinstance(document, dict):
        raise UsageError(f"{path} is no file of baselines: it holds no object. Restore it, or move it away.")
    for name, entry in document.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("metrics"), dict):
            raise UsageError(
                f"{path}: the baseline {name!r} has no metrics. Restore it, or remove that entry."
            )
    return document


def _git_version() -> str | None:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
