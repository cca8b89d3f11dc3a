"""Filters, verdicts, records and states of event source mappings: no queue, no clock."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.events.models import EventPattern

from lambent_lab.service import arns
from lambent_lab.service.problems import ServiceError
from lambent_lab.service.sources import settings, verdicts
from lambent_lab.service.sources.filters import Filters, PatternError, matches
from lambent_lab.service.sources.records import MAX_BYTES, Batch, record
from lambent_lab.service.sources.states import SETTLED, TRANSITIONS, pollers

QUEUE = arns.parse("arn:aws:sqs:eu-west-1:123456789012:orders")

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
LATEST = {"StartingPosition": "LATEST"}

# -- filters


@pytest.mark.parametrize(
    ("rules", "fitting", "others"),
    [
        (["a", 3, None, True], ["a", 3, 3.0, None, True, ["x", "a"]], ["A", 4, False, 1, "3", [], {}]),
        ([""], [""], ["x", None]),
        ([{"prefix": "ab"}], ["ab", "abc"], ["Ab", "xab", 5, None]),
        ([{"suffix": ".png"}], ["a.png"], [".PNG", "png"]),
        ([{"prefix": {"equals-ignore-case": "AB"}}], ["abx", "ABX"], ["xab"]),
        ([{"suffix": {"equals-ignore-case": ".Png"}}], ["a.pNG"], ["a.pn"]),
        ([{"equals-ignore-case": "Alice"}], ["ALICE", "alice"], ["alicE ", 3]),
        ([{"anything-but": "a"}], ["b", 3, None, True, ["a", "b"]], ["a", ["a"]]),
        ([{"anything-but": ["a", 3]}], ["b", 4], ["a", 3]),
        ([{"anything-but": {"prefix": "us-"}}], ["eu-1"], ["us-1"]),
        ([{"anything-but": {"suffix": [".a", ".b"]}}], ["x.c"], ["x.a", "x.b"]),
        ([{"anything-but": {"equals-ignore-case": ["A", "b"]}}], ["c"], ["a", "B"]),
        ([{"numeric": ["=", 3.018e2]}], [301.8], [301, "301.8", True]),
        ([{"numeric": [">", 0, "<=", 5]}], [0.5, 5], [0, 6, "3", False, None]),
        ([{"numeric": ["<", 10]}], [-4, 9.99], [10]),
        ([{"numeric": [">=", 10]}], [10], [9]),
        ([{"wildcard": "a*/b\\*"}], ["a/b*", "axx/b*"], ["a/b", "a/bx"]),
        ([{"cidr": "10.0.0.0/24"}], ["10.0.0.255"], ["10.0.1.0", "x", 7]),
        ([{"exists": True}], ["", None, 0, [1]], [[], {}, {"x": 1}]),
        ([{"exists": False}], [{}, {"x": 1}, []], ["", None]),
        ([{"prefix": "a"}, {"numeric": [">", 5]}], ["ab", 6], ["b", 5]),
    ],
)
def test_the_rules_of_one_value(rules: list[Any], fitting: list[Any], others: list[Any]) -> None:
    pattern = json.dumps({"k": rules})
    assert [value for value in fitting if not matches(pattern, {"k": value})] == []
    assert [value for value in others if matches(pattern, {"k": value})] == []
    assert matches(pattern, {}) == ({"exists": False} in rules), "what is not there has no value"


def test_objects_lists_and_alternatives() -> None:
    both = '{"a": {"b": [1], "c": ["x"]}, "d": [true]}'
    assert matches(both, {"a": {"b": 1, "c": "x", "more": 0}, "d": True})
    assert not matches(both, {"a": {"b": 1, "c": "y"}, "d": True})
    assert matches(both, {"a": [{"b": 1}, {"b": 1, "c": "x"}], "d": True}), "one of the list's objects"
    assert not matches(both, {"a": [{"b": 1}, {"c": "x"}], "d": True}), "and not two of them together"
    either = '{"$or": [{"a": [1]}, {"b": {"c": [{"exists": false}]}, "d": [2]}], "e": [3]}'
    assert matches(either, {"a": 1, "e": 3})
    assert matches(either, {"b": 7, "d": 2, "e": 3})
    assert not matches(either, {"a": 1})
    assert not matches(either, {"b": {"c": 0}, "d": 2, "e": 3})
    assert matches('{"$or": ["x"]}', {"$or": "x"}), "a name like any other"


@pytest.mark.parametrize(
    "pattern",
    [
        "", "7", "[]", "{}", '{"a": 1}', '{"a": "x"}', '{"a": []}', '{"a": {}}', '{"a": [[1]]}',
        '{"a": null}',
        '{"a": [{}]}', '{"a": [{"prefix": "x", "suffix": "y"}]}', '{"a": [{"begins": "x"}]}',
        '{"a": [{"prefix": 1}]}', '{"a": [{"exists": "yes"}]}', '{"a": [{"anything-but": []}]}',
        '{"a": [{"anything-but": [null]}]}', '{"a": [{"anything-but": {"numeric": ["=", 1]}}]}',
        '{"a": [{"anything-but": {"prefix": []}}]}', '{"a": [{"numeric": []}]}',
        '{"a": [{"numeric": [">", "1"]}]}', '{"a": [{"numeric": ["!", 1]}]}',
        '{"a": [{"numeric": ["<", 1, ">", 0]}]}', '{"a": [{"numeric": [">", 5, "<", 5]}]}',
        '{"a": [{"wildcard": "a**"}]}', '{"a": [{"wildcard": "\\\\a"}]}', '{"a": [{"cidr": "10.0.0"}]}',
        '{"a": [NaN]}',
    ],
)  # fmt: skip
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(PatternError):
        Filters([pattern])


WORDS = st.sampled_from(["", "a", "ab", "AB", "b", "a*b"])
PLAIN = st.one_of(WORDS, st.integers(-2, 3), st.none())  # no booleans: True is 1 for moto
TEXTS = st.sampled_from(["", "a", "b", "AB"])
RULES = st.one_of(
    PLAIN,
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"prefix": TEXTS}),
    st.fixed_dictionaries({"suffix": TEXTS}),
    st.fixed_dictionaries({"equals-ignore-case": TEXTS}),
    st.fixed_dictionaries({"wildcard": st.sampled_from(["a*", "*b", "a\\*b"])}),
    st.fixed_dictionaries({"anything-but": st.lists(st.one_of(TEXTS, st.integers(0, 2)), min_size=1)}),
    st.tuples(st.sampled_from(["<", "<=", "=", ">=", ">"]), st.integers(-1, 2)).map(
        lambda pair: {"numeric": list(pair)}
    ),
)
KEYS = st.sampled_from(["k", "l", "m"])
PATTERNS = st.recursive(
    st.dictionaries(KEYS, st.lists(RULES, min_size=1, max_size=3), min_size=1),
    lambda inner: st.one_of(
        st.dictionaries(KEYS, inner, min_size=1),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=2, max_size=3)}),
    ),
    max_leaves=4,
)
DOCUMENTS: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.recursive(
    # No empty object in another one: moto takes that for a value.
    st.dictionaries(KEYS, st.one_of(PLAIN, st.lists(PLAIN, min_size=1, max_size=3)), min_size=1),
    lambda inner: st.dictionaries(KEYS, st.one_of(PLAIN, inner), min_size=1),
    max_leaves=5,
)


@given(PATTERNS, DOCUMENTS)
def test_as_moto_understands_patterns(pattern: dict[str, Any], document: dict[str, Any]) -> None:
    text = json.dumps(pattern)
    theirs = EventPattern.load(text).matches_event(document)  # type: ignore[arg-type]
    assert matches(text, document) == theirs


@pytest.mark.parametrize("value", [{}, {"l": 1}, [], [{}]])
def test_an_object_is_no_value_that_exists(value: object) -> None:
    assert matches('{"k": [{"exists": false}]}', {"k": value})
    assert not matches('{"k": [{"exists": true}]}', {"k": value})


@given(
    st.text(),
    st.recursive(PLAIN | st.booleans(), lambda x: st.one_of(st.lists(x), st.dictionaries(st.text(), x))),
)
def test_any_text_is_a_pattern_or_an_error(text: str, value: object) -> None:
    for each in (text, json.dumps(value)):
        try:
            filters = Filters([each])
        except PatternError:
            continue
        # Of several patterns one has to match, so the same one twice changes nothing.
        made = {"body": "", "x": value}
        assert Filters([each, each]).let_through(made) is filters.let_through(made)


def through(pattern: object, body: str) -> bool:
    return Filters([json.dumps(pattern)]).let_through({"messageId": "1", "body": body})


def test_a_body_is_looked_at_as_its_pattern_has_it() -> None:
    as_json = {"body": {"code": ["BBBB"]}}
    assert through(as_json, '{"code": "BBBB", "n": 1}')
    assert not through(as_json, '{"code": "AAAA"}')
    assert not through(as_json, "BBBB"), "text is dropped where JSON is wanted"
    as_text = {"body": [{"prefix": "Result: "}]}
    assert through(as_text, "Result: 7")
    assert not through(as_text, "7")
    assert not through({"body": [{"prefix": "{"}]}, '{"code": 1}'), "and JSON where text is wanted"
    assert through({"messageId": ["1"]}, "anything")
    one_of_two = Filters(['{"body": ["x"]}', '{"body": ["y"]}'])
    assert [one_of_two.let_through({"body": text}) for text in "xyz"] == [True, True, False]
    assert Filters([]).let_through({"body": ""})


# -- verdicts


ALL = frozenset({"1", "2", "3"})


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b'""',
        b'{"batchItemFailures": []}',
        b'{"batchItemFailures": null}',
        b'{"a": 1}',
    ],
)
def test_complete_success(answer: bytes) -> None:
    assert verdicts.failed(answer, None, ALL, reporting=True) == frozenset()


@pytest.mark.parametrize(
    "answer",
    [
        b"{", b"NaN", b'"done"', b"7", b"false", b"[1]", b'{"batchItemFailures": {}}',
        b'{"batchItemFailures": "1"}',
        b'{"batchItemFailures": [{"itemIdentifier": ""}]}',
        b'{"batchItemFailures": [{"itemIdentifier": null}]}',
        b'{"batchItemFailures": [{"itemIdentifier": 1}]}', b'{"batchItemFailures": [{"id": "1"}]}',
        b'{"batchItemFailures": [{"itemIdentifier": "4"}]}', b'{"batchItemFailures": ["1"]}',
        b'{"batchItemFailures": [{"itemIdentifier": "1"}, {"itemIdentifier": "4"}]}',
    ],
)  # fmt: skip
def test_complete_failure(answer: bytes) -> None:
    assert verdicts.failed(answer, None, ALL, reporting=True) == ALL
    assert verdicts.failed(answer, None, ALL, reporting=False) == frozenset()
    assert verdicts.failed(b"{}", "Unhandled", ALL, reporting=False) == ALL


def test_some_have_failed() -> None:
    answer = b'{"batchItemFailures": [{"itemIdentifier": "2"}, {"itemIdentifier": "2"}]}'
    assert verdicts.failed(answer, None, ALL, reporting=True) == {"2"}


# -- records and batches


def test_a_record_is_as_lambda_makes_it() -> None:
    message = {
        "MessageId": "1",
        "ReceiptHandle": "h",
        "Body": "ä",
        "MD5OfBody": "m",
        "MD5OfMessageAttributes": "n",
        "Attributes": {"ApproximateReceiveCount": "1", "AWSTraceHeader": "Root=1-2"},
        "MessageAttributes": {
            "a": {"StringValue": "7", "DataType": "Number"},
            "b": {"BinaryValue": b"\xff", "DataType": "Binary"},
        },
    }
    lists: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    assert record(message, QUEUE) == {
        "messageId": "1",
        "receiptHandle": "h",
        "body": "ä",
        "attributes": {"ApproximateReceiveCount": "1", "AWSTraceHeader": "Root=1-2"},
        "messageAttributes": {
            "a": {"stringValue": "7", **lists, "dataType": "Number"},
            "b": {"binaryValue": base64.b64encode(b"\xff").decode(), **lists, "dataType": "Binary"},
        },
        "md5OfBody": "m",
        "md5OfMessageAttributes": "n",
        "eventSource": "aws:sqs",
        "eventSourceARN": QUEUE.text,
        "awsRegion": "eu-west-1",
    }


@given(st.lists(st.text(), max_size=8), st.integers(1, 5))
def test_a_batch_is_its_records(bodies: list[str], size: int) -> None:
    made = [
        {"messageId": str(number), "receiptHandle": "h", "body": body} for number, body in enumerate(bodies)
    ]
    batch = Batch(size)
    taken = [each for each in made if batch.add(each, each["messageId"], "h")]
    assert taken == made[:size]
    assert (len(batch), batch.full, batch.room) == (len(taken), len(taken) == size, size - len(taken))
    assert list(batch.handles) == [each["messageId"] for each in taken]
    assert json.loads(batch.payload) == {"Records": taken}


def test_an_event_has_six_megabytes_at_most() -> None:
    batch = Batch(10_000)
    body = "x" * 1_000_000
    while batch.add({"messageId": str(len(batch)), "receiptHandle": "h", "body": body}, str(len(batch))):
        pass
    assert MAX_BYTES - 1_000_100 < len(batch.payload) <= MAX_BYTES
    assert len(batch) == 6
    assert Batch(1).add({"body": "x" * MAX_BYTES}, "1"), "alone, whatever it has"


# -- settings and states


@pytest.mark.parametrize(
    ("arn", "request_", "message"),
    [
        ("arn:aws:kafka:eu-west-1:1:cluster/s", {}, "the lab has mappings of SQS queues, Kinesis"),
        ("arn:aws:kinesis:eu-west-1:1:stream/s", {}, "choose TRIM_HORIZON or LATEST"),
        (STREAM, {**LATEST, "StartingPositionTimestamp": 7}, "only valid with StartingPosition AT_TIMESTAMP"),
        (
            STREAM,
            {**LATEST, "ScalingConfig": {"MaximumConcurrency": 2}},
            "not valid for kinesis event sources",
        ),
        (STREAM, {**LATEST, "TumblingWindowInSeconds": 5}, "no tumbling windows"),
        (STREAM, {**LATEST, "ParallelizationFactor": 11}, "between 1 and 10"),
        (STREAM, {**LATEST, "MaximumRecordAgeInSeconds": 5}, "between 60 and 604800"),
        (
            STREAM,
            {**LATEST, "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:lambda:x:1:function:f"}}},
            "possible are sqs, sns, s3",
        ),
        ("arn:aws:dynamodb:eu-west-1:1:table/t", LATEST, "cannot be polled"),
        ("arn:aws:dynamodb:eu-west-1:1:table/t/stream/1", {"StartingPosition": "AT_TIMESTAMP"}, "choose"),
        (QUEUE.text, {"BatchSize": 11}, "must be greater than 0 if maximum batch size is greater than 10"),
        (QUEUE.text, {"BatchSize": 10_001, "MaximumBatchingWindowInSeconds": 1}, "between 1 and 10000"),
        (f"{QUEUE.text}.fifo", {"BatchSize": 11}, "10 at most"),
        (f"{QUEUE.text}.fifo", {"MaximumBatchingWindowInSeconds": 1}, "not supported for FIFO queues"),
        (QUEUE.text, {"StartingPosition": "LATEST"}, "StartingPosition is not valid for SQS event sources."),
        (
            QUEUE.text,
            {"FilterCriteria": {"Filters": [{"Pattern": "x"}]}},
            "Invalid filter pattern definition.",
        ),
        (QUEUE.text, {"FilterCriteria": {"Filters": [{"Pattern": "x"}] * 11}}, "10 filters at most"),
        (QUEUE.text, {"ScalingConfig": {"MaximumConcurrency": 1}}, "between 2 and 1000"),
    ],
)
def test_what_a_mapping_cannot_be(arn: str, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        settings.new(arn, "hello", None, request_)


def test_a_change_changes_what_it_names() -> None:
    pattern = '{"body": ["x"]}'
    first = settings.new(
        QUEUE.text,
        "hello",
        "live",
        {
            "BatchSize": 100,
            "MaximumBatchingWindowInSeconds": 1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": 2},
            "FilterCriteria": {"Filters": [{"Pattern": pattern}]},
        },
    )
    assert first.document() == {
        "EventSourceArn": QUEUE.text,
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:hello:live",
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 1,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "FilterCriteria": {"Filters": [{"Pattern": pattern}]},
        "ScalingConfig": {"MaximumConcurrency": 2},
    }
    second = settings.changed(first, {"Enabled": False, "ScalingConfig": {}, "FilterCriteria": {}})
    assert (second.enabled, second.max_concurrency, second.patterns) == (False, None, ())
    assert (second.batch_size, second.reporting) == (100, True)


def test_every_change_comes_to_an_end() -> None:
    states = {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values())
    for state in states - {"Deleting"}:
        steps = {step for known, step in TRANSITIONS if known == state}
        assert steps == ({"update", "enable", "disable", "delete"} if state in SETTLED else steps)
        assert state in SETTLED or all(TRANSITIONS[state, step] in SETTLED for step in steps)
    assert not any(state == "Deleting" for state, _ in TRANSITIONS)


def test_errors_slow_a_mapping_down_and_success_brings_it_back() -> None:
    assert pollers(5, "failed", 1000, reporting=False) == 2
    assert pollers(5, "failed", 1000, reporting=True) == 5
    assert pollers(1, "throttled", 1000, reporting=True) == 1
    assert (pollers(5, "done", 1000, reporting=False), pollers(2, "done", 2, reporting=False)) == (6, 2)
