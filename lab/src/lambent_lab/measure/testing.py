"""A lab that runs nothing, for testing what measures: its times come from a seeded generator.

Every environment has a speed of its own (as real processes do) and every invocation a little noise, so
statistics have something to do; equal seeds give equal times. Nothing here is ever shown as a measurement.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path


_STARTED_NS = 1_767_323_045_000_000_000


@dataclass(frozen=True, slots=True)
class FakeBox:
    """A box that holds nothing."""

    kind: str = "fake"
    freeze: str = "none"
    memory: str = "none"
    cpu: str = "none"
    tmp: str = "none"
    user: str = "none"
    network: str = "none"
    limits: str = "none"
    cannot: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FakeReport:
    """The figures of a made-up invocation."""

    duration_ms: float
    billed_ms: int
    init_ms: float | None
    max_memory_mb: int | None
    cpu_ms: float | None
    peak_rss: int | None = None
    peak_with_cache: int | None = None
    extension_ms: float | None = None


@dataclass(frozen=True, slots=True)
class FakeSpan:
    """A made-up span, as far as measuring looks at one."""

    end_ns: int
    attributes: dict[str, object]


@dataclass(slots=True)
class FakeResult:
    """A made-up invocation; a `FakeLab.change` may alter it before it is returned."""

    request_id: str
    cold: bool
    report: FakeReport
    spans: list[object]
    made: int | None = None
    status: str = "success"
    error: str | None = None
    function_error: str | None = None
    payload: object = None
    problems: tuple[str, ...] = ()
    started_ns: int = 0
    log: str = ""

    @property
    def spans_made(self) -> int | None:
        """How many spans the function says that it made: said by a span, so not when all are lost."""
        return self.made if self.spans else None


@dataclass(slots=True)
class FakeLab:
    """A lab whose functions take made-up times.

    cost: what tracing adds, as factors of the untraced times (cold, warm); spans: what a traced invocation
    delivers; change: called with (the function, its environment's number, the invocation's index, the result)
    before the result is returned, to make it fail, raise, or lose spans.
    """

    seed: int = 0
    cost: tuple[float, float] = (1.05, 1.1)
    spans: int = 3
    spread: float = 0.03
    otlp_url: str = "http://127.0.0.1:9"
    box: FakeBox = field(default_factory=FakeBox)
    change: Callable[[FakeFunction, int, int, FakeResult], None] | None = None
    functions: list[FakeFunction] = field(default_factory=list)
    environments: list[FakeFunction] = field(default_factory=list)

    def function(
        self,
        name: str,
        *,
        code: Path,
        handler: str,
        memory: int = 128,
        timeout: float = 3,
        env: Mapping[str, str] | None = None,
        python: Path | None = None,
        bytecode: bool = True,
        init_cpu: Literal["boost", "share"] = "boost",
        runtime: str | None = None,
        layers: Iterable[Path] = (),  # noqa: ARG002 - it runs nothing
    ) -> FakeFunction:
        """Make a function. It is traced unless a variable says that it is not."""
        made = FakeFunction(self, name, code, handler, memory, timeout, dict(env or {}))
        made.python, made.bytecode, made.init_cpu, made.runtime = python, bytecode, init_cpu, runtime
        self.functions.append(made)
        return made


@dataclass(slots=True)
class FakeFunction:
    """A function of a FakeLab."""

    lab: FakeLab
    name: str
    code: Path
    handler: str
    memory: int
    timeout: float
    env: dict[str, str]
    python: Path | None = None
    bytecode: bool = True
    init_cpu: str = "boost"
    runtime: str | None = None
    events: list[object] = field(default_factory=list)
    _environment: int | None = None
    _index: int = 0
    _speed: float = 1.0

    @property
    def traced(self) -> bool:
        """Whether no variable switches tracing off."""
        return "true" not in {self.env.get("OTEL_SDK_DISABLED"), self.env.get("LAMBENT_DISABLED")}

    @property
    def box(self) -> FakeBox | None:
        """The box, while there is an environment."""
        return None if self._environment is None else self.lab.box

    def stop(self) -> None:
        """Forget the environment."""
        self._environment = None

    def invoke(self, event: object = None) -> FakeResult:
        """Make up a result."""
        self.events.append(event)
        cold = self._environment is None
        if self._environment is None:
            self._environment, self._index = len(self.lab.environments), 0
            self.lab.environments.append(self)
            self._speed = self._random("environment").gauss(1, self.lab.spread)
        result = self._result(cold)
        environment, index = self._environment, self._index
        self._index += 1
        if self.lab.change is not None:
            self.lab.change(self, environment, index, result)
        return result

    def _random(self, purpose: str) -> random.Random:
        # Test data, not secrets; the text makes it independent of the order of calls.
        return random.Random(  # noqa: S311
            f"{self.lab.seed}/{purpose}/{len(self.lab.environments)}/{self._index}"
        )

    def _result(self, cold: bool) -> FakeResult:
        source = self._random("invocation")
        factor = self._speed * (1 + source.expovariate(25))
        share = max(1.0, 1769 / self.memory)
        init = 90 * factor * (self.lab.cost[0] if self.traced else 1) if cold else None
        duration = (6 if cold else 1.5) * share * factor * (self.lab.cost[1] if self.traced else 1)
        memory = 38 + (1 if self.traced else 0) + source.choice((0, 0, 0, 1))
        request_id = f"{source.getrandbits(128):032x}"
        # The handler takes what it takes untraced; what tracing adds is the flush.
        ended = _STARTED_NS + int(1e6 * duration / self.lab.cost[1])
        root = FakeSpan(ended, {"faas.invocation_id": request_id})
        inner = FakeSpan(ended - 1000, {})
        spans: list[object] = [root, *[inner] * self.lab.spans]
        return FakeResult(
            request_id=request_id,
            cold=cold,
            report=FakeReport(
                duration_ms=round(duration, 3),
                billed_ms=int(duration + (init or 0)) + 1,
                init_ms=None if init is None else round(init, 3),
                max_memory_mb=memory,
                cpu_ms=round((duration / share + (init or 0)) * 0.9, 3),
                peak_rss=memory * 2**20 - 4096 * source.randrange(64),
                peak_with_cache=(memory + 7) * 2**20,
            ),
            spans=spans[: self.lab.spans if self.traced else 0],
            started_ns=_STARTED_NS,
            made=self.lab.spans if self.traced else None,
            payload={"statusCode": 200},
        )


class HandClock:
    """A clock in nanoseconds that moves when told to, for the testers of functions."""

    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        """The time."""
        return self.now

    def advance_ms(self, milliseconds: float) -> None:
        """Move on."""
        self.now += round(milliseconds * 1e6)


class FakeMemory:
    """A memory probe: `values` are looked at one after the other, the last one for ever, or `read` says."""

    peak_source = "made up"

    def __init__(self) -> None:
        self.values = [100.0]
        self.peak: float | None = None
        self.read: Callable[[], float] | None = None
        self._highest = 0.0

    def rss_mb(self) -> float:
        """What is resident now."""
        if self.read is not None:
            now = self.read()
        else:
            now = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        self._highest = max(self._highest, now)
        return now

    def begin_peak(self) -> None:
        """From here on."""
        self._highest = 0.0

    def peak_mb(self) -> float:
        """The most."""
        return self._highest if self.peak is None else self.peak
