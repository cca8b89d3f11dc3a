"""The Extensions API as a state machine over values.

Rules
- An extension is external when its name is that of an executable file in /opt/extensions: it is known from
  the start (STARTED) and must register before the runtime is started. Any other name is an internal one,
  which is made by its `register`.
- `register` needs Lambda-Extension-Name (else Extension.InvalidExtensionName) and a JSON object (else
  InvalidRequestFormat) whose events are INVOKE and SHUTDOWN; an internal extension may have INVOKE only (else
  Extension.InvalidEventType). An internal extension is refused once registration is closed
  (Extension.RegistrationClosed), under a name that is taken (Extension.InvalidExtensionState), and when there
  are 10 extensions of both kinds already (Extension.TooManyExtensions), in this order.
- On managed instances nobody may have INVOKE: there SHUTDOWN is for external extensions, and nothing for
  internal ones (else Extension.InvalidEventType).
- Registration closes when the runtime asks for its first event: from then on it is settled for whom the init
  phase waits.
- Every other call needs Lambda-Extension-Identifier: Extension.MissingExtensionIdentifier,
  InvalidExtensionIdentifier when it is no UUID, UnknownExtensionIdentifier when it is nobody's.
- `init/error` and `exit/error` need Lambda-Extension-Function-Error-Type, else Extension.MissingHeader. Said
  again, they are accepted again; the first one counts.
- An INVOKE event goes to those that registered for it, when every extension waits. SHUTDOWN goes to external
  extensions that registered for it: at once to those that wait, to the others when they ask for the next
  event. After it, `next` is never answered.
- Every refusal is 403 and changes nothing. Paths that do not exist are 404, wrong methods 405.

The table below is all there is: (state, call) -> next state. What is not in it is
Extension.InvalidExtensionState.
"""

from __future__ import annotations

import enum
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lambent_lab.protocol.outcomes import Reply
from lambent_lab.protocol.runtime import bad_body, only, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lambent_lab.http.messages import BadBody, Request

VERSION = "/2020-01-01"
MAX_EXTENSIONS = 10
INVOKE, SHUTDOWN = "INVOKE", "SHUTDOWN"

ShutdownReason = Literal["SPINDOWN", "TIMEOUT", "FAILURE"]


class State(enum.Enum):
    """Where an extension is in its life."""

    STARTED = "started"
    REGISTERED = "registered"
    READY = "ready"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting down"
    INIT_ERROR = "init error"
    EXIT_ERROR = "exit error"


class Call(enum.Enum):
    """What can happen to an extension: its own calls, and being handed an event."""

    REGISTER = "register"
    NEXT = "next"
    INIT_ERROR = "init error"
    EXIT_ERROR = "exit error"
    INVOKE = "invoke"
    SHUT_DOWN = "shut down"


TRANSITIONS: Mapping[tuple[State, Call], State] = {
    (State.STARTED, Call.REGISTER): State.REGISTERED,
    (State.REGISTERED, Call.NEXT): State.READY,
    (State.REGISTERED, Call.INIT_ERROR): State.INIT_ERROR,
    (State.REGISTERED, Call.EXIT_ERROR): State.EXIT_ERROR,
    (State.READY, Call.INVOKE): State.RUNNING,
    (State.READY, Call.SHUT_DOWN): State.SHUTTING_DOWN,
    (State.READY, Call.EXIT_ERROR): State.EXIT_ERROR,
    (State.RUNNING, Call.NEXT): State.READY,
    (State.RUNNING, Call.EXIT_ERROR): State.EXIT_ERROR,
    (State.SHUTTING_DOWN, Call.NEXT): State.SHUTTING_DOWN,
    (State.SHUTTING_DOWN, Call.EXIT_ERROR): State.EXIT_ERROR,
    (State.INIT_ERROR, Call.INIT_ERROR): State.INIT_ERROR,
    (State.EXIT_ERROR, Call.EXIT_ERROR): State.EXIT_ERROR,
}


@dataclass(frozen=True, slots=True)
class About:
    """What a registering extension is told of the function."""

    name: str
    handler: str
    account: str
    version: str = "$LATEST"


@dataclass(frozen=True, slots=True)
class InvokeEvent:
    """An invocation as extensions get it. `deadline_ms` is since the epoch."""

    request_id: str
    deadline_ms: int
    function_arn: str
    trace_header: str

    def body(self) -> bytes:
        """Return the event as JSON."""
        event = {
            "eventType": INVOKE,
            "deadlineMs": self.deadline_ms,
            "requestId": self.request_id,
            "invokedFunctionArn": self.function_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": self.trace_header},
        }
        return json.dumps(event, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class ShutdownEvent:
    """The end, and until when extensions have time for it, in ms since the epoch."""

    reason: ShutdownReason
    deadline_ms: int

    def body(self) -> bytes:
        """Return the event as JSON."""
        event = {"eventType": SHUTDOWN, "shutdownReason": self.reason, "deadlineMs": self.deadline_ms}
        return json.dumps(event, separators=(",", ":")).encode()


class Extension:
    """One extension: who it is, what it registered for and where it is in its life."""

    def __init__(self, name: str, identifier: str, *, external: bool) -> None:
        self.name = name
        self.identifier = identifier
        self.external = external
        self.events: tuple[str, ...] = ()
        self.state = State.STARTED
        self.error_type: str | None = None

    def move(self, call: Call) -> bool:
        """Do what the table says, and tell whether it says anything."""
        after = TRANSITIONS.get((self.state, call))
        if after is None:
            return False
        self.state = after
        return True


@dataclass(frozen=True, slots=True)
class Registered:
    """An extension has registered."""

    reply: Reply
    extension: Extension


@dataclass(frozen=True, slots=True)
class Waits:
    """An extension asked for the next event. `reply` is None when it has to wait for one."""

    extension: Extension
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An extension gave up. `error_type` is Lambda's name for it: Extension.InitError or .ExitError."""

    reply: Reply
    extension: Extension
    error_type: str


Outcome = Reply | Registered | Waits | Failed

_OK = Reply(202, b'{"status":"OK"}\n')
_IDENTIFIER = "Lambda-Extension-Identifier"
_ERROR_TYPE = "Lambda-Extension-Function-Error-Type"


class ExtensionsApi:
    """The extensions of one environment, from one init to its end.

    `external` names the files that run; `managed` tells that the environment is on a managed instance.
    """

    def __init__(
        self,
        about: About,
        external: Iterable[str] = (),
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        *,
        managed: bool = False,
    ) -> None:
        self._about = about
        self._new_id = new_id
        self._managed = managed
        self._by_name = {name: Extension(name, new_id(), external=True) for name in external}
        self._registered: dict[str, Extension] = {}
        self._open = True
        self._shutdown: ShutdownEvent | None = None
        if len(self._by_name) > MAX_EXTENSIONS:
            raise ValueError(
                f"{len(self._by_name)} external extensions are too many: {MAX_EXTENSIONS} may be."
            )

    @property
    def registered(self) -> tuple[Extension, ...]:
        """The extensions that have registered, in that order."""
        return tuple(self._registered.values())

    @property
    def missing(self) -> tuple[Extension, ...]:
        """The external extensions that have not registered yet."""
        return tuple(e for e in self._by_name.values() if e.state is State.STARTED)

    @property
    def idle(self) -> bool:
        """Whether every extension waits for an event."""
        return all(e.state is State.READY for e in self._by_name.values())

    def find(self, identifier: str) -> Extension | None:
        """Return the extension that has registered and got this identifier."""
        return self._registered.get(identifier)

    def close_registration(self) -> None:
        """Let no more extensions register. Safe to call again."""
        self._open = False

    def invoke(self, event: InvokeEvent) -> list[tuple[Extension, Reply]]:
        """Hand an event to those that registered for it; return the answers to their `next`."""
        if not self.idle:
            raise ValueError("No event can be handed out before every extension waits for one.")
        reply = Reply(200, event.body())
        called = [e for e in self._registered.values() if INVOKE in e.events]
        for extension in called:
            extension.move(Call.INVOKE)
        return [(extension, reply) for extension in called]

    def shut_down(self, event: ShutdownEvent) -> list[tuple[Extension, Reply]]:
        """Begin the end; return the answers for those that wait. The others get it when they ask."""
        self._open = False
        self._shutdown = event
        reply = Reply(200, event.body())
        return [(e, reply) for e in self.told_of_shutdown if e.move(Call.SHUT_DOWN)]

    @property
    def told_of_shutdown(self) -> tuple[Extension, ...]:
        """The external extensions that registered for SHUTDOWN."""
        return tuple(e for e in self._registered.values() if e.external and SHUTDOWN in e.events)

    def receive(self, request: Request, bad: BadBody | None = None) -> Outcome:
        """Take one call and say what it means. `bad` tells that its body did not arrive as it should have."""
        path = request.path
        if path == f"{VERSION}/extension/register":
            return only("POST", request) or (self._register(request) if bad is None else bad_body(bad))
        if path == f"{VERSION}/extension/event/next":
            return only("GET", request) or self._next(request)
        if path == f"{VERSION}/extension/init/error":
            return only("POST", request) or self._error(request, Call.INIT_ERROR, "Extension.InitError")
        if path == f"{VERSION}/extension/exit/error":
            return only("POST", request) or self._error(request, Call.EXIT_ERROR, "Extension.ExitError")
        return Reply(404, b"404 page not found\n", (("Content-Type", "text/plain; charset=utf-8"),))

    def identify(self, request: Request) -> Extension | Reply:
        """Return who sent a request, or the refusal. The Telemetry API asks for the same header."""
        given = request.headers.get(_IDENTIFIER.lower(), "")
        if not given:
            return forbidden("MissingExtensionIdentifier", f"Missing {_IDENTIFIER} header")
        try:
            identifier = str(uuid.UUID(given))
        except ValueError:
            return forbidden("InvalidExtensionIdentifier", f"Invalid {_IDENTIFIER}")
        extension = self._registered.get(identifier)
        return extension or forbidden("UnknownExtensionIdentifier", f"Unknown extension {identifier}")

    def _register(self, request: Request) -> Outcome:
        name = request.headers.get("lambda-extension-name", "")
        if not name:
            return forbidden("InvalidExtensionName", "Empty extension name")
        events = _events_of(request.body)
        if isinstance(events, Reply):
            return events
        extension = self._by_name.get(name)
        external = extension is not None and extension.external
        allowed = {SHUTDOWN} if external else set()
        if not self._managed:
            allowed.add(INVOKE)
        for event in events:
            if event not in allowed:
                kind = "an external" if external else "an internal"
                return forbidden("InvalidEventType", f"{event}: {kind} extension cannot register for it")
        if extension is None:
            if not self._open:
                return forbidden("RegistrationClosed", "Extension registration closed already")
            if len(self._by_name) >= MAX_EXTENSIONS:
                return forbidden("TooManyExtensions", f"Extension limit ({MAX_EXTENSIONS}) reached")
            extension = self._by_name[name] = Extension(name, self._new_id(), external=False)
        elif not external and not self._open:
            return forbidden("RegistrationClosed", "Extension registration closed already")
        if not extension.move(Call.REGISTER):
            return _illegal(extension, Call.REGISTER)
        extension.events = events
        self._registered[extension.identifier] = extension
        about: dict[str, str] = {
            "functionName": self._about.name,
            "functionVersion": self._about.version,
            "handler": self._about.handler,
        }
        accepted = request.headers.get("lambda-extension-accept-feature", "")
        if "accountId" in {feature.strip() for feature in accepted.split(",")}:
            about["accountId"] = self._about.account
        reply = Reply(200, json.dumps(about).encode(), ((_IDENTIFIER, extension.identifier),))
        return Registered(reply, extension)

    def _next(self, request: Request) -> Outcome:
        extension = self.identify(request)
        if isinstance(extension, Reply):
            return extension
        if not extension.move(Call.NEXT):
            return _illegal(extension, Call.NEXT)
        if (
            self._shutdown is not None
            and extension in self.told_of_shutdown
            and extension.move(Call.SHUT_DOWN)
        ):
            return Waits(extension, Reply(200, self._shutdown.body()))
        return Waits(extension)

    def _error(self, request: Request, call: Call, error_type: str) -> Outcome:
        extension = self.identify(request)
        if isinstance(extension, Reply):
            return extension
        said = request.headers.get(_ERROR_TYPE.lower(), "")
        if not said:
            return forbidden("MissingHeader", f"{_ERROR_TYPE} not found")
        if not extension.move(call):
            return _illegal(extension, call)
        extension.error_type = extension.error_type or said
        return Failed(_OK, extension, error_type)


def forbidden(error_type: str, message: str) -> Reply:
    """Return the refusal of a call, with one of the Extensions API's own error types."""
    return refusal(403, f"Extension.{error_type}", message)


def _illegal(extension: Extension, call: Call) -> Reply:
    return forbidden(
        "InvalidExtensionState",
        f"Transition from {extension.state.value} on {call.value} is not allowed "
        f"for extension {extension.name}",
    )


def _events_of(body: bytes) -> tuple[str, ...] | Reply:
    """Return the events that a `register` asks for, each once; no list at all means none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return refusal(403, "InvalidRequestFormat", "The body is not JSON")
    events = (document.get("events") or []) if isinstance(document, dict) else None
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        return refusal(403, "InvalidRequestFormat", "The body is not an object with a list of events")
    return tuple(dict.fromkeys(events))
