"""Compare lambent with its peers in one interleaved run: `python benchmarks/run.py`, or `make bench`.

Makes a virtual environment for each tool on the first run. Results go to .bench/results.json.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that this file runs by its path, as `make bench` runs it

from benchmarks.harness import peers_file, report, results, stats, venvs  # noqa: E402 - needs the path above
from benchmarks.harness.collector import Collector  # noqa: E402 - as above
from benchmarks.harness.plan import MEASURES, Plan  # noqa: E402 - as above
from benchmarks.harness.processes import make_bundle  # noqa: E402 - as above
from benchmarks.harness.rounds import Rounds  # noqa: E402 - as above
from benchmarks.harness.share import CpuShare, ShareUnavailableError  # noqa: E402 - as above

ROUNDS = 10
QUICK_ROUNDS = 2
LOG_EVERY_S = 15.0
XRAY_TOUCH = Path("/tmp/.aws-xray")  # the X-Ray SDK leaves a file here in Lambda

_said = [0.0]


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help=f"rounds of fresh processes (default {ROUNDS})"
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds: does everything run?")
    parser.add_argument("--only", default="", metavar="NAME,…", help="these tools (and the baseline)")
    names = ", ".join(measure.name for measure in MEASURES)
    parser.add_argument("--measure", default="", metavar="NAME,…", help=f"these measures: {names}")
    parser.add_argument("--python", type=Path, metavar="PATH", help="the interpreter to measure with")
    parser.add_argument("--seed", type=int, help="repeat another run's order")
    parser.add_argument("--output", type=Path, default=ROOT / ".bench" / "results.json", metavar="FILE")
    parser.add_argument("--readme", action="store_true", help="write the README's table")
    return parser.parse_args(given)


def say(text: str) -> None:
    """Progress: one line that replaces itself on a terminal; in a log a line now and then."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[K{text[:width]}")
        sys.stderr.flush()
    elif not text.startswith("round ") or time.monotonic() - _said[0] > LOG_EVERY_S:
        _said[0] = time.monotonic()
        print(text, file=sys.stderr, flush=True)


def _choose(given: str, known: list[str], what: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in given.split(",") if part.strip())
    for name in chosen:
        if name not in known:
            raise SystemExit(f"no {what} is called {name!r}; there are: {', '.join(known)}")
    return chosen


def _install(
    shop: venvs.Workshop, peers: list[peers_file.Peer]
) -> tuple[dict[str, venvs.Installed], dict[str, str]]:
    installed: dict[str, venvs.Installed] = {}
    absent: dict[str, str] = {}
    for peer in peers:
        try:
            installed[peer.name] = shop.install(peer)
        except venvs.PeerUnavailableError as reason:
            absent[peer.name] = f"could not be installed: {reason}"
            say(f"{peer.name} {absent[peer.name]}")
            if sys.stderr.isatty():
                sys.stderr.write("\n")
    return installed, absent


def _measure(
    plan: Plan, installed: dict[str, venvs.Installed], bench: Path
) -> tuple[Rounds, dict[str, Any], bool]:
    """Run the rounds. The third value tells whether they were interrupted."""
    share_facts: dict[str, Any] = {"wanted": any(probe.share for probe in plan.probes)}
    bundles = {
        name: make_bundle(one.peer, one.python, bench / "bundles" / name) for name, one in installed.items()
    }
    with contextlib.ExitStack() as stack:
        share: CpuShare | None = None
        if share_facts["wanted"]:
            try:
                share = stack.enter_context(CpuShare())
            except ShareUnavailableError as reason:
                share_facts["unavailable"] = str(reason)
                say(f"the CPU share of 256 MB cannot be measured: {reason}\n")
            else:
                share_facts |= {"kind": share.kind, "quota_us": share.quota_us}
        collector = stack.enter_context(Collector())
        rounds = Rounds(plan, installed, bundles, collector, share, say)
        interrupted = False
        try:
            rounds.warm_up()
            rounds.run()
        except KeyboardInterrupt:
            interrupted = True
    return rounds, share_facts, interrupted


def main(given: list[str]) -> int:
    """Install, measure, write, print. 0 when done, 1 when the README has no place, 130 when interrupted."""
    options = arguments(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: in order
    file = peers_file.read(Path(__file__).with_name("peers.toml"))
    only = _choose(options.only, [peer.name for peer in file.peers], "tool")
    chosen = [peer for peer in file.peers if not only or peer.name in only or peer.name == results.BASELINE]
    measures = _choose(options.measure, [measure.name for measure in MEASURES], "measure")
    bench = ROOT / ".bench"
    started = time.time()
    left_by_xray = XRAY_TOUCH.exists()
    try:
        python = options.python or venvs.find_python(file.python)
        shop = venvs.Workshop(bench, ROOT, python, file.runtime, say)
        installed, absent = _install(shop, chosen)
    except KeyboardInterrupt:
        return 130
    except venvs.PeerUnavailableError as reason:
        raise SystemExit(str(reason)) from None
    if results.BASELINE not in installed:
        raise SystemExit(f"the baseline is missing: {absent[results.BASELINE]}")
    plan = Plan.make(
        peers=tuple(peer.name for peer in chosen),
        names=measures,
        rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        seed=options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32),
    )
    try:
        rounds, share, interrupted = _measure(plan, installed, bench)
    finally:
        if not left_by_xray:
            shutil.rmtree(XRAY_TOUCH, ignore_errors=True)
    content = results.document(
        plan=plan,
        installed=installed,
        absent=absent,
        share=share,
        python=shop.python_version,
        samples=rounds.samples,
        interrupted=interrupted,
        started=started,
    )
    results.write(options.output, content)
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    print(report.terminal(content))
    print(f"\nresults: {options.output}")
    if interrupted:
        return 130
    if options.readme:
        if content["rounds_done"] < stats.FEWEST:
            print(f"the README's table is left as it is: it takes {stats.FEWEST} rounds")
            return 0
        try:
            report.write_readme(ROOT / "README.md", report.markdown(content))
        except report.MarkersMissingError as reason:
            print(reason, file=sys.stderr)
            return 1
        print("the README's table is written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
