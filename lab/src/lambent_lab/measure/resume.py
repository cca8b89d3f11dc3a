"""Going on with a benchmark that Ctrl-C has cut short: only with the same one, on the same machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError
from lambent_lab.measure import machine
from lambent_lab.measure.bench import settings, targets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lambent_lab.measure.bench import Benchmark
    from lambent_lab.measure.results import Machine, Results, TargetInfo

_WORDS = {
    "memory_mb": "the memory sizes",
    "pairs": "the number of cold starts (--cold)",
    "aa_pairs": "the number of A/A pairs (--aa)",
    "warm_per_sample": "the number of warm invocations (--warm)",
    "timeout_s": "the timeout",
    "event": "the event",
    "python": "the Python",
    "bytecode": "bytecode (--no-bytecode)",
    "otlp": "the exporter (--otlp)",
    "init_cpu": "the CPU of the init phase (--init-cpu)",
}
_MACHINE = ("cpu_model", "architecture", "cores_usable", "memory_mb", "kernel", "function_python")


def check(earlier: Results, benchmark: Benchmark, path: Path) -> None:
    """Raise UsageError when a result file is not of this benchmark, or of another machine."""
    if earlier["kind"] != "bench":
        raise UsageError(f"{path} was written by `lambent {earlier['kind']}`: it cannot be gone on with.")
    if earlier["seed"] != benchmark.seed:
        raise UsageError(
            f"{path} has the seed {earlier['seed']}, not {benchmark.seed}: leave --seed out to go on with it."
        )
    now = settings(benchmark)
    for name, words in _WORDS.items():
        before, asked = earlier["settings"].get(name), now.get(name)
        if before != asked:
            raise other(path, f"{words}: {said(before)} there, {said(asked)} now")
    same_targets(earlier, targets(benchmark), path)
    facts = machine.describe(next(iter(benchmark.interpreters.values())))
    if benchmark.pythons:
        facts["function_python"] = ", ".join(benchmark.pythons)
    same_machine(earlier, facts, path)


def same_machine(earlier: Results, facts: Machine, path: Path) -> None:
    """Raise UsageError when a result file is of another machine than this one."""
    for fact in _MACHINE:
        if earlier["machine"][fact] != facts[fact]:  # type: ignore[literal-required]  # names of Machine
            there, here = earlier["machine"][fact], facts[fact]  # type: ignore[literal-required]  # as above
            raise UsageError(
                f"{path} was measured on another machine ({fact}: {there} there, {here} here): "
                "figures of two machines are not compared. Begin anew without --resume."
            )


def same_targets(earlier: Results, now: Mapping[str, TargetInfo], path: Path) -> None:
    """Raise UsageError when a result file is of other functions than these."""
    if list(earlier["targets"]) != list(now):
        there, here = ", ".join(earlier["targets"]), ", ".join(now)
        raise other(path, f"what is compared: {there} there, {here} now")
    for side, info in now.items():
        before = earlier["targets"][side]
        for name, words in (("target", "target"), ("env", "variables"), ("handler", "handler")):
            if before[name] != info[name]:  # type: ignore[literal-required]  # names of TargetInfo
                was, is_ = before[name], info[name]  # type: ignore[literal-required]  # as above
                raise other(path, f"the {words} of {info['label']}: {said(was)} there, {said(is_)} now")
        known = before.get("digest") is not None and info.get("digest") is not None
        if known and before.get("digest") != info.get("digest"):
            raise other(path, f"the code of {info['target']}, which has been changed since")


def other(path: Path, what: str) -> UsageError:
    """The error about a file that is of something else."""
    return UsageError(
        f"{path} is of another configuration and cannot be gone on with. It differs in {what}. "
        "Begin anew without --resume, or give the options it was begun with."
    )


def said(value: object) -> str:
    """A setting as users write it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return " ".join(f"{name}={text}" for name, text in value.items()) or "none"
    return "none" if value is None else str(value)
