"""Going on with a benchmark that Ctrl-C has cut short: only with the same one, on the same machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError
from lambent_lab.measure import machine
from lambent_lab.measure.bench import settings, targets

if TYPE_CHECKING:
    from pathlib import Path

    from lambent_lab.measure.bench import Benchmark
    from lambent_lab.measure.results import Results

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
            raise _other(path, f"{words}: {_said(before)} there, {_said(asked)} now")
    _same_targets(earlier, benchmark, path)
    facts = machine.describe(next(iter(benchmark.interpreters.values())))
    if benchmark.pythons:
        facts["function_python"] = ", ".join(benchmark.pythons)
    for fact in _MACHINE:
        if earlier["machine"][fact] != facts[fact]:  # type: ignore[literal-required]  # names of Machine
            there, here = earlier["machine"][fact], facts[fact]  # type: ignore[literal-required]  # as above
            raise UsageError(
                f"{path} was measured on another machine ({fact}: {there} there, {here} here): "
                "figures of two machines are not compared. Begin anew without --resume."
            )


def _same_targets(earlier: Results, benchmark: Benchmark, path: Path) -> None:
    now = targets(benchmark)
    if list(earlier["targets"]) != list(now):
        there, here = ", ".join(earlier["targets"]), ", ".join(now)
        raise _other(path, f"what is compared: {there} there, {here} now")
    for side, info in now.items():
        before = earlier["targets"][side]
        for name, words in (("target", "target"), ("env", "variables"), ("handler", "handler")):
            if before[name] != info[name]:  # type: ignore[literal-required]  # names of TargetInfo
                was, is_ = before[name], info[name]  # type: ignore[literal-required]  # as above
                raise _other(path, f"the {words} of {info['label']}: {_said(was)} there, {_said(is_)} now")
        known = before.get("digest") is not None and info.get("digest") is not None
        if known and before.get("digest") != info.get("digest"):
            raise _other(path, f"the code of {info['target']}, which has been changed since")


def _other(path: Path, what: str) -> UsageError:
    return UsageError(
        f"{path} is of another configuration and cannot be gone on with. It differs in {what}. "
        "Begin anew without --resume, or give the options it was begun with."
    )


def _said(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return " ".join(f"{name}={text}" for name, text in value.items()) or "none"
    return "none" if value is None else str(value)
