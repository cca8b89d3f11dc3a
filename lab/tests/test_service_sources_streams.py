"""Mappings of streams: Kinesis's and a table's, as moto's server has them; the pure part with hypothesis."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.tests.waiting import LIMIT_S, until

from lambent_lab.errors import LabError
from lambent_lab.service import Lab
from lambent_lab.service.sources import stream_poller
from lambent_lab.service.sources.settings import stated
from lambent_lab.service.sources.stream_records import Item, Part, after, lanes, parts
from lambent_lab.service.testing import FakeInvocation, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lambent_lab.service.sources.poller import Handled


class Stream:
    """A stream of Kinesis, of the test's own."""

    def __init__(self, client: Any, shards: int = 1) -> None:
        self.client = client
        self.name = f"s-{uuid.uuid4().hex}"
        client.create_stream(StreamName=self.name, ShardCount=shards)
        self.arn = client.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"][
            "StreamARN"
        ]

    def put(self, *texts: str, key: str = "k") -> None:
        records = [{"Data": text.encode(), "PartitionKey": key} for text in texts]
        self.client.put_records(StreamName=self.name, Records=records)


class Fed:
    """A lab with the function `hello`, and what it has been handed."""

    def __init__(self, lab: Lab, world: World, code: Path) -> None:
        self.lab, self.world = lab, world
        self.function = lab.function("hello", code=code, handler="app.handler")
        self.handled: list[Handled] = []
        lab.core.sources.on_batch.append(lambda _source, handled: self.handled.append(handled))

    def records(self) -> list[list[dict[str, Any]]]:
        return [json.loads(payload)["Records"] for payload in self.world.payloads]

    def texts(self) -> list[list[str]]:
        return [
            [base64.b64decode(each["kinesis"]["data"]).decode() for each in records]
            for records in self.records()
        ]

    def answer(self, work: Callable[[list[str]], Any]) -> None:
        async def answer(invocation: FakeInvocation) -> None:
            number = int(invocation.request_id.removeprefix("request-"))
            try:
                invocation.payload = json.dumps(work(self.texts()[number - 1])).encode()
            except ArithmeticError:
                invocation.status, invocation.function_error = "error", "Unhandled"
                invocation.payload = b'{"errorType": "ArithmeticError"}'

        self.world.work = answer


@pytest.fixture
def fed(aws_endpoint: str, tmp_path: Path) -> Iterator[Fed]:
    world = World()
    with Lab(environment=world, aws_endpoint_url=aws_endpoint) as lab:
        yield Fed(lab, world, tmp_path)


@pytest.fixture
def stream(aws: Callable[[str], Any]) -> Stream:
    return Stream(aws("kinesis"))


def test_records_become_events_in_their_order(fed: Fed, stream: Stream) -> None:
    stream.put("old")
    source = fed.function.add_source(stream.arn, start="TRIM_HORIZON", batch_size=2)
    until(lambda: fed.texts() == [["old"]])
    stream.put("1", "2", "3")
    until(lambda: fed.texts() == [["old"], ["1", "2"], ["3"]])
    [[record], *_] = fed.records()
    inner = record.pop("kinesis")
    assert abs(inner.pop("approximateArrivalTimestamp") - time.time()) < 600
    assert inner == {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": "k",
        "sequenceNumber": inner["sequenceNumber"],
        "data": base64.b64encode(b"old").decode(),
    }
    assert record == {
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{inner['sequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambent-lab",
        "awsRegion": "us-east-1",
        "eventSourceARN": stream.arn,
    }
    source.disable()
    stream.put("4")
    source.enable()
    until(lambda: fed.texts()[3:] == [["4"]]), "it goes on behind what is done"


def test_from_now_on(fed: Fed, stream: Stream) -> None:
    stream.put("old")
    fed.function.add_source(stream.arn, start="LATEST")
    stream.put("new")
    until(lambda: fed.texts() == [["new"]])


def test_what_fails_holds_up_its_shard_until_it_is_given_up(
    fed: Fed, stream: Stream, aws: Callable[[str], Any]
) -> None:
    sqs = aws("sqs")
    url = sqs.create_queue(QueueName=stream.name)["QueueUrl"]

    def work(texts: list[str]) -> None:
        if "bad" in texts:
            raise ArithmeticError

    fed.answer(work)
    stream.put("a", "b", "bad", "c")
    fed.function.add_source(
        stream.arn,
        start="TRIM_HORIZON",
        bisect=True,
        retries=1,
        on_failure=f"arn:aws:sqs:us-east-1:123456789012:{stream.name}",
    )
    until(lambda: fed.texts()[-1:] == [["c"]])
    assert fed.texts() == [["a", "b", "bad", "c"], ["a", "b"], ["bad", "c"], ["bad"], ["bad"], ["c"]]
    [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
    told = json.loads(message["Body"])
    info = told.pop("KinesisBatchInfo")
    [bad] = fed.records()[3]
    number = bad["kinesis"]["sequenceNumber"]
    assert info.pop("approximateArrivalOfFirstRecord") == info.pop("approximateArrivalOfLastRecord")
    assert info == {
        "shardId": "shardId-000000000000",
        "startSequenceNumber": number,
        "endSequenceNumber": number,
        "batchSize": 1,
        "streamArn": stream.arn,
    }
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "requestContext": {
            "requestId": "request-5",
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:hello",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 2,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
    }
    assert [each.problem for each in fed.handled if each.problem] == ["given up (RetryAttemptsExhausted)"]


def test_what_is_given_up_goes_to_a_bucket_with_its_records(
    fed: Fed, stream: Stream, aws: Callable[[str], Any]
) -> None:
    s3 = aws("s3")
    s3.create_bucket(Bucket=stream.name)

    def work(_texts: list[str]) -> None:
        raise ArithmeticError

    fed.answer(work)
    stream.put("bad")
    source = fed.function.add_source(
        stream.arn, start="TRIM_HORIZON", retries=0, on_failure=f"arn:aws:s3:::{stream.name}"
    )
    [found] = until(lambda: s3.list_objects_v2(Bucket=stream.name).get("Contents"))
    assert found["Key"].startswith(f"aws/lambda/{source.uuid}/shardId-000000000000/20")
    stored = json.loads(s3.get_object(Bucket=stream.name, Key=found["Key"])["Body"].read())
    assert json.loads(stored["payload"])["Records"] == fed.records()[0]


def test_only_what_is_reported_and_what_follows_is_tried_again(fed: Fed, stream: Stream) -> None:
    tried: list[str] = []

    def work(texts: list[str]) -> Any:
        tried.extend(texts)
        number = texts.index("2") if tried.count("2") == 1 else None
        if number is None:
            return {"batchItemFailures": []}
        records = next(each for each in fed.records() if len(each) == len(texts))
        return {"batchItemFailures": [{"itemIdentifier": records[number]["kinesis"]["sequenceNumber"]}]}

    fed.answer(work)
    stream.put("1", "2", "3")
    fed.function.add_source(stream.arn, start="TRIM_HORIZON", report_failures=True)
    until(lambda: fed.texts() == [["1", "2", "3"], ["2", "3"]])


def test_filters_look_into_the_data(fed: Fed, stream: Stream) -> None:
    stream.put('{"a": 1}', '{"a": 2}', "text")
    fed.function.add_source(stream.arn, start="TRIM_HORIZON", filters=[{"data": {"a": [2]}}])
    until(lambda: fed.texts() == [['{"a": 2}']])


def test_every_shard_and_then_those_that_come_of_it(
    fed: Fed, aws: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_poller, "_SHARDS_S", 0.2)
    stream = Stream(aws("kinesis"), shards=2)
    for number in range(6):
        stream.put(f"{number}", key=f"key {number}")
    fed.function.add_source(stream.arn, start="TRIM_HORIZON", batch_size=1)
    until(lambda: len(fed.texts()) == 6)
    stream.client.split_shard(
        StreamName=stream.name, ShardToSplit="shardId-000000000000", NewStartingHashKey="7"
    )
    for number in range(6, 12):
        stream.put(f"{number}", key=f"key {number}")
    until(lambda: {*map(str, range(12))} <= set(chain(*fed.texts())))


def test_a_tables_stream(fed: Fed, aws: Callable[[str], Any]) -> None:
    table = aws("dynamodb")
    name = f"t-{uuid.uuid4().hex}"
    made = table.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    pattern = {"eventName": ["INSERT", "REMOVE"], "dynamodb": {"Keys": {"id": {"S": [{"prefix": "o"}]}}}}
    source = fed.function.add_source(made["LatestStreamArn"], start="TRIM_HORIZON", filters=[pattern])
    table.put_item(TableName=name, Item={"id": {"S": "o7"}, "raw": {"B": b"\xff"}, "n": {"N": "1"}})
    table.put_item(TableName=name, Item={"id": {"S": "o7"}, "n": {"N": "2"}})
    table.put_item(TableName=name, Item={"id": {"S": "x7"}})
    until(lambda: sum(map(len, fed.records())) == 1)
    source.disable()
    table.delete_item(TableName=name, Key={"id": {"S": "o7"}})
    source.enable()
    until(lambda: sum(map(len, fed.records())) == 2)
    first, second = chain(*fed.records())
    inner = first.pop("dynamodb")
    assert inner["Keys"] == {"id": {"S": "o7"}}
    assert inner["NewImage"] == {"id": {"S": "o7"}, "raw": {"B": "/w=="}, "n": {"N": "1"}}
    assert isinstance(inner["ApproximateCreationDateTime"], float)
    assert (first["eventName"], first["eventSource"], first["eventSourceARN"]) == (
        "INSERT", "aws:dynamodb", made["LatestStreamArn"],
    )  # fmt: skip
    assert (second["eventName"], second["dynamodb"]["OldImage"]["n"]) == ("REMOVE", {"N": "2"})


def test_several_batches_of_a_shard_at_once(fed: Fed, stream: Stream) -> None:
    running, most = 0, 0
    together = asyncio.Event()

    async def work(_invocation: FakeInvocation) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            together.set()
        await asyncio.wait_for(together.wait(), LIMIT_S)
        running -= 1

    fed.world.work = work
    for number in range(8):
        stream.put(f"{number}", f"{number}!", key=f"key {number}")
    fed.function.add_source(stream.arn, start="TRIM_HORIZON", batch_size=100, parallel=4)
    until(lambda: sum(map(len, fed.texts())) == 16)
    assert 2 <= most <= 4
    for number in range(8):
        rows = [[text for text in texts if text[0] == str(number)] for texts in fed.texts()]
        assert max(rows) == [f"{number}", f"{number}!"], "in order, and in one batch"


def test_what_is_too_old_is_given_up(fed: Fed, stream: Stream) -> None:
    stream.put("old")
    wanted = stated(stream.arn, "hello", None, {"StartingPosition": "TRIM_HORIZON"}, "")

    async def add() -> None:
        fed.lab.core.sources.add(replace(wanted, max_age_s=0))  # AWS takes a minute and more

    fed.lab.run(add())
    until(lambda: fed.handled)
    assert [each.problem for each in fed.handled] == ["given up (RecordAgeExceeded)"]
    assert fed.texts() == []


def test_what_keeps_it_from_being_read_is_told(fed: Fed, stream: Stream) -> None:
    with pytest.raises(LabError, match="Stream not found"):
        fed.function.add_source(f"{stream.arn}x", start="LATEST")
    stream.put("a")
    fed.function.reserve(0)
    source = fed.function.add_source(stream.arn, start="TRIM_HORIZON")
    until(lambda: source.problem == "the function may not run at all: its reserved concurrency is 0")
    fed.function.reserve(None)
    until(lambda: fed.texts() == [["a"]])
    until(lambda: source.problem is None)


def test_the_end_of_a_lab_does_not_wait_for_what_fails_for_ever(
    aws_endpoint: str, stream: Stream, tmp_path: Path
) -> None:
    world = World()

    def work(_texts: list[str]) -> None:
        raise ArithmeticError

    with Lab(environment=world, aws_endpoint_url=aws_endpoint) as lab:
        fed = Fed(lab, world, tmp_path)
        fed.answer(work)
        stream.put("bad")
        fed.function.add_source(stream.arn, start="TRIM_HORIZON")
        until(lambda: len(world.payloads) >= 2)
        begun = time.monotonic()
    assert time.monotonic() - begun < 20


# -- pure


def item(number: int, key: str = "") -> Item:
    return Item(f"{number:04d}", key, 0.0, {"n": number}, {})


ITEMS = st.integers(1, 12).map(lambda count: tuple(item(number) for number in range(count)))


@given(ITEMS, st.sets(st.integers(0, 11)), st.booleans(), st.integers(-1, 3))
def test_what_is_tried_until_the_end_is_everything_once(
    items: tuple[Item, ...], bad: set[int], bisect: bool, most: int
) -> None:
    """Some records fail for ever, or for long: with retries without end they are healed after a while."""
    todo, done, given_up, rounds = [Part(items)], list[Item](), list[Item](), 0
    while todo:
        part, rounds = todo.pop(0), rounds + 1
        failing = {f"{number:04d}" for number in bad} if rounds < 40 else set()
        here = frozenset(each.sequence for each in part.items) & failing
        more, out = after(part, here, most_retries=most, bisect=bisect)
        left = sum(len(each.items) for each in more) + (len(out.items) if out else 0)
        done += part.items[: len(part.items) - left]
        given_up += out.items if out else ()
        todo = more + todo
        assert all(each.retries <= part.retries + 1 for each in more)
    assert sorted(done + given_up, key=lambda each: each.sequence) == list(items), "each once"
    assert done == sorted(done, key=lambda each: each.sequence), "and in order"
    assert most >= 0 or not given_up


@given(st.lists(st.sampled_from("abcdef"), max_size=20), st.integers(1, 5))
def test_records_of_one_key_stay_in_one_row(keys: list[str], count: int) -> None:
    items = [item(number, key) for number, key in enumerate(keys)]
    rows = lanes(items, count)
    assert len(rows) <= count
    assert sorted(chain(*rows), key=lambda each: each.sequence) == items
    for key in set(keys):
        (row,) = [row for row in rows if any(each.key == key for each in row)]
        mine = [each for each in row if each.key == key]
        assert mine == [each for each in items if each.key == key]
    assert [len(part.items) for part in parts(items, 3)] == [
        min(3, len(items) - start) for start in range(0, len(items), 3)
    ]
