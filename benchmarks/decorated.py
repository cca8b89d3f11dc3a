"""What a decorated function costs above the same `with` block. `decorated.py [--rounds N]`

In each round each way of tracing one call of an empty function is timed over a batch; the least of the
rounds counts, because whatever else runs on the machine only ever adds. No recorder, and an exporter that
drops spans.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING

import lambent
from lambent.exporters import Exporter, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BATCH = 5000
BUDGET = 1500
"""Nanoseconds that a decorated function may cost above the block."""


class Nowhere(Exporter):
    """Drops spans as they end."""

    immediate = True

    def on_end(self, span: lambent.Span) -> None:
        """Drop the span."""

    def export(self, spans: Sequence[lambent.Span], timeout: float = 0.0) -> Result:  # noqa: ARG002  # as exporters have it
        """Drop the spans."""
        return Result()


def ways(tracer: lambent.Tracer) -> dict[str, Callable[[], None]]:
    """Return the loops by what they do; each makes BATCH spans."""

    def work() -> None: ...

    async def work_async() -> None: ...

    def of(call: Callable[[], None]) -> Callable[[], None]:
        def loop() -> None:
            for _ in range(BATCH):
                call()

        return loop

    def block() -> None:
        for _ in range(BATCH):
            with tracer.trace("work"):
                work()

    async def block_async() -> None:
        for _ in range(BATCH):
            with tracer.trace("work"):
                await work_async()

    traced_async = lambent.trace(work_async)

    async def decorated_async() -> None:
        for _ in range(BATCH):
            await traced_async()

    return {
        "with block": block,
        "@trace": of(lambent.trace(work)),
        "@trace(tracer=…)": of(lambent.trace(tracer=tracer)(work)),
        "@trace(event_type=…)": of(lambent.trace(event_type="tool")(work)),
        "with block, async": lambda: asyncio.run(block_async()),
        "@trace, async": lambda: asyncio.run(decorated_async()),
    }


def measure(rounds: int) -> dict[str, float]:
    """Return the nanoseconds that one span takes in each way."""
    tracer = lambent.init(exporter=Nowhere(), recorder=False, set_global=True)
    least: dict[str, float] = {}
    for _ in range(rounds):
        for name, loop in ways(tracer).items():
            begun = time.perf_counter_ns()
            loop()
            taken = (time.perf_counter_ns() - begun) / BATCH
            least[name] = min(taken, least.get(name, taken))
    tracer.close()
    return least


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    least = measure(parser.parse_args().rounds)
    for name, taken in least.items():
        above = taken - least["with block, async" if name.endswith("async") else "with block"]
        print(
            f"{name:22} {taken / 1000:6.2f} µs   above the block {above / 1000:+6.2f} µs (≤ {BUDGET / 1000})"
        )


if __name__ == "__main__":
    main()
