"""`lambent bench`: what tracing (or another bundle) costs, in blocks of fresh environments."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lambent_lab.commands import going_on, options
from lambent_lab.commands.axes import MemorySizes, Variants
from lambent_lab.commands.output import writable
from lambent_lab.commands.progress import BarProgress, LogProgress, progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from click.core import ParameterSource

    from lambent_lab.measure.results import Results
    from lambent_lab.measure.sampler import LabLike
    from lambent_lab.measure.target import Target
    from lambent_lab.measure.variants import Comparison

__all__ = ["BarProgress", "LogProgress", "MemorySizes", "command", "make_lab", "progress"]


def _make_lab() -> AbstractContextManager[LabLike]:
    """The real lab; tests put another one in its place."""
    from lambent_lab.service import Lab

    return Lab()


make_lab: Callable[[], AbstractContextManager[LabLike]] = _make_lab


@click.command(name="bench", short_help="Measure what tracing costs, cold and warm.")
@click.argument("target", metavar="[TARGET]", required=False)
@click.option(
    "--baseline",
    metavar="TARGET|K=V|MODE|git:REV",
    help="What to compare with: another target, or a variable, a mode or a revision of the same one "
    "(default: OTEL_SDK_DISABLED=true).",
)
@click.option(
    "--variants",
    metavar="V,…",
    type=Variants(),
    multiple=True,
    help="What to compare: off, on, sync, async, finalize, auto, K=V, git:REV, TARGET, or NAME= and one of "
    "these; may be repeated.",
)
@options.event
@click.option(
    "--memory", "memory_mb", type=MemorySizes(), default=(128,), help="Memory sizes in MB (default: 128)."
)
@options.counts
@options.timeout
@options.env
@options.pythons
@options.init_cpu
@click.option(
    "--no-bytecode", is_flag=True, help="Run without .pyc files, as a bundle made without them does."
)
@options.otlp
@click.option("--no-imports", is_flag=True, help="Do not look at what the imports of a cold start cost.")
@options.reach
@options.results
@click.option(
    "--resume",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Go on with a run that was interrupted, by its result file; without TARGET with all its options.",
)
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Measure a function traced against itself untraced, or one target against others.

    TARGET is FOLDER/module.function in the lab, docker:IMAGE, http://HOST:PORT of a runtime interface
    emulator, or aws:FUNCTION[:QUALIFIER]. All sides run in fresh environments, in blocks, in random order.
    Exit code 0: measured; 1: something failed, or no spans arrived; 2: bad usage; 130: interrupted, what was
    measured so far is written, and --resume goes on with it.
    """
    source = context.get_parameter_source
    if given["resume"] is not None and given["target"] is None and not given["variants"]:
        again = going_on.again(command, "bench", given["resume"])
        again.params["resume"] = given["resume"]
        given, source = again.params, again.get_parameter_source
    context.exit(measure(source, **given))


def measure(
    source: Callable[[str], ParameterSource | None],
    *,
    target: str | None,
    baseline: str | None,
    variants: tuple[tuple[str, ...], ...],
    event: str | None,
    memory_mb: tuple[int, ...],
    pairs: int,
    warm: int,
    aa: int | None,
    timeout: float,
    env: tuple[str, ...],
    pythons: dict[str, Path | None] | None,
    init_cpu: Literal["boost", "share"],
    no_bytecode: bool,
    otlp: bool,
    no_imports: bool,
    region: str | None,
    endpoint_url: str | None,
    restart: str | None,
    output: Path,
    html: Path,
    no_html: bool,
    as_json: bool,
    seed: int | None,
    resume: Path | None,
    shown: Callable[[Results], str] | None = None,
    code: Callable[[Results], int] | None = None,
    name: str = "bench",
) -> int:
    """Measure what the options say, and return the exit code.

    `shown` makes what is printed instead of the report, `code` the exit code; `name` is the command's.
    """
    from lambent_lab import measure, report
    from lambent_lab.commands.inputs import load_event, locate, parse_env
    from lambent_lab.measure import resume as resuming
    from lambent_lab.measure.plan import default_aa
    from lambent_lab.measure.results import read, write_text
    from lambent_lab.measure.revisions import Revisions
    from lambent_lab.measure.variants import Asked
    from lambent_lab.service.function import encode_event

    given = {"region": region, "endpoint_url": endpoint_url, "restart": restart}
    reach = {name: text for name, text in given.items() if text is not None}
    with Revisions() as revisions:
        asked = Asked(
            target=target, env=parse_env(env), locate=locate, revision=revisions.folder, reach=reach
        )
        compared = comparison(asked, [text for texts in variants for text in texts], baseline)
        payload = load_event(event)
        encode_event(payload)  # an event that Lambda would not take is said before anything runs
        earlier = None if resume is None else read(resume)
        if resume is not None and going_on.is_default(source, "output"):
            output = resume
        outputs = [output] if no_html else [output, html]
        writable(*outputs)
        if going_on.is_default(source, "memory_mb"):
            memory_mb = own_memory([compared.baseline, *compared.variants.values()]) or memory_mb
        if seed is None:
            # Not a secret: the order of a measurement.
            seed = random.randrange(2**32) if earlier is None else earlier["seed"]  # noqa: S311
        single = pythons is not None and list(pythons) == [""]
        benchmark = measure.Benchmark(
            baseline=compared.baseline,
            candidate=compared.variants.get("candidate"),
            variants={name: side for name, side in compared.variants.items() if name != "candidate"},
            event=payload,
            event_name=event,
            memory_mb=memory_mb,
            pairs=pairs,
            aa=default_aa(pairs) if aa is None else aa,
            warm=warm,
            timeout_s=timeout,
            python=pythons[""] if single and pythons is not None else None,
            pythons={} if single or pythons is None else pythons,
            bytecode=not no_bytecode,
            init_cpu=init_cpu,
            otlp=otlp,
            imports=not no_imports,
            seed=seed,
            command=("lambent", *sys.argv[1:]) if earlier is None else tuple(earlier["command"]),
        )
        if earlier is not None and resume is not None:
            resuming.check(earlier, benchmark, resume)
        with make_lab() as lab:
            with progress(name) as bar:
                results = measure.run(benchmark, lab, bar, earlier)
            # Before the lab ends: nothing that goes wrong there may cost the results.
            write_text(output, report.render(results, "json"))
            if not no_html:
                write_text(html, report.render(results, "html"))
    _print(results, as_json=as_json, shown=shown)
    written = " and ".join(str(path) for path in outputs)
    click.echo(f"Wrote {written}.", err=True)
    if results["interrupted"]:
        words = going_on.resumption(benchmark.command, output, name, alone=name == "bench")
        click.echo(f"Go on with it: {words}", err=True)
    return measure.exit_code(results) if code is None else code(results)


def comparison(asked: Any, variants: list[str], baseline: str | None) -> Comparison:
    """What is compared with what. Raises UsageError."""
    from dataclasses import replace

    from lambent_lab.measure.variants import MODES, Comparison, compare, sides_of

    if variants:
        return compare(asked, variants, baseline)
    if asked.target is None:
        raise click.UsageError("Name a TARGET: FOLDER/module.function, docker:…, http://… or aws:….")
    if baseline is not None and (baseline in {"off", "on", *MODES} or baseline.startswith("git:")):
        found = compare(asked, ["on"], baseline)
        own = replace(found.variants["candidate"], label="candidate")
        return Comparison(found.baseline, {"candidate": own})
    return sides_of(asked, baseline)


def own_memory(sides: list[Target]) -> tuple[int, ...]:
    """The memory that the first function in AWS has, where one is compared; else nothing."""
    for side in sides:
        if side.kind == "aws":
            from lambent_lab.measure.remote.aws import Account

            return (Account(side.text, side.reach).memory_mb,)
    return ()


def _print(results: Results, *, as_json: bool, shown: Callable[[Results], str] | None) -> None:
    from lambent_lab import report

    if as_json:
        click.echo(report.render(results, "json"), nl=False)
        return
    if shown is not None:
        click.echo(shown(results), nl=False)
        return
    from lambent_lab.commands.output import print_report

    print_report(results)
