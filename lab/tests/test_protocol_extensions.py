"""The Extensions API's state machine, fed values: every rule, and every order."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent_lab.http import BadBody, Request
from lambent_lab.protocol import Reply
from lambent_lab.protocol.extensions import (
    MAX_EXTENSIONS,
    TRANSITIONS,
    About,
    Call,
    ExtensionsApi,
    Failed,
    InvokeEvent,
    Registered,
    ShutdownEvent,
    State,
    Waits,
)

BASE = "/2020-01-01/extension"
ABOUT = About("shop", "app.handler", "123456789012")
INVOKE = InvokeEvent("id-1", 1_700_000_000_000, "arn:aws:lambda:x", "Root=1")
END = ShutdownEvent("SPINDOWN", 1_700_000_002_000)


def register(api: ExtensionsApi, name: str, events: object = ("INVOKE",), **headers: str) -> object:
    body = json.dumps({"events": events}).encode()
    return api.receive(
        Request("POST", f"{BASE}/register", headers={"lambda-extension-name": name, **headers}, body=body)
    )


def registered(api: ExtensionsApi, name: str, events: object = ("INVOKE",)) -> str:
    outcome = register(api, name, events)
    assert isinstance(outcome, Registered)
    return outcome.extension.identifier


def poll(api: ExtensionsApi, identifier: str) -> object:
    return api.receive(
        Request("GET", f"{BASE}/event/next", headers={"lambda-extension-identifier": identifier})
    )


def fail(
    api: ExtensionsApi, identifier: str, what: str, error_type: str | None = "Extension.Broken"
) -> object:
    headers = {"lambda-extension-identifier": identifier}
    if error_type is not None:
        headers["lambda-extension-function-error-type"] = error_type
    return api.receive(Request("POST", f"{BASE}/{what}/error", headers=headers, body=b"{}"))


def refused(outcome: object) -> tuple[int, str]:
    assert isinstance(outcome, Reply)
    return outcome.status, json.loads(outcome.body)["errorType"]


def test_a_whole_life() -> None:
    api = ExtensionsApi(ABOUT, ["recorder"])
    assert [e.name for e in api.missing] == ["recorder"]
    idle = [api.idle]
    outcome = register(api, "recorder", ["INVOKE", "SHUTDOWN"])
    assert isinstance(outcome, Registered)
    assert json.loads(outcome.reply.body) == {
        "functionName": "shop",
        "functionVersion": "$LATEST",
        "handler": "app.handler",
    }
    assert outcome.reply.status == 200
    [(header, identifier)] = outcome.reply.headers
    assert header == "Lambda-Extension-Identifier"
    assert str(uuid.UUID(identifier)) == identifier
    assert api.missing == ()
    assert poll(api, identifier) == Waits(outcome.extension)
    idle.append(api.idle)
    [(called, reply)] = api.invoke(INVOKE)
    assert called is outcome.extension
    assert json.loads(reply.body) == {
        "eventType": "INVOKE",
        "deadlineMs": 1_700_000_000_000,
        "requestId": "id-1",
        "invokedFunctionArn": "arn:aws:lambda:x",
        "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1"},
    }
    idle.append(api.idle)
    poll(api, identifier)
    assert idle == [False, True, False]
    [(_, reply)] = api.shut_down(END)
    assert json.loads(reply.body) == {
        "eventType": "SHUTDOWN",
        "shutdownReason": "SPINDOWN",
        "deadlineMs": 1_700_000_002_000,
    }
    assert poll(api, identifier) == Waits(called)  # never answered


def test_the_account_is_told_to_those_that_accept_it() -> None:
    outcome = register(ExtensionsApi(ABOUT), "one", **{"lambda-extension-accept-feature": "other, accountId"})
    assert isinstance(outcome, Registered)
    assert json.loads(outcome.reply.body)["accountId"] == "123456789012"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"null", b'{"events":"INVOKE"}', b'{"events":[1]}']
)
def test_a_body_that_says_nothing_is_refused(body: bytes) -> None:
    api = ExtensionsApi(ABOUT)
    request = Request("POST", f"{BASE}/register", headers={"lambda-extension-name": "one"}, body=body)
    assert refused(api.receive(request)) == (403, "InvalidRequestFormat")
    assert api.registered == ()


def test_no_events_are_fine() -> None:
    api = ExtensionsApi(ABOUT)
    request = Request("POST", f"{BASE}/register", headers={"lambda-extension-name": "one"}, body=b"{}")
    outcome = api.receive(request)
    assert isinstance(outcome, Registered)
    poll(api, outcome.extension.identifier)
    assert api.invoke(INVOKE) == []
    assert api.idle


def test_every_refusal_of_register() -> None:
    api = ExtensionsApi(ABOUT, ["file"])
    assert refused(register(api, "")) == (403, "Extension.InvalidExtensionName")
    assert refused(register(api, "inside", ["SHUTDOWN"])) == (403, "Extension.InvalidEventType")
    assert refused(register(api, "file", ["INVOKE", "OTHER"])) == (403, "Extension.InvalidEventType")
    registered(api, "file", ["INVOKE", "SHUTDOWN"])
    registered(api, "inside")
    assert refused(register(api, "file")) == (403, "Extension.InvalidExtensionState")
    assert refused(register(api, "inside")) == (403, "Extension.InvalidExtensionState")
    for number in range(MAX_EXTENSIONS - 2):
        registered(api, f"more-{number}")
    assert refused(register(api, "last")) == (403, "Extension.TooManyExtensions")
    api.close_registration()
    assert refused(register(api, "last")) == (403, "Extension.RegistrationClosed")
    assert refused(register(api, "inside")) == (403, "Extension.RegistrationClosed")
    assert len(api.registered) == MAX_EXTENSIONS
    with pytest.raises(ValueError, match="11"):
        ExtensionsApi(ABOUT, [f"file-{number}" for number in range(11)])


def test_a_truncated_register_changes_nothing() -> None:
    api = ExtensionsApi(ABOUT)
    request = Request("POST", f"{BASE}/register", headers={"lambda-extension-name": "one"})
    assert refused(api.receive(request, BadBody.TRUNCATED)) == (400, "TruncatedHTTPRequest")
    assert api.registered == ()


@pytest.mark.parametrize("path", ["event/next", "init/error", "exit/error"])
def test_every_refusal_of_an_identifier(path: str) -> None:
    api = ExtensionsApi(ABOUT, ["file"])
    method = "GET" if path == "event/next" else "POST"
    for given, kind in (
        ({}, "Missing"),
        ({"lambda-extension-identifier": "me"}, "Invalid"),
        ({"lambda-extension-identifier": str(uuid.uuid4())}, "Unknown"),
    ):
        outcome = api.receive(Request(method, f"{BASE}/{path}", headers=given))
        assert refused(outcome) == (403, f"Extension.{kind}ExtensionIdentifier")


def test_an_error_needs_its_type_and_the_first_one_counts() -> None:
    api = ExtensionsApi(ABOUT)
    identifier = registered(api, "one")
    assert refused(fail(api, identifier, "init", None)) == (403, "Extension.MissingHeader")
    first = fail(api, identifier, "init", "Extension.First")
    again = fail(api, identifier, "init", "Extension.Second")
    for outcome in (first, again):
        assert isinstance(outcome, Failed)
        assert outcome.reply == Reply(202, b'{"status":"OK"}\n')
        assert (outcome.error_type, outcome.extension.error_type) == (
            "Extension.InitError",
            "Extension.First",
        )
    assert not api.idle


def test_shutdown_waits_for_the_busy_and_passes_by_the_others() -> None:
    api = ExtensionsApi(ABOUT, ["told", "silent"])
    told, silent = registered(api, "told", ["INVOKE", "SHUTDOWN"]), registered(api, "silent", ["INVOKE"])
    inside = registered(api, "inside")
    for identifier in (told, silent, inside):
        poll(api, identifier)
    assert len(api.invoke(INVOKE)) == 3
    assert api.shut_down(END) == []
    outcome = poll(api, told)
    assert isinstance(outcome, Waits)
    assert outcome.reply == Reply(200, END.body())
    for identifier in (silent, inside):
        outcome = poll(api, identifier)
        assert isinstance(outcome, Waits)
        assert outcome.reply is None
    assert isinstance(fail(api, told, "exit"), Failed)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{BASE}/register", 405),
        ("POST", f"{BASE}/event/next", 405),
        ("GET", f"{BASE}/init/error", 405),
        ("PUT", f"{BASE}/exit/error", 405),
        ("GET", BASE, 404),
        ("GET", f"{BASE}/event", 404),
        ("POST", "/2020-08-15/logs", 404),
    ],
)
def test_paths_and_methods(method: str, path: str, status: int) -> None:
    outcome = ExtensionsApi(ABOUT).receive(Request(method, path))
    assert isinstance(outcome, Reply)
    assert outcome.status == status


NAMES = ["file-a", "file-b", "inside-a", "inside-b"]


class Lives(RuleBasedStateMachine):
    """Any calls of four extensions in any order: what the table allows happens, nothing else does."""

    def __init__(self) -> None:
        super().__init__()
        self.api = ExtensionsApi(ABOUT, NAMES[:2])
        self.states = dict.fromkeys(NAMES, State.STARTED)
        self.identifiers: dict[str, str] = {}
        self.events: dict[str, list[str]] = {}
        self.open = True
        self.ending = False

    def _expect(self, name: str, what: Call, outcome: object) -> bool:
        allowed = TRANSITIONS.get((self.states[name], what))
        if allowed is None:
            assert refused(outcome) == (403, "Extension.InvalidExtensionState")
            return False
        assert not isinstance(outcome, Reply)
        self.states[name] = allowed
        return True

    @rule(
        name=st.sampled_from(NAMES),
        events=st.lists(st.sampled_from(["INVOKE", "SHUTDOWN"]), max_size=2, unique=True),
    )
    def join(self, name: str, events: list[str]) -> None:
        outcome = register(self.api, name, events)
        if name.startswith("inside") and "SHUTDOWN" in events:
            assert refused(outcome) == (403, "Extension.InvalidEventType")
        elif name.startswith("inside") and not self.open:
            assert refused(outcome) == (403, "Extension.RegistrationClosed")
        elif self._expect(name, Call.REGISTER, outcome):
            assert isinstance(outcome, Registered)
            self.identifiers[name] = outcome.extension.identifier
            self.events[name] = events

    @rule(name=st.sampled_from(NAMES))
    def poll(self, name: str) -> None:
        outcome = poll(self.api, self.identifiers.get(name, str(uuid.uuid4())))
        if name not in self.identifiers:
            assert refused(outcome) == (403, "Extension.UnknownExtensionIdentifier")
        elif self._expect(name, Call.NEXT, outcome):
            assert isinstance(outcome, Waits)
            told = self.ending and self.states[name] is State.READY and "SHUTDOWN" in self.events[name]
            assert (outcome.reply is not None) is told
            if told:
                self.states[name] = State.SHUTTING_DOWN

    @rule(name=st.sampled_from(NAMES), what=st.sampled_from(["init", "exit"]), typed=st.booleans())
    def give_up(self, name: str, what: str, typed: bool) -> None:
        identifier = self.identifiers.get(name, str(uuid.uuid4()))
        outcome = fail(self.api, identifier, what, "Extension.X" if typed else None)
        if name not in self.identifiers:
            assert refused(outcome) == (403, "Extension.UnknownExtensionIdentifier")
        elif not typed:
            assert refused(outcome) == (403, "Extension.MissingHeader")
        else:
            self._expect(name, Call.INIT_ERROR if what == "init" else Call.EXIT_ERROR, outcome)

    @rule()
    def close(self) -> None:
        self.api.close_registration()
        self.open = False

    @rule()
    def invoke(self) -> None:
        if not self._idle():
            with pytest.raises(ValueError, match="waits"):
                self.api.invoke(INVOKE)
            return
        called = {extension.name for extension, _ in self.api.invoke(INVOKE)}
        assert called == {name for name, events in self.events.items() if "INVOKE" in events}
        for name in called:
            self.states[name] = State.RUNNING

    @precondition(lambda self: not self.ending)
    @rule()
    def shut_down(self) -> None:
        told = {extension.name for extension, _ in self.api.shut_down(END)}
        assert told == {
            name
            for name, events in self.events.items()
            if "SHUTDOWN" in events and self.states[name] is State.READY
        }
        for name in told:
            self.states[name] = State.SHUTTING_DOWN
        self.ending, self.open = True, False

    def _idle(self) -> bool:
        counted = [*NAMES[:2], *(name for name in NAMES[2:] if name in self.identifiers)]
        return all(self.states[name] is State.READY for name in counted)

    @invariant()
    def agrees(self) -> None:
        for extension in self.api.registered:
            assert extension.state is self.states[extension.name]
        assert {e.name for e in self.api.registered} == set(self.identifiers)
        assert self.api.idle is self._idle()


TestLives = Lives.TestCase
