"""`lambent matrix`: a function at every memory size and with every Python, as CI runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lambent_lab.commands import bench, options
from lambent_lab.commands.axes import MemorySizes, Pythons
from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from lambent_lab.measure.results import Results
    from lambent_lab.measure.results_gate import Check

SIZES = "256,512,1024"
PYTHONS = ("3.11", "3.12", "3.13")
_FUNCTION = "cold_start_test.lambda_handler"


@click.command(name="matrix", short_help="Measure at every memory size and with every Python, as CI does.")
@click.argument("target", metavar="[TARGET]", required=False)
@click.option(
    "--baseline",
    metavar="TARGET|K=V|MODE|git:REV",
    help="What to compare with, as for `lambent bench` (default: OTEL_SDK_DISABLED=true).",
)
@click.option(
    "--memory",
    "memory_mb",
    type=MemorySizes(),
    default=SIZES,
    show_default=True,
    help="Memory sizes in MB.",
)
@click.option(
    "--python",
    "pythons",
    metavar="V|PATH,…",
    type=Pythons(),
    help="Versions of Python, or paths (default: those of 3.11, 3.12 and 3.13 that are there).",
)
@options.event
@click.option(
    "--cold",
    "pairs",
    metavar="N",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Fresh environments a side in each cell; 8 or more give an interval.",
)
@click.option(
    "--warm",
    metavar="N",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Warm invocations in each environment.",
)
@options.timeout
@options.env
@options.results
@click.option(
    "--resume",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Go on with a matrix that was interrupted, by its result file and with the same options.",
)
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Measure a function traced and untraced at every memory size and with every Python.

    Without TARGET it is the bundle of tests/lambda, its function where no bundle was built, or the lab's own
    copy of that. All cells are visited in every round, in random order, so that none has a better hour than
    another. A cell fails as in CI: when the function fails or loses spans, when its cold start takes more
    than 1000 ms or tracing more than 100 MB; a warm call of more than 100 ms warns. Exit code 0: all cells
    were measured; 1: something failed in one; 2: bad usage; 130: interrupted, what was measured so far is
    written.
    """
    given["target"] = given["target"] or _own()
    if given["pythons"] is None:
        given["pythons"] = _there()
    more: dict[str, Any] = {
        "variants": (),
        "aa": 0,
        "init_cpu": "boost",
        "no_bytecode": False,
        "otlp": False,
        "no_imports": True,
        "region": None,
        "endpoint_url": None,
        "restart": None,
    }
    source = context.get_parameter_source
    context.exit(bench.measure(source, name="matrix", shown=_shown, code=_code, **given, **more))


def _own() -> str:
    """The bundle of tests/lambda where it was built, else its function, or the copy that the lab has."""
    for folder in (Path("tests/lambda"), Path()):
        if (folder / "lambda_functions" / "cold_start_test.py").is_file():
            bundle = folder / "deployment-package.zip"
            return f"{bundle if bundle.is_file() else folder / 'lambda_functions'}/{_FUNCTION}"
    from lambent_lab.measure import testers

    for place in testers.__path__:
        folder = Path(place) / "functions"
        if (folder / "cold_start_test.py").is_file():
            return f"{folder}/{_FUNCTION}"
    raise UsageError("There is no tests/lambda here: name a TARGET, as FOLDER/module.function.")


def _there() -> dict[str, Path | None]:
    """The versions of the matrix that this machine has; those that it has not are said."""
    from lambent_lab.staging.pythons import find

    found: dict[str, Path | None] = {}
    for version in PYTHONS:
        try:
            find(version)
        except UsageError as error:
            click.echo(f"matrix: without Python {version}. {error}", err=True)
        else:
            found[version] = None
    if not found:
        raise UsageError("No Python of the matrix is there: name one with --python.")
    return found


def _checks(results: Results) -> list[Check]:
    """The limits that are not kept, which are those of the gate; costs are what a gate would compare."""
    from lambent_lab.measure.gate.checks import judged
    from lambent_lab.measure.gate.config import GateConfig

    rules = {"limit", "overhead", "success"}
    found = [check for check in judged(results, GateConfig()) if check["rule"] in rules]
    return [check for check in found if check["verdict"] in {"FAIL", "WARN"}]


def _code(results: Results) -> int:
    from lambent_lab import measure

    broken = any(check["verdict"] == "FAIL" for check in _checks(results))
    return measure.exit_code(results) or int(broken)


def _shown(results: Results) -> str:
    from lambent_lab.commands.output import Look
    from lambent_lab.report import matrix

    look = Look.of_stdout()
    width = max(80, min(look.width, 110))
    checks = _checks(results)
    return matrix.render(results, checks, width=width, color=look.color, ascii_only=look.ascii_only)
