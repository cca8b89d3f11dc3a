"""The Runtime API's state machine, fed values: every rule, and every order."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent_lab.http import BadBody, Request
from lambent_lab.protocol import (
    Answer,
    Event,
    InitFailed,
    Polled,
    Reply,
    ResponseTooLarge,
    ResponseTruncated,
    RestoreFailed,
    RuntimeApi,
    SnapshotReady,
    State,
    StreamBegan,
)
from lambent_lab.protocol.runtime import MAX_RESPONSE, TRANSITIONS, Call, error_type_of, is_stream

BASE = "/2018-06-01/runtime"
EVENT = Event("id-1", b'{"a":1}', 1_700_000_000_000, "arn:aws:lambda:x", "Root=1", "", "")


def call(api: RuntimeApi, method: str, path: str, **fields: object) -> object:
    return api.receive(Request(method, path, **fields))  # type: ignore[arg-type]


def running() -> RuntimeApi:
    api = RuntimeApi()
    call(api, "GET", f"{BASE}/invocation/next")
    api.offer(EVENT)
    return api


def refused(outcome: object) -> tuple[int, str]:
    assert isinstance(outcome, Reply)
    return outcome.status, json.loads(outcome.body)["errorType"]


def test_a_whole_life() -> None:
    api = RuntimeApi()
    assert call(api, "GET", f"{BASE}/invocation/next") == Polled(first=True)
    reply = api.offer(EVENT)
    assert reply == Reply(
        200,
        b'{"a":1}',
        (
            ("Lambda-Runtime-Aws-Request-Id", "id-1"),
            ("Lambda-Runtime-Deadline-Ms", "1700000000000"),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:x"),
            ("Lambda-Runtime-Trace-Id", "Root=1"),
        ),
    )
    answer = call(
        api, "POST", f"{BASE}/invocation/id-1/response", body=b"[]", headers={"content-type": "text/x"}
    )
    assert answer == Answer(Reply(202, b'{"status":"OK"}\n'), "id-1", b"[]", None, "text/x", False)
    assert call(api, "GET", f"{BASE}/invocation/next") == Polled(first=False)
    assert api.state is State.READY


def test_what_an_event_has_to_say_of_tenant_and_attempt_is_in_its_headers() -> None:
    fields = dict(Event("id-1", b"{}", 1, tenant_id="blue", invocation_id="try-2").headers())
    assert fields["Lambda-Runtime-Aws-Tenant-Id"] == "blue"
    assert fields["Lambda-Runtime-Invocation-Id"] == "try-2"


@pytest.mark.parametrize("what", ["response", "error"])
def test_an_answer_to_an_attempt_that_is_over_is_refused(what: str) -> None:
    path = f"{BASE}/invocation/id-1/{what}"
    api = RuntimeApi()
    call(api, "GET", f"{BASE}/invocation/next")
    api.offer(Event("id-1", b"{}", 1, invocation_id="try-2"))
    late = {"lambda-runtime-invocation-id": "try-1"}
    assert refused(call(api, "POST", path, headers=late)) == (410, "InvokeTimeout")
    assert refused(api.begin(head("id-1", **late))) == (410, "InvokeTimeout")
    assert api.state is State.RUNNING
    now = {"lambda-runtime-invocation-id": "try-2"}
    assert isinstance(call(api, "POST", path, headers=now), Answer)


def test_a_runtime_need_not_say_which_attempt_it_answers() -> None:
    path = f"{BASE}/invocation/id-1/response"
    api = RuntimeApi()
    call(api, "GET", f"{BASE}/invocation/next")
    api.offer(Event("id-1", b"{}", 1, invocation_id="try-2"))
    assert isinstance(call(api, "POST", path), Answer)


def test_next_while_running_serves_the_same_event() -> None:
    outcome = call(running(), "GET", f"{BASE}/invocation/next")
    assert isinstance(outcome, Polled)
    assert outcome.reply is not None
    assert outcome.reply.body == EVENT.payload


@pytest.mark.parametrize("what", ["response", "error"])
def test_a_wrong_id_is_refused_whatever_the_state(what: str) -> None:
    path = f"{BASE}/invocation/other/{what}"
    assert refused(call(RuntimeApi(), "POST", path)) == (400, "InvalidRequestID")
    api = running()
    assert refused(call(api, "POST", path)) == (400, "InvalidRequestID")
    assert api.state is State.RUNNING


@pytest.mark.parametrize("first", ["response", "error"])
@pytest.mark.parametrize("second", ["response", "error"])
def test_a_second_answer_is_refused(first: str, second: str) -> None:
    api = running()
    assert isinstance(call(api, "POST", f"{BASE}/invocation/id-1/{first}"), Answer)
    assert refused(call(api, "POST", f"{BASE}/invocation/id-1/{second}")) == (403, "InvalidStateTransition")
    assert api.state is State.RESPONDED


def test_init_error_ends_the_life_and_is_for_init_only() -> None:
    api = RuntimeApi()
    outcome = call(
        api,
        "POST",
        f"{BASE}/init/error",
        body=b"{}",
        headers={"lambda-runtime-function-error-type": "Runtime.ImportModuleError"},
    )
    assert isinstance(outcome, InitFailed)
    assert (outcome.error_type, outcome.reply.status) == ("Runtime.ImportModuleError", 202)
    assert refused(call(api, "GET", f"{BASE}/invocation/next")) == (403, "InvalidStateTransition")
    assert refused(call(api, "POST", f"{BASE}/init/error")) == (403, "InvalidStateTransition")
    assert refused(call(running(), "POST", f"{BASE}/init/error")) == (403, "InvalidStateTransition")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Runtime.ImportModuleError", True),
        ("Function.ResponseSizeTooLarge", True),
        ("ValueError", False),
        ("Runtime.x", False),
        ("Function.A1", False),
        ("xRuntime.Abc", False),
        ("Runtime.A", False),
        ("Runtime.Ab\n", False),
        ("", False),
    ],
)
def test_error_types_are_of_one_form(given: str, kept: bool) -> None:
    assert error_type_of(given, "Function.Unknown") == (given if kept else "Function.Unknown")
    headers = {"lambda-runtime-function-error-type": given}
    outcome = call(running(), "POST", f"{BASE}/invocation/id-1/error", headers=headers)
    assert isinstance(outcome, Answer)
    assert outcome.error_type == (given if kept else "Function.Unknown")
    init = call(RuntimeApi(), "POST", f"{BASE}/init/error", headers=headers)
    assert isinstance(init, InitFailed)
    assert init.error_type == (given if kept else "Runtime.Unknown")


def test_the_limit_of_a_response() -> None:
    path = f"{BASE}/invocation/id-1/response"
    assert isinstance(call(running(), "POST", path, body=b"x" * MAX_RESPONSE), Answer)
    api = running()
    outcome = call(api, "POST", path, body=b"x" * (MAX_RESPONSE + 1))
    assert isinstance(outcome, ResponseTooLarge)
    assert refused(outcome.reply) == (413, "RequestEntityTooLarge")
    assert api.state is State.RESPONDED
    unread = running().receive(Request("POST", path), BadBody.TOO_LARGE)
    assert isinstance(unread, ResponseTooLarge)


def test_a_truncated_body_changes_nothing() -> None:
    api = running()
    outcome = api.receive(Request("POST", f"{BASE}/invocation/id-1/response"), BadBody.TRUNCATED)
    assert refused(outcome) == (400, "TruncatedHTTPRequest")
    assert api.state is State.RUNNING


def test_response_modes() -> None:
    path = f"{BASE}/invocation/id-1/response"
    mode = "lambda-runtime-function-response-mode"
    api = running()
    assert refused(call(api, "POST", path, headers={mode: "buffered"})) == (
        400,
        "InvalidFunctionResponseMode",
    )
    outcome = call(api, "POST", path, headers={mode: "streaming"}, body=b"parts")
    assert isinstance(outcome, Answer)
    assert (outcome.streaming, outcome.body, outcome.error_type) == (True, b"parts", None)
    late = call(
        running(),
        "POST",
        path,
        headers={mode: "streaming"},
        body=b"half",
        trailers={
            "lambda-runtime-function-error-type": "Function.Broken",
            "lambda-runtime-function-error-body": base64.b64encode(b'{"errorType":"X"}').decode(),
        },
    )
    assert isinstance(late, Answer)
    assert (late.error_type, late.body) == ("Function.Broken", b'{"errorType":"X"}')


MODE = "lambda-runtime-function-response-mode"
STREAMING = {MODE: "streaming"}
LATE = {
    "lambda-runtime-function-error-type": "Function.Broken",
    "lambda-runtime-function-error-body": base64.b64encode(b'{"errorType":"X"}').decode(),
}


def head(request_id: str = "id-1", **headers: str) -> Request:
    return Request("POST", f"{BASE}/invocation/{request_id}/response", headers={**STREAMING, **headers})


@pytest.mark.parametrize("mode", ["buffered", "Streaming", "STREAMING", "streaming ", "x"])
def test_other_modes_change_nothing(mode: str) -> None:
    api = running()
    outcome = call(api, "POST", f"{BASE}/invocation/id-1/response", headers={MODE: mode})
    assert refused(outcome) == (400, "InvalidFunctionResponseMode")
    assert api.state is State.RUNNING


@pytest.mark.parametrize(
    ("method", "path", "mode", "expected"),
    [
        ("POST", "/invocation/id-1/response", "streaming", True),
        ("POST", "/invocation/other/response", "streaming", True),
        ("POST", "/invocation/id-1/response", "", False),
        ("POST", "/invocation/id-1/response", "Streaming", False),
        ("GET", "/invocation/id-1/response", "streaming", False),
        ("POST", "/invocation/id-1/error", "streaming", False),
        ("POST", "/invocation/next", "streaming", False),
        ("POST", "/init/error", "streaming", False),
    ],
)
def test_what_is_read_as_a_stream(method: str, path: str, mode: str, expected: bool) -> None:
    assert is_stream(Request(method, BASE + path, headers={MODE: mode} if mode else {})) is expected


def test_a_streamed_response_from_its_head_to_its_end() -> None:
    api = running()
    began = api.begin(head(**{"content-type": "text/event-stream"}))
    assert began == StreamBegan("id-1", "text/event-stream")
    assert api.state.value == "responding"
    answer = api.finish(began, b"collected", {})
    ok = Reply(202, b'{"status":"OK"}\n')
    assert answer == Answer(ok, "id-1", b"collected", None, "text/event-stream", streaming=True)
    assert api.state is State.RESPONDED


@pytest.mark.parametrize(
    ("trailers", "kind", "body"),
    [
        (LATE, "Function.Broken", b'{"errorType":"X"}'),
        ({"lambda-runtime-function-error-type": "ValueError"}, "Function.Unknown", b""),
        ({**LATE, "lambda-runtime-function-error-body": "no base64"}, "Function.Broken", b"no base64"),
        ({"lambda-runtime-function-error-type": ""}, None, b"sent"),
        ({"lambda-runtime-function-error-body": "eA=="}, None, b"sent"),
    ],
)
def test_errors_in_the_trailers(trailers: dict[str, str], kind: str | None, body: bytes) -> None:
    api = running()
    began = api.begin(head())
    assert isinstance(began, StreamBegan)
    answer = api.finish(began, b"sent", trailers)
    assert isinstance(answer, Answer)
    assert (answer.error_type, answer.body, answer.reply.status) == (kind, body, 202)


def test_a_streamed_response_that_does_not_arrive_whole_was_the_response_all_the_same() -> None:
    for bad, kind, reply in (
        (BadBody.TOO_LARGE, ResponseTooLarge, (413, "RequestEntityTooLarge")),
        (BadBody.TRUNCATED, ResponseTruncated, (400, "TruncatedHTTPRequest")),
    ):
        api = running()
        began = api.begin(head())
        assert isinstance(began, StreamBegan)
        outcome = api.finish(began, b"", LATE, bad)
        assert isinstance(outcome, kind)
        assert refused(outcome.reply) == reply
        assert api.state is State.RESPONDED


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/2018-06-01/ping", 200),
        ("POST", "/2018-06-01/ping", 405),
        ("POST", f"{BASE}/invocation/next", 405),
        ("GET", f"{BASE}/init/error", 405),
        ("GET", f"{BASE}/invocation/id-1/response", 405),
        ("PUT", f"{BASE}/invocation/id-1/error", 405),
        ("GET", "/", 404),
        ("GET", f"{BASE}/invocation", 404),
        ("POST", f"{BASE}/invocation//response", 404),
        ("POST", f"{BASE}/invocation/a/b/response", 404),
        ("GET", "/2015-01-01/runtime/invocation/next", 404),
        ("GET", f"{BASE}/restore/next", 404),
        ("POST", f"{BASE}/restore/error", 404),
    ],
)
def test_paths_and_methods(method: str, path: str, status: int) -> None:
    for api in (RuntimeApi(), running()):
        before = api.state
        outcome = call(api, method, path)
        assert isinstance(outcome, Reply)
        assert outcome.status == status
        assert api.state is before
    assert call(RuntimeApi(), "GET", "/2018-06-01/ping") == Reply(
        200, b"pong", (("Content-Type", "text/plain; charset=utf-8"),)
    )


def test_an_event_only_for_a_runtime_that_waits() -> None:
    with pytest.raises(ValueError, match="started"):
        RuntimeApi().offer(EVENT)
    with pytest.raises(ValueError, match="running"):
        running().offer(EVENT)


def test_a_life_that_is_restored() -> None:
    api = RuntimeApi(snap_start=True)
    assert call(api, "GET", f"{BASE}/restore/next") == SnapshotReady()
    assert refused(call(api, "GET", f"{BASE}/invocation/next")) == (403, "InvalidStateTransition")
    assert api.restore() == Reply(200)
    assert call(api, "GET", f"{BASE}/invocation/next") == Polled(first=True)
    assert refused(call(api, "POST", f"{BASE}/restore/error")) == (403, "InvalidStateTransition")
    assert call(api, "POST", f"{BASE}/restore/next") == Reply(405, b"", (("Allow", "GET"),))


def test_a_restore_that_fails() -> None:
    api = RuntimeApi(snap_start=True)
    call(api, "GET", f"{BASE}/restore/next")
    assert refused(call(api, "POST", f"{BASE}/restore/error")) == (403, "InvalidStateTransition")
    api.restore()
    headers = {"lambda-runtime-function-error-type": "Runtime.AfterRestoreError"}
    outcome = call(api, "POST", f"{BASE}/restore/error", body=b"{}", headers=headers)
    assert isinstance(outcome, RestoreFailed)
    assert (outcome.reply.status, outcome.error_type, outcome.body) == (
        202,
        "Runtime.AfterRestoreError",
        b"{}",
    )
    assert refused(call(api, "GET", f"{BASE}/invocation/next")) == (403, "InvalidStateTransition")


class Lives(RuleBasedStateMachine):
    """Any calls in any order: what the table allows happens, and nothing else changes anything."""

    def __init__(self) -> None:
        super().__init__()
        self.api = RuntimeApi(snap_start=True)
        self.state = State.STARTED
        self.number = 0
        self.began: StreamBegan | None = None

    def _expect(self, what: Call, outcome: object) -> None:
        allowed = TRANSITIONS.get((self.state, what))
        if allowed is None:
            assert refused(outcome) == (403, "InvalidStateTransition")
        else:
            assert not isinstance(outcome, Reply)
            self.state = allowed

    @rule()
    def poll(self) -> None:
        first = self.state in {State.STARTED, State.RESTORING}
        outcome = call(self.api, "GET", f"{BASE}/invocation/next")
        self._expect(Call.NEXT, outcome)
        if isinstance(outcome, Polled):
            assert outcome.first is first
            assert (outcome.reply is not None) is (self.state is State.RUNNING)

    @precondition(lambda self: self.state is State.READY)
    @rule()
    def offer(self) -> None:
        self.number += 1
        event = Event(f"id-{self.number}", b"e", 1)
        assert self.api.offer(event).status == 200
        self.state = State.RUNNING

    @precondition(lambda self: self.state is not State.READY)
    @rule()
    def offer_too_early(self) -> None:
        with pytest.raises(ValueError, match="handed"):
            self.api.offer(EVENT)

    @rule(kind=st.sampled_from(["response", "error"]), size=st.sampled_from([0, 10, MAX_RESPONSE + 1]))
    def answer(self, kind: str, size: int) -> None:
        outcome = call(self.api, "POST", f"{BASE}/invocation/id-{self.number}/{kind}", body=bytes(size))
        if self.number == 0:
            assert refused(outcome) == (400, "InvalidRequestID")
        else:
            self._expect(Call.RESPONSE if kind == "response" else Call.ERROR, outcome)

    @rule(
        kind=st.sampled_from(["response", "error"]),
        name=st.text(st.characters(codec="ascii", exclude_characters="/")),
    )
    def answer_another(self, kind: str, name: str) -> None:
        outcome = call(self.api, "POST", f"{BASE}/invocation/x{name}/{kind}")
        assert refused(outcome) == (400, "InvalidRequestID")

    @rule()
    def stream(self) -> None:
        outcome = self.api.begin(head(f"id-{self.number}"))
        if self.number == 0:
            assert refused(outcome) == (400, "InvalidRequestID")
        else:
            self._expect(Call.STREAM, outcome)
            self.began = outcome if isinstance(outcome, StreamBegan) else self.began

    @rule(name=st.text(st.characters(codec="ascii", exclude_characters="/"), min_size=1))
    def stream_another(self, name: str) -> None:
        assert refused(self.api.begin(head(f"x{name}"))) == (400, "InvalidRequestID")

    @rule(trailers=st.sampled_from([{}, LATE]), bad=st.sampled_from([None, *BadBody]))
    def stream_end(self, trailers: dict[str, str], bad: BadBody | None) -> None:
        if (self.state, Call.STREAM_END) not in TRANSITIONS:
            with pytest.raises(ValueError, match="streaming"):
                self.api.finish(StreamBegan(f"id-{self.number}", ""), b"", trailers, bad)
            return
        assert self.began is not None
        self._expect(Call.STREAM_END, self.api.finish(self.began, b"", trailers, bad))

    @rule()
    def init_error(self) -> None:
        self._expect(Call.INIT_ERROR, call(self.api, "POST", f"{BASE}/init/error", body=b"{}"))

    @rule()
    def restore_next(self) -> None:
        self._expect(Call.RESTORE_NEXT, call(self.api, "GET", f"{BASE}/restore/next"))

    @rule()
    def restore_error(self) -> None:
        self._expect(Call.RESTORE_ERROR, call(self.api, "POST", f"{BASE}/restore/error", body=b"{}"))

    @rule()
    def restore(self) -> None:
        after = TRANSITIONS.get((self.state, Call.RESTORE))
        if after is None:
            with pytest.raises(ValueError, match="restored"):
                self.api.restore()
        else:
            assert self.api.restore().status == 200
            self.state = after

    @rule(
        method=st.sampled_from(["GET", "POST", "DELETE"]),
        path=st.sampled_from(["/", f"{BASE}/restore", "/x"]),
    )
    def elsewhere(self, method: str, path: str) -> None:
        outcome = call(self.api, method, path)
        assert isinstance(outcome, Reply)
        assert outcome.status == 404

    @invariant()
    def agrees(self) -> None:
        assert self.api.state is self.state


TestLives = Lives.TestCase
