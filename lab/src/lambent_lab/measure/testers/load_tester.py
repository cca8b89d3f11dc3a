"""`LoadTester`: a load test of a function of this process, as spec 001 describes it.

The result has the documented keys; beside them stand n, intervals, the ramp-up apart from the steady part,
and latencies that are corrected for coordinated omission. `throughput_ops_per_sec` is over the time that the
test really took; percentiles are None where there are too few operations for them (see `stats`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Self, get_args

from lambent_lab.errors import UsageError
from lambent_lab.measure import stats
from lambent_lab.measure.load import figures
from lambent_lab.measure.load.loops import FAILED, OK, Arrivals, Load, Run
from lambent_lab.measure.testers.timing import failure_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.measure.load.loops import Log, Outcome

_ERRORS_SHOWN = 10


class LoadTester:
    """Load tests of functions that `tracer` traces; it is flushed after each, outside of what is timed.

    `tracer` may be None, or any object.
    """

    def __init__(self, tracer: object = None) -> None:
        self.tracer = tracer

    def run_load_test(
        self,
        target_function: Callable[[], object],
        num_threads: int = 10,
        duration_seconds: float = 60,
        ramp_up_seconds: float = 10,
        *,
        rate: float | None = None,
        arrivals: Arrivals = "constant",
        pause_seconds: float = 0.001,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Call a function (or one that makes coroutines) from many threads, and return what came of it.

        The threads begin one after the other during the ramp-up, which is part of the duration. Without a
        `rate` each calls again when it has its answer and has paused (a closed loop); with one, so many calls
        a second are begun whether or not others are answered (an open loop), by at most `num_threads` at
        once. An exception of the function is an error of that operation, and so are an invocation of a Lambda
        that failed and a generator that nobody goes through. Raises UsageError for values that make no load
        test.
        """
        _check(num_threads, duration_seconds, ramp_up_seconds, rate, pause_seconds)
        if arrivals not in get_args(Arrivals):
            raise UsageError(f"arrivals is {arrivals!r}: choose {' or '.join(get_args(Arrivals))}.")
        load = Load(
            users=num_threads,
            duration_s=duration_seconds,
            ramp_up_s=ramp_up_seconds,
            rate=rate,
            arrivals=arrivals,
            pause_s=0.0 if rate is not None else pause_seconds,
            seed=seed,
        )
        began = time.time()
        with _Caller(target_function) as caller:
            run = Run(load, caller.call)
            run.run()
        flushed = self._flush()
        return {
            "test_config": {
                "num_threads": num_threads,
                "duration_seconds": duration_seconds,
                "ramp_up_seconds": ramp_up_seconds,
                "mode": "closed" if rate is None else "open",
                "rate": rate,
                "arrivals": None if rate is None else arrivals,
                "pause_seconds": load.pause_s,
            },
            "results": {**_results(run, load), "flushed": flushed},
            "raw_data": _raw_data(run.log, began),
        }

    def _flush(self) -> bool | None:
        """Whether everything was sent, None when the tracer cannot be asked."""
        flush = getattr(self.tracer, "force_flush", None)
        if flush is None:
            return None
        try:
            return flush() is not False
        except Exception:  # noqa: BLE001 - a collector that is gone does not take the measurement with it
            return False


def _check(users: int, duration_s: float, ramp_up_s: float, rate: float | None, pause_s: float) -> None:
    if users < 1:
        raise UsageError(f"num_threads is {users}: a load test needs one thread at least.")
    if not 0 < duration_s < float("inf"):
        raise UsageError(f"duration_seconds is {duration_s}: choose a number of seconds above 0.")
    if not 0 <= ramp_up_s < float("inf"):
        raise UsageError(f"ramp_up_seconds is {ramp_up_s}: choose a number of seconds, or 0.")
    if rate is not None and not 0 < rate < float("inf"):
        raise UsageError(f"rate is {rate}: choose a number of operations a second above 0.")
    if not 0 <= pause_s < float("inf"):
        raise UsageError(f"pause_seconds is {pause_s}: choose a number of seconds, or 0.")


class _Caller:
    """Calls the function; what makes a coroutine runs in an event loop that each thread has of its own."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._mine = threading.local()
        self._runners: list[asyncio.Runner] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for runner in self._runners:
            with suppress(RuntimeError):  # a call that never came back has its loop still
                runner.close()

    def call(self, _user: int) -> Outcome:
        """Make one operation. Raises what the function raises, TypeError when it has run nothing."""
        result = self._function()
        if isinstance(result, CoroutineType):
            result = self._runner().run(result)
        wrong = failure_in(result)
        if wrong is not None:
            raise wrong
        return OK

    def _runner(self) -> asyncio.Runner:
        runner: asyncio.Runner | None = getattr(self._mine, "runner", None)
        if runner is None:
            runner = self._mine.runner = asyncio.Runner()
            self._runners.append(runner)
        return runner


def _results(run: Run, load: Load) -> dict[str, Any]:
    log = run.log
    divided = figures.parts(log, load, run.elapsed_s)
    whole = divided.whole
    durations = [(log.ended[i] - log.started[i]) * 1000 for i in range(len(log)) if log.outcome[i] != FAILED]
    error_rate = whole["error_rate"]
    return {
        "total_operations": whole["succeeded"],
        "total_errors": whole["failed"],
        "error_rate": error_rate["share"],
        "avg_duration_ms": sum(durations) / len(durations) if durations else None,
        "p95_duration_ms": stats.percentile(durations, 95),
        "p99_duration_ms": stats.percentile(durations, 99),
        "throughput_ops_per_sec": whole["per_second"],
        "n": whole["attempted"],
        "elapsed_seconds": whole["to_s"],
        "p50_duration_ms": stats.percentile(durations, 50),
        "error_rate_interval": error_rate,
        "throughput_interval": whole["throughput"],
        "latency": whole["latency"],
        "p50_interval": whole["p50"],
        "p95_interval": whole["p95"],
        "ramp_up": divided.ramp_up,
        "steady": divided.steady,
        "unstarted": run.unstarted,
        "errors_by_kind": figures.errors(log),
    }


def _raw_data(log: Log, began: float) -> dict[str, Any]:
    """Every operation, and the first errors, as spec 001 lists them. Timestamps are Unix times."""
    operations: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for i, ended in enumerate(log.ended):
        one = {
            "worker_id": log.user[i],
            "timestamp": began + ended,
            "duration_ms": (ended - log.started[i]) * 1000,
            "latency_ms": (ended - log.intended[i]) * 1000,
        }
        if log.outcome[i] != FAILED:
            operations.append(one)
        elif len(failures) < _ERRORS_SHOWN:
            kind, _, message = log.errors[log.error[i]][0].partition(": ")
            failures.append({**one, "error": message or kind, "type": kind})
    return {"operations": operations, "errors": failures}
