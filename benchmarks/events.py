"""Compare what describing an event and extracting its callers takes: `python benchmarks/events.py`.

lambent and its peers, in fresh processes and random order; then lambent with every sample of an event.
Results go to .bench/events.json.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that this file runs by its path

from benchmarks.harness.peers_file import Peer, read  # noqa: E402 - needs the path above
from benchmarks.harness.results import machine  # noqa: E402 - as above
from benchmarks.harness.rie import CACHE, PACKAGE, from_wheel  # noqa: E402 - as above
from benchmarks.harness.venvs import PeerUnavailableError, Workshop, find_python  # noqa: E402 - as above

if TYPE_CHECKING:
    import zipfile

SAMPLES = ROOT / "sdk" / "tests"
TRACEPARENT = "00-{:032x}-b7ad6b7169203331-01"
BUDGET_US = {"API Gateway v2": 15.0, "SQS, 10 records": 60.0}
SLOWEST_US = 1000.0
CONTRIB = Peer(
    name="opentelemetry-aws-lambda",
    title="opentelemetry-instrumentation-aws-lambda",
    module="",
    requirements=("opentelemetry-instrumentation-aws-lambda==0.66b1", "opentelemetry-sdk==1.45.1"),
)
PATIENCE_S = 120.0


def events(tool: str) -> dict[str, Any]:
    """The two events that all are measured with; Datadog's contexts travel in a form of its own."""
    request = json.loads((SAMPLES / "events" / "apiGatewayProxyV2Event.json").read_text())
    browser = json.loads((SAMPLES / "events" / "lambdaFunctionUrlEventWithHeaders.json").read_text())
    request["headers"] = {**browser["headers"], "traceparent": TRACEPARENT.format(1)}
    message = json.loads((SAMPLES / "events" / "sqsEvent.json").read_text())["Records"][0]
    batch = []
    for number in range(1, 11):
        attributes: dict[str, Any] = {
            "traceparent": {"stringValue": TRACEPARENT.format(number), "dataType": "String"}
        }
        if tool == "datadog-lambda":
            text = json.dumps({"traceparent": TRACEPARENT.format(number), "x-datadog-trace-id": str(number),
                               "x-datadog-parent-id": "7", "x-datadog-sampling-priority": "1"})  # fmt: skip
            attributes = {"_datadog": {"stringValue": text, "dataType": "String"}}
        batch.append({**message, "messageId": str(number), "messageAttributes": attributes})
    return {"API Gateway v2": request, "SQS, 10 records": {"Records": batch}}


def samples() -> dict[str, Any]:
    """Every sample of an event."""
    files = sorted([*SAMPLES.glob("events/*.json"), *SAMPLES.glob("more_events/*.json")])
    return {file.stem: json.loads(file.read_text()) for file in files}


def generated() -> dict[str, Any]:
    """The events that `sam local generate-event` makes, with its defaults, out of aws-sam-cli's wheel.

    Fetched once and kept. Raises RieUnavailableError.
    """
    kept = CACHE / f"{PACKAGE}-events.json"
    if not kept.exists():
        found = from_wheel(_templates)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found))
    events: dict[str, Any] = json.loads(kept.read_text())
    return events


def _templates(wheel: zipfile.ZipFile) -> dict[str, Any]:
    root = "samcli/lib/generated_sample_events/"
    found: dict[str, Any] = {}
    for service, kinds in json.loads(wheel.read(f"{root}event-mapping.json")).items():
        for kind, rules in kinds.items():
            text = wheel.read(f"{root}events/{service}/{rules['filename']}.json").decode()
            for tag, rule in rules.get("tags", {}).items():
                value = str(rule["default"])
                if rule.get("encoding") == "base64":
                    value = base64.b64encode(value.encode()).decode()
                value = json.dumps(value)[1:-1]
                for name in (tag, tag.replace("-", "_")):
                    text = text.replace(f"{{{{{{{name}}}}}}}", value)
            found[f"{service} {kind}"] = json.loads(text)
    return found


def measure(python: Path, tool: str, given: dict[str, Any], calls: int) -> dict[str, dict[str, float]]:
    """What one fresh process measures, by the names of the events."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(given, file)
        file.flush()
        command = [str(python), str(ROOT / "benchmarks/worker/events_work.py"), tool, file.name, str(calls)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            env={"PATH": "/usr/bin:/bin", "HOME": tempfile.gettempdir(), "AWS_REGION": "eu-west-1"},
        )
    if done.returncode:
        raise PeerUnavailableError(f"{tool} failed: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(given: list[str]) -> int:
    """Measure, print the tables, write the results; 1 where lambent is over a budget."""
    parser = argparse.ArgumentParser(prog="benchmarks/events.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=8, metavar="N", help="fresh processes of each tool (8)")
    parser.add_argument("--calls", type=int, default=2000, metavar="N", help="calls in a batch (2000)")
    parser.add_argument("--output", type=Path, default=ROOT / ".bench" / "events.json", metavar="FILE")
    options = parser.parse_args(given)
    pins = read(ROOT / "benchmarks" / "peers.toml")
    workshop = Workshop(
        ROOT / ".bench",
        ROOT,
        find_python(pins.python),
        pins.runtime,
        lambda text: print(text, file=sys.stderr),
    )
    pythons: dict[str, Path] = {}
    for peer in [*pins.peers, CONTRIB]:
        if peer.name in {"lambent", "lambda-otel-lite", "datadog-lambda", CONTRIB.name}:
            try:
                pythons[peer.name] = workshop.install(peer).python
            except PeerUnavailableError as reason:
                print(f"{peer.name}: {reason}")
    rounds: dict[str, list[dict[str, dict[str, float]]]] = {name: [] for name in pythons}
    for _ in range(options.rounds):
        for name in random.SystemRandom().sample(sorted(pythons), len(pythons)):
            rounds[name].append(measure(pythons[name], name, events(name), options.calls))
    every = measure(pythons["lambent"], "lambent", samples(), max(1, options.calls // 20))
    result = {"machine": machine(workshop.python_version), "rounds": rounds, "samples": every}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result))
    return report(rounds, every)


def report(rounds: dict[str, list[dict[str, dict[str, float]]]], every: dict[str, dict[str, float]]) -> int:
    """Print medians, ratios to lambent in a round, and the slowest samples; 1 for what is over a budget."""
    missed = 0
    for event, budget in BUDGET_US.items():
        ours = [each[event]["ns"] for each in rounds["lambent"]]
        print(f"\n{event}: lambent's budget is {budget:g} µs")
        for name, found in sorted(rounds.items(), key=lambda item: item[0] != "lambent"):
            values = [each[event]["ns"] for each in found]
            ratio = statistics.median(value / own for value, own in zip(values, ours, strict=True) if own)
            callers = found[0][event]["callers"]
            took = statistics.median(values) / 1000
            print(f"  {name:26}{took:8.1f} µs {ratio:6.2f}x  {callers:g} callers found")
        missed |= statistics.median(ours) / 1000 > budget
    slow = sorted(every, key=lambda name: -every[name]["ns"])
    print(f"\nlambent, {len(every)} samples; the slowest of them:")
    for name in slow[:5]:
        print(f"  {name:42}{every[name]['ns'] / 1000:8.1f} µs")
    return int(missed or every[slow[0]]["ns"] / 1000 > SLOWEST_US)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
