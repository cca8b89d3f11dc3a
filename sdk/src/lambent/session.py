"""Sessions: which spans belong to one piece of work, here and in the functions it calls.

Rules
- A session is on where it is asked for: by the backend `honeyhive`, or by a `session_name`. In test mode
  nothing goes to the backend, and only the name asks.
- The outermost span of a trace in this process begins one, with an id made here and no network call. Spans
  inside it have its id. A caller's session, which its baggage names, goes on instead of a new one.
- A program that asks for a session gets one then and there; the spans that are open go over to it.
- The id is in the baggage until that span ends, so that whatever is called takes it along. An id left there
  by a span that has ended, or by another tracer, is nobody's.
"""

from __future__ import annotations

from lambent.context import CURRENT
from lambent.propagation.baggage import BAGGAGE, detach
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambent.tracer import Tracer

__all__ = ["SessionId", "attach", "begin"]


class SessionId(str):
    """An id that was made here, and whose it is."""

    __slots__ = ("owner",)
    owner: object
    """The tracer's delivery; None once the session has ended."""


class _Asked(str):
    """An id that the program asked for before there was a span, and what it said of the session."""

    __slots__ = ("attributes",)
    attributes: dict[str, object]


class _Sessions:
    def __init__(self, tracer: Tracer) -> None:
        config = tracer.config
        honeyhive = config.backend == "honeyhive"
        # What goes out is under the name that the backend's own SDK reads; both are understood.
        self._entry = "session_id" if honeyhive else "session.id"
        self._names = (
            ("honeyhive.session_id", "traceloop.association.properties.session_id") if honeyhive else ()
        )
        self._fixed = config.variables.get("HH_SESSION_ID", "").strip() if honeyhive else ""
        self._name = config.session_name or config.function_name
        self._naming = "honeyhive_session_name" if honeyhive else "lambent.session_name"
        self._ids = tracer._ids
        self._owner = tracer.delivery

    def started(self, span: Span, _context: object) -> None:
        """Give a span its session's id."""
        parent = span._parent
        while isinstance(parent, Span) and parent._tracer.delivery is not self._owner:
            parent = parent._parent
        session: object = parent._attributes.get("session.id") if isinstance(parent, Span) else None
        if session is None or not isinstance(parent, Span) or parent.end_time is not None:
            session = self._begin(span, session)
        span.set_attribute("session.id", session)
        for name in self._names:
            span.set_attribute(name, session)

    def _begin(self, span: Span, known: object) -> str:
        """Begin a session with its outermost span, or enter the one that is under way; return its id.

        `known`: the id of a parent's that has ended already.
        """
        entries = BAGGAGE.get()
        found = entries.get(self._entry) or entries.get("session.id") or entries.get("session_id")
        if type(found) is SessionId and found.owner is self._owner:
            return str(found)
        upstream = found if found and type(found) is not SessionId else ""
        session = SessionId(known or upstream or self._fixed or _uuid(self._ids.trace_id()))
        session.owner = self._owner
        span._session = session, BAGGAGE.set({**entries, self._entry: session})
        if self._name:
            span.set_attribute(self._naming, self._name)
        if type(found) is _Asked:
            span.set_attributes(found.attributes)
        return str(session)

    def change(self, session: str, name: str | None, attributes: dict[str, object]) -> None:
        """Have the spans that are open here, and those to come, belong to another session."""
        if name:
            attributes[self._naming] = name
        entries, span = BAGGAGE.get(), CURRENT.get()
        ours: list[Span] = []
        while isinstance(span, Span):
            if span._tracer.delivery is self._owner and span.end_time is None:
                ours.append(span)
            span = span._parent  # type: ignore[assignment]  # a context ends the way up
        asked: str
        if not ours:
            asked = _Asked(session)
            asked.attributes = attributes
        else:
            for each in ours:
                each.set_attributes(dict.fromkeys(("session.id", *self._names), session))
            ours[-1].set_attributes(attributes)
            asked = SessionId(session)
            asked.owner = self._owner
            if ours[-1]._session is not None:
                ours[-1]._session[0].owner = None
                ours[-1]._session = asked, ours[-1]._session[1]
        BAGGAGE.set({**entries, self._entry: asked})

    def ended(self, span: Span) -> None:
        """End the session with the span that began it."""
        begun = span._session
        if begun is not None:
            session, token = begun
            session.owner = span._session = None
            detach(token)


def _uuid(number: int) -> str:
    """Return 128 random bits as a random UUID, version 4 (RFC 9562)."""
    number = number & ~(0xF << 76 | 3 << 62) | 4 << 76 | 2 << 62
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def attach(tracer: Tracer) -> _Sessions:
    """Give a tracer sessions."""
    sessions = _Sessions(tracer)
    tracer._watch(sessions.started, sessions.ended)
    return sessions


def begin(tracer: Any, session: str | None, name: str | None, given: dict[str, object]) -> str:
    """Begin a session where a program asks for one, and return its id; a new one, if it names none.

    `given` are values for it, as `enrich_session` takes them.
    """
    if tracer.config.disabled:
        return str(session or "")
    made = str(session or _uuid(tracer._ids.trace_id()))
    from lambent.enrich import named

    values = {key: value for key, value in given.items() if value is not None}
    attributes = named(tracer.config.backend == "honeyhive", values)
    known = [getattr(watch, "__self__", None) for watch in tracer._watching_starts]
    mine = [each for each in known if isinstance(each, _Sessions)] or [attach(tracer)]
    mine[0].change(made, name, attributes)
    return made
