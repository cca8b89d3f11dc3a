"""Very many invocations in one environment: what its process holds must not grow.

Resident memory is compared with the same function untraced (mode "off"): the runtime client itself leaves
some 150 bytes behind with every invocation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.faults.collector import Collector

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec

__all__ = ["ALLOWED", "alone", "growth", "soak", "too_much"]

FUNCTION = Path(__file__).with_name("soak_function")
SPANS = 6
SAMPLES = 10
ALLOWED = {"rss_kb": 512, "threads": 0, "fds": 0, "tmp": 0, "objects": 50}
"""What may grow more than untraced, from the first tenth to the end: an allocator's arena, a frame that lives
now."""
SCATTERED = 0.06
"""kB an invocation on top: what the runtime client leaves behind lies between our short-lived memory, and so
takes more room. Without the runtime client (`alone`) there is nothing of the kind."""


async def soak(mode: str, times: int) -> list[dict[str, int]]:
    """Invoke a function so many times; return what it held after each tenth."""
    with Collector("counting") as collector:
        spec = FunctionSpec(
            name="soak",
            code=FUNCTION,
            handler="app.handler",
            memory_mb=1769,
            timeout_s=60,
            freeze=False,
            env={
                "LAMBENT_MODE": mode,
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                "OTEL_EXPORTER_OTLP_TIMEOUT": "30000",
            }
            if mode != "off"
            else {"OTEL_SDK_DISABLED": "true"},
        )
        samples: list[dict[str, int]] = []
        async with Environment(spec) as environment:
            for number in range(1, times + 1):
                tell = number % (times // SAMPLES) == 0
                result = await environment.invoke(json.dumps({"number": number, "tell": tell}).encode())
                if result.status != "success":
                    raise RuntimeError(f"invocation {number} came to {result.status}: {result.payload!r}")
                if tell:
                    samples.append(json.loads(result.payload))
        made = times * SPANS if mode != "off" else 0
        if collector.count != made:
            raise RuntimeError(f"{collector.count} spans were received, not {made}")
        return samples


def alone(times: int) -> list[dict[str, int]]:
    """Call the function so many times in a process without the runtime client."""
    program = f"""
import sys
sys.path.insert(0, {str(FUNCTION)!r})
import app
from lambent.testing import LambdaContext
import json
context = LambdaContext(timeout=1e6)
for number in range({times} + 1):
    # The first look is not counted: looking takes memory too.
    held = app.handler({{"number": number, "tell": number % ({times} // {SAMPLES}) == 0}}, context)
    if held and number:
        print(json.dumps(held), flush=True)
"""
    with Collector("counting") as collector:
        environment = {
            **os.environ,
            "AWS_LAMBDA_FUNCTION_NAME": "soak",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "30000",
            "LAMBENT_RECORDER": "off",
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        )
    # Out here /tmp is everybody's.
    return [{**json.loads(line), "tmp": 0} for line in done.stdout.splitlines()]


def too_much(grown: dict[str, int], times: int) -> dict[str, int]:
    """Return what grew more than is allowed, of the growth above untraced."""
    more = {**ALLOWED, "rss_kb": ALLOWED["rss_kb"] + times * SCATTERED}
    return {name: value for name, value in grown.items() if value > more[name]}


def growth(samples: list[dict[str, int]], untraced: list[dict[str, int]] | None = None) -> dict[str, int]:
    """Return how much more there is than after the first tenth, above the same function untraced."""
    grown = {name: samples[-1][name] - samples[0][name] for name in ALLOWED}
    if untraced is None:
        return grown
    without = growth(untraced)
    # What the untraced one lets go of (a thread that has ended) is nothing that the other one has taken.
    return {name: value - max(0, without[name]) for name, value in grown.items()}
