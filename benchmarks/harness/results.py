"""The result file: everything measured, raw, with the machine; and the estimates drawn from it."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import stats
from benchmarks.harness.plan import SIZE

from lambent_lab.measure.results import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness.peers_file import Peer
    from benchmarks.harness.plan import Measure, Plan
    from benchmarks.harness.venvs import Installed

SCHEMA = "lambent-benchmarks/1"
BASELINE = "none"
OURS = "lambent"


def machine(python: str) -> dict[str, Any]:
    """What a number means depends on this."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": python,
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def summarise(
    measures: Sequence[Measure], peers: Sequence[str], samples: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """For each measure and tool: the values, the estimate, the ratio to lambent, why samples do not count.

    Marginal values and ratios are taken within a round, so a drifting machine moves both sides of each.
    """
    rows = []
    for measure in measures:
        by_peer: dict[str, dict[int, float]] = {peer: {} for peer in peers}
        rejected: dict[str, list[str]] = {peer: [] for peer in peers}
        for sample in samples:
            if sample["probe"] != measure.probe or sample["peer"] not in by_peer:
                continue
            if sample["valid"]:
                by_peer[sample["peer"]][sample["round"]] = measure.take(sample["outcome"])
            else:
                rejected[sample["peer"]].append(sample["reason"])
        base = by_peer.get(BASELINE, {})
        marginal = {
            peer: {
                number: value - base[number] if measure.marginal and peer != BASELINE else value
                for number, value in values.items()
                if number in base or not measure.marginal or peer == BASELINE
            }
            for peer, values in by_peer.items()
        }
        ours = marginal.get(OURS, {})
        for peer in peers:
            values = [marginal[peer][number] for number in sorted(marginal[peer])]
            ratios = [
                marginal[peer][number] / ours[number]
                for number in sorted(marginal[peer])
                if measure.marginal and peer not in (OURS, BASELINE) and ours.get(number, 0) > 0
            ]
            rows.append(
                {
                    "measure": measure.name,
                    "peer": peer,
                    "unit": measure.unit,
                    "values": values,
                    "outliers": stats.outliers(values),
                    "estimate": _plain(stats.estimate(values)),
                    "ratio": _plain(stats.estimate(ratios)),
                    "rejected": len(rejected[peer]),
                    "reason": rejected[peer][-1] if rejected[peer] else "",
                }
            )
    return rows


def _plain(estimate: stats.Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {"median": estimate.median, "n": estimate.n, "low": estimate.low, "high": estimate.high}


def document(  # everything that a reader of the file needs, named
    *,
    plan: Plan,
    installed: dict[str, Installed],
    absent: dict[str, str],
    share: dict[str, Any],
    python: str,
    samples: list[dict[str, Any]],
    interrupted: bool,
    started: float,
) -> dict[str, Any]:
    """The result file's content."""
    peers = [name for name in plan.peers if name in installed]
    rows = summarise(plan.measures, peers, samples)
    for row in rows:
        row["left_out"] = left_out(plan, installed[row["peer"]].peer, row["measure"], share)
    return {
        "schema": SCHEMA,
        "machine": machine(python),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
        "interrupted": interrupted,
        "seed": plan.seed,
        "rounds_planned": plan.rounds,
        "rounds_done": 1 + max((sample["round"] for sample in samples), default=-1),
        "cpu_share": share,
        "peers": {
            name: {
                "title": one.peer.title,
                "versions": one.versions,
                "zipped_bytes": one.zipped_bytes,
                "distributions": one.distributions,
            }
            for name, one in installed.items()
        },
        "absent": absent,
        "measures": [
            {
                "name": measure.name,
                "title": measure.title,
                "unit": measure.unit,
                "probe": measure.probe,
                "marginal": measure.marginal,
                "budget": measure.budget,
                "digits": measure.digits,
                "table": measure.table,
            }
            for measure in plan.measures
        ],
        "size": {"name": SIZE.name, "title": SIZE.title, "unit": SIZE.unit, "budget": SIZE.budget},
        "summary": rows,
        "samples": samples,
    }


def left_out(plan: Plan, peer: Peer, name: str, share: dict[str, Any]) -> str:
    """Why a tool has no part in a measure; empty when it has."""
    measure = next(measure for measure in plan.measures if measure.name == name)
    probe = next(probe for probe in plan.probes if probe.name == measure.probe)
    if probe.only and peer.name not in probe.only:
        return probe.others
    if probe.share and "unavailable" in share:
        return str(share["unavailable"])
    return peer.without.get(name, "")


def write(path: Path, content: dict[str, Any]) -> None:
    """Write atomically: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False))
