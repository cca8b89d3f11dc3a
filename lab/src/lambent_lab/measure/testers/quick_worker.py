"""One process of `quick`: the operation untraced and traced in pairs, as JSON on standard output.

python -m lambent_lab.measure.testers.quick_worker PAIRS SEED
"""

from __future__ import annotations

import json
import sys

import lambent
from lambent_lab.measure.testers.performance import PerformanceTester
from lambent_lab.measure.testers.plain import plain


def operation() -> int:
    """The operation of specification 001."""
    return sum(range(1000))


def main(pairs: int, seed: int) -> None:
    """Measure and print."""
    tracer = lambent.init(test_mode=True, service_name="quick-performance-test")
    traced = lambent.trace(tracer=tracer)(operation)
    found = PerformanceTester(tracer, seed=seed).compare_performance(operation, traced, iterations=pairs)
    sys.stdout.write(json.dumps(plain(found), allow_nan=False))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
