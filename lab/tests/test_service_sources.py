"""Event source mappings as boto3 makes them, of queues that answer as SQS does: moto's."""

from __future__ import annotations

import asyncio
import hashlib
import json
import queue
import time
import uuid
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from lab.tests.clients import client_of
from lab.tests.waiting import LIMIT_S, until

from lambent_lab.service import Lab
from lambent_lab.service.aws import Aws
from lambent_lab.service.problems import throttled
from lambent_lab.service.sources import poller, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lambent_lab.service.sources.poller import Handled
    from lambent_lab.service.testing import FakeInvocation, World


class Queue:
    """A queue of the test's own."""

    def __init__(self, sqs: Any, *, fifo: bool = False, **attributes: str) -> None:
        self.name = f"q-{uuid.uuid4().hex}" + (".fifo" if fifo else "")
        self.fifo = fifo
        self._sqs = sqs
        given = {"VisibilityTimeout": "30", **attributes, **({"FifoQueue": "true"} if fifo else {})}
        self.url = sqs.create_queue(QueueName=self.name, Attributes=given)["QueueUrl"]
        self.arn = f"arn:aws:sqs:us-east-1:123456789012:{self.name}"

    def send(self, *bodies: str, group: str = "g", **more: Any) -> None:
        for start in range(0, len(bodies), 10):
            entries: list[dict[str, Any]] = [
                {"Id": str(number), "MessageBody": body, **more}
                for number, body in enumerate(bodies[start : start + 10])
            ]
            for entry in entries if self.fifo else ():
                entry |= {"MessageGroupId": group, "MessageDeduplicationId": uuid.uuid4().hex}
            self._sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def counts(self) -> tuple[int, int]:
        """How many are visible, and how many are with somebody."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def empty(self) -> bool:
        return self.counts() == (0, 0)

    def receive(self) -> list[Any]:
        answer = self._sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=10, AttributeNames=["All"]
        )
        found: list[Any] = answer.get("Messages", [])
        return found


class Service:
    """A lab with the function `hello`, boto3 before it, and the batches that it has handled."""

    def __init__(self, lab: Lab, world: World, code: Path) -> None:
        self.lab, self.world = lab, world
        lab.function("hello", code=code, handler="app.handler", timeout=1)
        self.client: Any = client_of(lab.serve().url, parameter_validation=False)
        self._handled: queue.Queue[Handled] = queue.Queue()
        lab.core.sources.on_batch.append(lambda _source, handled: self._handled.put(handled))

    def map(self, of: Queue, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.client.create_event_source_mapping(
            FunctionName="hello", EventSourceArn=of.arn, **more
        )
        return made

    def state(self, made: dict[str, Any]) -> str:
        return str(self.client.get_event_source_mapping(UUID=made["UUID"])["State"])

    def settle(self, made: dict[str, Any], state: str) -> None:
        until(lambda: self.state(made) == state)

    def handled(self) -> Handled:
        return self._handled.get(timeout=LIMIT_S)

    def records(self) -> list[list[dict[str, Any]]]:
        return [json.loads(payload)["Records"] for payload in self.world.payloads]

    def bodies(self) -> list[list[str]]:
        return [[each["body"] for each in records] for records in self.records()]

    def answer(self, work: Callable[[list[dict[str, Any]]], Any]) -> None:
        """Have the function answer what `work` makes of the records; an exception is the function's error."""

        async def answer(invocation: FakeInvocation) -> None:
            number = int(invocation.request_id.removeprefix("request-"))
            records = json.loads(self.world.payloads[number - 1])["Records"]
            try:
                invocation.payload = json.dumps(work(records)).encode()
            except ArithmeticError:
                invocation.status, invocation.function_error = "error", "Unhandled"
                invocation.payload = b'{"errorType": "ArithmeticError"}'

        self.world.work = answer


def refused(code: str, call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response: Any = caught.value.response
    assert response["Error"]["Code"] == code
    return str(response["Error"]["Message"])


@pytest.fixture
def service(
    world: World, aws_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    with Lab(environment=world, aws_endpoint_url=aws_endpoint) as lab:
        yield Service(lab, world, tmp_path)
        monkeypatch.setattr(
            poller, "_GRACE_S", 0.05
        )  # the last poll brings nothing: it need not be waited for


@pytest.fixture
def sqs(aws: Callable[[str], Any]) -> Any:
    return aws("sqs")


# -- the API


def test_a_mapping_is_made_changed_and_deleted(service: Service, sqs: Any) -> None:
    client, one, other = service.client, Queue(sqs), Queue(sqs)
    made = service.map(one)
    del made["ResponseMetadata"]
    assert abs(made.pop("LastModified").timestamp() - time.time()) < 60
    name = made["UUID"]
    assert made == {
        "UUID": name,
        "EventSourceArn": one.arn,
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:hello",
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
        "State": "Creating",
        "StateTransitionReason": "USER_INITIATED",
        "EventSourceMappingArn": f"arn:aws:lambda:us-east-1:123456789012:event-source-mapping:{name}",
    }
    service.settle(made, "Enabled")
    again = refused(
        "ResourceConflictException",
        client.create_event_source_mapping,
        FunctionName="hello",
        EventSourceArn=one.arn,
    )
    assert name in again
    service.map(other, Enabled=False)
    listed = client.list_event_source_mappings(FunctionName="hello", MaxItems=1)
    rest = client.list_event_source_mappings(FunctionName="hello", Marker=listed["NextMarker"])
    found = listed["EventSourceMappings"] + rest["EventSourceMappings"]
    assert {each["EventSourceArn"] for each in found} == {one.arn, other.arn}
    [of_other] = client.list_event_source_mappings(EventSourceArn=other.arn)["EventSourceMappings"]
    service.settle(of_other, "Disabled")
    changed = client.update_event_source_mapping(
        UUID=name, BatchSize=5, ScalingConfig={"MaximumConcurrency": 2}
    )
    assert (changed["State"], changed["BatchSize"]) == ("Updating", 5)
    stopped = client.update_event_source_mapping(UUID=name, Enabled=False)  # waits for the change before it
    assert (stopped["State"], stopped["ScalingConfig"]) == ("Disabling", {"MaximumConcurrency": 2})
    service.settle(made, "Disabled")
    one.send("waits")
    assert client.update_event_source_mapping(UUID=name, Enabled=True)["State"] == "Enabling"
    assert service.handled().records == 1
    assert client.delete_event_source_mapping(UUID=name)["State"] == "Deleting"
    until(lambda: len(client.list_event_source_mappings()["EventSourceMappings"]) == 1)
    gone = refused("ResourceNotFoundException", client.get_event_source_mapping, UUID=name)
    assert gone == "The resource you requested does not exist."


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ({"EventSourceArn": "arn:aws:sqs:us-east-1:123456789012:nowhere"}, "InvalidParameterValueException",
         "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue."),
        ({"FunctionName": "nobody"}, "ResourceNotFoundException", "Function not found"),
        ({"FunctionName": "hello:7"}, "ResourceNotFoundException", "not found"),
        ({"BatchSize": 11}, "InvalidParameterValueException", "Maximum batch window in seconds"),
        ({"BatchSize": 0}, "ValidationException", "greater than or equal to 1"),
        ({"ScalingConfig": {"MaximumConcurrency": 1}}, "ValidationException", "greater than or equal to 2"),
        ({"StartingPosition": "LATEST"}, "InvalidParameterValueException", "not valid for SQS"),
        ({"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 7},
         "InvalidParameterValueException", "not valid for SQS event sources"),
        ({"FunctionResponseTypes": ["Report"]}, "ValidationException", "ReportBatchItemFailures"),
        ({"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}}, "InvalidParameterValueException",
         "Invalid filter pattern definition."),
        ({"EventSourceArn": "orders"}, "ValidationException", "arn:"),
        ({"EventSourceArn": None}, "InvalidParameterValueException", "queues and streams only"),
    ],
)  # fmt: skip
def test_what_is_refused(
    service: Service, sqs: Any, arguments: dict[str, Any], code: str, message: str
) -> None:
    given = {"FunctionName": "hello", "EventSourceArn": Queue(sqs).arn, **arguments}
    given = {name: value for name, value in given.items() if value is not None}
    assert message in refused(code, service.client.create_event_source_mapping, **given)
    assert service.lab.core.sources.mappings == {}


def test_a_queue_whose_messages_come_again_too_soon(service: Service, sqs: Any) -> None:
    service.client.update_function_configuration(FunctionName="hello", Timeout=60)
    said = refused(
        "InvalidParameterValueException",
        service.client.create_event_source_mapping,
        FunctionName="hello",
        EventSourceArn=Queue(sqs).arn,
    )
    assert said == "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds"


def test_nobody_has_said_where_queues_are(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name, raising=False)
    arn = "arn:aws:sqs:us-east-1:123456789012:orders"
    with Lab(environment=world) as lab:
        service = Service(lab, world, tmp_path)
        said = refused(
            "InvalidParameterValueException",
            service.client.create_event_source_mapping,
            FunctionName="hello",
            EventSourceArn=arn,
        )
    assert said.startswith(
        f"The queue {arn} cannot be polled: no endpoint is named: set AWS_ENDPOINT_URL_SQS"
    )


# -- batches


def test_a_message_becomes_an_event_and_is_deleted(service: Service, sqs: Any) -> None:
    of = Queue(sqs)
    service.client.update_function_configuration(FunctionName="hello", TracingConfig={"Mode": "Active"})
    service.map(of)
    attributes = {
        "n": {"DataType": "Number", "StringValue": "7"},
        "b": {"DataType": "Binary", "BinaryValue": b"\xff"},
    }
    header = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5;Parent=6;Sampled=1"}}
    body = '{"ä": 1}'
    sqs.send_message(
        QueueUrl=of.url, MessageBody=body, MessageAttributes=attributes, MessageSystemAttributes=header
    )
    handled = service.handled()
    assert (handled.records, handled.failed, handled.problem) == (1, 0, None)
    [[record]] = service.records()
    system = record.pop("attributes")
    assert system.pop("AWSTraceHeader") == "Root=1-5;Parent=6;Sampled=1"
    assert system.pop("ApproximateReceiveCount") == "1"
    assert system.keys() == {"SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"}
    assert all(isinstance(value, str) for value in system.values())
    lists = {"stringListValues": [], "binaryListValues": []}  # type: ignore[var-annotated]
    assert record.pop("messageAttributes") == {
        "n": {"stringValue": "7", **lists, "dataType": "Number"},
        "b": {"binaryValue": "/w==", **lists, "dataType": "Binary"},
    }
    assert all(
        len(record.pop(name)) > 30 for name in ("messageId", "receiptHandle", "md5OfMessageAttributes")
    )
    assert record == {
        "body": body,
        "md5OfBody": hashlib.md5(body.encode()).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": of.arn,
        "awsRegion": "us-east-1",
    }
    [call] = [call for environment in service.world.environments for call in environment.calls]
    assert "Sampled=1" in call["trace_header"]
    assert "Root=1-5;" not in call["trace_header"], "a batch has a trace of its own"
    assert of.empty()


def test_what_fails_comes_again_and_ends_in_the_queues_own_dead_letters(service: Service, sqs: Any) -> None:
    dead = Queue(sqs)
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": "2"})
    of = Queue(sqs, VisibilityTimeout="2", RedrivePolicy=policy)

    def work(records: list[dict[str, Any]]) -> None:
        if any(each["body"] == "bad" for each in records):
            raise ArithmeticError

    service.answer(work)
    service.map(of, BatchSize=1)
    of.send("bad", "good")
    until(lambda: dead.counts()[0] == 1)
    assert of.empty()
    counts = [
        (each["body"], each["attributes"]["ApproximateReceiveCount"])
        for records in service.records()
        for each in records
    ]
    assert sorted(counts) == [("bad", "1"), ("bad", "2"), ("good", "1")]
    failures = [handled for handled in (service.handled() for _ in range(3)) if handled.failed]
    assert [handled.function_error for handled in failures] == ["Unhandled"] * 2


def test_only_what_is_reported_comes_again(service: Service, sqs: Any) -> None:
    of = Queue(sqs, VisibilityTimeout="2")

    def work(records: list[dict[str, Any]]) -> Any:
        first = (each for each in records if each["attributes"]["ApproximateReceiveCount"] == "1")
        bad = [each["messageId"] for each in first if each["body"] == "bad"]
        return {"batchItemFailures": [{"itemIdentifier": name} for name in bad]}

    service.answer(work)
    of.send("bad", "good", "good")
    service.map(of, FunctionResponseTypes=["ReportBatchItemFailures"])
    until(lambda: sum(map(len, service.records())) == 4 and of.empty())
    assert sorted(chain(*service.bodies())) == ["bad", "bad", "good", "good"]


def test_without_the_setting_every_answer_is_success(service: Service, sqs: Any) -> None:
    of = Queue(sqs)
    service.answer(lambda records: {"batchItemFailures": [{"itemIdentifier": records[0]["messageId"]}]})
    of.send("a")
    service.map(of)
    assert service.handled().failed == 0
    assert of.empty()


def test_what_filters_leave_out_is_deleted(service: Service, sqs: Any) -> None:
    of = Queue(sqs)
    of.send('{"code": 1}', '{"code": 2}', "text", '{"code": 3}')
    pattern = json.dumps({"body": {"code": [{"numeric": [">=", 2]}]}})
    made = service.map(of, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    assert made["FilterCriteria"] == {"Filters": [{"Pattern": pattern}]}
    assert service.handled().records == 2
    assert sorted(service.bodies()[0]) == ['{"code": 2}', '{"code": 3}']
    assert of.empty()


def test_a_window_gathers_more_than_one_poll_brings(service: Service, sqs: Any) -> None:
    of = Queue(sqs)
    of.send(*map(str, range(25)))
    service.map(of, BatchSize=25, MaximumBatchingWindowInSeconds=300)
    assert service.handled().records == 25, "a full batch does not wait for its window"
    of.send("late")
    made = service.lab.core.sources
    [name] = made.mappings
    service.client.update_event_source_mapping(UUID=name, BatchSize=20, MaximumBatchingWindowInSeconds=1)
    assert service.handled().records == 1, "nor does the end of a window for a full batch"
    until(of.empty)


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_six_megabytes_are_divided(service: Service, sqs: Any, *, fifo: bool) -> None:
    of = Queue(sqs, fifo=fifo, MaximumMessageSize="1048576")
    for number in range(7):
        of.send(str(number) + "x" * 1_000_000)
    more = {} if fifo else {"BatchSize": 100, "MaximumBatchingWindowInSeconds": 2}
    service.map(of, **more)
    until(lambda: sum(map(len, service.records())) == 7)
    assert max(map(len, service.world.payloads)) <= 6 * 1024 * 1024
    assert sorted(body[0] for body in chain(*service.bodies())) == list("0123456")
    if fifo:
        assert [body[0] for body in chain(*service.bodies())] == list("0123456")
    until(of.empty)


def test_a_fifo_queue_keeps_its_order(service: Service, sqs: Any) -> None:
    of = Queue(sqs, fifo=True, VisibilityTimeout="3")
    tried: list[str] = []

    def work(records: list[dict[str, Any]]) -> None:
        bodies = [each["body"] for each in records]
        tried.extend(bodies)
        if "a2" in bodies and tried.count("a2") == 1:
            raise ArithmeticError

    service.answer(work)
    of.send("a1", "a2", "a3", group="a")
    of.send("b1", "b2", group="b")
    service.map(of, BatchSize=2)
    until(lambda: of.empty() and len(tried) >= 5)
    a, b = ([body for body in tried if body.startswith(group)] for group in "ab")
    assert a == ["a1", "a2", "a1", "a2", "a3"], "nothing overtakes what failed"
    assert b == ["b1", "b2"]
    groups = {each["attributes"]["MessageGroupId"] for records in service.records() for each in records}
    assert groups == {"a", "b"}
    assert {"SequenceNumber", "MessageDeduplicationId"} <= service.records()[0][0]["attributes"].keys()


# -- how much at once


def test_batches_at_once_are_limited(service: Service, sqs: Any, world: World) -> None:
    running, most, together = 0, 0, asyncio.Event()

    async def work(_invocation: FakeInvocation) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            together.set()
        await asyncio.wait_for(together.wait(), LIMIT_S)
        await asyncio.sleep(0.05)
        running -= 1

    world.work = work
    of = Queue(sqs)
    of.send(*map(str, range(12)))
    service.map(of, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    assert sum(service.handled().records for _ in range(12)) == 12
    assert most == 2
    until(of.empty)


def test_messages_wait_in_the_queue_for_room(service: Service, sqs: Any, world: World) -> None:
    async def work(_invocation: FakeInvocation) -> None:
        await asyncio.sleep(0.02)

    world.work = work
    service.client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=1)
    of = Queue(sqs)
    of.send(*map(str, range(10)))
    service.map(of, BatchSize=1)
    assert {service.handled().problem for _ in range(10)} == {None}
    counts = {each["attributes"]["ApproximateReceiveCount"] for [each] in service.records()}
    assert counts == {"1"}, "none was received in vain"


def test_a_throttled_batch_is_tried_again(
    service: Service, sqs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, core = Queue(sqs), service.lab.core
    real, times = core.feed, 0

    async def feed(*arguments: Any) -> Any:
        nonlocal times
        times += 1
        if times == 1:
            raise throttled(reserved=False)
        return await real(*arguments)

    monkeypatch.setattr(core, "feed", feed)
    of.send("a")
    service.map(of)
    assert service.handled().failed == 0
    assert times == 2
    [[record]] = service.records()
    assert record["attributes"]["ApproximateReceiveCount"] == "1"


# -- ends and troubles


def test_the_end_of_a_lab_loses_no_message(
    world: World, aws_endpoint: str, sqs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "_GRACE_S", 1.5)
    of = Queue(sqs, VisibilityTimeout="600")
    world.work = world.forever
    of.send("a", "b")
    with Lab(environment=world, aws_endpoint_url=aws_endpoint) as lab:
        Service(lab, world, tmp_path).map(of, BatchSize=2)
        assert world.entered.wait(LIMIT_S)
        begun = time.monotonic()
    assert time.monotonic() - begun < 30
    assert of.counts() == (2, 0), "visible again, ten minutes before their time"
    assert {each["Body"] for each in of.receive()} == {"a", "b"}


def test_a_batch_under_way_ends_before_the_lab_does(
    world: World, aws_endpoint: str, sqs: Any, tmp_path: Path
) -> None:
    async def work(_invocation: FakeInvocation) -> None:
        await asyncio.sleep(0.5)

    world.work = work
    of = Queue(sqs)
    of.send("a")
    with Lab(environment=world, aws_endpoint_url=aws_endpoint) as lab:
        Service(lab, world, tmp_path).map(of)
        assert world.entered.wait(LIMIT_S)
    assert of.empty()


def test_a_mapping_waits_for_its_queue_and_its_function(
    service: Service, sqs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made as a file's is: nobody asks whether the queue is there."""
    name = f"q-{uuid.uuid4().hex}"
    arn = f"arn:aws:sqs:us-east-1:123456789012:{name}"
    sources = service.lab.core.sources

    async def add() -> Any:
        return sources.add(settings.new(arn, "later", None, {}))

    source = service.lab.run(add())
    until(lambda: source.problem)
    document = service.client.get_event_source_mapping(UUID=source.uuid)
    assert document["State"] == "Enabled"
    assert document["LastProcessingResult"].startswith("PROBLEM: AWS.SimpleQueueService.NonExistentQueue")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    until(lambda: "Function not found" in (source.problem or ""))
    sqs.send_message(QueueUrl=url, MessageBody="a")
    service.lab.function("later", code=tmp_path, handler="app.handler")
    assert service.handled().failed == 0
    until(lambda: source.problem is None and source.result == "OK")


def test_nobody_answers(world: World, tmp_path: Path) -> None:
    with Lab(environment=world, aws_endpoint_url="http://127.0.0.1:9") as lab:
        service = Service(lab, world, tmp_path)
        arn = "arn:aws:sqs:us-east-1:123456789012:orders"
        said = refused(
            "InvalidParameterValueException",
            service.client.create_event_source_mapping,
            FunctionName="hello",
            EventSourceArn=arn,
        )
    assert "Could not connect to the endpoint URL" in said


def test_an_endpoint_that_does_not_wait_is_not_asked_all_the_time(world: World, tmp_path: Path) -> None:
    class Impatient(Aws):
        polls: list[float] = []  # noqa: RUF012 - of one test

        async def queue_url(self, arn: object) -> str:
            return "http://q"

        async def call(self, service: str, region: str, operation: str, **parameters: Any) -> Any:
            if operation == "receive_message":
                self.polls.append(time.monotonic())
            return {}

    with Lab(environment=world) as lab:
        lab.core.aws = Impatient()
        service = Service(lab, world, tmp_path)
        service.client.create_event_source_mapping(
            FunctionName="hello", EventSourceArn="arn:aws:sqs:us-east-1:123456789012:orders"
        )
        until(lambda: len(Impatient.polls) >= 2)
    assert Impatient.polls[1] - Impatient.polls[0] > 0.9
