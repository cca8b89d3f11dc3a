"""What tests of traced functions are made with: a tracer in memory, a clock, ids, Lambda's context, events.

    from lambent import testing
    from lambent.testing import assert_trace, expect

    with testing.tracer() as tracer:
        with tracer.trace("load order"):
            ...
    assert_trace(tracer, expect("load order"))

Nothing in here needs pytest. `expect` and `assert_trace` live in `lambent._expected`.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import lambent
from lambent import diagnostics, handler, root
from lambent._expected import Expected, assert_trace, expect, show_trace
from lambent.config import Config, read
from lambent.context import CURRENT
from lambent.exporters.memory import MemoryExporter
from lambent.propagation.baggage import BAGGAGE
from lambent.tracer import Tracer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from lambent.span import Span

__all__ = [
    "Expected",
    "FakeClock",
    "LambdaContext",
    "MemoryExporter",
    "RecordingTracer",
    "SequentialIds",
    "assert_trace",
    "event",
    "expect",
    "isolated",
    "recording",
    "recording_tracer",
    "show_trace",
    "tracer",
]


class FakeClock:
    """A clock that moves when told to: `clock()` is nanoseconds since the epoch."""

    def __init__(self, start: int = 1_700_000_000_000_000_000) -> None:
        self.now = start

    def __call__(self) -> int:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds."""
        self.now += round(seconds * 1_000_000_000)


class SequentialIds:
    """Ids 1, 2, 3 …, traces and spans counted apart."""

    def __init__(self) -> None:
        self._traces = 0
        self._spans = 0

    def trace_id(self) -> int:
        """Return the next trace id."""
        self._traces += 1
        return self._traces

    def span_id(self) -> int:
        """Return the next span id."""
        self._spans += 1
        return self._spans


class LambdaContext:
    """What Lambda passes to a handler as its second argument.

    Its remaining time counts down from `timeout` seconds by `clock`, in nanoseconds: a FakeClock's, or the
    real one.
    """

    def __init__(
        self,
        *,
        function_name: str = "test-function",
        function_version: str = "$LATEST",
        memory_limit_in_mb: int = 128,
        aws_request_id: str = "00000000-0000-4000-8000-000000000000",
        region: str = "eu-west-1",
        account_id: str = "123456789012",
        timeout: float = 3.0,
        client_context: object = None,
        identity: Any = None,
        tenant_id: str | None = None,
        trace_context: Mapping[str, str] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.function_name = function_name
        self.function_version = function_version
        self.memory_limit_in_mb = str(memory_limit_in_mb)
        self.aws_request_id = aws_request_id
        self.invoked_function_arn = f"arn:aws:lambda:{region}:{account_id}:function:{function_name}"
        self.log_group_name = f"/aws/lambda/{function_name}"
        self.log_stream_name = "2024/01/01/[$LATEST]0123456789abcdef0123456789abcdef"
        self.client_context = client_context
        self.identity: Any = identity or SimpleNamespace(
            cognito_identity_id=None, cognito_identity_pool_id=None
        )
        self.tenant_id = tenant_id
        self._trace_context = dict(trace_context or {})
        self._clock = clock
        self._deadline = clock() + round(timeout * 1_000_000_000)

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the timeout, 0 when it has passed."""
        return max(0, (self._deadline - self._clock()) // 1_000_000)

    def w3c(self) -> dict[str, str]:
        """Return the W3C trace context that the caller gave."""
        return dict(self._trace_context)

    def log(self, message: object) -> None:
        """Write to the function's log, here stdout."""
        sys.stdout.write(str(message))


class RecordingTracer(Tracer):
    """A tracer that keeps what it records, with a clock and ids of the test's."""

    def __init__(
        self,
        arguments: Mapping[str, object],
        environ: Mapping[str, str],
        like: RecordingTracer | None = None,
        config: Config | None = None,
    ) -> None:
        self.exporter: MemoryExporter = like.exporter if like is not None else MemoryExporter()
        self.fake_clock: FakeClock = like.fake_clock if like is not None else FakeClock()
        memory: dict[str, object] = {"exporter": self.exporter}
        if like is not None:  # what the code under test asks for gives way, what a test asks for does not
            arguments, memory = {**arguments, **memory, "exporters": None}, {}
        super().__init__(
            config or read({**memory, **arguments}, environ),
            clock=self.fake_clock,
            ids=like._ids if like is not None else SequentialIds(),
        )
        if self.config.log_correlation or self.config.log_events:
            lambent.logging.install(self.config.log_events or None)

    @property
    def spans(self) -> list[Span]:
        """The finished spans, oldest first."""
        return self.exporter.spans

    def context(self, **arguments: Any) -> LambdaContext:
        """Return a Lambda context whose remaining time counts down by this tracer's clock."""
        return LambdaContext(**{"clock": self.fake_clock, **arguments})


def recording_tracer(*, environ: Mapping[str, str] | None = None, **arguments: object) -> RecordingTracer:
    """Return a tracer for a test: in memory, with its own clock (`fake_clock`) and ids.

    `environ` stands for the process's environment, which is not read; the arguments are `init`'s.
    """
    return RecordingTracer(arguments, environ or {})


@contextmanager
def isolated() -> Iterator[None]:
    """Give a block the state of a new process, and bring back the earlier one.

    The first invocation in it is a cold start; there is no default tracer, no current span, no baggage with
    its session, no provider of OpenTelemetry's API, and nothing has been said on stderr.
    """
    places: dict[tuple[object, str], object] = {
        (lambent, "_default"): None,
        (lambent, "_provisional"): None,
        (lambent, "init"): lambent.init,
        (handler, "_cold"): True,
        (root, "_canary"): True,
        (diagnostics, "_said"): set(),
        (lambent.logging, "_events_from"): lambent.logging._events_from,
    }
    api = sys.modules.get("opentelemetry.trace")
    if api is not None:
        places.update(_api(api))
    before = {place: getattr(*place) for place in places}
    span, baggage = CURRENT.get(), BAGGAGE.get()
    logs = lambent.logging._active
    try:
        for place, value in places.items():
            setattr(*place, value)
        CURRENT.set(None)
        BAGGAGE.set({})
        yield
    finally:
        if api is None and "opentelemetry.trace" in sys.modules:
            before |= _api(sys.modules["opentelemetry.trace"])  # imported meanwhile
        for place, value in before.items():
            setattr(*place, value)
        if not logs:
            lambent.logging.uninstall()
        # By value: a fixture may end in another context than it began in.
        CURRENT.set(span)
        BAGGAGE.set(baggage)


def _api(api: object) -> dict[tuple[object, str], object]:
    from opentelemetry.util._once import Once

    from lambent.otel import runtime

    found: dict[tuple[object, str], object] = {(runtime, "leave_http"): False}
    return found | {(api, "_TRACER_PROVIDER"): None, (api, "_TRACER_PROVIDER_SET_ONCE"): Once()}


@contextmanager
def tracer(*, environ: Mapping[str, str] | None = None, **arguments: object) -> Iterator[RecordingTracer]:
    """Give a block a recording tracer that is the default one, and the state of a new process.

    What calls `lambent.init(…)` in the block, a module that it imports for one, gets a tracer that records to
    the same place. The arguments are those of `recording_tracer`.
    """
    with isolated():
        made = recording_tracer(environ=environ, **arguments)

        def init(**given: object) -> Tracer:
            return RecordingTracer({**arguments, **given}, environ or {}, made)

        lambent.init, lambent._default = init, made
        lambent._serve(made)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def recording(existing: Tracer) -> Iterator[RecordingTracer]:
    """Have a tracer that is there already record into memory for a block, as `tracer()` does.

    For functions whose module makes its tracer when it is imported. The tracer stays as it was configured,
    but for where and when spans leave; what this gives holds the `spans` and the `fake_clock`, and makes
    contexts.
    """
    with tracer() as base:
        config, chain = existing.config, existing.delivery.processors
        changed = {"exporters": (base.exporter,), "mode": "sync", "recorder": False, "watchdog": False}
        values = {**vars(config), **changed, "processors": ()}
        twin = RecordingTracer({}, {}, base, Config(values, config.arguments, config.variables))
        if chain is not None:
            twin.delivery.processors = chain
            twin._watch(chain.on_start, chain.on_end)
        held = vars(existing)  # the same mapping all along: a tracer's other faces share it
        before = dict(held)
        held.clear()
        held.update(vars(twin), _provider=before.get("_provider"))
        lambent._default = existing
        lambent._serve(existing)
        try:
            yield twin
        finally:
            twin.delivery.processors = None  # they are the tracer's own, and go on
            twin.delivery.close(0)
            held.clear()
            held.update(before)


_MILLIS, _ISO, _ID = 1_700_000_000_000, "2023-11-14T22:13:20.000Z", "00000000-0000-4000-8000-{:012d}"
_ARN, _AWS = "arn:aws:{}:eu-west-1:123456789012:{}", {"awsRegion": "eu-west-1"}
_RECORDS: dict[str, tuple[str, dict[str, Any]]] = {
    "sqs": ("body", {
        "messageId": _ID, "receiptHandle": _ID, "body": "", "md5OfBody": "0" * 32,
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": str(_MILLIS)},
        "messageAttributes": {}, "eventSource": "aws:sqs", "eventSourceARN": _ARN.format("sqs", "test"),
        **_AWS,
    }),
    "sns": ("Sns.Message", {
        "EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": _ARN.format("sns", "test:0"),
        "Sns": {"Type": "Notification", "MessageId": _ID, "TopicArn": _ARN.format("sns", "test"),
                "Subject": None, "Message": "", "Timestamp": _ISO, "MessageAttributes": {}},
    }),
    "kinesis": ("kinesis.data", {
        "kinesis": {"kinesisSchemaVersion": "1.0", "partitionKey": "test", "sequenceNumber": _ID, "data": "",
                    "approximateArrivalTimestamp": _MILLIS / 1000},
        "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventName": "aws:kinesis:record",
        "eventID": _ID, "eventSourceARN": _ARN.format("kinesis", "stream/test"), **_AWS,
    }),
    "s3": ("s3.object.key", {
        "eventVersion": "2.1", "eventSource": "aws:s3", **_AWS, "eventTime": _ISO,
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "test", "arn": "arn:aws:s3:::test"},
               "object": {"key": "", "size": 1, "eTag": "0" * 32, "sequencer": _ID}},
    }),
}  # fmt: skip  # one source, one entry: where its payload goes, and a record


def event(
    source: str,
    *payloads: Any,
    method: str = "GET",
    path: str = "/",
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a small event of a common source: what handlers and their tracing look at.

    `source`: `apigw-v1` and `apigw-v2` (the payload is the body), `sqs`, `sns`, `kinesis` and `s3` (one
    record for each payload: a message, or an object's key), `eventbridge` (the payload is the detail).
    Payloads that are no text become JSON. `headers` are those of the request, or the attributes of each SQS
    and SNS message. Whole events, and those of more sources, are `lambent_lab.events`.

    Raises ValueError for another source.
    """
    headers = dict(headers or {})
    if source in _RECORDS:
        return {"Records": [_record(source, n, each, headers) for n, each in enumerate(payloads or ({},))]}
    payload = payloads[0] if payloads else None
    if source == "eventbridge":
        return {
            "version": "0", "id": _ID.format(0), "detail-type": "Test Event", "source": "com.example.test",
            "account": "123456789012", "time": _ISO, "region": "eu-west-1", "resources": [],
            "detail": payload or {},
        }  # fmt: skip
    body = payload if payload is None or isinstance(payload, str) else json.dumps(payload)
    made: dict[str, Any] = {
        "headers": headers, "queryStringParameters": dict(query) if query else None, "body": body,
        "isBase64Encoded": False,
    }  # fmt: skip
    context: dict[str, Any] = {
        "accountId": "123456789012",
        "apiId": "test",
        "domainName": "test.example",
        "requestId": _ID.format(0),
    }
    caller = {"sourceIp": "203.0.113.7", "userAgent": "test"}
    if source == "apigw-v1":
        context |= {
            "httpMethod": method,
            "resourcePath": path,
            "path": path,
            "stage": "test",
            "identity": caller,
        }
        made |= {"resource": path, "path": path, "httpMethod": method}
    elif source == "apigw-v2":
        http = {"method": method, "path": path, "protocol": "HTTP/1.1", **caller}
        route = f"{method} {path}"
        context |= {"http": http, "routeKey": route, "stage": "$default", "timeEpoch": _MILLIS}
        text = "&".join([f"{name}={value}" for name, value in (query or {}).items()])
        made |= {"version": "2.0", "routeKey": route, "rawPath": path, "rawQueryString": text}
    else:
        known = ", ".join(["apigw-v1", "apigw-v2", "eventbridge", *_RECORDS])
        raise ValueError(f"no events of {source!r}: the sources are {known}")
    return {**made, "requestContext": context}


def _record(source: str, number: int, payload: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    place, template = _RECORDS[source]
    # By way of its text, which makes a copy, too.
    made: dict[str, Any] = json.loads(json.dumps(template).replace(_ID, _ID.format(number)))
    text = payload if isinstance(payload, str) else json.dumps(payload)
    *path, last = place.split(".")
    inner = made
    for name in path:
        inner = inner[name]
    inner[last] = base64.b64encode(text.encode()).decode() if source == "kinesis" else text
    for name, value in headers.items():
        if source == "sqs":
            made["messageAttributes"][name] = {"stringValue": value, "dataType": "String"}
        elif source == "sns":
            inner["MessageAttributes"][name] = {"Type": "String", "Value": value}
    return made
