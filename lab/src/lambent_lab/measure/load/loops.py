"""Load on anything that can be called: a closed loop of users, or an open loop of arrivals.

Rules
- A closed loop has users, each of which asks again when it has its answer (and has paused). The users begin
  one after the other during the ramp-up.
- An open loop has arrivals at a rate, whoever answers how slowly; during the ramp-up the rate grows steadily
  from 0. Each arrival is served by the first user that is free; what it waits for one is part of its latency.
  Arrivals that nobody was free for until the end are counted (`unstarted`), and what they had waited is kept.
- Operations that have begun are finished; none begins after the end, or after `stop`.
- What a call came to is an `Outcome`; an exception is a failure of that call, whatever it is.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lambent_lab.measure.accounting import SpanCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = Literal["ok", "failed", "throttled"]
Arrivals = Literal["constant", "poisson"]

WARM, COLD, FAILED, THROTTLED = range(4)
"""How an operation is counted."""

MAX_ERRORS = 1000
"""How many different errors are told apart."""

OTHER_ERRORS = "other errors"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to. cold: None where nobody says; made, spans: of the trace, None where unknown."""

    kind: Kind = "ok"
    error: str | None = None
    cold: bool | None = None
    spans: int | None = None
    made: int | None = None

    @property
    def code(self) -> int:
        """How it is counted."""
        if self.kind == "ok":
            return COLD if self.cold else WARM
        return FAILED if self.kind == "failed" else THROTTLED


OK = Outcome()


class Log:
    """Every operation of a run, by columns. Times are seconds since the beginning. Thread-safe."""

    def __init__(self) -> None:
        self.user = array("l")
        self.intended = array("d")
        self.started = array("d")
        self.ended = array("d")
        self.outcome = array("b")
        self.error = array("h")
        self.errors: list[tuple[str, Kind]] = []
        self.begun: list[tuple[float, float]] = []  # users: from when, until when
        self.unstarted = array("d")  # when arrivals were meant that nobody was free for until `given_up_s`
        self.given_up_s = 0.0
        self.says_cold = False
        self.spans = SpanCounter()
        self._numbers: dict[tuple[str, Kind], int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.ended)

    def add(self, user: int, intended: float, started: float, ended: float, outcome: Outcome) -> None:
        """Take one operation."""
        with self._lock:
            self.user.append(user)
            self.intended.append(intended)
            self.started.append(started)
            self.ended.append(ended)
            self.outcome.append(outcome.code)
            self.error.append(-1 if outcome.error is None else self._number(outcome.error, outcome.kind))
            self.says_cold = self.says_cold or outcome.cold is not None
            if outcome.kind == "ok" and outcome.spans is not None:
                self.spans.add(outcome.spans, outcome.made)

    def _number(self, error: str, kind: Kind) -> int:
        key = (error[:300], kind)
        if key not in self._numbers and len(self._numbers) >= MAX_ERRORS:
            key = (OTHER_ERRORS, kind)
        if key not in self._numbers:
            self._numbers[key] = len(self.errors)
            self.errors.append(key)
        return self._numbers[key]

    def worked(self, begin: float, end: float) -> None:
        """Note from when to when a user was there."""
        with self._lock:
            self.begun.append((begin, end))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to do. rate: arrivals a second of an open loop, None for a closed one; pause_s: of a user after
    each operation of a closed loop; the ramp-up is part of the duration.
    """

    users: int = 10
    duration_s: float = 60.0
    ramp_up_s: float = 10.0
    rate: float | None = None
    arrivals: Arrivals = "constant"
    pause_s: float = 0.0
    seed: int = 0


def planned_arrivals(load: Load) -> Iterator[float]:
    """When the arrivals of an open loop are meant to begin, in seconds, in order, until its end.

    While the rate grows, as many as the area below it: rate t² / (2 ramp-up); then rate a second.
    """
    rate, ramp = load.rate or 0.0, load.ramp_up_s
    # Not a secret: the order of a measurement, which its seed makes again.
    source = random.Random(load.seed)  # noqa: S311
    in_ramp = rate * ramp / 2
    count = 0.0
    for _ in itertools.count():
        count += 1.0 if load.arrivals == "constant" else source.expovariate(1.0)
        at = math.sqrt(2 * ramp * count / rate) if count < in_ramp else ramp + (count - in_ramp) / rate
        if at >= load.duration_s:
            return
        yield at


class Run:
    """A load test under way. `log` grows; `run` returns when it is over, or stopped, or interrupted."""

    def __init__(
        self,
        load: Load,
        call: Callable[[int], Outcome],
        *,
        clock: Callable[[], float] = time.perf_counter,
        on_done: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self.load = load
        self.log = Log()
        self.elapsed_s = 0.0
        self._call = call
        self._clock = clock
        self._on_done = on_done
        self._stop = threading.Event()
        self._zero = 0.0
        self._next = threading.Lock()
        self._waiting: Iterator[float] = iter(())

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._zero

    @property
    def unstarted(self) -> int:
        """How many arrivals nobody was free for until the end."""
        return len(self.log.unstarted)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stop.set()

    def run(self, patience_s: float = 30.0) -> None:
        """Load until the end. Ctrl-C stops, waits for what is under way (so long), and is raised again."""
        load = self.load
        self._zero = self._clock()
        if load.rate is not None:
            self._waiting = planned_arrivals(load)
        work = self._closed if load.rate is None else self._open
        # Daemons: a call that never returns must not keep the process from its end.
        users = [
            threading.Thread(target=work, args=(i,), name=f"user-{i}", daemon=True) for i in range(load.users)
        ]
        try:
            for user in users:
                user.start()
            _join(users, None)
        except BaseException:
            self.stop()
            _join(users, patience_s)
            raise
        finally:
            self.elapsed_s = self.now
            if load.rate is not None:
                self._count_unstarted()

    def _count_unstarted(self) -> None:
        end = min(self.elapsed_s, self.load.duration_s)
        self.log.given_up_s = end
        with self._next:
            self.log.unstarted.extend(at for at in self._waiting if at < end)

    def _closed(self, user: int) -> None:
        load = self.load
        begin = load.ramp_up_s * user / load.users
        # Who would begin after the end is not waited for.
        if begin >= load.duration_s or not self._wait_until(begin):
            return
        came = self.now
        while not self._stop.is_set() and self.now < load.duration_s:
            started = self.now
            self._one(user, started, started)
            if load.pause_s:
                self._wait_until(min(self.now + load.pause_s, load.duration_s))
        self.log.worked(came, self.now)

    def _open(self, user: int) -> None:
        came = self.now
        while not self._stop.is_set():
            with self._next:
                intended = next(self._waiting, None)
            if intended is None:
                break
            if not self._wait_until(intended):
                break
            started = self.now
            if started >= self.load.duration_s:
                with self._next:
                    self.log.unstarted.append(intended)
                break
            self._one(user, intended, started)
        self.log.worked(came, self.now)

    def _one(self, user: int, intended: float, started: float) -> None:
        try:
            outcome = self._call(user)
        except BaseException as error:  # noqa: BLE001 - in a thread, `SystemExit` is a failure like others
            outcome = Outcome(
                "failed", f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            )
        self.log.add(user, intended, started, self.now, outcome)
        self._on_done(outcome)

    def _wait_until(self, moment: float) -> bool:
        """Wait for a moment; tell whether to go on. The last stretch is slept: an event wakes up late."""
        while (left := moment - self.now) > 0:
            if left > 0.005:
                if self._stop.wait(left - 0.004):
                    return False
            else:
                time.sleep(left)
        return not self._stop.is_set()


def _join(threads: list[threading.Thread], patience_s: float | None) -> None:
    """Wait for threads that run, in short waits: Ctrl-C is heard between them."""
    limit = None if patience_s is None else time.monotonic() + patience_s
    for thread in threads:
        while thread.ident is not None and thread.is_alive():
            if limit is not None and time.monotonic() > limit:
                return
            thread.join(0.2)
