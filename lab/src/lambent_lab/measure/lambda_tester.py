"""Cold and warm starts of one function: the `LambdaPerformanceTester` of spec 001, same names, same keys.

Rules
- A time is what the caller waits, from the request to the response (`total_time_ms`); what Lambda itself
  reports of the same invocation (init, duration) stands beside it.
- Each cold start is one in a new environment, and what does not say so is not counted as one; a warm one that
  turns out cold is not counted as warm. Nothing but the measured invocation warms an environment: one is
  ready when it can be invoked, without having been.
- Before cold starts are measured one goes unmeasured: the first one reads the files and fills the caches of
  the machine, which later ones find. It is told as `preflight`.
- An invocation that fails, or answers anything but success, gives no time: it is counted and quoted, and the
  target is then not met. Percentiles are absent below their minimum n, as everything that was not measured.
- The median of cold starts has an interval; warm times are of one environment and therefore have none.
- Spans that the function says it made are counted against those that arrived.
"""

from __future__ import annotations

import json
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import stats
from lambent_lab.measure.summary import figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent_lab.measure.results import Figure
    from lambent_lab.measure.sampler import FunctionLike, LabLike, ResultLike

IMAGE = "honeyhive-lambda:bundle-native"
"""The image that spec 000 builds, under the name that it has there."""

COLD_TARGET_MS = 500.0
"""What a cold start may take on average (specs 000 and 001)."""

WARM_TARGET_MS = 100.0
"""What a warm invocation may take on average (specs 000 and 001)."""

FUNCTIONS = Path(__file__).parent / "functions"
"""A function that tells how long its own parts took, for when nobody names another."""

HANDLER = "cold_start_test.lambda_handler"
_BROKEN_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class _Timed:
    """One invocation: what the caller waited, what came back, and why that is no success (None: it is)."""

    total_ms: float
    result: ResultLike
    failure: str | None
    body: Mapping[str, Any]

    @property
    def cold(self) -> bool:
        """Whether it began in a new environment, and the function does not say otherwise."""
        said = self.body.get("cold_start")
        return self.result.cold if said is None else self.result.cold and said is True

    @property
    def warm(self) -> bool:
        """Whether it ran in an environment that had been used, and the function does not say otherwise."""
        return not self.result.cold and self.body.get("cold_start") is not True


@dataclass(slots=True)
class _Tally:
    """What so many invocations of one kind came to."""

    wanted: Literal["cold", "warm"]
    times: list[float] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    others: int = 0
    made: int | None = None
    delivered: int = 0
    broken: int = 0

    def add(self, iteration: int, timed: _Timed) -> None:
        """Count one invocation as what it was."""
        if timed.failure is not None:
            self.fail(iteration, timed.failure, timed.total_ms)
            return
        self.broken = 0
        self._count_spans(timed.result)
        if not (timed.cold if self.wanted == "cold" else timed.warm):
            self.others += 1
            return
        self.times.append(timed.total_ms)
        self.raw.append(_measurement(iteration, timed, self.wanted))

    def fail(self, iteration: int, error: str, after_ms: float | None = None) -> None:
        """Count a failure; its time is kept apart from the others."""
        self.broken += 1
        self.errors.append({"iteration": iteration, "error": error, "failed_after_ms": after_ms})

    def _count_spans(self, result: ResultLike) -> None:
        if result.spans_made is not None:
            self.made = (self.made or 0) + result.spans_made
            self.delivered += len(result.spans or ())

    @property
    def average(self) -> float | None:
        """The mean, of something."""
        return statistics.fmean(self.times) if self.times else None

    @property
    def lost(self) -> int | None:
        """How many spans were made and did not arrive, None when nothing says how many were made."""
        return None if self.made is None else max(0, self.made - self.delivered)

    def _median(self) -> Figure | None:
        found = figure(self.times)
        if found is not None and self.wanted == "warm":
            found["interval"] = None
        return found

    def results(self, iterations: int, target_ms: float) -> dict[str, Any]:
        """What both kinds of results have."""
        name, average = f"{self.wanted}_start_ms", self.average
        clean = not self.errors and not self.others and not self.lost
        return {
            "iterations": iterations,
            "n": len(self.times),
            "failed": len(self.errors),
            "errors": self.errors,
            f"not_{self.wanted}": self.others,
            f"avg_{name}": average,
            f"median_{name}": self._median(),
            **{f"p{each}_{name}": stats.percentile(self.times, each) for each in (50, 95, 99)},
            "raw_measurements": self.raw,
            "spans_made": self.made,
            "spans_lost": self.lost,
            "target_ms": target_ms,
            "meets_target": clean and average is not None and average < target_ms,
        }


class LambdaPerformanceTester:
    """Measures cold and warm starts of a function: in the lab, unless `target` says another place.

    `code` and `handler` name the function (default: one that reports how long its own parts took), `env` its
    variables, `timeout_s` its time in seconds, `python` the interpreter it runs on. `lab` is one that is open
    already. `container_image` is what a container is made of when `target` is `docker`.

    Use it in a `with` block, or call `stop_lambda_container` at the end. Raises UsageError for a target that
    cannot be, LabError when no environment can be made.
    """

    def __init__(
        self,
        container_image: str = IMAGE,
        *,
        target: str = "lab",
        code: str | Path | None = None,
        handler: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        python: str | Path | None = None,
        lab: LabLike | None = None,
    ) -> None:
        if code is not None and handler is None:
            raise UsageError("Which function of the code? Give handler= as well, as in app.handler.")
        self.container_image = container_image
        self.container: FunctionLike | None = None
        self.target = target
        self.memory_mb = 256
        self._code = FUNCTIONS if code is None else Path(code).absolute()
        self._handler = handler or HANDLER
        self._env = dict(env or {})
        self._timeout_s = timeout_s
        self._python = None if python is None else Path(python)
        self._given = lab
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_lambda_container()

    def start_lambda_container(self, memory_size: int = 256) -> None:
        """Make the function ready to be invoked, with so many MB of memory. Its first invocation is cold."""
        self.stop_lambda_container()
        self.memory_mb = memory_size
        lab = self._given if self._given is not None else self._own_lab()
        self.container = lab.function(
            "lambda-performance-test",
            code=self._code,
            handler=self._handler,
            memory=memory_size,
            timeout=self._timeout_s,
            # The function says how many spans it made, so that lost ones are seen.
            env={"LAMBENT_COUNT_SPANS": "true", **self._env},
            python=self._python,
        )
        self._open.callback(self.container.stop)

    def _own_lab(self) -> LabLike:
        from lambent_lab.service import Lab

        return self._open.enter_context(Lab())

    def stop_lambda_container(self) -> None:
        """End it. Safe to call twice."""
        self.container = None
        self._open.close()

    def invoke_lambda(self, payload: object) -> dict[str, Any]:
        """Invoke the function and return its response, with `_total_time_ms`: what the caller waited.

        A response that is no JSON object is under `payload`. An invocation that failed has no time: `_error`
        says why, `_failed_after_ms` when.
        """
        timed = self._invoke(payload)
        answer = timed.result.payload
        result: dict[str, Any] = dict(answer) if isinstance(answer, dict) else {"payload": answer}
        if timed.failure is None:
            result["_total_time_ms"] = timed.total_ms
        else:
            result["_error"] = timed.failure
            result["_failed_after_ms"] = timed.total_ms
        return result

    def test_cold_start_performance(self, iterations: int = 5) -> dict[str, Any]:
        """Measure so many cold starts, each in a new environment.

        The result has the keys of spec 001 and, beside them, `n` (how many gave a time), `failed`, `errors`,
        `not_cold`, `median_cold_start_ms` with its interval, percentiles where there are enough, spans.
        """
        tally = _Tally("cold")
        preflight = self._preflight()

        def one(iteration: int) -> _Timed:
            self._ready().stop()
            return self._invoke({"test": f"cold_start_{iteration}", "iteration": iteration})

        _repeat(tally, iterations, one)
        return {**tally.results(iterations, COLD_TARGET_MS), "preflight": preflight, **self._place()}

    def test_warm_start_performance(self, iterations: int = 10) -> dict[str, Any]:
        """Measure so many warm invocations, one after the other in one environment.

        The result has the keys of spec 001 and those that cold starts have; `not_warm` counts invocations for
        which a new environment was made.
        """
        tally = _Tally("warm")
        preflight = self._preflight()

        def one(iteration: int) -> _Timed:
            return self._invoke({"test": f"warm_start_{iteration}", "iteration": iteration})

        _repeat(tally, iterations, one)
        spread = statistics.stdev(tally.times) if len(tally.times) > 1 else None
        results = tally.results(iterations, WARM_TARGET_MS)
        return {**results, "std_dev_ms": spread, "preflight": preflight, **self._place()}

    def _preflight(self) -> dict[str, Any]:
        """One invocation that is in no figure."""
        try:
            timed = self._invoke({"test": "warmup"})
        except LabError as error:
            return {"error": str(error), "total_time_ms": None}
        return {
            "error": timed.failure,
            "total_time_ms": timed.total_ms if timed.failure is None else None,
        }

    def _place(self) -> dict[str, Any]:
        return {"target": self.target, "memory_mb": self.memory_mb}

    def _ready(self) -> FunctionLike:
        if self.container is None:
            self.start_lambda_container(self.memory_mb)
        assert self.container is not None
        return self.container

    def _invoke(self, payload: object) -> _Timed:
        function = self._ready()
        begun = time.perf_counter()
        result = function.invoke(payload)
        total_ms = (time.perf_counter() - begun) * 1000
        return _Timed(total_ms, result, _failure(result), _body(result.payload))


def _repeat(tally: _Tally, iterations: int, one: Callable[[int], _Timed]) -> None:
    """Invoke as often as asked for, unless nothing works."""
    for iteration in range(iterations):
        try:
            timed = one(iteration)
        except LabError as error:
            tally.fail(iteration, str(error))
        else:
            tally.add(iteration, timed)
        if tally.broken == _BROKEN_IN_A_ROW:
            return


def _measurement(iteration: int, timed: _Timed, kind: str) -> dict[str, Any]:
    """What is kept of one invocation; what is not known is None."""
    timings = timed.body.get("timings")
    said = timings if isinstance(timings, dict) else {}
    parts = ["sdk_import_ms", "tracer_init_ms"] if kind == "cold" else []
    report = timed.result.report
    return {
        "iteration": iteration,
        "total_time_ms": timed.total_ms,
        **{name: _time(said.get(name)) for name in (*parts, "handler_total_ms")},
        "init_ms": report.init_ms,
        "duration_ms": report.duration_ms,
        "max_memory_mb": report.max_memory_mb,
        "request_id": timed.result.request_id,
    }


def _time(said: object) -> float | None:
    """A time that a function tells; some say -1 of what they did not measure."""
    if isinstance(said, (int, float)) and not isinstance(said, bool) and said >= 0:
        return float(said)
    return None


def _failure(result: ResultLike) -> str | None:
    """Why an invocation was no success, None when it was one. Of a response with a status code: 2xx."""
    answer = result.payload if isinstance(result.payload, dict) else {}
    if result.status != "success" or result.function_error:
        message = str(answer.get("errorMessage") or "")
        kind = result.error or result.function_error or result.status
        return (f"{kind}: {message}" if message else kind)[:300]
    code = answer.get("statusCode", 200)
    if str(code).isdecimal() and 200 <= int(code) < 300:
        return None
    return f"it answered with statusCode {code}: {answer.get('body') or ''}"[:300]


def _body(payload: object) -> Mapping[str, Any]:
    """The JSON object that a proxy's response carries, an empty one when it carries none."""
    body = payload.get("body") if isinstance(payload, dict) else None
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            body = None
    return body if isinstance(body, dict) else {}
