"""Asynchronous invocation as boto3 asks for it: queued, run, tried again, and handed on."""

from __future__ import annotations

import asyncio
import base64
import json
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from lab.tests.clients import client_of

from lambent_lab.errors import UsageError
from lambent_lab.service import Lab
from lambent_lab.service.events import RETRY_S
from lambent_lab.service.policy import Outcome, Policy, retry_wait_s

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lambent_lab.service.testing import FakeInvocation, World

ARN = "arn:aws:lambda:us-east-1:123456789012:function:"
TRACE = "Root=1-65d3f2a0-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"


class Service:
    """A lab with the functions `hello` and `other`, boto3 before it, and what becomes of events."""

    def __init__(self, lab: Lab, world: World, code: Path) -> None:
        self.lab, self.world = lab, world
        for name in ("hello", "other"):
            lab.function(name, code=code, handler="app.handler")
        # What is refused is refused by the lab, not by boto3.
        self.client: Any = client_of(lab.serve().url, parameter_validation=False)
        self._over: queue.Queue[Outcome] = queue.Queue()
        lab.core.events.on_over.append(self._over.put)

    def send(self, payload: bytes = b"{}", name: str = "hello", **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.invoke(
            FunctionName=name, InvocationType="Event", Payload=payload, **more
        )
        assert answer["StatusCode"] == 202
        assert answer["Payload"].read() == b""
        return answer

    def outcome(self) -> Outcome:
        return self._over.get(timeout=30)

    def calls(self) -> list[dict[str, Any]]:
        return [call for environment in self.world.environments for call in environment.calls]

    def put(self, **settings: Any) -> Any:
        return self.client.put_function_event_invoke_config(FunctionName="hello", **settings)


@pytest.fixture
def service(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with Lab(environment=world, event_retry_wait=0.01) as lab:
        yield Service(lab, world, tmp_path)


def failing(world: World, times: int) -> None:
    """Have the function fail so often, then succeed."""

    async def work(invocation: FakeInvocation) -> None:
        if world.count <= times:
            invocation.status, invocation.function_error = "error", "Unhandled"
            invocation.payload = b'{"errorType": "KeyError", "errorMessage": "a"}'

    world.work = work


def refused(code: str, call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response: Any = caught.value.response
    assert response["Error"]["Code"] == code
    return str(response["Error"]["Message"])


# -- queued and run


def test_an_event_is_answered_before_it_is_run(service: Service, world: World) -> None:
    going = threading.Event()

    async def wait(_invocation: FakeInvocation) -> None:
        await asyncio.to_thread(going.wait, 60)

    world.work = wait
    context = base64.b64encode(b'{"custom": {}}').decode()
    answer = service.send(b'{"a": 1}', ClientContext=context, LogType="Tail")
    assert "ExecutedVersion" not in answer
    assert "LogResult" not in answer
    assert "FunctionError" not in answer
    assert world.entered.wait(30)
    assert service.lab.core.events.waiting == 1
    going.set()
    outcome = service.outcome()
    assert (outcome.condition, outcome.count, outcome.version) == ("Success", 1, "$LATEST")
    assert outcome.request_id == answer["ResponseMetadata"]["RequestId"]
    assert world.payloads == [b'{"a": 1}']
    [call] = service.calls()
    assert call["request_id"] == outcome.request_id
    assert call["client_context"] is None, "AWS hands it to synchronous invocations only"
    assert call["trace_header"] == answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-trace-id"]
    assert service.lab.core.events.waiting == 0


def test_a_failure_is_tried_again_twice_with_the_same_id_and_trace(service: Service, world: World) -> None:
    failing(world, 9)
    heard: list[str] = []
    service.lab.core.on_done.append(lambda _d, _v, invocation: heard.append(invocation.status))
    service.client.meta.events.register(
        "before-send.lambda.Invoke", lambda request, **_: request.headers.update({"X-Amzn-Trace-Id": TRACE})
    )
    answer = service.send(b"[7]")
    outcome = service.outcome()
    assert (outcome.condition, outcome.count, outcome.failed) == ("RetriesExhausted", 3, True)
    assert heard == ["error"] * 3, "each attempt is an invocation that is told of"
    assert world.payloads == [b"[7]"] * 3
    ids = {(call["request_id"], call["trace_header"]) for call in service.calls()}
    assert ids == {(answer["ResponseMetadata"]["RequestId"], TRACE)}


def test_a_retry_may_succeed(service: Service, world: World) -> None:
    failing(world, 1)
    service.send()
    outcome = service.outcome()
    assert (outcome.condition, outcome.count) == ("Success", 2)


def test_the_waits_are_aws_s() -> None:
    assert [retry_wait_s(RETRY_S, failures) for failures in (1, 2)] == [60, 120]
    assert (Policy().attempts, Policy().age_s) == (3, 6 * 3600)
    assert Lab().core.events.retry_s == 60
    with pytest.raises(UsageError, match="choose 0 or more"):
        Lab(event_retry_wait=-1)


def test_events_wait_in_a_line_for_room_and_that_is_no_failure(service: Service, world: World) -> None:
    running, most = 0, 0

    async def one_at_a_time(_invocation: FakeInvocation) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    world.work = one_at_a_time
    service.client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=1)
    for number in range(20):
        service.send(b"%d" % number)
    outcomes = [service.outcome() for _ in range(20)]
    assert {(outcome.condition, outcome.count) for outcome in outcomes} == {("Success", 1)}
    assert most == 1
    assert world.payloads == [b"%d" % number for number in range(20)]


def test_a_failure_of_the_lab_is_not_the_functions(service: Service, world: World) -> None:
    service.put(MaximumRetryAttempts=0)
    world.broken = True
    service.send()
    deadline = time.monotonic() + 30
    while not world.environments and time.monotonic() < deadline:
        time.sleep(0.01)
    world.broken = False
    outcome = service.outcome()
    assert (outcome.condition, outcome.count) == ("Success", 1)


@pytest.mark.parametrize(
    ("payload", "arguments", "code"),
    [
        (b"{a", {}, "InvalidRequestContentException"),
        (b'"%s"' % (b"x" * 1_048_576), {}, "RequestTooLargeException"),
        (b"{}", {"FunctionName": "none"}, "ResourceNotFoundException"),
        (b"{}", {"Qualifier": "nine"}, "ResourceNotFoundException"),
    ],
)
def test_what_is_not_queued(
    service: Service, world: World, payload: bytes, arguments: dict[str, str], code: str
) -> None:
    given = {"FunctionName": "hello", "InvocationType": "Event", "Payload": payload, **arguments}
    message = refused(code, service.client.invoke, **given)
    assert code != "RequestTooLargeException" or message.startswith("Request must be smaller than 1048576")
    assert service.lab.core.events.waiting == 0
    assert world.payloads == []


def test_the_end_of_a_lab_does_not_wait_for_its_events(world: World, tmp_path: Path) -> None:
    failing(world, 9)
    with Lab(environment=world) as lab:  # the retry is a minute away
        service = Service(lab, world, tmp_path)
        service.send()
        assert world.entered.wait(30)
        begun = time.monotonic()
    assert time.monotonic() - begun < 20
    assert world.count == 1
    assert all(environment.closed for environment in world.environments)


def test_nothing_begins_anew_while_a_lab_ends(world: World, tmp_path: Path) -> None:
    failing(world, 9)
    with Lab(environment=world, event_retry_wait=0.2) as lab:
        service = Service(lab, world, tmp_path)
        done = threading.Event()
        lab.core.on_done.append(lambda *_: done.set())
        service.send()
        assert done.wait(30)
        world.close_seconds = 1.0  # in which there would be time for a retry
    assert world.count == len(world.environments) == 1


def test_an_event_may_grow_too_old_in_its_line(service: Service, world: World) -> None:
    going = threading.Event()

    async def wait(_invocation: FakeInvocation) -> None:
        await asyncio.to_thread(going.wait, 60)

    world.work = wait
    service.client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=1)
    service.send(b"1")
    assert world.entered.wait(30)
    service.send(b"2")
    service.lab.core.functions["hello"].record.policies["$LATEST"] = Policy(max_age_s=0)
    going.set()
    outcomes = {(outcome.condition, outcome.count) for outcome in (service.outcome(), service.outcome())}
    assert outcomes == {("Success", 1), ("EventAgeExceeded", 0)}
    assert world.payloads == [b"1"]


# -- given up, and handed on


def test_settings_are_kept_changed_and_removed(service: Service) -> None:
    client, arn = service.client, f"{ARN}hello:$LATEST"
    made = service.put(MaximumRetryAttempts=0, MaximumEventAgeInSeconds=3600)
    del made["ResponseMetadata"]
    modified = made.pop("LastModified")
    assert abs(modified.timestamp() - time.time()) < 60
    assert made == {
        "FunctionArn": arn,
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 3600,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
    }
    queue_arn = "arn:aws:sqs:us-east-1:123456789012:dead"
    changed = client.update_function_event_invoke_config(
        FunctionName="hello", DestinationConfig={"OnFailure": {"Destination": queue_arn}}
    )
    assert changed["MaximumRetryAttempts"] == 0
    assert changed["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": queue_arn}}
    client.update_function_event_invoke_config(FunctionName="hello", MaximumRetryAttempts=1)
    found = client.get_function_event_invoke_config(FunctionName="hello")
    assert (found["MaximumRetryAttempts"], found["MaximumEventAgeInSeconds"]) == (1, 3600)
    assert found["DestinationConfig"]["OnFailure"] == {"Destination": queue_arn}
    assert "MaximumRetryAttempts" not in service.put(MaximumEventAgeInSeconds=60), "it is put anew"
    client.publish_version(FunctionName="hello")
    service.put(MaximumRetryAttempts=2, Qualifier="1")
    listed = client.list_function_event_invoke_configs(FunctionName="hello", MaxItems=1)
    rest = client.list_function_event_invoke_configs(FunctionName="hello", Marker=listed["NextMarker"])
    configs = listed["FunctionEventInvokeConfigs"] + rest["FunctionEventInvokeConfigs"]
    assert [each["FunctionArn"] for each in configs] == [arn, f"{ARN}hello:1"]
    client.delete_function_event_invoke_config(FunctionName="hello", Qualifier="1")
    get = client.get_function_event_invoke_config
    gone = refused("ResourceNotFoundException", get, FunctionName="hello", Qualifier="1")
    assert gone == f"The function {ARN}hello:1 doesn't have an EventInvokeConfig"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({}, "InvalidParameterValueException"),
        ({"MaximumRetryAttempts": 3}, "ValidationException"),
        ({"MaximumEventAgeInSeconds": 59}, "ValidationException"),
        ({"MaximumRetryAttempts": 0, "Qualifier": "7"}, "ResourceNotFoundException"),
        ({"DestinationConfig": {"OnFailure": {"Destination": "no arn"}}}, "ValidationException"),
        (
            {"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:s3:::failures-only"}}},
            "InvalidParameterValueException",
        ),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:kinesis:us-east-1:123456789012:s"}}},
            "InvalidParameterValueException",
        ),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": f"{ARN}none"}}},
            "InvalidParameterValueException",
        ),
        (
            {"DestinationConfig": {"OnSuccess": {"Destination": f"{ARN}hello"}}},
            "InvalidParameterValueException",
        ),
    ],
)
def test_settings_that_are_refused(service: Service, settings: dict[str, Any], code: str) -> None:
    refused(code, service.client.put_function_event_invoke_config, FunctionName="hello", **settings)


def test_a_record_of_failure_goes_to_another_function(service: Service, world: World) -> None:
    failing(world, 1)
    destination = {"OnFailure": {"Destination": f"{ARN}other"}}
    service.put(MaximumRetryAttempts=0, DestinationConfig=destination)
    answer = service.send(b'{"order": 9}')
    first, second = service.outcome(), service.outcome()
    assert (first.condition, first.count, first.undelivered) == ("RetriesExhausted", 1, ())
    assert (second.function, second.condition) == ("other", "Success")
    sent = json.loads(world.payloads[1])
    stamp = sent.pop("timestamp")
    assert len(stamp) == len("2019-11-14T18:16:05.568Z")
    assert stamp.endswith("Z")
    assert sent == {
        "version": "1.0",
        "requestContext": {
            "requestId": answer["ResponseMetadata"]["RequestId"],
            "functionArn": f"{ARN}hello:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"order": 9},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorType": "KeyError", "errorMessage": "a"},
    }
    one, other = service.calls()
    assert one["request_id"] != other["request_id"]
    assert one["trace_header"] == other["trace_header"], "one trace"


def test_a_record_of_success_goes_to_another_function(service: Service, world: World) -> None:
    service.put(DestinationConfig={"OnSuccess": {"Destination": f"{ARN}other"}})
    service.send(b'"in"')
    assert [service.outcome().function for _ in range(2)] == ["hello", "other"]
    sent = json.loads(world.payloads[1])
    assert sent["requestContext"]["condition"] == "Success"
    assert (sent["requestPayload"], sent["responsePayload"]) == ("in", {"ok": True})
    assert sent["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}


def test_what_is_not_in_the_lab_is_told(service: Service, world: World) -> None:
    failing(world, 9)
    dead, failed = "arn:aws:sqs:us-east-1:123456789012:dead", "arn:aws:sns:us-east-1:123456789012:failed"
    service.client.update_function_configuration(FunctionName="hello", DeadLetterConfig={"TargetArn": dead})
    service.put(MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": failed}})
    service.send()
    outcome = service.outcome()
    assert outcome.undelivered == (failed, dead)
    assert outcome.problems[0].startswith("no endpoint is named: set AWS_ENDPOINT_URL_SNS or")
    assert "AWS_ENDPOINT_URL_SQS" in outcome.problems[1]
    assert service.lab.core.destinations.failures == {"DestinationDeliveryFailures": 1, "DeadLetterErrors": 1}


def test_too_old_or_not_to_be_run_at_all(service: Service, world: World) -> None:
    destination = {"OnFailure": {"Destination": f"{ARN}other"}}
    service.put(DestinationConfig=destination)
    service.client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=0)
    service.send(b"1")
    assert [service.outcome().condition for _ in range(2)] == ["ZeroReservedConcurrency", "Success"]
    service.client.delete_function_concurrency(FunctionName="hello")
    policies = service.lab.core.functions["hello"].record.policies
    policies["$LATEST"] = Policy(max_age_s=0, on_failure=f"{ARN}other")  # the API takes a minute and more
    service.send(b"2")
    assert [service.outcome().condition for _ in range(2)] == ["EventAgeExceeded", "Success"]
    for payload in world.payloads:  # of `other` only
        sent = json.loads(payload)
        assert sent["requestContext"]["approximateInvokeCount"] == 0
        assert "responsePayload" not in sent


def test_an_event_of_a_deleted_function_is_given_up(service: Service, world: World) -> None:
    failing(world, 9)
    service.lab.core.events.retry_s = 0.3
    service.send()
    assert world.entered.wait(30)
    service.client.delete_function(FunctionName="hello")
    assert service.outcome().condition == "ResourceNotFound"
    assert world.count == 1


def test_functions_that_hand_on_to_each_other_come_to_an_end(service: Service, world: World) -> None:
    service.put(DestinationConfig={"OnSuccess": {"Destination": f"{ARN}other"}})
    service.client.put_function_event_invoke_config(
        FunctionName="other", DestinationConfig={"OnSuccess": {"Destination": f"{ARN}hello"}}
    )
    service.send()
    outcomes = [service.outcome()]
    while not outcomes[-1].undelivered:
        outcomes.append(service.outcome())
    assert len(outcomes) == world.count == 17
    assert outcomes[-1].undelivered == (f"{ARN}other",)
