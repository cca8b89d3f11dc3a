"""Compare the lab with RIE, AWS's own emulator, in one interleaved run: `python benchmarks/emulators.py`.

Warm and cold invocations as a client sees them over HTTP, the memory over many invocations, and many
environments at once. `make bench` runs it. Results go to .bench/emulators.json.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that this file runs by its path, as `make bench` runs it

from benchmarks.harness import stats  # noqa: E402 - needs the path above
from benchmarks.harness.emulators import (  # noqa: E402 - as above
    EmulatorFailedError,
    LabEmulator,
    RieEmulator,
    at_once,
    endurance,
    first,
    warm,
)
from benchmarks.harness.report import MarkersMissingError, number, write_readme  # noqa: E402 - as above
from benchmarks.harness.results import machine  # noqa: E402 - as above
from benchmarks.harness.rie import PACKAGE, RieUnavailableError, binary  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Callable

RIE, FREE, FROZEN = "RIE", "lab, not freezing", "lab"
WARM_RATIO, WARM_FROZEN_MS, COLD_MS = 1.2, 1.0, 10.0  # what the lab may take: times RIE, above RIE, above RIE
GROWTH_MB = 2.0
MARKERS = ("<!-- emulator table: begin -->", "<!-- emulator table: end -->")


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/emulators.py", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="rounds of fresh emulators (10)")
    parser.add_argument(
        "--warm", type=int, default=300, metavar="N", help="warm invocations in a round (300)"
    )
    parser.add_argument("--cold", type=int, default=3, metavar="N", help="cold starts in a round (3)")
    parser.add_argument(
        "--endurance", type=int, default=100_000, metavar="N", help="invocations of one environment"
    )
    parser.add_argument("--environments", type=int, default=100, metavar="N", help="environments at once")
    parser.add_argument("--quick", action="store_true", help="2 rounds, 2000 invocations, 10 environments")
    parser.add_argument("--output", type=Path, default=ROOT / ".bench" / "emulators.json", metavar="FILE")
    parser.add_argument("--readme", action="store_true", help="write the README's table")
    options = parser.parse_args(given)
    if options.quick:
        options.rounds, options.endurance, options.environments = 2, 2000, 10
    return options


def say(text: str) -> None:
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def measure_round(python: Path, folder: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """One round: each emulator once, in random order. The medians of its warm and cold invocations, in ms."""
    found: dict[str, dict[str, float]] = {}
    for name in random.SystemRandom().sample([RIE, FREE, FROZEN], 3):
        cold = []
        if name == RIE:
            for _ in range(options.cold):
                with RieEmulator(python) as rie:
                    cold.append(first(rie))
            with RieEmulator(python) as rie:
                times = warm(rie, options.warm)
        else:
            with LabEmulator(python, folder, freeze=name == FROZEN) as lab:
                first(lab)  # what a service does once is no part of a cold start
                for count in range(options.cold):
                    lab.renew(count)
                    cold.append(first(lab))
                times = warm(lab, options.warm)
        found[name] = {"warm": statistics.median(times), "cold": statistics.median(cold)}
    return found


def summary(rounds: list[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Every comparison with its estimate and its verdict. Each is made within a round."""

    def row(
        title: str, unit: str, values: list[float], limit: float | None = None, digits: int = 2
    ) -> dict[str, Any]:
        estimate = stats.estimate(values)
        assert estimate is not None
        return {
            "title": title,
            "unit": unit,
            "digits": digits,
            "limit": limit,
            "met": None if limit is None else estimate.median <= limit,
            "median": estimate.median,
            "low": estimate.low,
            "high": estimate.high,
            "n": estimate.n,
        }

    def ms(name: str, kind: str) -> list[float]:
        return [each[name][kind] for each in rounds]

    def against(name: str, kind: str, how: Callable[[float, float], float]) -> list[float]:
        return [how(each[name][kind], each[RIE][kind]) for each in rounds]

    return [
        *(row(f"warm invocation, {name}", "ms", ms(name, "warm")) for name in (RIE, FREE, FROZEN)),
        row(
            "warm, not freezing, against RIE", "\u00d7", against(FREE, "warm", lambda a, b: a / b), WARM_RATIO
        ),
        row("warm, above RIE", "ms", against(FROZEN, "warm", lambda a, b: a - b), WARM_FROZEN_MS),
        *(row(f"cold start, {name}", "ms", ms(name, "cold"), digits=1) for name in (RIE, FROZEN)),
        row("cold start, above RIE", "ms", against(FROZEN, "cold", lambda a, b: a - b), COLD_MS, digits=1),
    ]


def lines(content: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Every result as text: what, value, limit and verdict."""
    found = []
    for row in content["summary"]:
        value = f"{number(row['median'], row['digits'])} {row['unit']}"
        if row["low"] is not None:
            value += f" [{number(row['low'], row['digits'])} \u2013 {number(row['high'], row['digits'])}]"
        limit = ""
        if row["limit"] is not None:
            limit = f"\u2264 {row['limit']:g} {row['unit']}: {'met' if row['met'] else 'NOT met'}"
        found.append((row["title"], value, limit))
    marks = content["endurance"]
    if marks:
        begin, end = marks[0], marks[-1]
        for key, title in (("lab_mb", "the lab"), ("environment_mb", "the environment")):
            grown = end[key] - begin[key]
            found.append(
                (
                    f"memory of {title} from {begin['invocations']:,} to {end['invocations']:,} invocations",
                    f"{begin[key]:.1f} \u2192 {end[key]:.1f} MB",
                    f"grows \u2264 {GROWTH_MB:g} MB: {'met' if grown <= GROWTH_MB else 'NOT met'}",
                )
            )
    many = content["at_once"]
    if many:
        full = many["environments"] == many["answers"] == content["environments_wanted"]
        found.append(
            (
                "environments at once",
                f"{many['environments']}, all running after {many['all_running_after_s']:.1f} s, "
                f"lab {many['lab_mb']:.0f} MB, environments {many['environments_mb']:.0f} MB",
                f"{content['environments_wanted']}: {'met' if full else 'NOT met'}",
            )
        )
    return found


def main(given: list[str]) -> int:
    """Measure, write, print. 0 when done, 1 when something could not be measured, 130 when interrupted."""
    options = arguments(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: in order
    python = Path(sys.executable)
    started = time.time()
    try:
        binary()
        with tempfile.TemporaryDirectory(prefix="lambent-emulators-") as place:
            folder = Path(place)
            measure_round(python, folder, argparse.Namespace(warm=20, cold=1))  # caches, .pyc files
            rounds = []
            for count in range(options.rounds):
                say(f"round {count + 1} of {options.rounds}")
                rounds.append(measure_round(python, folder, options))
            with LabEmulator(python, folder, freeze=True) as lab:
                marks = endurance(lab, options.endurance, lambda done: say(f"{done} invocations"))
            with LabEmulator(python, folder, freeze=True, memory_mb=128) as lab:
                say(f"{options.environments} environments at once")
                many = at_once(lab, options.environments)
    except KeyboardInterrupt:
        return 130
    except (RieUnavailableError, EmulatorFailedError, OSError) as reason:
        print(f"not measured: {reason}", file=sys.stderr)
        return 1
    content = {
        "started": started,
        "machine": machine(sys.version.split()[0]),
        "rie": PACKAGE,
        "rounds": rounds,
        "summary": summary(rounds),
        "endurance": marks,
        "at_once": many,
        "environments_wanted": options.environments,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(content, indent=1))
    say("")
    table = lines(content)
    width = max(len(what) for what, _, _ in table)
    for what, value, limit in table:
        print(f"{what.ljust(width)}  {value}  {limit}".rstrip())
    print(f"\nresults: {options.output}")
    if options.readme and options.rounds >= stats.FEWEST:
        text = [
            "| | | |",
            "|---|---|---|",
            *(f"| {what} | {value} | {limit} |" for what, value, limit in table),
        ]
        try:
            write_readme(ROOT / "README.md", "\n".join(text), MARKERS)
        except MarkersMissingError as reason:
            print(reason, file=sys.stderr)
            return 1
        print("the README's table is written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
