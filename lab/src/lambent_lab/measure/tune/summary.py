"""From the samples of a tuning to figures, choices and sentences. Pure.

Rules
- A value belongs to an environment: its cold start, or the mean of what its warm invocations were billed and
  the median of what they took. Figures are medians over environments, with their exact intervals.
- Sizes tie when their intervals overlap: which of them is the better one has not been shown.
- Where there is no interval (below eight environments) nothing is shown to be better, and it says so.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from lambent_lab.measure.records import broken
from lambent_lab.measure.remarks import Remarks, target_info
from lambent_lab.measure.results import no_sections
from lambent_lab.measure.summary import count, figure
from lambent_lab.measure.tune.prices import ARCHITECTURES
from lambent_lab.measure.tune.words import conclude

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambent_lab.measure.results import Doubt, Figure, Header, Results, Sample
    from lambent_lab.measure.results_load import TuneChoice, TuneCost, TuneSection, TuneSize
    from lambent_lab.measure.tune.running import Tune

MB_PER_VCPU = 1769

MILLION = 1_000_000

_NAMES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class _One:
    """What one environment came to; None is absent. Times in ms, a million invocations in USD."""

    cold_ms: float | None
    warm_ms: float | None
    mixed_ms: float | None
    billed_cold: float | None
    billed_warm: float | None


def summarize(tune: Tune, samples: Sequence[Sample], head: Header) -> Results:
    """The result file's content."""
    here = head["machine"]["architecture"]
    measured = tune.measured or _NAMES.get(here.lower(), here)
    sizes = [_size(tune, samples, size, measured) for size in sorted(set(tune.memory_mb))]
    _score(tune, sizes, samples)
    section: TuneSection = {
        "headline": "",
        "conclusion": [],
        "architecture": measured,
        "cold_share": tune.cold_share,
        "weight": tune.weight,
        "prices": tune.prices.info(),
        "sizes": sizes,
        "choices": {name: _choices(name, sizes) for name in _priced(tune)},
    }
    section["headline"], section["conclusion"] = conclude(section)
    sections = no_sections()
    sections["settings"] = {
        **sections["settings"],
        "memory_mb": [size["memory_mb"] for size in sizes],
        "pairs": tune.rounds,
        "warm_per_sample": tune.warm,
        "timeout_s": tune.timeout_s,
        "event": tune.event_name,
    }
    content = {
        **head,
        **sections,
        "seed": tune.seed,
        "targets": {"candidate": target_info(tune.target)},
        "counts": count(samples),
        "samples": list(samples),
        "warnings": _doubts(tune, samples, sizes, head),
        "tune": section,
    }
    return cast("Results", content)


def _priced(tune: Tune) -> list[str]:
    return [name for name in ARCHITECTURES if name in tune.architectures and name in tune.prices.gb_second]


def _of(samples: Sequence[Sample], size: int) -> list[Sample]:
    return [each for each in samples if each["memory_mb"] == size and each["kind"] == "ab"]


def _one(sample: Sample, cold_share: float) -> _One:
    values = sample["values"]
    cold, warm = values.get("cold_ms"), values.get("warm_ms")
    billed = {
        kind: [
            i["billed_ms"]
            for i in sample["invocations"]
            if i["counted_as"] == kind and i["billed_ms"] is not None and (kind == "warm" or i["index"] == 0)
        ]
        for kind in ("cold", "warm")
    }
    billed_cold = float(billed["cold"][0]) if billed["cold"] and cold is not None else None
    billed_warm = statistics.fmean(billed["warm"]) if billed["warm"] and warm is not None else None
    return _One(cold, warm, _mix(cold, warm, cold_share), billed_cold, billed_warm)


def _mix(cold: float | None, warm: float | None, cold_share: float) -> float | None:
    """The mean over cold and warm; a share of 0 or 1 needs only one of them."""
    if cold is None and cold_share > 0:
        return None
    if warm is None and cold_share < 1:
        return None
    return cold_share * (cold or 0.0) + (1 - cold_share) * (warm or 0.0)


def _figure(values: Sequence[float | None]) -> Figure | None:
    return figure([value for value in values if value is not None])


def _size(tune: Tune, samples: Sequence[Sample], memory_mb: int, measured: str) -> TuneSize:
    mine = _of(samples, memory_mb)
    invocations = [i for sample in mine for i in sample["invocations"]]
    ones = [_one(sample, tune.cold_share) for sample in mine]
    return {
        "memory_mb": memory_mb,
        "vcpus": memory_mb / MB_PER_VCPU,
        "environments": len(mine),
        "invocations": len(invocations),
        "failed": sum(1 for i in invocations if i["counted_as"] == "failed"),
        "cold_ms": _figure([one.cold_ms for one in ones]),
        "init_ms": _figure([sample["values"].get("init_ms") for sample in mine]),
        "warm_ms": _figure([one.warm_ms for one in ones]),
        "mixed_ms": _figure([one.mixed_ms for one in ones]),
        "billed_cold_ms": _figure([one.billed_cold for one in ones]),
        "billed_warm_ms": _figure([one.billed_warm for one in ones]),
        "peak_memory_mb": _figure([sample["values"].get("memory_mb") for sample in mine]),
        "cost": {name: _cost(tune, name, memory_mb, ones, measured) for name in _priced(tune)},
        "score": {},
    }


def _cost(tune: Tune, architecture: str, memory_mb: int, ones: Sequence[_One], measured: str) -> TuneCost:
    def of(billed: float | None) -> float | None:
        return None if billed is None else MILLION * tune.prices.cost(architecture, memory_mb, billed)

    return {
        "assumed": architecture != measured,
        "warm": _figure([of(one.billed_warm) for one in ones]),
        "cold": _figure([of(one.billed_cold) for one in ones]),
        "mixed": _figure([_mix(of(one.billed_cold), of(one.billed_warm), tune.cold_share) for one in ones]),
    }


def usable(size: TuneSize) -> bool:
    """Whether a size can be chosen: nothing failed there, and there is a time."""
    return size["failed"] == 0 and size["mixed_ms"] is not None


def _score(tune: Tune, sizes: Sequence[TuneSize], samples: Sequence[Sample]) -> None:
    """Give every usable size its score, from each environment's own cost and time."""
    candidates = [size for size in sizes if usable(size)]
    for name in _priced(tune):
        costs = [cost["median"] for size in candidates if (cost := size["cost"][name]["mixed"]) is not None]
        times = [time["median"] for size in candidates if (time := size["mixed_ms"]) is not None]
        if not costs or not times:
            continue
        dearest, slowest = max(costs), max(times)
        for size in candidates:
            scores: list[float] = []
            for sample in _of(samples, size["memory_mb"]):
                one = _one(sample, tune.cold_share)
                billed = _mix(one.billed_cold, one.billed_warm, tune.cold_share)
                if billed is None or one.mixed_ms is None:
                    continue
                price = MILLION * tune.prices.cost(name, size["memory_mb"], billed)
                scores.append(tune.weight * price / dearest + (1 - tune.weight) * one.mixed_ms / slowest)
            found = figure(scores)
            if found is not None:
                size["score"][name] = found


def _choices(architecture: str, sizes: Sequence[TuneSize]) -> dict[str, TuneChoice]:
    candidates = [size for size in sizes if usable(size)]
    return {
        "cheapest": choose({s["memory_mb"]: s["cost"][architecture]["mixed"] for s in candidates}),
        "fastest": choose({s["memory_mb"]: s["mixed_ms"] for s in candidates}),
        "balanced": choose(
            {s["memory_mb"]: cast("Figure | None", s["score"].get(architecture)) for s in candidates}
        ),
    }


def choose(figures: Mapping[int, Figure | None]) -> TuneChoice:
    """The size with the least median, and those whose intervals overlap its own."""
    known = {size: found for size, found in figures.items() if found is not None}
    if not known:
        return {"memory_mb": None, "ties": [], "proven": False}
    best = min(known, key=lambda size: (known[size]["median"], size))
    ours = known[best]["interval"]
    ties: list[int] = []
    proven = ours is not None
    for size, found in sorted(known.items()):
        theirs = found["interval"]
        if size == best:
            continue
        if ours is None or theirs is None:
            proven = False
        elif theirs["low"] <= ours["high"] and ours["low"] <= theirs["high"]:
            ties.append(size)
    return {"memory_mb": best, "ties": ties, "proven": proven}


def _doubts(tune: Tune, samples: Sequence[Sample], sizes: Sequence[TuneSize], head: Header) -> list[Doubt]:
    said = Remarks(head)
    for sample in samples:
        reason = broken(sample) if sample["kind"] == "preflight" else None
        if reason is not None:
            text = f"At {sample['memory_mb']} MB the function does not work, and was not measured: {reason}."
            said.fail("failed", text, sample["memory_mb"])
    for size in sizes:
        mb = size["memory_mb"]
        reasons = [i["error"] for each in _of(samples, mb) for i in each["invocations"] if i["error"]]
        if size["failed"]:
            text = f"{size['failed']} of {size['invocations']} invocations at {mb} MB failed: {reasons[0]}."
            said.fail("failed", f"{text} The size is not chosen.", mb)
        broke = [each["error"] for each in _of(samples, mb) if each["error"]]
        if broke:
            said.fail("environment", f"{len(broke)} environments at {mb} MB broke: {broke[0]}", mb)
    cores = head["machine"]["cores_usable"]
    large = [size["memory_mb"] for size in sizes if size["vcpus"] > cores]
    if large and tune.target.kind == "lab":
        listed = ", ".join(map(str, large))
        text = (
            f"Lambda has more vCPUs at {listed} MB than this machine has ({cores}): it may be faster there."
        )
        said.warn("cores", text)
    if len(_of(samples, sizes[0]["memory_mb"] if sizes else 0)) < 8 and tune.rounds < 8:
        text = "There are no intervals: they need 8 environments a size (--cold 8)."
        said.warn("few", text)
    return said.all()
