"""Does `lambent soak` find a leak of 1 KB an invocation, from how many invocations on, and does it cry wolf?

Each round soaks the same function without a leak and with one of so many bytes an invocation, on the traced
side or on both, in the lab: real processes in a real box. Run it as

    .venv/bin/python benchmarks/soak_leak.py [--rounds 6] [--sizes 1000,2000,3000,5000] [--leak 1024]

It prints a table, and exits with 1 when the largest size missed a leak or found one that is not there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from lambent_lab.measure import soak
from lambent_lab.measure.target import Target
from lambent_lab.service import Lab
from lambent_lab.traces.forgetful import Forgetful

FUNCTION = """
import os

import lambent

tracer = lambent.init(service_name="leaking")
KEPT = []
OFF = os.environ.get("OTEL_SDK_DISABLED") == "true"


@tracer.handler
def handler(event, context):
    with tracer.trace("work"):
        if event["leak"] and (event["side"] == "both" or not OFF):
            KEPT.append(bytearray(event["leak"] - 57))  # the object's own head
    return {"statusCode": 200}
"""

CASES = ("none", "traced", "both")


def one(code: Path, invocations: int, case: str, leak: int, seed: int) -> dict[str, object]:
    """One soak: what it said of memory, and the slope it found."""
    event = {"leak": 0 if case == "none" else leak, "side": case}
    target = Target(text="leak/app.handler", code=code, handler="app.handler", label="traced")
    off = Target(
        text="leak/app.handler",
        code=code,
        handler="app.handler",
        label="untraced",
        env={"OTEL_SDK_DISABLED": "true"},
        switch="OTEL_SDK_DISABLED=true",
    )
    plan = soak.Soak(
        targets={"baseline": off, "candidate": target}, event=event, invocations=invocations, seed=seed
    )
    with Lab(store=Forgetful()) as lab:
        functions = {
            side: lab.function(
                f"leak-{side}",
                code=code,
                handler="app.handler",
                memory=512,
                env={"LAMBENT_COUNT_SPANS": "true", **each.env},
            )
            for side, each in plan.targets.items()
        }
        section = soak.run(plan, functions)["soak"]
    traced = section["sides"]["candidate"]
    trend = traced["trends"]["rss_mb"]
    return {
        "verdict": section["memory_verdict"],
        "bytes": None if trend["per_1000"] is None else trend["per_1000"] * 2**20 / 1000,
        "lost": traced["spans"]["lost"],
    }


def main(arguments: list[str]) -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--sizes", default="1000,2000,3000,5000")
    parser.add_argument("--leak", type=int, default=1024)
    options = parser.parse_args(arguments)
    sizes = [int(each) for each in options.sizes.split(",")]
    found: dict[tuple[int, str], list[dict[str, object]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder)
        (code / "app.py").write_text(FUNCTION)
        for size in sizes:
            for number in range(options.rounds):
                for case in CASES:
                    found.setdefault((size, case), []).append(one(code, size, case, options.leak, number))
            print(f"{size} invocations a side: done at {time.strftime('%H:%M:%S')}", file=sys.stderr)
    print(
        f"A leak of {options.leak} bytes an invocation, {options.rounds} soaks of each kind; slope: median\n"
    )
    print(
        "| invocations a side | leak | grows | steady | cannot be told | bytes an invocation | spans lost |"
    )
    print("|---|---|---|---|---|---|---|")
    for (size, case), results in found.items():
        verdicts = [each["verdict"] for each in results]
        slopes = sorted(float(str(each["bytes"])) for each in results if each["bytes"] is not None)
        slope = f"{slopes[len(slopes) // 2]:,.0f}" if slopes else "-"
        lost = sum(int(str(each["lost"] or 0)) for each in results)
        undecided = len(verdicts) - verdicts.count("grows") - verdicts.count("steady")
        counts = f"{verdicts.count('grows')} | {verdicts.count('steady')} | {undecided}"
        print(f"| {size:,} | {case} | {counts} | {slope} | {lost} |")
    last = sizes[-1]
    wrong = sum(each["verdict"] == "grows" for each in found[last, "none"])
    missed = sum(each["verdict"] != "grows" for case in CASES[1:] for each in found[last, case])
    enough = [
        size
        for size in sizes
        if all(each["verdict"] == "grows" for case in CASES[1:] for each in found[size, case])
        and all(each["verdict"] != "grows" for each in found[size, "none"])
    ]
    print(
        f"\nThe smallest number that found every leak, and none where there is none: {enough[0]:,} a side."
        if enough
        else "\nNo number found every leak, and none where there is none."
    )
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
