"""Cold and warm starts of one function: the `LambdaPerformanceTester` of spec 001, same names, same keys.

Rules
- A time is what the caller waits, from the request to the response (`total_time_ms`); what Lambda itself
  reports of the same invocation (init, duration) stands beside it. Of AWS it is the sum of these two: the way
  there and back is not the function's.
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

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure.accounting import counting
from lambent_lab.measure.remote import kind_of, open_remote
from lambent_lab.measure.target import Target
from lambent_lab.measure.testers.lambda_tally import Tally, Timed, body_of, failure_of
from lambent_lab.measure.testers.timing import at_least

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambent_lab.measure.sampler import FunctionLike, LabLike

IMAGE = "honeyhive-lambda:bundle-native"
"""The image that spec 000 builds, under the name that it has there."""

COLD_TARGET_MS = 500.0
"""What a cold start may take on average (specs 000 and 001)."""

WARM_TARGET_MS = 100.0
"""What a warm invocation may take on average (specs 000 and 001)."""

FUNCTIONS = Path(__file__).parent / "functions"
"""A function that tells how long its own parts took, for when nobody names another."""

MEMORY_MB = 256
"""The memory of a function when nobody says (spec 001)."""

HANDLER = "cold_start_test.lambda_handler"
_BROKEN_IN_A_ROW = 3


class LambdaPerformanceTester:
    """Measures cold and warm starts of a function: in the lab, unless `target` says another place.

    In the lab `code` and `handler` name the function (default: one that tells how long its parts took) and
    `python` the interpreter; `lab` is one that is open already. `env` are its variables, `timeout_s` is its
    time in seconds. `event` is what it is invoked with while starts are measured; None stands for the
    specification's `{"test": "cold_start_0"}` and so on.

    Other targets: `docker` makes containers of `container_image`, `docker:IMAGE` of another one, and an image
    of one's own, without a target and code, is the first of these; `http://…`
    is a function behind a URL in the form of AWS's interface emulator, `restart` the command that makes it
    new; `aws:FUNCTION[:QUALIFIER]` is one in AWS, in `region` or behind `endpoint_url`.

    Use it in a `with` block, or call `stop_lambda_container` at the end. Raises UsageError for a target that
    cannot be, LabError when no environment can be made.
    """

    def __init__(
        self,
        container_image: str = IMAGE,
        *,
        target: str | None = None,
        code: str | Path | None = None,
        handler: str | None = None,
        event: object = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        python: str | Path | None = None,
        lab: LabLike | None = None,
        restart: str | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
    ) -> None:
        if code is not None and handler is None:
            raise UsageError("Which function of the code? Give handler= as well, as in app.handler.")
        self.container_image = container_image
        self.container: FunctionLike | None = None
        if target is None:
            # The specification's image is what the lab stands for; another one is measured, or nothing is.
            own = container_image != IMAGE and code is None and lab is None
            target = "docker" if own else "lab"
        self.target = f"docker:{container_image}" if target == "docker" else target
        self.memory_mb: int | None = None
        self._kind = kind_of(self.target)
        if self._kind == "lab" and target != "lab":
            raise UsageError(
                f"The target cannot be {target!r}: choose lab, docker, docker:IMAGE, a URL or aws:FUNCTION."
            )
        reach = {"restart": restart, "region": region, "endpoint_url": endpoint_url}
        self._reach = {name: value for name, value in reach.items() if value is not None}
        self._code = FUNCTIONS if code is None else Path(code).absolute()
        self._handler = handler or HANDLER
        self._event = event
        self._env = dict(env or {})
        self._timeout_s = timeout_s
        self._python = None if python is None else Path(python)
        self._given = lab
        self._open = ExitStack()
        self._starting = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_lambda_container()

    def start_lambda_container(self, memory_size: int = 256) -> None:
        """Make the function ready to be invoked, with so many MB of memory. Its first invocation is cold."""
        self.stop_lambda_container()
        self.memory_mb = memory_size
        self._start()

    def _start(self) -> None:
        env = counting(self._env)
        if self._kind == "lab":
            self.memory_mb = self.memory_mb or MEMORY_MB
            lab = self._given if self._given is not None else self._own_lab()
            self.container = lab.function(
                "lambda-performance-test",
                code=self._code,
                handler=self._handler,
                memory=self.memory_mb,
                timeout=self._timeout_s,
                env=env,
                python=self._python,
            )
        else:
            remote = open_remote(
                Target(text=self.target, label=self.target, env=env, kind=self._kind, reach=self._reach)
            )
            self._open.callback(remote.close)
            own = MEMORY_MB if self._kind == "docker" else getattr(remote, "memory_mb", None)
            self.memory_mb = self.memory_mb or own
            self.container = remote.function(
                memory=self.memory_mb or MEMORY_MB, timeout=self._timeout_s, env=env
            )
        self._open.callback(self.container.stop)
        self.container.stop()  # the next invocation is cold, wherever it is

    def _own_lab(self) -> LabLike:
        from lambent_lab.service import Lab

        return self._open.enter_context(Lab())

    def stop_lambda_container(self) -> None:
        """End it. Safe to call twice."""
        self.container = None
        self._open.close()

    def invoke_lambda(self, payload: object) -> dict[str, Any]:
        """Invoke the function and return its response, with `_total_time_ms`: what the caller waited.

        A response that is no JSON object is under `payload`. An invocation that failed has no time, but None:
        `_error` says why, `_failed_after_ms` when. Threads may call it at the same time.
        """
        timed = self._invoke(payload)
        answer = timed.result.payload
        result: dict[str, Any] = dict(answer) if isinstance(answer, dict) else {"payload": answer}
        result["_total_time_ms"] = timed.total_ms if timed.failure is None else None
        if timed.failure is not None:
            result["_error"] = timed.failure
            result["_failed_after_ms"] = timed.total_ms
        return result

    def test_cold_start_performance(self, iterations: int = 5) -> dict[str, Any]:
        """Measure so many cold starts, each in a new environment.

        The result has the keys of spec 001 and, beside them, `n` (how many gave a time), `failed`, `errors`,
        `not_cold`, `median_cold_start_ms` with its interval, percentiles where there are enough, spans.
        Raises UsageError for less than one iteration, and for a URL without a command that restarts it.
        """
        at_least("iterations", iterations, 1)
        if self._kind == "http" and "restart" not in self._reach:
            raise UsageError(
                f"Nothing makes {self.target} start anew: give restart= with the command that does, or "
                "measure warm starts."
            )
        tally = Tally("cold")
        preflight = self._preflight()

        def one(iteration: int) -> Timed:
            self._ready().stop()
            return self._invoke(self._numbered("cold_start", iteration))

        _repeat(tally, iterations, one)
        return {**tally.results(iterations, COLD_TARGET_MS), "preflight": preflight, **self._place()}

    def test_warm_start_performance(self, iterations: int = 10) -> dict[str, Any]:
        """Measure so many warm invocations, one after the other in one environment.

        The result has the keys of spec 001 and those that cold starts have; `not_warm` counts invocations for
        which a new environment was made. Raises UsageError for less than one iteration.
        """
        at_least("iterations", iterations, 1)
        tally = Tally("warm")
        preflight = self._preflight()

        def one(iteration: int) -> Timed:
            return self._invoke(self._numbered("warm_start", iteration))

        _repeat(tally, iterations, one)
        spread = statistics.stdev(tally.times) if len(tally.times) > 1 else None
        results = tally.results(iterations, WARM_TARGET_MS)
        return {**results, "std_dev_ms": spread, "preflight": preflight, **self._place()}

    def _preflight(self) -> dict[str, Any]:
        """One invocation that is in no figure. Raises LabError when there is no function to invoke."""
        self._ready()
        try:
            timed = self._invoke({"test": "warmup"} if self._event is None else self._event)
        except LabError as error:
            return {"error": str(error), "total_time_ms": None}
        return {
            "error": timed.failure,
            "total_time_ms": timed.total_ms if timed.failure is None else None,
        }

    def _numbered(self, kind: str, iteration: int) -> object:
        own = {"test": f"{kind}_{iteration}", "iteration": iteration}
        return own if self._event is None else self._event

    def _place(self) -> dict[str, Any]:
        return {"target": self.target, "memory_mb": self.memory_mb}

    def _ready(self) -> FunctionLike:
        with self._starting:  # whoever comes first
            if self.container is None:
                self._start()
            assert self.container is not None
            return self.container

    def _invoke(self, payload: object) -> Timed:
        function = self._ready()
        begun = time.perf_counter()
        result = function.invoke(payload)
        total_ms = (time.perf_counter() - begun) * 1000
        if self._kind != "lab":
            # Around it an environment was made: a container, a change of the configuration.
            total_ms = result.report.duration_ms + (result.report.init_ms or 0.0)
        return Timed(total_ms, result, failure_of(result), body_of(result.payload))


def _repeat(tally: Tally, iterations: int, one: Callable[[int], Timed]) -> None:
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
