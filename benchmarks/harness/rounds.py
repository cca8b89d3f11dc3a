"""The run: rounds of fresh processes, every tool once in each, in random order, raw values kept."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from benchmarks.harness import processes
from benchmarks.harness.runtime_api import FunctionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.harness.collector import Collector
    from benchmarks.harness.peers_file import Peer
    from benchmarks.harness.plan import Plan, Probe
    from benchmarks.harness.share import CpuShare
    from benchmarks.harness.venvs import Installed

CHILDREN = ("bench.load", "bench.query", "bench.parse", "bench.price", "bench.tax")
BATCH = ("bench.root", "bench.span")
GIVE_UP_AFTER = 2  # failures in a row of one tool in one probe


class Rounds:
    """Runs a plan. `samples` grows as it goes, so an interrupted run keeps what it has."""

    def __init__(
        self,
        plan: Plan,
        installed: dict[str, Installed],
        bundles: dict[str, Path],
        collector: Collector,
        share: CpuShare | None,
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._installed = installed
        self._bundles = bundles
        self._collector = collector
        self._share = share
        self._say = say
        self._random = random.Random(plan.seed)
        self._failures: Counter[tuple[str, str]] = Counter()
        self._took: dict[tuple[str, str], float] = {}
        self.samples: list[dict[str, Any]] = []

    def run(self) -> None:
        """All rounds."""
        for number in range(self._plan.rounds):
            probes = [p for p in self._plan.probes if p.rounds is None or number < p.rounds]
            self._random.shuffle(probes)
            for probe in probes:
                names = [name for name in self._plan.peers if self._takes_part(name, probe)]
                self._random.shuffle(names)
                for name in names:
                    done = f"round {number + 1}/{self._plan.rounds}"
                    self._say(f"{done} · {probe.name} · {name} · {self._left(number)}")
                    self._one(number, probe, name)

    def warm_up(self) -> None:
        """One uncounted process of each tool: the file cache is warm, and a tool that cannot run is known."""
        probe = next(
            (p for p in self._plan.probes if p.host == "lambda" and not p.share), self._plan.probes[0]
        )
        for name in self._plan.peers:
            if self._takes_part(name, probe):
                self._say(f"warming up · {name}")
                try:
                    processes.run(probe, self._installed[name], self._bundles[name], self._collector, None)
                except FunctionFailedError as failure:
                    self._say(f"{name} fails: {failure}")
        self._collector.take()

    def _takes_part(self, name: str, probe: Probe) -> bool:
        if name not in self._installed or (probe.only and name not in probe.only):
            return False
        if probe.share and self._share is None:
            return False
        if self._failures[probe.name, name] >= GIVE_UP_AFTER:
            return False
        peer = self._installed[name].peer
        wanted = [measure.name for measure in self._plan.measures if measure.probe == probe.name]
        return not wanted or any(measure not in peer.without for measure in wanted)

    def _one(self, number: int, probe: Probe, name: str) -> None:
        installed = self._installed[name]
        sample: dict[str, Any] = {
            "round": number,
            "order": len(self.samples),
            "probe": probe.name,
            "peer": name,
            "load": round(os.getloadavg()[0], 2),
        }
        begin = time.monotonic()
        self._collector.take()  # nothing of an earlier process may be counted here
        try:
            outcome = processes.run(
                probe,
                installed,
                self._bundles[name],
                self._collector,
                self._share if probe.share else None,
            )
        except FunctionFailedError as failure:
            self._failures[probe.name, name] += 1
            sample |= {"valid": False, "reason": str(failure)}
        else:
            self._failures[probe.name, name] = 0
            arrived = self._collector.take()
            sample |= {"outcome": outcome, "arrived": arrived}
            sample |= verdict(probe, installed.peer, outcome, arrived)
        self._took[probe.name, name] = time.monotonic() - begin
        self.samples.append(sample)

    def _left(self, number: int) -> str:
        """The time that remains, from what each process took in the last round; a guess before."""
        rounds = self._plan.rounds
        done = Counter((s["probe"], s["peer"]) for s in self.samples)
        seconds = 0.0
        for probe in self._plan.probes:
            wanted = min(rounds, probe.rounds or rounds)
            for name in self._plan.peers:
                if self._takes_part(name, probe):
                    each = self._took.get((probe.name, name), probe.seconds)
                    seconds += each * max(0, wanted - done[probe.name, name])
        about = "about " if number else "roughly "
        return f"{about}{seconds / 60:.0f} min left" if seconds >= 90 else f"{about}{seconds:.0f} s left"


def verdict(probe: Probe, peer: Peer, outcome: dict[str, Any], arrived: dict[str, Any]) -> dict[str, Any]:
    """Whether the sample counts: the spans that it paid for arrived, no .pyc was read unasked."""
    if not probe.bytecode and outcome.get("bytecode", {}).get("with_pyc", 0):
        found = outcome["bytecode"]
        return {"valid": False, "reason": f"{found['with_pyc']} modules had .pyc files: {found['first']}"}
    if not peer.records:
        return {"valid": True}
    if probe.host == "record" and not outcome["recording"]:
        return {"valid": False, "reason": "its spans did not record their attributes"}
    if not probe.expects:
        return {"valid": True}
    names: tuple[str, ...] = CHILDREN
    if probe.expects == "children":
        made = outcome["invocations"] * len(CHILDREN)
    else:
        names, made = BATCH, outcome["spans_made"]
    seen = Counter(arrived["spans"]) + Counter(outcome.get("stdout_spans", {}))
    came = sum(seen[name] for name in names)
    counts = {"spans_made": made, "spans_arrived": came}
    if came == made:
        return {"valid": True, **counts}
    return {"valid": False, "reason": f"{came} of {made} spans arrived", **counts}
