"""Where and how it was measured, as names and texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.report import words
from lambent_lab.report.words import ABSENT

if TYPE_CHECKING:
    from lambent_lab.measure.results import Results

_PARTS = ("freeze", "memory", "cpu", "kill", "tmp", "user", "network", "limits")


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """All facts that the file has, those of the machine first."""
    machine = results["machine"]
    cpu = machine["cpu_model"] or "unknown"
    found = [
        ("CPU", f"{cpu}, {machine['cores_usable']} of {machine['cores']} cores"),
        ("System", f"{machine['system']} {machine['kernel']} ({machine['architecture']})"),
        ("Memory", f"{machine['memory_mb']:,} MB"),
        ("Python of the function", machine["function_python"] or "unknown"),
        ("Load average before, after", f"{_load(results['load_before'])}; {_load(results['load_after'])}"),
    ]
    if machine["governor"]:
        found.append(("CPU governor", machine["governor"]))
    box = results["box"]
    if box is not None:
        parts = [(name, box.get(name)) for name in _PARTS]
        held = ", ".join(f"{name}: {value}" for name, value in parts if value is not None)
        found.append(("Box", f"{box['kind']}{f' ({held})' if held else ''}"))
    found += _targets(results)
    found += _run(results)
    found += [
        ("Started", results["started"]),
        ("Ended", results["ended"]),
        ("Tool", results["tool"]),
        ("Command", " ".join(results["command"]) or ABSENT),
        ("Format", results["schema"]),
    ]
    return tuple(found)


def _targets(results: Results) -> list[tuple[str, str]]:
    found = []
    for name, target in results["targets"].items():
        more = [target["kind"], f"Python {target['python']}" if target["python"] else ""]
        more += [target["mode"] or "", target["switch"] or ""]
        said = ", ".join(part for part in more if part)
        found.append(
            (f"Target {name}", f"{target['label']}: {target['target']}{f' ({said})' if said else ''}")
        )
    return found


def _run(results: Results) -> list[tuple[str, str]]:
    found = []
    counts = results["counts"]
    if results["settings"]["pairs"]:
        found.append(("Asked for", _asked(results)))
    if counts["samples"]:
        compared = ""
        if results["settings"]["pairs"] and results["kind"] != "tune":  # sizes are no pair
            pairs = words.plural(counts["pairs"], "pair")
            compared = f"{pairs} and {words.plural(counts['aa_pairs'], 'A/A pair')}, "
        found.append(
            (
                "Measured",
                f"{compared}{words.plural(counts['samples'], 'environment')}, "
                f"{words.plural(counts['invocations'], 'invocation')}, {counts['failed']:,} failed, "
                f"in {results['elapsed_s']:,.0f} s",
            )
        )
    if results["settings"]["memory_mb"]:
        found.append(("Event", results["settings"]["event"] or "{}"))
        found.append(("Seed of the order", str(results["seed"])))
    return found


def _asked(results: Results) -> str:
    settings = results["settings"]
    sizes = ", ".join(f"{size:,}" for size in settings["memory_mb"])
    bytecode = "" if settings["bytecode"] else ", without bytecode files"
    share = ", init at the share of the CPU" if settings.get("init_cpu") == "share" else ""
    if results["kind"] == "tune":
        asked = words.plural(settings["pairs"], "environment")
    else:
        pairs = words.plural(settings["pairs"], "pair")
        asked = f"{pairs} and {words.plural(settings['aa_pairs'], 'A/A pair')}"
    warm = f"{settings['warm_per_sample']} warm invocations each"
    return f"{asked} at {sizes} MB, {warm}{bytecode}{share}"


def _load(load: list[float] | None) -> str:
    return ABSENT if load is None else " ".join(f"{value:.2f}" for value in load)
