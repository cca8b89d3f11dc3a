"""`lambent gate`: a candidate against its base, in one run, with a verdict."""

from __future__ import annotations

import random
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lambent_lab.commands import bench, options
from lambent_lab.commands.axes import MemorySizes
from lambent_lab.commands.output import print_report, writable
from lambent_lab.commands.progress import progress
from lambent_lab.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lambent_lab.measure.gate.config import GateConfig


def _read(convert: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A reader of an option's text from the limits' own module, loaded when it is used."""

    def callback(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        from lambent_lab.measure.gate import config as gate_config

        if value is None or value == ():
            return None
        if convert == "looks":
            try:
                value = [int(part) for part in value.split(",")]
            except ValueError:
                raise click.BadParameter(f"{value!r} is not a list of numbers, as 10,20,40,60.") from None
        if convert == "metrics":
            value = [part.strip() for text in value for part in text.split(",")]
        try:
            return getattr(gate_config, convert)(value)
        except ValueError as error:
            raise click.BadParameter(gate_config.sentence(str(error))) from error

    return callback


_INCONCLUSIVE = 3
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(name="gate", short_help="Let a candidate through, or not: against its base, in pairs.")
@click.option(
    "--base",
    metavar="TARGET|git:REV|K=V",
    required=True,
    help="What it is compared with: another target, a revision of the candidate's repository, or the "
    "candidate with a variable.",
)
@click.option(
    "--candidate",
    metavar="TARGET",
    required=True,
    help="What is judged: FOLDER/module.function, docker:…, http://… or aws:….",
)
@click.option(
    "--max-regression",
    metavar="SHARE",
    callback=_read("share"),
    help="How much slower or larger the candidate may be (default: 5%).",
)
@options.event
@click.option("--memory", "memory_mb", type=MemorySizes(), help="Memory sizes in MB (default: 128).")
@click.option(
    "--metric",
    "metrics",
    metavar="NAME",
    multiple=True,
    callback=_read("metrics"),
    help="What is compared: cold, init, first, warm, memory, cold-cpu, warm-cpu, peak-rss, page-cache; "
    "may be repeated (default: cold, warm and memory).",
)
@click.option(
    "--warm", metavar="N", type=click.IntRange(0), help="Warm invocations in each environment (default: 20)."
)
@click.option(
    "--pairs",
    metavar="N,…",
    callback=_read("looks"),
    help="After how many pairs to ask for a verdict (default: 10,20,40,60).",
)
@options.timeout
@options.env
@options.pythons
@options.init_cpu
@options.otlp
@click.option("--no-counts", is_flag=True, help="Count no imports, exported bytes and system calls.")
@options.reach
@click.option(
    "--history",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier result file to compare with in words; may be repeated.",
)
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file with [tool.lambent.gate] (default: the nearest pyproject.toml).",
)
@click.option(
    "--json",
    "json_file",
    metavar="[FILE]",
    is_flag=False,
    flag_value=Path("-"),
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="The result file, with every raw value; without FILE it is printed.",
)
@click.option(
    "--markdown", "--md", "markdown_file", metavar="FILE", type=_FILE, help="A comment for a pull request."
)
@click.option("--junit", "junit_file", metavar="FILE", type=_FILE, help="JUnit XML, a case for each check.")
@click.option("--html", "html_file", metavar="FILE", type=_FILE, help="The page with the plots.")
@click.option(
    "--seed", metavar="N", type=int, help="Seed of the order (default: a new one, kept in the result)."
)
@click.pass_context
def command(
    context: click.Context,
    base: str,
    candidate: str,
    max_regression: float | None,
    event: str | None,
    memory_mb: tuple[int, ...] | None,
    metrics: tuple[str, ...] | None,
    warm: int | None,
    pairs: tuple[int, ...] | None,
    timeout: float,
    env: tuple[str, ...],
    pythons: dict[str, Path | None] | None,
    init_cpu: Literal["boost", "share"],
    otlp: bool,
    no_counts: bool,
    region: str | None,
    endpoint_url: str | None,
    restart: str | None,
    history: tuple[Path, ...],
    config_file: Path | None,
    json_file: Path | None,
    markdown_file: Path | None,
    junit_file: Path | None,
    html_file: Path | None,
    seed: int | None,
) -> None:
    """Compare a candidate with its base, and say whether it may pass.

    Both run in one go, in fresh environments, in pairs in random order. The median of the pairs' ratios
    decides, with its 99% interval; where that does not tell, more pairs are run. Counts (modules, bytes,
    system calls, spans) and the limits of [tool.lambent.gate] in pyproject.toml decide without statistics.

    Exit code 0: PASS; 1: FAIL; 3: INCONCLUSIVE, also when the measurement itself failed; 2: bad usage; 130:
    interrupted, what was measured so far is written.
    """
    from lambent_lab import report
    from lambent_lab.commands.inputs import load_event, locate, parse_env
    from lambent_lab.measure.bench import Benchmark
    from lambent_lab.measure.gate import gating
    from lambent_lab.measure.results import read, write_text
    from lambent_lab.measure.revisions import Revisions
    from lambent_lab.measure.variants import Asked
    from lambent_lab.report.words import listed
    from lambent_lab.service.function import encode_event

    config, found = _limits(config_file)
    limits: dict[str, Any] = {
        "max_regression": max_regression,
        "metrics": metrics,
        "warm": warm,
        "pairs": pairs,
        "memory": memory_mb,
    }
    config = replace(config, **{name: value for name, value in limits.items() if value is not None})
    payload = load_event(event)
    encode_event(payload)  # an event that Lambda would not take is said before anything runs
    files = {"json": json_file, "markdown": markdown_file, "junit": junit_file, "html": html_file}
    printed = [form for form, path in files.items() if str(path) == "-"]
    if len(printed) > 1:
        raise UsageError("Two reports cannot both go to the standard output: give one of them a file.")
    outputs = [(path, form) for form, path in files.items() if path is not None and form not in printed]
    writable(*(path for path, _ in outputs))
    past = [*history]
    if config.history is not None and not history:
        past = [(found or Path()).parent / config.history]
    given = {"region": region, "endpoint_url": endpoint_url, "restart": restart}
    reach = {name: text for name, text in given.items() if text is not None}
    single = pythons is not None and list(pythons) == [""]
    with _no_verdict(context), Revisions() as revisions:
        asked = Asked(
            target=candidate, env=parse_env(env), locate=locate, revision=revisions.folder, reach=reach
        )
        compared = bench.comparison(asked, [], base)
        sides = [compared.baseline, *compared.variants.values()]
        gate = gating.Gate(
            benchmark=Benchmark(
                baseline=compared.baseline,
                candidate=compared.variants["candidate"],
                event=payload,
                event_name=event,
                memory_mb=config.memory or bench.own_memory(sides) or (128,),
                timeout_s=timeout,
                python=pythons[""] if single and pythons is not None else None,
                pythons={} if single or pythons is None else pythons,
                init_cpu=init_cpu,
                otlp=otlp,
                # Not a secret: the order of a measurement.
                seed=random.randrange(2**32) if seed is None else seed,  # noqa: S311
                command=("lambent", *sys.argv[1:]),
            ),
            config=config,
            history=tuple((str(path), read(path)) for path in past),
            count=not no_counts,
        )
        with bench.make_lab() as lab:
            with progress("gate") as bar:
                results = gating.run(gate, lab, bar)
            # Before the lab ends: nothing that goes wrong there may cost the results.
            for path, form in outputs:
                write_text(path, report.render(results, form))
        if printed:
            click.echo(report.render(results, printed[0]), nl=False)
        else:
            print_report(results)
    if outputs:
        click.echo(f"Wrote {listed([str(path) for path, _ in outputs])}.", err=True)
    context.exit(gating.exit_code(results))


@contextmanager
def _no_verdict(context: click.Context) -> Iterator[None]:
    """End with 3 when the measurement itself fails: an exit code of 1 is a candidate that failed."""
    try:
        yield
    except (UsageError, BrokenPipeError):
        raise
    except (LabError, OSError) as error:
        refused = "The operating system refused: " if isinstance(error, OSError) else ""
        click.echo(f"lambent: INCONCLUSIVE: {refused}{' '.join(str(error).split())}", err=True)
        context.exit(_INCONCLUSIVE)


def _limits(given: Path | None) -> tuple[GateConfig, Path | None]:
    """The limits, and the file that they come from."""
    from lambent_lab.measure.gate import config as gate_config

    path = given or gate_config.find(Path.cwd())
    return (gate_config.GateConfig(), None) if path is None else (gate_config.load(path), path)
