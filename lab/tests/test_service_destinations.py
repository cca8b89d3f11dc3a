"""Where asynchronous events end, at an endpoint that answers as AWS does: moto's."""

from __future__ import annotations

import datetime as dt
import json
import queue
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.errors import UsageError
from lambent_lab.service import Lab, arns, parcels
from lambent_lab.service.aws import VARIABLES
from lambent_lab.service.core import Call
from lambent_lab.service.parcels import UnfitError
from lambent_lab.service.policy import Outcome, Policy
from lambent_lab.service.testing import FakeInvocation, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:hello:$LATEST"
SAMPLED = "Root=1-65d3f2a0-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"


class Asynchronous:
    """A lab with the function `hello`, whose events end one after the other."""

    def __init__(self, lab: Lab, world: World, code: Path) -> None:
        self.lab, self.world = lab, world
        lab.function("hello", code=code, handler="app.handler")
        self.deployed = lab.core.functions["hello"]
        self._over: queue.Queue[Outcome] = queue.Queue()
        lab.core.events.on_over.append(self._over.put)

    def run(self, payload: bytes = b"{}", *, trace: str | None = None, **policy: Any) -> Outcome:
        self.deployed.record.policies["$LATEST"] = Policy(retries=0, **policy)

        async def put() -> None:
            self.lab.core.events.put(self.deployed, Call(payload=payload, trace_header=trace))

        self.lab.run(put())
        return self._over.get(timeout=60)

    def fail(self, message: str = "no such order") -> None:
        async def work(invocation: FakeInvocation) -> None:
            invocation.status, invocation.function_error = "error", "Unhandled"
            invocation.payload = json.dumps({"errorType": "KeyError", "errorMessage": message}).encode()

        self.world.work = work


@pytest.fixture
def events(aws_endpoint: str, tmp_path: Path) -> Iterator[Asynchronous]:
    world = World()
    with Lab(environment=world, aws_endpoint_url=aws_endpoint) as lab:
        yield Asynchronous(lab, world, tmp_path)


@pytest.fixture
def inbox(aws: Callable[[str], Any]) -> Inbox:
    return Inbox(aws)


class Inbox:
    """A queue of its own, to look into."""

    def __init__(self, aws: Callable[[str], Any]) -> None:
        self.name = f"inbox-{uuid.uuid4().hex}"
        self._sqs = aws("sqs")
        self.url = self._sqs.create_queue(QueueName=self.name)["QueueUrl"]
        self.arn = f"arn:aws:sqs:us-east-1:123456789012:{self.name}"

    def message(self) -> Any:
        [message] = self._sqs.receive_message(
            QueueUrl=self.url,
            WaitTimeSeconds=20,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )["Messages"]
        return message


def record(outcome: Outcome, **more: Any) -> dict[str, Any]:
    """What AWS documents as a record, but for the time."""
    return {
        "version": "1.0",
        "requestContext": {
            "requestId": outcome.request_id,
            "functionArn": FUNCTION,
            "condition": outcome.condition,
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"order": 7},
        **more,
    }


SUCCESS = {
    "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
    "responsePayload": {"ok": True},
}
FAILURE = {
    "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    "responsePayload": {"errorType": "KeyError", "errorMessage": "no such order"},
}


def without_time(text: str) -> Any:
    sent = json.loads(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", sent.pop("timestamp"))
    return sent


# -- delivered


def test_to_a_queue(events: Asynchronous, inbox: Inbox) -> None:
    outcome = events.run(b'{"order": 7}', on_success=inbox.arn)
    assert (outcome.delivered, outcome.undelivered) == ((inbox.arn,), ())
    message = inbox.message()
    assert without_time(message["Body"]) == record(outcome, **SUCCESS)
    assert "MessageAttributes" not in message
    assert "AWSTraceHeader" not in message["Attributes"]
    events.fail()
    outcome = events.run(b'{"order": 7}', trace=SAMPLED, on_failure=inbox.arn)
    message = inbox.message()
    assert without_time(message["Body"]) == record(outcome, **FAILURE)
    assert message["Attributes"]["AWSTraceHeader"] == SAMPLED, "the trace goes on"
    assert events.lab.core.events.waiting == 0


def test_to_a_topic(events: Asynchronous, inbox: Inbox, aws: Callable[[str], Any]) -> None:
    topic = aws("sns").create_topic(Name=inbox.name)["TopicArn"]
    aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=inbox.arn)
    outcome = events.run(b'{"order": 7}', on_success=topic)
    assert outcome.delivered == (topic,)
    notice = json.loads(inbox.message()["Body"])
    assert notice["TopicArn"] == topic
    assert without_time(notice["Message"]) == record(outcome, **SUCCESS)


def test_to_a_bucket(events: Asynchronous, inbox: Inbox, aws: Callable[[str], Any]) -> None:
    s3, bucket = aws("s3"), f"arn:aws:s3:::{inbox.name}"
    s3.create_bucket(Bucket=inbox.name)
    events.fail()
    outcome = events.run(b'{"order": 7}', on_failure=bucket)
    assert outcome.delivered == (bucket,)
    [found] = s3.list_objects_v2(Bucket=inbox.name)["Contents"]
    day = dt.datetime.now(dt.UTC)
    near = "|".join(f"{day + dt.timedelta(days=days):%Y/%m/%d/%Y-%m-%d}" for days in (-1, 0))
    assert re.fullmatch(rf"aws/lambda/async/hello/({near})T\d\d\.\d\d\.\d\d-[0-9a-f-]{{36}}", found["Key"])
    stored = s3.get_object(Bucket=inbox.name, Key=found["Key"])
    assert stored["ContentType"] == "application/json"
    assert without_time(stored["Body"].read().decode()) == record(outcome, **FAILURE)


def test_to_a_bus(events: Asynchronous, inbox: Inbox, aws: Callable[[str], Any]) -> None:
    client = aws("events")
    bus = client.create_event_bus(Name=inbox.name)["EventBusArn"]
    pattern = json.dumps({"source": ["lambda"]})
    client.put_rule(Name=inbox.name, EventBusName=inbox.name, EventPattern=pattern)
    client.put_targets(Rule=inbox.name, EventBusName=inbox.name, Targets=[{"Id": "1", "Arn": inbox.arn}])
    for fails, kind, more in ((False, "Success", SUCCESS), (True, "Failure", FAILURE)):
        if fails:
            events.fail()
        outcome = events.run(b'{"order": 7}', on_success=bus, on_failure=bus)
        assert outcome.delivered == (bus,)
        event = json.loads(inbox.message()["Body"])
        assert (event["source"], event["resources"]) == ("lambda", [bus, FUNCTION])
        assert event["detail-type"] == f"Lambda Function Invocation Result - {kind}"
        assert without_time(json.dumps(event["detail"])) == record(outcome, **more)


def test_a_dead_letter_beside_a_destination(
    events: Asynchronous, inbox: Inbox, aws: Callable[[str], Any]
) -> None:
    other = Inbox(aws)
    about = {"DeadLetterConfig": {"TargetArn": inbox.arn}}
    events.lab.core.change(events.deployed, about=about)
    events.run(b"[1]", on_success=other.arn)
    other.message()
    events.fail("ä" * 600)
    outcome = events.run(b"[2]", on_failure=other.arn)
    assert set(outcome.delivered) == {inbox.arn, other.arn}
    other.message()
    letter = inbox.message()
    assert letter["Body"] == "[2]", "the event of the failure, as it came"
    assert letter["MessageAttributes"] == {
        "RequestID": {"DataType": "String", "StringValue": outcome.request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "ä" * 512},
    }
    topic = aws("sns").create_topic(Name=inbox.name)["TopicArn"]
    aws("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=inbox.arn, Attributes={"RawMessageDelivery": "true"}
    )
    events.lab.core.change(events.deployed, about={"DeadLetterConfig": {"TargetArn": topic}})
    events.deployed.record.reserved = 0
    outcome = events.run(b"[3]")
    assert outcome.delivered == (topic,)
    letter = inbox.message()
    assert letter["Body"] == "[3]"
    said = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert said == {"RequestID": outcome.request_id, "ErrorCode": "429", "ErrorMessage": "Rate Exceeded."}


# -- not delivered, and told


@pytest.mark.parametrize(
    ("arn", "why"),
    [
        ("arn:aws:sqs:us-east-1:123456789012:nowhere", "NonExistentQueue"),
        ("arn:aws:sqs:us-east-1:123456789012:orders.fifo", "only a standard queue or topic"),
        ("arn:aws:sns:us-east-1:123456789012:nowhere", "NotFound"),
        ("arn:aws:s3:::nowhere", "NoSuchBucket"),
        ("arn:aws:kinesis:us-east-1:123456789012:stream/s", "possible are sqs, sns, s3, lambda, events"),
        ("arn:aws:lambda:us-east-1:123456789012:function:nobody", "Function not found"),
    ],
)
def test_what_is_not_there(events: Asynchronous, arn: str, why: str) -> None:
    events.fail()
    outcome = events.run(on_failure=arn)
    assert (outcome.delivered, outcome.undelivered) == ((), (arn,))
    assert why in outcome.problems[0]
    assert events.lab.core.destinations.failures == {"DestinationDeliveryFailures": 1}


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
    world = World()
    with Lab(environment=world) as lab:
        outcome = Asynchronous(lab, world, tmp_path).run(on_success="arn:aws:sqs:us-east-1:123456789012:q")
    assert outcome.undelivered
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/"' in outcome.problems[0]


@pytest.mark.parametrize("named", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "profile"])
def test_endpoints_are_named_as_for_boto3(
    aws_endpoint: str, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    if named == "profile":
        config = tmp_path / "config"
        config.write_text(
            f"[profile local]\nservices = all\n[services all]\nsqs =\n  endpoint_url = {aws_endpoint}\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        monkeypatch.setenv("AWS_PROFILE", "local")
    else:
        monkeypatch.setenv(named, aws_endpoint)
    world = World()
    with Lab(environment=world) as lab:
        outcome = Asynchronous(lab, world, tmp_path).run(b'{"order": 7}', on_success=inbox.arn)
    assert outcome.delivered == (inbox.arn,), outcome.problems
    inbox.message()


@pytest.mark.parametrize("service", sorted(VARIABLES.keys() & set(parcels.DESTINATIONS)))
def test_aws_itself_is_never_called_by_accident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    """Also with credentials that are real, and with endpoints of other services."""
    for name in ("AWS_ENDPOINT_URL", *VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", None)
    arn = {"s3": "arn:aws:s3:::b", "events": "arn:aws:events:us-east-1:1:event-bus/default"}.get(
        service, f"arn:aws:{service}:us-east-1:123456789012:q"
    )
    world = World()
    with Lab(environment=world) as lab:
        asynchronous = Asynchronous(lab, world, tmp_path)
        asynchronous.fail()
        outcome = asynchronous.run(on_failure=arn)
    assert outcome.problems == (
        f"no endpoint is named: set {VARIABLES[service]} or AWS_ENDPOINT_URL "
        "(to http://127.0.0.1:5000, say), or --aws-endpoint-url",
    )


def test_an_endpoint_that_is_none() -> None:
    with pytest.raises(UsageError, match="write http://HOST:PORT"):
        Lab(aws_endpoint_url="127.0.0.1:5000")


# -- pure


@given(st.text(), st.text())
def test_any_text_is_an_arn_or_an_error(text: str, resource: str) -> None:
    for arn in (text, f"arn:aws:sqs:us-east-1:123456789012:{resource}"):
        try:
            found = arns.parse(arn)
        except ValueError:
            assert not arn.startswith("arn:") or arn.count(":") < 5 or not resource or arn == text
        else:
            parts = ("arn", "aws", found.service, found.region, found.account, found.resource)
            assert ":".join(parts) == ":".join(["arn", "aws", *arn.split(":", 5)[2:]])


@pytest.mark.parametrize(
    ("arn", "options"), [("arn:aws:s3:::b", {"success": True}), ("arn:aws:s3:::b", {"dead": True}), ("x", {})]
)
def test_what_cannot_be_a_destination(arn: str, options: dict[str, bool]) -> None:
    with pytest.raises(UnfitError):
        parcels.check(arn, **options)
