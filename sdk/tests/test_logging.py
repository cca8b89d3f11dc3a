"""Log records with the ids of their span, and spans with what was logged in them."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import queue
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_log_utils import JsonFormatter

import lambent
import lambent.logging as correlation
from lambent import diagnostics
from lambent.testing import LambdaContext, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = "%(trace_id)s|%(span_id)s|%(faas.invocation_id)s|%(message)s"
REQUEST = "11111111-2222-4333-8444-555555555555"


class Log:
    """A logger of a test's own, and what it wrote."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.stream = io.StringIO()
        self.logger = logging.Logger("shop")  # noqa: LOG001  # no other test's
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(formatter)
        self.logger.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture(autouse=True)
def leave_logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(correlation, "_missing", "")  # as in a new process; JSON lines have null
    before, factory = logging.Logger.callHandlers, logging.getLogRecordFactory()
    yield
    correlation.uninstall()
    assert logging.Logger.callHandlers is before
    assert logging.getLogRecordFactory() is factory


@pytest.fixture
def log() -> Log:
    return Log(logging.Formatter(FORMAT))


@pytest.fixture
def json_log(monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setenv("AWS_LAMBDA_LOG_FORMAT", "JSON")
    lambent.init(test_mode=True).close()
    return Log(JsonFormatter())


def ids(span: Any) -> str:
    return f"{span.context.trace_id:032x}|{span.context.span_id:016x}"


def test_records_carry_the_ids_of_the_current_span(log: Log) -> None:
    tracer = recording_tracer()
    correlation.install()

    @tracer.handler
    def handler(event: object, context: object) -> None:
        log.logger.info("in the handler")
        with tracer.trace("inner"):
            log.logger.info("inner %s", "text")

    log.logger.info("before")
    handler({}, LambdaContext(aws_request_id=REQUEST))
    with tracer.trace("alone"):
        log.logger.info("no invocation")
    inner, root, alone = tracer.spans
    assert log.lines == [
        "|||before",
        f"{ids(root)}|{REQUEST}|in the handler",
        f"{ids(inner)}|{REQUEST}|inner text",
        f"{ids(alone)}||no invocation",
    ]


@pytest.mark.parametrize("style", ["{", "$"])
def test_other_styles_of_formats(style: Any) -> None:
    text = {"{": "{trace_id}|{span_id}|{message}", "$": "$trace_id|$span_id|$message"}[style]
    log = Log(logging.Formatter(text, style=style))
    correlation.install()
    with recording_tracer().trace("s") as span:
        log.logger.info("x")
    assert log.lines == [f"{ids(span)}|x"]


def test_an_unsampled_span_has_ids_too(log: Log) -> None:
    correlation.install()
    with recording_tracer(sampler="always_off").trace("s") as span:
        log.logger.info("x")
    assert not span.is_recording()
    assert log.lines == [f"{ids(span)}||x"]


def test_an_unsampled_invocation_in_lambda_has_its_id(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    correlation.install()
    monkeypatch.setattr(bootstrap, "_GLOBAL_AWS_REQUEST_ID", REQUEST)
    with recording_tracer(sampler="always_off").trace("s") as span:
        log.logger.info("x")
    thread = threading.Thread(target=log.logger.info, args=("in a thread",))
    thread.start()
    thread.join()
    assert log.lines == [f"{ids(span)}|{REQUEST}|x", f"||{REQUEST}|in a thread"]


def test_what_the_caller_says_wins(log: Log) -> None:
    correlation.install()
    with recording_tracer().trace("s"):
        log.logger.info("x", extra={"trace_id": "mine", "span_id": "too", "faas.invocation_id": "all"})
    assert log.lines == ["mine|too|all|x"]


def test_a_record_factory_is_kept_whenever_it_comes(log: Log) -> None:
    before = logging.getLogRecordFactory()
    log.handler.setFormatter(logging.Formatter(f"%(team)s|{FORMAT}"))

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        record.team = "orders"
        return record

    try:
        for _ in range(2):
            logging.setLogRecordFactory(factory)
            correlation.install()
            with recording_tracer().trace("s") as span:
                log.logger.info("x")
            assert logging.getLogRecordFactory() is factory
            correlation.uninstall()
            correlation.install()
            logging.setLogRecordFactory(before)
    finally:
        logging.setLogRecordFactory(before)
    assert log.lines == [f"orders|{ids(span)}||x"] * 2


def test_installing_twice_and_removing_twice(log: Log) -> None:
    original = logging.Logger.callHandlers
    correlation.uninstall()
    correlation.install()
    wrapped = logging.Logger.callHandlers
    correlation.install("error")
    correlation.install()
    assert logging.Logger.callHandlers is wrapped
    tracer = recording_tracer()
    with tracer.trace("s"):
        log.logger.error("once")
    assert [event.name for event in tracer.spans[0].events] == ["log"]
    correlation.uninstall()
    correlation.uninstall()
    assert logging.Logger.callHandlers is original
    correlation.install()
    with tracer.trace("s"):
        log.logger.error("events are off again")
    assert tracer.spans[1].events == ()


def test_another_wrapper_on_top_of_ours_keeps_working(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    correlation.install()
    inner = logging.Logger.callHandlers
    seen = []

    def theirs(self: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        inner(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(logging.Logger, "callHandlers", theirs)
        correlation.uninstall()
        log.handler.setFormatter(logging.Formatter("%(message)s"))
        with recording_tracer().trace("s") as span:
            log.logger.info("off")
            correlation.install()
            log.handler.setFormatter(logging.Formatter(FORMAT))
            log.logger.info("on")
    assert seen == ["off", "on"]
    assert log.lines == ["off", f"{ids(span)}||on"]


def test_a_queue_takes_the_ids_to_another_thread(log: Log) -> None:
    correlation.install()
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    logger = logging.Logger("queued")  # noqa: LOG001  # no other test's
    logger.addHandler(logging.handlers.QueueHandler(waiting))
    listener = logging.handlers.QueueListener(waiting, log.handler)
    listener.start()
    with recording_tracer().trace("s") as span:
        logger.info("x")
    listener.stop()
    assert log.lines == [f"{ids(span)}||x"]


def test_a_filter_for_one_handler(log: Log) -> None:
    log.handler.addFilter(correlation.TraceFilter())
    with recording_tracer().trace("s") as span:
        log.logger.info("x")
    assert log.lines == [f"{ids(span)}||x"]
    assert logging.Logger.callHandlers.__module__ == "logging"


def test_fields_for_other_logging_libraries() -> None:
    assert correlation.fields() == {}
    tracer = recording_tracer()
    with tracer.trace("s") as span:
        assert correlation.fields() == dict(zip(("trace_id", "span_id"), ids(span).split("|"), strict=True))
    with tracer.invocation({}, LambdaContext(aws_request_id=REQUEST)):
        assert correlation.fields()["faas.invocation_id"] == REQUEST


# Lambda's JSON format.


def test_lambdas_json_lines(json_log: Log) -> None:
    tracer = recording_tracer()
    correlation.install()
    json_log.logger.info("before")
    with tracer.invocation({}, LambdaContext(aws_request_id=REQUEST)):
        json_log.logger.info({"order": 7})
        try:
            dict[str, int]()["order"]
        except KeyError:
            json_log.logger.exception("failed", extra={"order": 7})
    before, said, failed = map(json.loads, filter(None, json_log.lines))
    trace_id, span_id = ids(tracer.spans[0]).split("|")
    assert not {"trace_id", "span_id", "faas.invocation_id"} & set(before)
    for line in (said, failed):
        assert (line["trace_id"], line["span_id"], line["faas.invocation_id"]) == (trace_id, span_id, REQUEST)
    assert said["message"] == {"order": 7}
    assert (failed["errorType"], failed["order"]) == ("KeyError", 7)


def test_powertools_logger_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "orders")
    from aws_lambda_powertools import Logger

    stream = io.StringIO()
    logger = Logger(service="orders", stream=stream, level="INFO")
    tracer = recording_tracer()
    correlation.install()

    @logger.inject_lambda_context
    @tracer.handler
    def handler(event: object, context: Any) -> None:
        logger.append_keys(order=7)
        logger.info("within")
        logger.info("own", extra={"trace_id": "mine"})

    logger.info("before")
    handler({}, LambdaContext(aws_request_id=REQUEST))
    before, within, own = [json.loads(line) for line in stream.getvalue().splitlines()]
    trace_id, span_id = ids(tracer.spans[0]).split("|")
    assert (within["trace_id"], within["span_id"], within["faas.invocation_id"]) == (
        trace_id,
        span_id,
        REQUEST,
    )
    assert (within["order"], within["function_request_id"]) == (7, REQUEST)
    assert own["trace_id"] == "mine"
    assert not before.get("trace_id")


# Records as events.


def test_records_from_a_level_on_become_events(log: Log) -> None:
    tracer = recording_tracer()
    correlation.install(span_events="warning")
    with tracer.trace("outer"):
        with tracer.trace("inner"):
            log.logger.info("quiet")
            log.logger.warning("%s is low", "stock")
        log.logger.critical("loud")
    log.logger.error("nowhere")
    inner, outer = tracer.spans
    assert [(event.name, event.attributes) for event in inner.events] == [
        ("log", {"log.severity": "WARNING", "log.logger": "shop", "log.message": "stock is low"})
    ]
    assert [event.attributes["log.message"] for event in outer.events] == ["loud"]


def test_a_logged_exception_is_recorded_once(log: Log) -> None:
    tracer = recording_tracer()
    correlation.install(span_events=logging.ERROR)

    def fail() -> None:
        with tracer.trace("s"):
            try:
                int("no number")
            except ValueError:
                log.logger.exception("look here")
                log.logger.warning("and again", exc_info=True)
                log.logger.error("and again", exc_info=True)  # noqa: G201  # as people write it
                raise

    with pytest.raises(ValueError, match="no number"):
        fail()
    (span,) = tracer.spans
    assert [event.name for event in span.events] == ["exception", "log"]
    first = span.events[0].attributes
    assert first["exception.type"] == "ValueError"
    assert first["log.message"] == "look here"
    assert "no number" in str(first["exception.stacktrace"])


def test_what_a_filter_refuses_is_no_event(log: Log) -> None:
    tracer = recording_tracer()
    correlation.install(span_events="info")
    log.logger.addFilter(lambda record: "secret" not in record.getMessage())
    with tracer.trace("s"):
        log.logger.info("a secret")
        log.logger.info("fine")
    assert [event.attributes["log.message"] for event in tracer.spans[0].events] == ["fine"]


def test_what_logs_while_it_is_made_text_makes_no_loop(log: Log) -> None:
    class Chatty:
        def __str__(self) -> str:
            log.logger.error("chatter")
            return "chatty"

    tracer = recording_tracer()
    correlation.install(span_events="info")
    with tracer.trace("s") as span:
        log.logger.info("%s", Chatty())
    assert [event.attributes["log.message"] for event in tracer.spans[0].events] == ["chatty", "chatter"]
    assert set(log.lines) == {f"{ids(span)}||chatter", f"{ids(span)}||chatty"}


def test_our_own_words_make_no_loop(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that sends stderr to its log, and a span that says something about each event."""

    class ToLog(io.StringIO):
        def write(self, text: str) -> int:
            if text.strip():
                log.logger.error(text.strip())
            return len(text)

    tracer = recording_tracer()
    correlation.install(span_events="info")
    monkeypatch.setattr(sys, "stderr", ToLog())
    with tracer.trace("s") as span:
        pass
    with tracer.trace("open"):
        span.set_attribute("late", 1)
    assert len(log.lines) == 1
    assert "after the end" in log.lines[0]
    assert len(tracer.spans[1].events) == 1


def test_arguments_that_do_not_fit_are_loggings_business(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    tracer = recording_tracer()
    correlation.install(span_events="info")
    with tracer.trace("s"):
        log.logger.info("%d of them", "many")
    assert tracer.spans[0].events[0].attributes["log.message"] == "%d of them"


def test_an_error_of_ours_costs_no_line(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(span: object) -> None:
        raise RuntimeError("of ours")

    correlation.install(span_events="info")
    said: list[str] = []
    monkeypatch.setattr(diagnostics, "say", said.append)
    with recording_tracer().trace("s") as span:
        monkeypatch.setattr(type(span), "is_recording", fail)
        log.logger.info("x")
        log.logger.info("y")
        monkeypatch.undo()
    assert log.lines == [f"{ids(span)}||x", f"{ids(span)}||y"]
    assert said == ["a log record was not completed: RuntimeError"]


def test_levels_that_do_not_exist() -> None:
    for level in ("loud", "", True):
        with pytest.raises(lambent.ConfigError, match="no log level"):
            correlation.install(span_events=level)
    assert logging.Logger.callHandlers.__module__ == "logging"


# Switched on without code.


@pytest.mark.parametrize("disabled", ["false", "true"])
def test_a_variable_switches_it_on(log: Log, monkeypatch: pytest.MonkeyPatch, disabled: str) -> None:
    monkeypatch.setenv("LAMBENT_LOG_CORRELATION", "true")
    monkeypatch.setenv("LAMBENT_DISABLED", disabled)
    tracer = lambent.init(exporter="memory", recorder=False)
    with tracer.trace("s") as span:
        log.logger.error("x")
    tracer.close()
    log.logger.error("y")
    expected = "|||x" if disabled == "true" else f"{ids(span)}||x"
    assert log.lines == [expected, "|||y"]


def test_a_variable_for_events(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBENT_LOG_EVENTS", "ERROR")
    exporter = lambent.testing.MemoryExporter()
    tracer = lambent.init(exporter=exporter)
    with tracer.trace("s") as span:
        log.logger.warning("x")
        log.logger.error("y")
    tracer.close()
    assert log.lines == [f"{ids(span)}||x", f"{ids(span)}||y"]
    assert [event.attributes["log.message"] for event in exporter.spans[0].events] == ["y"]


def test_arguments_of_init(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(lambent.ConfigError, match="log_events"):
        lambent.init(log_events="loud")
    lambent.init(log_correlation=True, test_mode=True).close()
    assert logging.Logger.callHandlers.__module__ == "lambent.logging"


def test_nothing_is_loaded_unless_asked_for(run_python: Any) -> None:
    program = "import sys, lambent; lambent.init(); print('lambent.logging' in sys.modules)"
    assert run_python(program).stdout == "False\n"
    assert run_python(program, {"LAMBENT_LOG_CORRELATION": "1"}).stdout == "True\n"


def test_it_is_found_by_its_public_name() -> None:
    assert isinstance(lambent.logging, ModuleType)
    assert lambent.logging.install is correlation.install
