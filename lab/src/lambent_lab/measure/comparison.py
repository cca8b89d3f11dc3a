"""Several result files beside each other: what changed from the first to the others. Pure.

History, never a gate: runs of different days are not pairs, so a change between them has no interval and no
verdict. Of another machine even the change is left out, because it would be the machines' difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, cast

from lambent_lab.measure.doubts import failures_of
from lambent_lab.measure.gate.counts import from_samples, modules
from lambent_lab.measure.gate.history import differences
from lambent_lab.measure.results import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lambent_lab.measure.results import Figure, Results

FORMAT = "lambent.comparison/1"
NOTABLE = 0.2
"""A change beyond this share is pointed out, on the same machine."""

_SOAKED = {
    "rss_mb": "resident memory",
    "high_water_mb": "high-water mark",
    "cpu_ms": "CPU of an invocation",
    "duration_ms": "duration of an invocation",
}
_SETTINGS = ("memory_mb", "warm_per_sample", "timeout_s", "event", "python", "bytecode", "otlp", "init_cpu")
_TARGET = ("target", "handler", "env", "switch", "kind", "python", "mode", "digest")


class FileInfo(TypedDict):
    """One of the files. other_machine: what tells its machine from the first file's, empty when nothing does.

    said: its verdict or headline, empty where its kind has none; changed: what else was different, apart from
    the numbers, as `what: before → after`.
    """

    name: str
    kind: str
    started: str
    other_machine: list[str]
    said: str
    changed: list[str]


class Compared(TypedDict):
    """One quantity of one side of a cell, over the files.

    values: its figure in each file, null where it has none; changes: value / first value - 1, null where one
    is missing or was measured on another machine; notable: whether a change is beyond `NOTABLE`.
    """

    side: str
    memory_mb: int | None
    python: str | None
    name: str
    unit: str
    values: list[Figure | None]
    changes: list[float | None]
    notable: bool


class Comparison(TypedDict):
    """All of it; what `lambent compare --json` writes."""

    schema: str
    files: list[FileInfo]
    rows: list[Compared]


def compare(files: Sequence[tuple[str, Results]]) -> Comparison:
    """Put files beside each other, the first being what the others are compared with."""
    first = files[0][1]
    infos: list[FileInfo] = [
        {
            "name": name,
            "kind": results["kind"],
            "started": results["started"],
            "other_machine": differences(first["machine"], results["machine"]),
            "said": _said(results),
            "changed": [] if results is first else _changed(first, results),
        }
        for name, results in files
    ]
    alike = [not info["other_machine"] for info in infos]
    everything = [dict(_values(results)) for _, results in files]
    keys = list(dict.fromkeys(key for values in everything for key in values))
    keys.sort(key=_place)
    return {
        "schema": FORMAT,
        "files": infos,
        "rows": [_row(key, [values.get(key) for values in everything], alike) for key in keys],
    }


_Key = tuple[str, int | None, str | None, str, str]


def _place(key: _Key) -> tuple[int, int, str]:
    """Cells in order of their size; what belongs to no cell at the end. Sorting keeps the order within."""
    return (0 if key[1] is not None else 1, key[1] or 0, key[2] or "")


def _values(results: Results) -> Iterator[tuple[_Key, Figure]]:
    shown: set[tuple[int, str | None]] = set()
    for cell in results["summary"]:
        place = (cell["memory_mb"], cell["python"])
        if failures_of(results, cell):
            continue  # what fails has no speed
        for name in METRICS:
            metric = cell["metrics"].get(name)
            if metric is None:
                continue
            baseline, candidate = metric["baseline"], metric["candidate"]
            if baseline is not None and place not in shown:
                yield ("baseline", *place, name, metric["unit"]), baseline
            if candidate is not None:
                yield (cell["variant"], *place, name, metric["unit"]), candidate
        shown.add(place)
    yield from _loaded(results)
    yield from _soaked(results)
    yield from _tuned(results)
    for side in results["targets"]:
        judged: Any = results.get("gate") or {}
        counts = {**judged.get("counts", {}).get(side, {}), **from_samples(results["samples"], side)}
        tree = results["imports"].get(side)
        if tree is not None:
            counts["modules"] = modules(tree)
        mine = [sample for sample in results["samples"] if sample["side"] == side]
        if mine:
            kinds = [each["counted_as"] for sample in mine for each in sample["invocations"]]
            counts["failed"] = kinds.count("failed")
        for name, count in counts.items():
            yield (side, None, None, name, ""), {"n": 1, "median": count, "interval": None}


def _loaded(results: Results) -> Iterator[tuple[_Key, Figure]]:
    """What a load test came to: its steady part, or all of it when it has none."""
    load: Any = results.get("load")
    if load is None:
        return
    part = load["steady"] or load["all"]
    latency, n = part["latency"], part["latency"]["n"]
    figures = [(f"latency {name}", "ms", latency[f"{name}_ms"], n) for name in ("p50", "p95", "p99")]
    figures.append(("invocations a second", "/s", part["per_second"], part["succeeded"]))
    figures.append(("failed share", "%", part["error_rate"]["share"], part["error_rate"]["n"]))
    for name, unit, value, count in figures:
        if value is not None:
            shown = value * 100 if unit == "%" else value
            yield (
                ("candidate", load["config"]["memory_mb"], None, name, unit),
                {"n": count, "median": shown, "interval": None},
            )


def _soaked(results: Results) -> Iterator[tuple[_Key, Figure]]:
    """What the sides of a soak had and took, and how fast the memory of each grew."""
    soak: Any = results.get("soak")
    if soak is None:
        return
    for side, found in soak["sides"].items():
        place = (side, soak["memory_mb"], None)
        for name, what in _SOAKED.items():
            figure = soak["differences"][name][side]
            if figure is not None:
                yield (*place, what, soak["differences"][name]["unit"]), figure
        trend = found["trends"]["rss_mb"]
        if trend["per_1000"] is not None:
            grown = {"n": trend["blocks"], "median": trend["per_1000"] * 2**20 / 1000, "interval": None}
            yield (*place, "growth an invocation", "B"), cast("Figure", grown)


def _tuned(results: Results) -> Iterator[tuple[_Key, Figure]]:
    """What a function took and cost at each size."""
    tune: Any = results.get("tune")
    for size in [] if tune is None else tune["sizes"]:
        place = ("candidate", size["memory_mb"], None)
        for name in ("cold_ms", "warm_ms"):
            if size[name] is not None:
                yield (*place, name, "ms"), size[name]
        for architecture, cost in size["cost"].items():
            if cost["mixed"] is not None:
                yield (*place, f"cost on {architecture}", "USD"), cost["mixed"]


def _said(results: Results) -> str:
    judged: Any = results.get("gate")
    if judged is not None:
        return f"{judged['verdict']}: {judged['reason']}"
    failed = [doubt["text"] for doubt in results["warnings"] if doubt["severity"] == "failure"]
    if failed and results["kind"] == "bench":
        return failed[0]
    kind: Any = results.get(results["kind"])
    return str(kind.get("headline", "")) if isinstance(kind, dict) else ""


def _row(key: _Key, values: list[Figure | None], alike: Sequence[bool]) -> Compared:
    side, size, python, name, unit = key
    before = values[0]
    changes: list[float | None] = [
        None
        if before is None or now is None or not same or not before["median"]
        else now["median"] / before["median"] - 1
        for now, same in zip(values, alike, strict=True)
    ]
    return {
        "side": side,
        "memory_mb": size,
        "python": python,
        "name": name,
        "unit": unit,
        "values": values,
        "changes": changes,
        "notable": any(change is not None and abs(change) > NOTABLE for change in changes),
    }


def _changed(old: Results, new: Results) -> list[str]:
    found = list(_differing(old["settings"], new["settings"], _SETTINGS, ""))
    for side in dict.fromkeys((*old["targets"], *new["targets"])):
        was, now = old["targets"].get(side), new["targets"].get(side)
        if was is None or now is None:
            found.append(f"{side}: {'only here' if was is None else 'only there'}")
        else:
            found += _differing(was, now, _TARGET, f"{side} ")
    facts = ("python", "function_python")
    found += _differing(old["machine"], new["machine"], facts, "")
    if old["tool"] != new["tool"]:
        found.append(f"tool: {old['tool']} → {new['tool']}")
    boxes = [None if each["box"] is None else each["box"]["kind"] for each in (old, new)]
    if boxes[0] != boxes[1]:
        found.append(f"box: {boxes[0]} → {boxes[1]}")
    return found


def _differing(old: Any, new: Any, names: Sequence[str], what: str) -> Iterator[str]:
    for name in names:
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if name == "digest":
            if was is not None and now is not None:
                yield f"{what}files differ"
        elif name == "env":
            yield f"{what}variables: {_env(was)} → {_env(now)}"
        else:
            yield f"{what}{name.replace('_', ' ')}: {_shown(was)} → {_shown(now)}"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _env(env: dict[str, str] | None) -> str:
    return " ".join(f"{name}={value}" for name, value in (env or {}).items()) or "none"
