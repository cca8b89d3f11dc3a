"""Very many invocations in one environment: what its process holds must not grow.

Resident memory is compared with the same function untraced (mode "off"): the runtime client itself leaves
some 150 bytes behind with every invocation.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.faults.collector import Collector

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec

__all__ = ["ALLOWED", "growth", "soak"]

SPANS = 6
SAMPLES = 10
ALLOWED = {"rss_kb": 1024, "threads": 0, "fds": 0, "tmp": 0, "objects": 50}
"""What may grow more than untraced, from the first tenth to the end: an allocator's arena, a frame that lives
now."""


async def soak(mode: str, times: int) -> list[dict[str, int]]:
    """Invoke a function so many times; return what it held after each tenth."""
    with Collector("counting") as collector:
        spec = FunctionSpec(
            name="soak",
            code=Path(__file__).with_name("soak_function"),
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


def growth(samples: list[dict[str, int]], untraced: list[dict[str, int]]) -> dict[str, int]:
    """Return how much more grew than in the same function untraced."""
    return {
        name: samples[-1][name] - samples[0][name] - (untraced[-1][name] - untraced[0][name])
        for name in ALLOWED
    }
