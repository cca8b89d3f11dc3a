"""What the bridge to OpenTelemetry costs. `bridge.py [--rounds N]`

Two things. What lambent adds to `import opentelemetry.trace`: in fresh processes the API is imported with
lambent's hook taken off, and then the work of the hook is timed by itself, since it drowns in the noise of an
import that takes twenty times as long; with the wheel, as users have it. And what a span costs that is made
through the API, beside lambent's own and one of opentelemetry-sdk's: the least of the rounds, each with five
attributes, an exporter that drops it, and a parent that is current.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BUDGET_MS = 1.0
BATCH = 2000
IMPORT = """
import sys, time
import lambent
tracer = lambent.init()
sys.meta_path.remove(lambent._Waiting)
start = time.perf_counter()
import opentelemetry.trace
there = time.perf_counter()
lambent._serve(tracer)
end = time.perf_counter()
assert opentelemetry.trace.get_tracer_provider() is tracer.provider
print((there - start) * 1000, (end - there) * 1000)
"""
SDK = Path(__file__).resolve().parents[1] / "sdk"


def wheel(folder: Path) -> Path:
    """Build the wheel and return the folder where it is unpacked."""
    build = f"import wheel_backend; wheel_backend.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=SDK, check=True, timeout=300, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def imports(rounds: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds that the API's import takes, and those that the bridge adds."""
    alone, added = [], []
    with tempfile.TemporaryDirectory() as folder:
        env = {"PYTHONPATH": str(wheel(Path(folder)))}
        for number in range(rounds + 1):
            done = subprocess.run(
                [sys.executable, "-c", IMPORT],
                env=env,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            if number:  # the first one may write .pyc files
                taken = done.stdout.split()
                alone.append(float(taken[0]))
                added.append(float(taken[1]))
    return alone, added


def ways() -> dict[str, Callable[[], None]]:
    """Return the loops by what they do; each makes BATCH spans under one that is current."""
    from benchmarks.decorated import Nowhere
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    import lambent

    class Dropping(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002  # as exporters have it
            return SpanExportResult.SUCCESS

    tracer = lambent.init(exporter=Nowhere(), set_global=True)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Dropping()))
    attributes: dict[str, Any] = {"a": 1, "b": "two", "c": 3.0, "d": True, "e": "five"}

    def through(api: Any) -> Callable[[], None]:
        def loop() -> None:
            with api.start_as_current_span("outer"):
                for _ in range(BATCH):
                    with api.start_as_current_span("inner", attributes=attributes):
                        pass

        return loop

    def own() -> None:
        with tracer.trace("outer"):
            for _ in range(BATCH):
                with tracer.trace("inner", attributes=attributes):
                    pass

    return {
        "lambent's own": own,
        "through the API, by lambent": through(tracer.provider.get_tracer("library")),
        "through the API, by opentelemetry-sdk": through(provider.get_tracer("library")),
    }


def spans(rounds: int) -> dict[str, float]:
    """Return the microseconds that one span takes in each way."""
    least: dict[str, float] = {}
    loops = ways()
    for _ in range(rounds):
        for name, loop in loops.items():
            start = time.perf_counter_ns()
            loop()
            taken = (time.perf_counter_ns() - start) / BATCH / 1000
            least[name] = min(taken, least.get(name, taken))
    return least


def main() -> int:
    """Print both; fail where the bridge adds more than it may."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    alone, added = imports(rounds)
    print(f"import opentelemetry.trace  {statistics.median(alone):6.2f} ms")
    print(f"the bridge adds             {statistics.median(added):6.2f} ms, of {BUDGET_MS} allowed")
    for name, taken in spans(rounds).items():
        print(f"a span, {name:38} {taken:6.2f} µs")
    return int(statistics.median(added) > BUDGET_MS)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
