"""Every Python block of the specifications: how it is run, what it is given, what is mended in it and why.

How
- `function`: the block is a module; the lab deploys it and invokes it with each of `events`; `check` looks at
  the results.
- `script`: the block runs as a program of its own, in a fresh process; `then` calls what it defines.
- `pytest`: the block is a test file; pytest runs it.

What a program shall print is `prints`.

`after` names blocks of the same document that come first; `names` is code for what a fragment assumes.
`mended` lists text that is replaced: for the lab's address, for a shorter time, or because it is visibly
broken. The package's name is changed everywhere, and nothing else. Assertions in a block are part of it;
`attempts` is how often one that measures time may be tried on a machine that is busy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.service.result import Result

__all__ = ["ENTRIES", "Entry"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How one block is run. `does` says in a sentence what is seen of it."""

    how: Literal["function", "script", "pytest"]
    does: str
    after: tuple[str, ...] = ()
    names: str = ""
    then: str = ""
    mended: tuple[tuple[str, str, str], ...] = ()
    handler: str = "lambda_handler"
    events: tuple[Any, ...] = ({},)
    env: dict[str, str] = field(default_factory=dict)
    check: Callable[[Sequence[Result]], None] | None = None
    prints: str = ""
    attempts: int = 1


_COMMA = ('source="development"\n', 'source="development",\n', "a comma is missing")
_NOW = "the container is ready when `run` returns"
_PORT = "the lab serves on a free port"
_SHORT = "the same, not as long"
_OS = "import os\n"
_TRACER = "from lambent.compat.honeyhive import HoneyHiveTracer\n"
_ANY = "from typing import Any\n"
_LITE = "from lambent.compat.lambda_otel_lite import init_telemetry, traced_handler\n"
_TELEMETRY = f'{_LITE}tracer, provider = init_telemetry(name="my-service")\n'

HTTP_EVENT = {
    "version": "2.0",
    "routeKey": "POST /orders/{id}",
    "rawPath": "/orders/7",
    "rawQueryString": "",
    "headers": {"host": "api.example.com", "traceparent": f"00-{7:032x}-{8:016x}-01"},
    "requestContext": {
        "accountId": "123456789012",
        "domainName": "api.example.com",
        "http": {"method": "POST", "path": "/orders/7", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
    },
    "isBase64Encoded": False,
    "type": "order",
}
SQS_EVENT = {
    "Records": [
        {
            "messageId": "1",
            "body": '{"customer_id": "c-1"}',
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
            "attributes": {},
            "messageAttributes": {
                "traceparent": {"stringValue": f"00-{7:032x}-{8:016x}-01", "dataType": "String"}
            },
        }
    ]
}


def _answers(results: Sequence[Result]) -> None:
    for result in results:
        assert result.error is None, result.log
        assert isinstance(result.payload, dict), result.log
        assert result.payload["statusCode"] == 200, result.payload


def _body(result: Result) -> Any:
    assert isinstance(result.payload, dict)
    assert isinstance(result.payload["body"], str)
    return json.loads(result.payload["body"])


def _nothing(results: Sequence[Result]) -> None:
    assert [(result.error, result.payload) for result in results] == [(None, None)] * len(results)


def _basic(results: Sequence[Result]) -> None:
    _answers(results)
    body = _body(results[0])
    assert body["flush_success"] is True
    assert body["result"]["processed_data"] == {"test": "basic"}
    assert "tracer initialized successfully" in results[0].log


def _cold_start(results: Sequence[Result]) -> None:
    _answers(results)
    assert [_body(result)["cold_start"] for result in results] == [True, False]
    timings = _body(results[0])["timings"]
    assert all(value >= 0 for value in timings.values()), timings


def _openai(results: Sequence[Result]) -> None:
    _answers(results)
    for result in results:
        assert "Test from Lambda" in _body(result)["response"]
        spans = {span.name: span for span in result.spans}
        assert spans["ChatCompletion"].parent_span_id == spans["lambda-openai-test"].span_id, result.log


def _memory(results: Sequence[Result]) -> None:
    _nothing(results)
    assert "Memory increase: " in results[0].log


def _lite_basic(results: Sequence[Result]) -> None:
    _answers(results)
    root = next(span for span in results[0].spans if span.name == "my-handler")
    (child,) = [span for span in results[0].spans if span.name == "process_event"]
    assert (root.kind, root.parent_span_id, root.scope) == ("SERVER", f"{8:016x}", "my-service")
    assert (child.parent_span_id, child.attributes["event.type"]) == (root.span_id, "order")
    wanted = {
        "faas.trigger": "http",
        "faas.cold_start": True,
        "cloud.account.id": "123456789012",
        "faas.invocation_id": results[0].request_id,
        "http.method": "POST",
        "http.target": "/orders/7",
        "http.scheme": "https",
        "http.status_code": 200,
    }
    assert {name: root.attributes.get(name) for name in wanted} == wanted
    assert "/orders/{id}" in str(root.attributes["http.route"])
    resource = ("cloud.provider", "cloud.region", "faas.name", "faas.version", "faas.instance",
                "faas.max_memory", "service.name")  # fmt: skip
    assert [name for name in resource if name not in root.resource] == []


def _lite_answers(*codes: int) -> Callable[[Sequence[Result]], None]:
    def check(results: Sequence[Result]) -> None:
        for result, code in zip(results, codes, strict=True):
            (span,) = result.spans
            assert span.name == "api-handler"
            assert span.attributes["http.status_code"] == code
            assert span.status == ("ERROR" if code >= 500 else "UNSET")

    return check


def _lite_context(results: Sequence[Result]) -> None:
    _answers(results)
    first, second = (next(iter(result.spans)) for result in results)
    assert first.attributes["custom.attribute"] == "value"
    for span in (first, second):
        assert (span.trace_id, span.parent_span_id) == (f"{7:032x}", f"{8:016x}"), span


ENTRIES: dict[str, Entry] = {
    # 000: AWS Lambda testing guide.
    "000:32": Entry(
        how="function", does="The quick start's function answers 200 in the lab.", check=_answers
    ),
    "000:196": Entry(
        how="function",
        does="The basic function runs in the lab: tracer, decorator, enrichment, flush; nothing fails.",
        events=({"test": "basic"},),
        mended=(_COMMA,),
        check=_basic,
    ),
    "000:327": Entry(
        how="function",
        does="The cold start function runs in the lab twice: cold, then warm, with its timings.",
        events=({"iteration": 1}, {"iteration": 2}),
        mended=(_COMMA,),
        check=_cold_start,
    ),
    "000:485": Entry(
        how="pytest",
        does="The performance tests run against the cold start function: containers are the lab's functions.",
        mended=(
            ('"8080/tcp": 9100', '"8080/tcp": @PORT@', _PORT),
            ("localhost:9100", "localhost:@PORT@", _PORT),
            ("time.sleep(5)", "time.sleep(0)", _NOW),
        ),
        attempts=4,
    ),
    "000:965": Entry(
        how="function",
        does="The production test calls a local OpenAI server; the instrumentor's span is a child.",
        env={
            "HH_API_KEY": "test-key",
            "HH_PROJECT": "test-project",
            "OPENAI_API_KEY": "local",
            "OPENAI_BASE_URL": "@OPENAI@",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "@OTLP@",
        },
        events=({}, {}),
        check=_openai,
    ),
    "000:1051": Entry(
        how="script",
        does="The tracer is made with the optimised configuration, and the instrumentor takes its provider.",
        names=f"{_OS}{_TRACER}from openinference.instrumentation.openai import OpenAIInstrumentor\n",
        then="""\
assert tracer.config.session_name == "lambda-function"
assert tracer.config.disable_http_tracing
""",
    ),
    "000:1120": Entry(
        how="script",
        does="Import and init are timed outside a handler.",
        then="assert tracer.config.test_mode\n",
    ),
    "000:1141": Entry(how="function", does="The handler measures its memory in the lab.", check=_memory),
    "000:1160": Entry(
        how="function",
        does="A tracer with a timeout of its own; the handler flushes within two seconds.",
        names=_TRACER,
        then="assert tracer.config.timeout == 5.0\n",
        check=_nothing,
    ),
    "000:1182": Entry(
        how="script",
        does="The tracer is made once, whichever thread comes first.",
        names=_OS + _TRACER,
        then="""\
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(8) as pool:
    assert len({id(tracer) for tracer in pool.map(lambda _: get_tracer(), range(32))}) == 1
""",
    ),
    "000:1268": Entry(
        how="script",
        does="The function is deployed to each region with boto3, at the lab's endpoint, and answers.",
        names=f"{_OS}from spec_names import test_lambda_deployment\n",
    ),
    "000:1279": Entry(
        how="script",
        does="Fifty invocations by ten threads, through boto3 at the lab's endpoint, all answer 200.",
        names="from spec_names import invoke_lambda_function\n",
        then="test_concurrent_lambda_invocations()\n",
    ),
    "000:1296": Entry(
        how="pytest",
        does="The function meets a collector that hangs, one that is gone, a full memory and a full disk.",
        names="import pytest\nfrom spec_names import inject_failure, invoke_lambda_function\n",
        then="""\
import json


@pytest.mark.parametrize(
    ("kind", "met"),
    [
        ("network_timeout", {"delivered": False, "problem": ""}),
        ("api_unavailable", {"delivered": False, "problem": ""}),
        ("disk_full", {"delivered": False, "problem": "[Errno 28] No space left on device"}),
    ],
)
def test_the_failure_is_met(kind, met):
    with inject_failure(kind):
        assert json.loads(invoke_lambda_function({"test": kind})["body"]) == met
""",
    ),
    # 001: performance testing.
    "001:18": Entry(
        how="script",
        does="The quick overhead test runs, and its own assertion (less than twice) holds.",
        then='assert set(results) == {"baseline_ms", "traced_ms", "overhead_ratio"}\n',
        attempts=6,
    ),
    "001:84": Entry(
        how="script",
        does="The framework's classes are defined; an empty report is written. 001:310 uses them.",
        then="""\
tester = PerformanceTester(HoneyHiveTracer.init(api_key="test-key", test_mode=True))
assert tester.generate_report().startswith("Performance Test Report")
assert tester.measure_function_performance(lambda: None, iterations=20).avg_time_ms >= 0
""",
    ),
    "001:310": Entry(
        how="script",
        does="The comprehensive test runs, and its own assertions (overhead, errors, throughput) hold.",
        after=("001:84",),
        then="test_comprehensive_performance()\n",
        attempts=6,
    ),
    "001:361": Entry(
        how="script",
        does="The memory framework's class is defined and measures. 001:524 uses it.",
        names=_ANY,
        then="tester = MemoryTester()\ntester.start_monitoring()\nassert tester.measure_memory_usage() > 0\n",
    ),
    "001:524": Entry(
        how="script",
        does="The memory tests run, and their own assertions (tracers, leaks, spans, stability) hold.",
        after=("001:361",),
        names=_ANY,
        mended=(("duration_seconds=30", "duration_seconds=2", _SHORT),),
        then="test_memory_performance()\n",
        attempts=2,
    ),
    "001:556": Entry(
        how="script",
        does="The async framework's class is defined and measures. 001:639 uses it.",
        names="from typing import Any, Dict\n",
        then="""\
tester = AsyncPerformanceTester(HoneyHiveTracer.init(api_key="test-key", test_mode=True))

async def nothing(): ...

assert asyncio.run(tester.measure_async_function(nothing, iterations=5))["avg_time_ms"] >= 0
""",
    ),
    "001:639": Entry(
        how="script",
        does="The async test runs, and its own assertions (overhead, throughput) hold.",
        after=("001:556",),
        names="from typing import Any, Dict\n",
        then="asyncio.run(test_async_performance())\n",
        attempts=4,
    ),
    "001:686": Entry(
        how="script",
        does="The load framework's class is defined and runs. 001:808 uses it.",
        then="""\
tester = LoadTester(HoneyHiveTracer.init(api_key="test-key", test_mode=True))
found = tester.run_load_test(lambda: None, num_threads=2, duration_seconds=1, ramp_up_seconds=0)
assert found["results"]["total_errors"] == 0 < found["results"]["total_operations"]
""",
    ),
    "001:808": Entry(
        how="script",
        does="The load test runs, and its own assertions (errors, throughput, the 95th percentile) hold.",
        after=("001:686",),
        names="from lambent.compat.honeyhive.models import EventType\n",
        mended=(
            ("duration_seconds=30", "duration_seconds=3", _SHORT),
            ("ramp_up_seconds=5", "ramp_up_seconds=1", _SHORT),
        ),
        then="test_high_load_performance()\n",
        attempts=4,
    ),
    "001:852": Entry(
        how="script",
        does="The Lambda framework's class is defined; it starts, invokes and stops a function of the lab.",
        names=_ANY,
        mended=(
            ('"8080/tcp": 9000', '"8080/tcp": @PORT@', _PORT),
            ("localhost:9000", "localhost:@PORT@", _PORT),
            ("time.sleep(3)", "time.sleep(0)", _NOW),
            ("time.sleep(1)", "time.sleep(0)", _NOW),
        ),
        then="""\
tester = LambdaPerformanceTester()
tester.start_lambda_container()
assert tester.invoke_lambda({"test": "once"})["statusCode"] == 200
tester.stop_lambda_container()
assert tester.container is None
""",
    ),
    "001:990": Entry(
        how="script",
        does="Cold and warm starts are measured in the lab, each answers 200, the targets are met.",
        after=("001:852",),
        names=_ANY,
        # A failed invocation would count as none at all, and no invocation as a fast one.
        then="""\
_invoke = LambdaPerformanceTester.invoke_lambda


def invoke_lambda(self, payload):
    result = _invoke(self, payload)
    assert result["statusCode"] == 200, result
    return result


LambdaPerformanceTester.invoke_lambda = invoke_lambda
test_lambda_performance_comprehensive()
""",
        attempts=4,
    ),
    "001:1061": Entry(
        how="script",
        does="Baselines are recorded, and a regression and an improvement are told from them.",
        then="""\
benchmark = PerformanceBenchmark()
assert benchmark.check_regression("t", {"ms": 10.0})["status"] == "baseline_recorded"
assert benchmark.check_regression("t", {"ms": 13.0})["status"] == "regression"
assert benchmark.check_regression("t", {"ms": 5.0})["status"] == "improvement"
benchmark.save_baselines()
assert PerformanceBenchmark().baselines == benchmark.baselines
""",
    ),
    "001:1151": Entry(
        how="script",
        does="A benchmark records its baseline and saves it.",
        after=("001:84", "001:1061"),
        then='test_with_benchmarking()\nassert Path("performance_baselines.json").exists()\n',
    ),
    "001:1199": Entry(
        how="script",
        does="Metrics and an alert reach a monitoring system on this machine; one that is gone is survived.",
        then="""\
from spec_names import monitoring

url, kept = monitoring()
monitor = PerformanceMonitor(url)
monitor.send_metrics({"ms": 1.0}, {"env": "test"})
monitor.create_alert("t", {"ms": 2.0})
assert [path for path, _ in kept] == ["/", "/alerts"]
assert kept[0][1]["metrics"] == {"ms": 1.0}
PerformanceMonitor("http://127.0.0.1:9").send_metrics({"ms": 1.0})
""",
    ),
    # 002: lambda-otel-lite.
    "002:44": Entry(
        how="function",
        does="Basic usage: the handler's span has every documented attribute, the inner span is its child.",
        handler="handler",
        events=(HTTP_EVENT,),
        check=_lite_basic,
    ),
    "002:100": Entry(
        how="function",
        does="Both handlers' status codes reach their spans; the 500 is an error.",
        names=f"{_TELEMETRY}process_request = print\n",
        then="""\


def both(event, context):
    return (error_handler if event.get("fail") else handler)(event, context)
""",
        handler="both",
        events=(HTTP_EVENT, {**HTTP_EVENT, "fail": True}),
        check=_lite_answers(200, 500),
    ),
    "002:125": Entry(
        how="function",
        does="The caller's context is found in headers, and by a function of the program's in a message.",
        names=_TELEMETRY,
        then="""\


def both(event, context):
    return (handler_with_custom_extraction if "Records" in event else handler)(event, context)
""",
        handler="both",
        events=(HTTP_EVENT, SQS_EVENT),
        check=_lite_context,
    ),
    "002:183": Entry(
        how="script",
        does="A processor of OpenTelemetry's SDK takes the place of the default one.",
        names=_LITE,
        then="""\
with traced_handler(tracer, provider, "custom"):
    pass
assert provider.force_flush()
provider.shutdown()
""",
        prints='"name": "custom"',
    ),
    "002:200": Entry(
        how="script",
        does="Processors run in their order: what the first one sets, the second one prints.",
        names=_LITE,
        then="""\
with traced_handler(tracer, provider, "chained") as span:
    assert span.attributes["start_cpu_percent"] >= 0
provider.shutdown()
""",
        prints='"start_cpu_percent": ',
    ),
    # 003: manual instrumentation.
    "003:85": Entry(
        how="script",
        does="OpenTelemetry's own SDK exports over gRPC with TLS, to a receiver on this machine.",
        names="""\
import atexit, os
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from spec_names import coralogix

API_KEY = "cxtp_test"
ADDRESS, ssl_channel_credentials, received = coralogix()
os.environ.update(AWS_LAMBDA_FUNCTION_NAME="onboarding-lambda", AWS_LAMBDA_FUNCTION_VERSION="1")
""",
        mended=(('"ingress.us2.coralogix.com:443"', "ADDRESS", "a receiver on this machine"),),
        then="""\
with trace.get_tracer("app").start_as_current_span("lambda.invoke"):
    pass
assert provider.force_flush(4000)
assert received == ["lambda.invoke"], received
""",
    ),
    "003:128": Entry(
        how="script",
        mended=(
            (
                'parent_ctx = propagate.extract(_carrier_from_sqs_attributes(record["messageAttributes"]))',
                "parent_ctx = propagate.extract("
                '_carrier_from_sqs_attributes(event["Records"][0]["messageAttributes"]))',
                "the record is read before there is one",
            ),
        ),
        does="The handler runs on OpenTelemetry's API, lambent behind it: spans, their parents and links.",
        names="""\
import json
import lambent
from lambent.exporters.memory import MemoryExporter
from opentelemetry import propagate, trace
from opentelemetry.trace import Link, SpanKind

memory = MemoryExporter()
lambent.init(exporter=memory)
tracer = trace.get_tracer("onboarding-lambda")


def _carrier_from_sqs_attributes(attributes):
    return {name: value["stringValue"] for name, value in attributes.items()}


def message(number):
    parent = f"00-{number:032x}-{number:016x}-01"
    return {
        "body": '{"customer_id": "c-%d"}' % number,
        "messageAttributes": {"traceparent": {"stringValue": parent, "dataType": "String"}},
    }


records = [message(7), message(8)]
body = json.loads(records[0]["body"])
carriers = [_carrier_from_sqs_attributes(each["messageAttributes"]) for each in records]
links = [Link(trace.get_current_span(propagate.extract(each)).get_span_context()) for each in carriers]
""",
        then="""\
handler({"Records": records}, None)
spans = {}
for span in memory.spans:
    spans.setdefault(span.name, []).append(span)
(invoke,), processed, (batch,) = spans["lambda.invoke"], spans["sqs.process"], spans["sqs.batch"]
assert (invoke.kind.name, invoke.parent.span_id) == ("SERVER", 7)
assert [span.parent.span_id for span in processed] == [7, 8]
assert all(span.attributes["customer.id"] == "c-7" for span in processed)
assert (batch.parent.span_id, batch.attributes["messaging.batch_size"]) == (invoke.context.span_id, 2)
assert [link.context.span_id for link in batch.links] == [7, 8]
""",
    ),
    "003:239": Entry(
        how="script",
        does="OpenTelemetry's instrumentors find lambent; a request's span is a child of the span around it.",
        names="""\
import lambent
from lambent.exporters.memory import MemoryExporter

memory = MemoryExporter()
tracer = lambent.init(exporter=memory)
""",
        then="""\
import requests
from spec_names import monitoring

url, _ = monitoring()
with tracer.trace("around") as around:
    requests.post(url, json={})
inner = next(span for span in memory.spans if span.kind.name == "CLIENT")
assert inner.parent.span_id == around.context.span_id
assert "requests" in inner.instrumentation_scope.name
""",
    ),
    # 004: ADOT's performance.
    "004:8": Entry(how="function", does="The empty function answers 200 in the lab.", check=_answers),
}
