"""A hundred thousand invocations in one environment, untraced and in each mode: `make soak`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.faults.soak import ALLOWED, alone, growth, soak, too_much


def main(times: int = 100_000) -> int:
    """Run each mode and print what its process held; fail when something grew."""
    failed = False
    untraced: list[dict[str, int]] = []
    for mode in ("alone", "off", "sync", "async"):
        start = time.monotonic()
        samples = alone(times) if mode == "alone" else asyncio.run(soak(mode, times))
        if mode == "off":
            untraced = samples
        print(f"{mode}: {times} invocations in {time.monotonic() - start:.0f} s")
        for sample in samples:
            print("  " + "  ".join(f"{name} {value}" for name, value in sample.items()))
        grown = growth(samples, untraced or None)
        if mode == "alone":
            failed = any(grown[name] > ALLOWED[name] for name in ALLOWED)
        elif too_much(grown, times):
            failed = True
        print(
            "  from the first tenth to the end, above untraced: "
            + ", ".join(f"{n} {v:+d}" for n, v in grown.items())
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*[int(argument) for argument in sys.argv[1:2]]))
