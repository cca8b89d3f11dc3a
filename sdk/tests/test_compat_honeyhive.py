"""`lambent.compat.honeyhive`: what programs written for HoneyHive's SDK import, call and pass."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sdk.tests.exporters.conftest import OK, Server, answering

import lambent
from lambent.compat import honeyhive
from lambent.compat.honeyhive import (
    EventType,
    HoneyHiveTracer,
    atrace,
    clear_registry,
    enrich_session,
    enrich_span,
    flush,
    get_default_tracer,
    set_default_tracer,
    trace,
    trace_class,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFUSED = "http://127.0.0.1:9"
SPECIFIED = {
    "api_key": "test-key",
    "project": "test-project",
    "source": "development",
    "session_name": "lambda-basic-test",
    "test_mode": True,
    "disable_http_tracing": True,
    "timeout": 5.0,
}


@pytest.fixture
def tracer() -> Iterator[HoneyHiveTracer]:
    made = HoneyHiveTracer.init(**SPECIFIED)
    yield made
    made.close()


def spans(tracer: Any) -> dict[str, Any]:
    (exporter,) = tracer.delivery.exporters
    return {span.name: span for span in exporter.spans}


# Imports.


@pytest.mark.parametrize(
    "name", ["", ".tracer", ".tracer.otel_tracer", ".tracer.decorators", ".decorators", ".models"]
)
def test_each_module_has_the_names(name: str) -> None:
    module = importlib.import_module(f"lambent.compat.honeyhive{name}")
    for each in (
        "HoneyHiveTracer",
        "trace",
        "atrace",
        "trace_class",
        "enrich_span",
        "enrich_session",
        "EventType",
    ):
        assert hasattr(module, each)


@pytest.mark.parametrize(
    "statement",
    [
        "from lambent.compat.honeyhive.tracer.otel_tracer import HoneyHiveTracer, enrich_span",
        "from lambent.compat.honeyhive.models import EventType",
        "import lambent.compat.honeyhive.tracer.decorators as d; d.trace",
        "import lambent.compat.honeyhive; lambent.compat.honeyhive.tracer.otel_tracer.enrich_span",
        "from lambent.compat import honeyhive; honeyhive.models.EventType",
    ],
)
def test_a_submodule_may_be_the_first_import(statement: str, run_python: Any) -> None:
    run_python(f"{statement}\nimport sys\nassert 'lambent.compat.honeyhive' in sys.modules")


def test_what_is_not_there_says_so() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("lambent.compat.honeyhive.nothing")


# The tracer.


def test_init_takes_what_the_specification_shows(tracer: HoneyHiveTracer) -> None:
    assert isinstance(tracer, HoneyHiveTracer)
    assert isinstance(tracer, lambent.Tracer)
    assert lambent.get_tracer() is tracer
    config = tracer.config
    assert (config.project, config.source, config.session_name) == (
        "test-project",
        "development",
        "lambda-basic-test",
    )
    assert (config.test_mode, config.disable_http_tracing, config.timeout) == (True, True, 5.0)
    assert (tracer.project_name, tracer.source_environment) == ("test-project", "development")
    assert (tracer.is_test_mode, tracer.is_initialized) == (True, True)
    assert (tracer.project, tracer.source, tracer.session_name) == (
        "test-project",
        "development",
        "lambda-basic-test",
    )
    assert (tracer.api_key, tracer.server_url) == ("test-key", "")
    assert (tracer.test_mode, tracer.disable_http_tracing) == (True, True)


def test_the_class_may_be_called() -> None:
    tracer = HoneyHiveTracer(api_key="k", test_mode=True)
    assert type(tracer) is HoneyHiveTracer
    assert tracer.force_flush(timeout_millis=100) is True
    tracer.close()


@pytest.mark.parametrize(
    ("variables", "backend"),
    [
        ({}, "honeyhive"),
        ({"HH_API_KEY": "k"}, "honeyhive"),
        ({"CORALOGIX_API_KEY": "k"}, "honeyhive"),
        ({"LAMBENT_BACKEND": "coralogix"}, "coralogix"),
    ],
)
def test_the_backend_is_honeyhive_unless_another_is_named(
    variables: dict[str, str], backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracer = HoneyHiveTracer.init(test_mode=True)
    assert tracer.config.backend == backend
    tracer.close()


def test_the_key_does_not_go_to_somebody_elses_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracer = HoneyHiveTracer.init(api_key="the-key")
    (exporter,) = tracer.delivery.exporters
    assert "the-key" not in repr(vars(exporter))
    tracer.close()


def test_spans_leave_without_a_decorated_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    from lambent.exporters import Exporter, Result

    class Batches(Exporter):
        waits = False

        def __init__(self) -> None:
            self.batches: list[list[str]] = []

        def export(self, spans: Any, timeout: float) -> Result:
            self.batches.append([span.name for span in spans])
            return Result()

    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    exporter = Batches()
    tracer = HoneyHiveTracer.init(exporter=exporter, recorder=False)
    with tracer.start_span("root"), tracer.start_span("inner"):
        pass
    assert exporter.batches == [["inner", "root"]]

    @tracer.handler
    def handler(event: Any, context: Any) -> None:
        with tracer.start_span("within"):
            pass

    handler({}, None)
    assert [len(batch) for batch in exporter.batches] == [2, 2]
    tracer.close()


def test_a_flush_after_the_block_tells_what_the_end_of_the_block_has_lost(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from lambent.exporters import Exporter, Result

    class Failing(Exporter):
        waits = False
        answer = Result()

        def export(self, spans: Any, timeout: float) -> Result:  # a fake
            return self.answer

    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    exporter = Failing()
    tracer = HoneyHiveTracer.init(exporter=exporter, recorder=False)

    def flushed(answer: Result) -> list[bool]:
        exporter.answer = answer
        with tracer.start_span("lambda-operation"):
            pass
        exporter.answer = Result()
        return [tracer.force_flush(timeout_millis=2000), tracer.flush()]

    assert flushed(Result()) == [True, True]
    assert flushed(Result(False, 1, reason="no answer")) == [False, True]
    assert "no answer" in capfd.readouterr().err
    assert flushed(Result(False, 1, reason="refused", again=True)) == [True, True]  # it got there later
    tracer.close()


def test_a_tracer_made_in_each_invocation_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the specification's production test does it, which closes none of them."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    arguments: dict[str, Any] = {"api_key": "k", "project": "p", "server_url": "http://127.0.0.1:9"}
    made: list[HoneyHiveTracer] = []
    for invocation in range(3):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root=1-5759e988-bd862e3fe1be46a99427279{invocation}")
        monkeypatch.setenv("REQUEST", str(invocation))
        made.append(HoneyHiveTracer.init(**arguments))
    assert {id(each.delivery) for each in made} == {id(made[0].delivery)}
    other = HoneyHiveTracer.init(**{**arguments, "project": "q"})
    session = HoneyHiveTracer.init(**arguments, session_id="mine")
    monkeypatch.setenv("HH_SOURCE", "elsewhere")
    moved = HoneyHiveTracer.init(**arguments)
    assert len({each.delivery for each in (made[0], other, session, moved)}) == 4
    for tracer in (other, session, moved, made[2], made[1]):
        tracer.close()
    closed = [made[0].delivery.closed]  # not while somebody has it
    made[0].close()
    monkeypatch.delenv("HH_SOURCE")
    again = HoneyHiveTracer.init(**arguments)
    closed += [made[0].delivery.closed, again.delivery.closed]
    again.close()
    assert [*closed, again.delivery.closed] == [False, True, False, True]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(answering(OK))
    yield made
    made.close()


def names(server: Server) -> list[str]:
    return [
        span.name
        for request in server.requests
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@pytest.fixture
def in_lambda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    monkeypatch.setenv("LAMBENT_RECORDER_FOLDER", str(tmp_path))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20000")  # on a busy machine one second may pass
    made: list[HoneyHiveTracer] = []
    monkeypatch.setattr(honeyhive, "_open", made)
    yield
    for tracer in made.copy():
        tracer.delivery.close(0)
        tracer.close()


@pytest.mark.usefixtures("in_lambda")
def test_tracers_that_differ_and_are_never_closed_are_bounded(
    capfd: pytest.CaptureFixture[str], server: Server, tmp_path: Path
) -> None:
    """Any of them may be used again, in any way, and no span of theirs is lost."""
    kept: list[HoneyHiveTracer] = []
    works: list[Any] = []
    expected: list[str] = []

    def invocation(number: int) -> None:
        tracer = HoneyHiveTracer.init(api_key="k", server_url=server.url, session_name=f"s{number}")
        kept.append(tracer)
        works.append(trace(tracer=tracer, event_name=f"work {number}")(lambda: tracer.enrich_span({"a": 1})))
        with tracer.start_span(f"root {number}"):
            assert works[-1]()
        expected.extend([f"root {number}", f"work {number}"])

    for number in range(10):
        invocation(number)
    held = kept[3].start_span("held")
    for number in range(10, 60):
        invocation(number)
    assert len(list(tmp_path.iterdir())) <= 16
    assert len(honeyhive._open) == 16
    held.end()
    for number in (4, 5, 6):
        works[number]()
        expected.append(f"work {number}")

    @kept[7].handler
    def handler(event: Any, context: Any) -> str:
        with kept[8].trace("inside"):
            return str(kept[8].project)

    handler({}, None)
    with kept[9].start_as_current_span("again"):
        pass
    assert kept[9].flush()
    expected += ["held", "inside", "orders", "again"]
    assert sorted(names(server)) == sorted(expected)
    assert len(honeyhive._open) == 16
    for tracer in kept:
        stats = tracer.stats()
        assert stats.started == stats.ended == stats.acknowledged >= 2
        assert (stats.lost, stats.waiting) == (0, 0)
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "more than 16 HoneyHiveTracers are open" in said
    for tracer in kept[-20:]:
        tracer.close()
        assert tracer.delivery.closed
    assert all(isinstance(each, HoneyHiveTracer) for each in kept)


@pytest.mark.usefixtures("in_lambda")
def test_a_backend_that_takes_nothing_does_not_let_them_add_up(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(honeyhive, "_MOST", 2)
    tracers = []
    for number in range(11):
        name = f"s{number}"
        tracers.append(HoneyHiveTracer.init(api_key="k", server_url=REFUSED, session_name=name, timeout=0.05))
        with tracers[-1].start_span("root"):
            pass
    assert len(honeyhive._open) <= 9
    lost = [tracer.stats() for tracer in tracers]
    assert [stats.started for stats in lost] == [1] * 11
    assert all(stats.lost + stats.waiting == 1 for stats in lost)
    assert "gave up 1 of 1 spans" in capfd.readouterr().err


def test_a_tracer_that_sleeps_is_woken_once(server: Server, in_lambda: None) -> None:
    first = HoneyHiveTracer.init(api_key="k", server_url=server.url, session_name="first")
    another = HoneyHiveTracer.init(api_key="k", server_url=server.url, session_name="another")
    for number in range(16):
        HoneyHiveTracer.init(api_key="k", server_url=server.url, session_name=f"s{number}")
    assert first is lambent._default  # it may be asked for anywhere, and does not sleep
    assert another not in honeyhive._open
    ready = threading.Barrier(8)

    def use() -> None:
        ready.wait(20)
        another.start_span("used").end()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    another.force_flush()
    assert another.stats().acknowledged == 8
    assert names(server) == ["used"] * 8
    assert honeyhive._open.count(another) == 1


def test_sessions() -> None:
    from lambent.exporters.memory import MemoryExporter

    tracer = HoneyHiveTracer.init(exporter=MemoryExporter(), session_id="mine")
    assert tracer.session_id == "mine"
    with tracer.trace("x"):
        assert tracer.session_id == "mine"
    assert spans(tracer)["x"].attributes["honeyhive.session_id"] == "mine"
    tracer.close()
    tracer = HoneyHiveTracer.init(exporter=MemoryExporter())
    assert tracer.session_id is None
    seen: list[str | None] = []
    for _ in range(2):
        with tracer.trace("x"):
            seen.append(tracer.session_id)
    assert len({*seen} - {None}) == 2
    tracer.close()


def test_a_session_for_each_invocation_as_the_original_makes_them() -> None:
    from lambent.exporters.memory import MemoryExporter
    from lambent.propagation import baggage

    memory = MemoryExporter()
    tracer = HoneyHiveTracer.init(exporter=memory)

    @trace(tracer=tracer)
    def work() -> None:
        assert baggage.current()["session_id"] == tracer.session_id

    def handler() -> str:
        made = tracer.create_session(session_name="order", inputs={"id": 7}, user_properties={"plan": "free"})
        assert tracer.session_id == made
        work()
        with tracer.trace("rest"):
            work()
        return made

    first, second = contextvars.copy_context().run(handler), contextvars.copy_context().run(handler)
    assert first != second
    ids = [span.attributes["session.id"] for span in memory.spans]
    assert ids == [first] * 3 + [second] * 3
    for span in memory.spans:
        assert span.attributes["honeyhive.session_id"] == span.attributes["session.id"]
        assert (span.attributes.get("honeyhive_session_name") == "order") is (span.parent is None)
        assert (span.attributes.get("honeyhive_inputs.id") == 7) is (span.parent is None)
    memory.clear()

    @tracer.handler
    def within(event: object, context: object) -> None:
        with tracer.trace("outer"):
            assert tracer.create_session(session_id="mine", metadata={"a": 1}, skip_api_call=True) == "mine"
            work()
        assert enrich_session(metadata={"b": 2})
        with tracer.with_session("other") as other:
            work()
            assert memory.spans[-1].attributes["session.id"] == other
        assert len({asyncio.run(tracer.acreate_session()), tracer.session_start(), ""}) == 3

    within({}, None)
    inner, outer = memory.spans[:2]
    assert (inner.attributes["session.id"], outer.attributes["session.id"]) == ("mine", "mine")
    root = memory.spans[-1].attributes
    assert (root["honeyhive_metadata.a"], root["honeyhive_metadata.b"]) == (1, 2)
    assert "session_id" not in baggage.current()
    tracer.shutdown()


def test_a_span_with_the_originals_defaults(tracer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with tracer.start_span("x", kind=None, attributes=None, links=None, start_time=None):
        pass
    assert spans(tracer)["x"].kind.name == "INTERNAL"
    assert capfd.readouterr().err == ""


def test_enriching_a_session_that_is_over_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    tracer = HoneyHiveTracer.init(test_mode=True)
    assert not tracer.enrich_session(outputs={"a": 1})
    assert capfd.readouterr().err.count("enrich_session needs an open span") == 1
    tracer.close()


def test_sessions_where_nothing_is_sent() -> None:
    tracer = HoneyHiveTracer.init(test_mode=True)

    def handler() -> None:
        made = tracer.create_session("s")
        with tracer.trace("x"):
            assert tracer.session_id == made

    contextvars.copy_context().run(handler)
    assert spans(tracer)["x"].attributes["honeyhive_session_name"] == "s"
    tracer.close()


def test_baggage_and_carriers(tracer: HoneyHiveTracer) -> None:
    module = importlib.import_module("lambent.compat.honeyhive.tracer.processing.context")

    def send() -> dict[str, str]:
        tracer.set_baggage("tenant", 7)
        assert (tracer.get_baggage("tenant"), tracer.get_baggage("none")) == ("7", None)
        carrier: dict[str, str] = {}
        with module.enrich_span_context(event_name="call", inputs={"a": 1}, team="x"):
            tracer.inject_context(carrier)
            again: dict[str, str] = {}
            module.inject_context_into_carrier(again, tracer)
        assert again == carrier
        return carrier

    carrier = contextvars.copy_context().run(send)
    received = module.with_distributed_trace_context(carrier, tracer, session_id="s-1")
    with received, tracer.trace("serve"):
        assert tracer.get_baggage("tenant") == "7"
        assert tracer.session_id == "s-1"
    assert tracer.get_baggage("tenant") is None
    found = spans(tracer)
    assert found["call"].attributes["honeyhive_inputs.a"] == 1
    assert found["call"].attributes["honeyhive_metadata.team"] == "x"
    assert found["serve"].parent.span_id == found["call"].context.span_id
    assert tracer.extract_context(carrier)


@pytest.mark.parametrize("form", ["in order", "object", "mapping", "both"])
def test_arguments_in_each_form(form: str) -> None:
    models = importlib.import_module("lambent.compat.honeyhive.config.models")
    config = models.TracerConfig(api_key="key", project="shop", verbose=False, cache_enabled=True, unknown=1)
    session = models.SessionConfig(session_name="s", source=None)
    made: Any
    if form == "in order":
        made = HoneyHiveTracer.init("key", "shop", "s", test_mode=True)
    elif form == "object":
        made = HoneyHiveTracer(config, session, test_mode=True)
    elif form == "mapping":
        made = HoneyHiveTracer(config=vars(config), session_config=vars(session), test_mode=True)
    else:
        made = HoneyHiveTracer(config=config, session_name="s", test_mode=True)
    config = made.config
    assert (config.api_key, config.project, config.session_name) == ("key", "shop", "s")
    made.close()


def test_an_unknown_argument_is_an_error() -> None:
    with pytest.raises(lambent.ConfigError, match="did you mean 'project'"):
        HoneyHiveTracer.init(projekt="x")


def test_arguments_without_a_meaning_are_said(capfd: pytest.CaptureFixture[str]) -> None:
    tracer = HoneyHiveTracer.init(
        test_mode=True, run_id="r", disable_batch=False, verbose=True, ingestion_api_key="hh_ingst_x"
    )
    said = capfd.readouterr().err
    assert "run_id" in said
    assert "disable_batch" not in said  # it asks for nothing
    assert "hh_ingst_x" not in said
    assert (tracer.config.log_level, tracer.config.api_key) == ("debug", "hh_ingst_x")
    tracer.close()


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracer = HoneyHiveTracer.init(**SPECIFIED)
    with tracer.trace("x", event_type="tool", key=1) as span, tracer.start_span("y"):
        span.set_attribute("a", 1)
    assert not tracer.enrich_span(metadata={"a": 1})
    assert tracer.flush() is True

    @trace(tracer=tracer, event_type="tool")
    def work() -> int:
        return 3

    assert work() == 3
    tracer.close()


def test_trace_takes_an_event_type_and_attributes(tracer: HoneyHiveTracer) -> None:
    with tracer.trace("plain"):
        pass
    with tracer.trace("typed", event_type=EventType.model, attributes={"a": 1}, size=2, kind=3) as span:
        assert lambent.current_span() is span
    with tracer.trace("positional", "chain"):
        pass
    found = spans(tracer)
    assert found["typed"].attributes["honeyhive_event_type"] == "model"
    assert (found["typed"].attributes["a"], found["typed"].attributes["size"]) == (1, 2)
    assert found["typed"].kind.name == "PRODUCER"
    assert found["positional"].attributes["honeyhive_event_type"] == "chain"


# Decorators.


def test_the_tracer_decorates_too(tracer: HoneyHiveTracer) -> None:
    other = HoneyHiveTracer.init(test_mode=True)

    def work() -> int:
        return 1

    assert (other.trace(event_type="tool")(work)(), other.trace(work)()) == (1, 1)
    assert [len(each.delivery.exporters[0].spans) for each in (other, tracer)] == [2, 0]  # type: ignore[attr-defined]
    other.close()


def test_instrumentors_are_given_the_provider() -> None:
    class Instrumentor:
        given: Any = None

        def instrument(self, tracer_provider: Any) -> None:
            self.given = tracer_provider

    instrumentor = Instrumentor()
    tracer = HoneyHiveTracer.init(test_mode=True, instrumentors=[instrumentor])
    assert instrumentor.given is tracer.provider
    tracer.close()


def test_the_decorators(tracer: HoneyHiveTracer) -> None:
    @trace
    def bare() -> int:
        return 1

    @trace()
    def called() -> int:
        return 2

    @trace(tracer=tracer, event_type="tool", event_name="named", user_id="u-1")
    def full(value: int) -> int:
        return value

    @trace("model", "positional")
    def positional() -> None: ...

    @atrace(tracer=tracer, event_type=EventType.tool)
    async def coroutine() -> int:
        await asyncio.sleep(0)
        return 3

    assert (bare(), called(), full(5), positional(), asyncio.run(coroutine())) == (1, 2, 5, None, 3)
    found = spans(tracer)
    assert len(found) == 5
    named = found["named"].attributes
    assert (named["honeyhive_event_type"], named["honeyhive_metadata.user_id"]) == ("tool", "u-1")
    assert (named["honeyhive_inputs.value"], named["honeyhive_outputs.result"]) == (5, 5)
    assert found["positional"].attributes["honeyhive_event_type"] == "model"


def test_a_tracer_that_could_not_be_made_is_none() -> None:
    # As the specification's basic function has it: `tracer = None` where the init failed.
    @trace(tracer=None, event_type="tool", event_name="basic_operation")
    def process(data: dict[str, Any]) -> dict[str, Any]:
        return data

    assert process({"a": 1}) == {"a": 1}


def test_a_kind_of_event_that_does_not_exist_is_said(
    tracer: HoneyHiveTracer, capfd: pytest.CaptureFixture[str]
) -> None:
    @trace(event_type="tol")
    def work() -> int:
        return 1

    assert work() == 1
    assert "did you mean 'tool'" in capfd.readouterr().err
    with tracer.start_span("outer") as outer:
        assert enrich_span({"a": 1}, event_type="tol")
        assert outer.attributes["honeyhive_metadata.a"] == 1


def test_classes_are_traced(tracer: HoneyHiveTracer) -> None:
    @trace_class
    class Service:
        def work(self) -> int:
            return 1

    assert Service().work() == 1
    assert len(spans(tracer)) == 1


def test_methods_of_every_kind_are_traced(tracer: HoneyHiveTracer) -> None:
    class Service:
        @trace
        @classmethod
        def of_class(cls) -> str:
            return cls.__name__

        @trace  # type: ignore[prop-decorator]  # no type checker can follow that
        @property
        def computed(self) -> int:
            return 2

        @atrace
        @staticmethod
        async def static(value: int) -> int:
            return value

        @tracer.trace
        @classmethod
        def of_tracer(cls) -> int:
            return 4

    service = Service()
    assert (Service.of_class(), service.computed, asyncio.run(Service.static(3)), Service.of_tracer()) == (
        "Service",
        2,
        3,
        4,
    )
    assert len(spans(tracer)) == 4


# Enrichment.


def test_enrichment_as_a_call_and_as_a_block(tracer: HoneyHiveTracer) -> None:
    assert not enrich_span(metadata={"a": 1})
    with tracer.start_span("outer") as outer:
        assert enrich_span(metadata={"a": {"b": 1}}, outputs={"done": True}, error=None, tracer=tracer)
        assert enrich_span({"attribute": 1}, feature="chat", tracer_instance=tracer)
        assert tracer.enrich_span(metrics={"score": 0.5}, user_properties={"plan": "pro"})
        with enrich_span(tracer=tracer, metadata={"in": "block"}, outputs={"x": 1}, error=None) as span:
            assert span is outer
        assert enrich_session("session-1", {"who": "me"})
        assert tracer.enrich_session({"how": "well"}, session_id="session-1")
    attributes = spans(tracer)["outer"].attributes
    expected = {
        "honeyhive_metadata.a.b": 1,
        "honeyhive_outputs.done": True,
        "honeyhive_metadata.attribute": 1,
        "honeyhive_metadata.feature": "chat",
        "honeyhive_metrics.score": 0.5,
        "honeyhive_user_properties.plan": "pro",
        "honeyhive_metadata.in": "block",
        "honeyhive_outputs.x": 1,
        "honeyhive_metadata.who": "me",
        "honeyhive_metadata.how": "well",
    }
    assert {name: attributes.get(name) for name in expected} == expected


def test_arguments_by_position_mean_what_they_do_in_the_original(tracer: HoneyHiveTracer) -> None:
    other = HoneyHiveTracer.init(test_mode=True)

    def said(part: str) -> dict[str, Any]:
        return {name: value for name, value in outer.attributes.items() if part in name}

    parts: list[Any] = [{str(number): number} for number in range(7)]
    names = ("metadata", "metadata", "metrics", "feedback", "inputs", "outputs", "config")
    with tracer.start_span("outer") as outer, other.start_span("inner") as inner:
        assert enrich_span(*parts, "late", "event-1", tracer)
        for number, name in enumerate(names):
            assert outer.attributes[f"honeyhive_{name}.{number}"] == number
        assert (said("error"), said("event_id")) == (
            {"honeyhive_error": "late"},
            {"honeyhive_event_id": "event-1"},
        )
        assert tracer.enrich_span(*parts, {"plan": "pro"}, "later", "event-2", "event-3")
        assert said("user_properties") == {"honeyhive_user_properties.plan": "pro"}
        assert (said("error"), said("event_id")) == (
            {"honeyhive_error": "later"},
            {"honeyhive_event_id": "event-3"},
        )
        session: list[Any] = [{f"s{number}": number} for number in range(7)]
        assert tracer.enrich_session(*session, "session-1")
        order = ("metadata", "inputs", "outputs", "config", "feedback", "metrics", "user_properties")
        for number, name in enumerate(order):
            assert outer.attributes[f"honeyhive_{name}.s{number}"] == number
        assert enrich_session("session-1", {"first": 1}, tracer)
        assert enrich_session("session-1", {"second": 2}, tracer_instance=tracer)
        assert {"honeyhive_metadata.first", "honeyhive_metadata.second"} <= said("metadata").keys()
        assert not [name for name in inner.attributes if name.startswith("honeyhive_")]
    with tracer.with_session("a name", {"question": "?"}, {"m": 1}, {"plan": "free"}, "tests") as made:
        assert "{" not in made
        with tracer.start_span("in a session") as outer:
            assert said("inputs.question") == {"honeyhive_inputs.question": "?"}
            assert outer.attributes["honeyhive_session_name"] == "a name"
            assert outer.attributes["session.id"] == made
    assert flush(tracer_instance=tracer, timeout_millis=100)
    other.close()


def test_values_that_are_no_mappings_are_no_error(tracer: HoneyHiveTracer) -> None:
    def said(*values: Any, **more: Any) -> Any:
        with tracer.start_span("x") as span:
            assert enrich_span(*values, **more)
        found = {name: value for name, value in span.attributes.items() if name.startswith("honeyhive_meta")}
        return {name.removeprefix("honeyhive_metadata"): value for name, value in found.items()}

    assert said("text") == {"": "text"}
    assert said([1, 2]) == {".0": 1, ".1": 2}
    assert said(metadata="text", score=1) == {".value": "text", ".score": 1}
    assert said({"a": 1}, metadata=[2]) == {".value.0": 2, ".a": 1}
    assert said({"a": 1}, {"a": 2, "b": 3}, c=4) == {".a": 1, ".b": 3, ".c": 4}

    @trace(metadata="text", user_id="u")
    def work() -> int:
        return 1

    assert work() == 1
    assert spans(tracer)["work"].attributes["honeyhive_metadata.user_id"] == "u"


# The default tracer.


def test_the_default_tracer(tracer: HoneyHiveTracer) -> None:
    other = HoneyHiveTracer.init(test_mode=True)
    assert get_default_tracer() is tracer
    set_default_tracer(other)
    assert get_default_tracer() is other
    assert flush(timeout_millis=100) is True
    assert flush(tracer, 100) is True
    assert HoneyHiveTracer.flush_all(100) is True
    clear_registry()
    assert get_default_tracer() is None
    other.close()


def test_all_of_it_loads_nothing_of_opentelemetry(run_python: Any) -> None:
    run_python(
        "from lambent.compat.honeyhive import HoneyHiveTracer, trace, enrich_span\n"
        "tracer = HoneyHiveTracer.init(api_key='k', project='p', test_mode=True)\n"
        "with tracer.trace('x'): enrich_span(metadata={'a': 1})\n"
        "import sys\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
