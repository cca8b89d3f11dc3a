"""What many load generators have seen, added up: the part of a load test with Locust that needs no Locust.

Rules
- A generator keeps histograms and counts, of constant size but for a record each second; it sends what is new
  (`take`), and the master adds it up (`absorb`). Times are seconds since that generator's own beginning.
- The interval for correcting coordinated omission is the median time between two invocations of one user.
- Operations that begin during the ramp-up are kept apart.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from lambent_lab.measure.load.figures import MOST_SLICES
from lambent_lab.measure.load.latency import Latencies, share
from lambent_lab.measure.load.loops import MAX_ERRORS, OTHER_ERRORS, THROTTLED
from lambent_lab.measure.summary import figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lambent_lab.measure.load.loops import Outcome
    from lambent_lab.measure.results import Figure
    from lambent_lab.measure.results_load import ErrorCount, LoadConfig, LoadPart, LoadSection, LoadSlice

_PARTS = ("ramp_up", "steady")
_KINDS = ("ok", "cold", "failed", "throttled", "gaps")
_OK, _FAILED, _THROTTLED, _COLD, _MAX, _USERS = range(6)


def _bags() -> dict[str, dict[str, Latencies]]:
    return {part: {kind: Latencies() for kind in _KINDS} for part in _PARTS}


class Collected:
    """What one generator has seen since it last told, or all of them together."""

    def __init__(self, ramp_up_s: float = 0.0) -> None:
        self.ramp_up_s = ramp_up_s
        self.elapsed_s = 0.0
        self.says_cold = False
        self.bags = _bags()
        self.seconds: dict[int, list[float]] = {}
        self.errors: Counter[tuple[str, str]] = Counter()

    def add(self, started_s: float, ended_s: float, since_last_s: float | None, outcome: Outcome) -> None:
        """Take one invocation; `since_last_s` is from its user's last beginning to this one's."""
        bag = self.bags["ramp_up" if started_s < self.ramp_up_s else "steady"]
        took = ended_s - started_s
        second = self._second(ended_s)
        self.elapsed_s = max(self.elapsed_s, ended_s)
        self.says_cold = self.says_cold or outcome.cold is not None
        if since_last_s is not None:
            bag["gaps"].record(since_last_s)
        if outcome.kind == "ok":
            bag["ok"].record(took)
            second[_OK] += 1
            second[_MAX] = max(second[_MAX], took)
            if outcome.cold:
                bag["cold"].record(took)
                second[_COLD] += 1
        else:
            bag[outcome.kind].record(took)
            second[_THROTTLED if outcome.code == THROTTLED else _FAILED] += 1
        if outcome.error is not None:
            self._error(outcome.error[:300], outcome.kind, 1)

    def came(self, at_s: float, users: int = 1) -> None:
        """So many users came (or went, when it is negative)."""
        self._second(at_s)[_USERS] += users

    def _second(self, at_s: float) -> list[float]:
        return self.seconds.setdefault(int(at_s), [0.0] * 6)

    def _error(self, text: str, kind: str, count: int) -> None:
        known = (text, kind) in self.errors or len(self.errors) < MAX_ERRORS
        self.errors[text if known else OTHER_ERRORS, kind] += count

    def take(self) -> dict[str, Any]:
        """What is new, in plain values; it is forgotten here."""
        taken = {
            "elapsed_s": self.elapsed_s,
            "says_cold": self.says_cold,
            "bags": {
                part: {kind: bag.state() for kind, bag in kinds.items() if bag.measured}
                for part, kinds in self.bags.items()
            },
            "seconds": [[second, *values] for second, values in self.seconds.items()],
            "errors": [[text, kind, count] for (text, kind), count in self.errors.items()],
        }
        self.bags, self.seconds, self.errors = _bags(), {}, Counter()
        return taken

    def absorb(self, taken: Mapping[str, Any]) -> None:
        """Add what another one has taken."""
        self.elapsed_s = max(self.elapsed_s, taken["elapsed_s"])
        self.says_cold = self.says_cold or taken["says_cold"]
        for part, kinds in taken["bags"].items():
            for kind, state in kinds.items():
                self.bags[part][kind].absorb(state)
        for second, *values in taken["seconds"]:
            own = self._second(second)
            for i, value in enumerate(values):
                own[i] = max(own[i], value) if i == _MAX else own[i] + value
        for text, kind, count in taken["errors"]:
            self._error(text, kind, count)


def section_of(collected: Collected, config: LoadConfig) -> LoadSection:
    """The load section, but for its sentences."""
    ramp, end = collected.ramp_up_s, collected.elapsed_s
    return {
        "headline": "",
        "conclusion": [],
        "config": config,
        "elapsed_s": end,
        "all": _part(collected, _PARTS, 0.0, end),
        "ramp_up": _part(collected, ["ramp_up"], 0.0, min(ramp, end)) if ramp > 0 else None,
        "steady": _part(collected, ["steady"], ramp, end) if end > ramp else None,
        "series": _series(collected),
        "errors": _errors(collected),
        "unstarted": 0,
        "spans": None,
        "raw": {
            "kept": 0,
            "of": _total(collected),
            "user": [],
            "intended_ms": [],
            "started_ms": [],
            "ended_ms": [],
            "outcome": [],
        },
    }


def _total(collected: Collected) -> int:
    return sum(
        kinds[kind].measured for kinds in collected.bags.values() for kind in ("ok", "failed", "throttled")
    )


def _part(collected: Collected, names: Iterable[str], from_s: float, to_s: float) -> LoadPart:
    bags = {kind: Latencies() for kind in _KINDS}
    for name in names:
        for kind, bag in collected.bags[name].items():
            bags[kind].merge(bag)
    succeeded, failed, throttled = (bags[kind].measured for kind in ("ok", "failed", "throttled"))
    attempted = succeeded + failed + throttled
    interval = bags["gaps"].percentile(50)
    return {
        "from_s": from_s,
        "to_s": to_s,
        "attempted": attempted,
        "succeeded": succeeded,
        "failed": failed,
        "throttled": throttled,
        "cold": bags["cold"].measured if collected.says_cold else None,
        "per_second": succeeded / (to_s - from_s) if to_s > from_s else None,
        "throughput": _throughput(collected, from_s, to_s),
        "p50": None,
        "p95": None,
        "error_rate": share(failed, attempted),
        "throttle_rate": share(throttled, attempted),
        "latency": bags["ok"].corrected(None if interval is None else interval / 1000).describe(),
        "service": bags["ok"].describe(),
        "cold_latency": bags["cold"].describe(),
        "failed_latency": bags["failed"].describe(),
        "throttled_latency": bags["throttled"].describe(),
    }


def _throughput(collected: Collected, from_s: float, to_s: float) -> Figure | None:
    """Successes a second: the median over its whole seconds, or over 30 stretches of them."""
    first, end = -int(-from_s // 1), int(to_s)
    counts = [collected.seconds.get(second, [0.0])[_OK] for second in range(first, end)]
    if len(counts) > 30:
        each = len(counts) // 30
        counts = [sum(counts[i * each : (i + 1) * each]) / each for i in range(30)]
    return figure(counts)


def _series(collected: Collected) -> list[LoadSlice]:
    last = max(collected.seconds, default=-1)
    width = -(-(last + 1) // MOST_SLICES) or 1
    found: list[LoadSlice] = []
    users = 0.0
    for first in range(0, last + 1, width):
        records = [collected.seconds[s] for s in range(first, first + width) if s in collected.seconds]
        totals = [sum(record[i] for record in records) for i in range(6)]
        users += totals[_USERS]
        found.append(
            {
                "from_s": float(first),
                "to_s": min(float(first + width), max(collected.elapsed_s, first + 0.001)),
                "succeeded": int(totals[_OK]),
                "failed": int(totals[_FAILED]),
                "throttled": int(totals[_THROTTLED]),
                "cold": int(totals[_COLD]) if collected.says_cold else None,
                "users": int(users),
                "p50_ms": None,
                "max_ms": max(record[_MAX] for record in records) * 1000 if totals[_OK] else None,
            }
        )
    return found


def _errors(collected: Collected, most: int = 10) -> list[ErrorCount]:
    return [
        {"error": text, "count": count, "kind": "throttled" if kind == "throttled" else "failed"}
        for (text, kind), count in collected.errors.most_common(most)
    ]
