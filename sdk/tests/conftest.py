"""What the tests of the SDK share: a clean process state, fresh interpreters, generated spans."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import lambent
from lambent import config, diagnostics, handler, root
from lambent.context import CURRENT, SpanContext, TraceFlags, TraceState
from lambent.delivery import sync
from lambent.parts import Link
from lambent.propagation.baggage import BAGGAGE
from lambent.resource import InstrumentationScope, Resource
from lambent.span import Span
from lambent.testing import RecordingTracer, recording_tracer

if TYPE_CHECKING:
    from sdk.tests.exporters.conftest import Script, Server, StartServer

EVENTS = Path(__file__).parent / "events"
SOURCE = Path(lambent.__file__).parent
PROJECT = Path(__file__).parents[1]

settings.register_profile("sdk", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.load_profile("sdk")

_OURS = ("OTEL_", "AWS_", "LAMBENT_", "LAMBDA_", "HH_", "OTLP_", "_X_AMZN")


@pytest.fixture(autouse=True)
def process_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test the state of a new process, and check that it leaves no span current."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.setattr(lambent, "_default", None)
    monkeypatch.setattr(config, "known", [])
    monkeypatch.setattr(diagnostics, "_said", set())
    monkeypatch.setattr(handler, "_cold", True)
    monkeypatch.setattr(root, "_canary", True)
    before = set(sync._open)
    token, entries = CURRENT.set(None), BAGGAGE.set({})
    yield
    CURRENT.reset(token)
    BAGGAGE.reset(entries)
    for delivery in set(sync._open) - before:
        delivery.close(0.001)
    _leave_the_api()
    from lambent.delivery import recorder, recorder_rare

    for path in recorder.OWN:
        Path(path).unlink(missing_ok=True)
    for each in list(recorder.recorders):
        recorder_rare.in_child(each)
    recorder.recorders.clear()
    recorder.OWN.clear()


def _leave_the_api() -> None:
    """Have OpenTelemetry's API as it is when nobody has set a provider."""
    api: Any = sys.modules.get("opentelemetry.trace")
    runtime: Any = sys.modules.get("lambent.otel")
    if api is not None and runtime is not None:
        api._TRACER_PROVIDER = None
        api._TRACER_PROVIDER_SET_ONCE = api.Once()
        runtime.runtime.leave_http = False


@pytest.fixture(params=sorted(path.name for path in EVENTS.glob("*.json")))
def event_name(request: pytest.FixtureRequest) -> str:
    """The name of each sample event in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def load_event() -> Callable[[str], Any]:
    """Read a sample event."""

    def load(name: str) -> Any:
        return json.loads((EVENTS / name).read_text())

    return load


RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def run_python(tmp_path_factory: pytest.TempPathFactory) -> RunPython:
    """Run a program in a fresh interpreter that finds nothing but the SDK; it must succeed."""
    folders = tmp_path_factory.mktemp("processes")

    def run(
        program: str, env: dict[str, str] | None = None, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        # As in an environment of its own: what one process leaves is not the next one's.
        temporary = tempfile.mkdtemp(dir=folders)
        done = subprocess.run(
            [sys.executable, "-S", "-B", "-c", program],
            env={
                "PYTHONPATH": str(SOURCE.parent),
                "PATH": os.environ["PATH"],
                "TMPDIR": temporary,
                **(env or {}),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture
def serve() -> Iterator[StartServer]:
    """Start servers: `serve(script)` or `serve(b"answer", b"next answer")`."""
    from sdk.tests.exporters.conftest import OK, Server, answering

    servers: list[Server] = []

    def start(*script: Script | bytes, family: int = socket.AF_INET) -> Server:
        answers = [part for part in script if isinstance(part, bytes)]
        scripts = [part for part in script if not isinstance(part, bytes)]
        try:
            server = Server(scripts[0] if scripts else answering(*(answers or [OK])), family)
        except OSError as error:
            if family != socket.AF_INET6:
                raise
            pytest.skip(f"no IPv6 here: {error}")
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def tracer() -> Iterator[RecordingTracer]:
    """A tracer that keeps its spans."""
    made = recording_tracer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys, wheel_backend; wheel_backend.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(folder)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        check=True,
        timeout=120,
    )
    return next(folder.glob("*.whl"))


# Generated spans.

_TEXT = st.text(max_size=20) | st.sampled_from(
    ["ü" * 70, "x" * 127, "y" * 128, "z" * 20_000, "\ud800", "a\udfffb"]
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63 - 1, -(2**63), 2**63, 2**64, -(2**63) - 1, 10**200])
    | st.floats()
    | _TEXT
    | st.binary(max_size=200)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_ATTRIBUTES = st.dictionaries(_TEXT, _VALUES, max_size=6)
_TIMES = st.integers(0, 2**64 - 1)
_KEYS = st.text("abcxyz019_-*/", min_size=1, max_size=8).map(lambda text: f"k{text}")
_STATES = st.dictionaries(_KEYS, st.text("abc:1.9", min_size=1, max_size=8), max_size=3).map(TraceState)
_CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.integers(0, 1),
    _STATES,
)


@st.composite
def _tracers(draw: st.DrawFn) -> RecordingTracer:
    tracer = recording_tracer()
    tracer._identity = (
        Resource(draw(_ATTRIBUTES), draw(st.sampled_from(["", "https://example.org/1"]))),
        InstrumentationScope(
            draw(_TEXT), draw(_TEXT), draw(st.sampled_from(["", "https://example.org/2"])), draw(_ATTRIBUTES)
        ),
    )
    return tracer


@st.composite
def _spans(draw: st.DrawFn, tracer: RecordingTracer) -> Span:
    tracer._sampler = None
    parent = draw(st.none() | _CONTEXTS)
    if parent is not None:
        parent.trace_flags = TraceFlags(1)
    span = tracer.start_span(
        draw(_TEXT),
        context=parent,
        kind=draw(st.integers(0, 4)),
        attributes=draw(_ATTRIBUTES),
        links=[Link(draw(_CONTEXTS), draw(_ATTRIBUTES)) for _ in range(draw(st.integers(0, 2)))],
        start_time=draw(_TIMES),
    )
    assert isinstance(span, Span)
    for _ in range(draw(st.integers(0, 2))):
        span.add_event(draw(_TEXT), draw(_ATTRIBUTES), draw(_TIMES))
    if draw(st.booleans()):
        span.set_status(draw(st.integers(0, 2)), draw(st.none() | _TEXT))
    if draw(st.booleans()):
        span.dropped_attributes, span.dropped_events, span.dropped_links = draw(
            st.tuples(*[st.integers(0, 2**32 - 1)] * 3)
        )
        span._recorded = -1  # as whoever drops something sets it
    if draw(st.booleans()):
        span.end(draw(_TIMES))
    return span


@st.composite
def _batches(draw: st.DrawFn) -> Sequence[Span]:
    spans = []
    for tracer in draw(st.lists(_tracers(), min_size=1, max_size=2)):
        spans += [draw(_spans(tracer)) for _ in range(draw(st.integers(1, 3)))]
        tracer.close()
    return draw(st.permutations(spans))


@pytest.fixture(scope="session")
def span_batches() -> st.SearchStrategy[Sequence[Span]]:
    """Spans of several tracers with everything that a span can hold, some of them still open."""
    return _batches()
