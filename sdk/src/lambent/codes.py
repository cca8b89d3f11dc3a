"""Span kinds and the status of a span, numbered as in the OpenTelemetry API.

Plain integers with a name: `enum` is a module that a cold start need not pay for. They compare
equal to OpenTelemetry's own members (`SpanKind.SERVER == opentelemetry.trace.SpanKind.SERVER`),
so that application code may use either.
"""

from __future__ import annotations

from lambent.limits import clean_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self

    from lambent.span import Span

__all__ = ["Code", "SpanKind", "Status", "StatusCode", "number_of", "set_status"]


class Code(int):
    """A numbered name. `value` is the number, `name` the word."""

    name: str
    _members: ClassVar[dict[str, Any]]

    @classmethod
    def _define(cls, *names: str) -> None:
        cls._members = {}
        for number, name in enumerate(names):
            member = cls(number)
            member.name = name
            cls._members[name] = member
            setattr(cls, name, member)

    @property
    def value(self) -> int:
        """The number."""
        return int(self)

    @classmethod
    def of(cls, given: object) -> Self:
        """Return the member for one of ours, one of OpenTelemetry's, a number or a name.

        Raises ValueError when it is none of these.
        """
        name = given if isinstance(given, str) else getattr(given, "name", None)
        if isinstance(name, str):
            member: Self | None = cls._members.get(name.upper())
            if member is not None:
                return member
        elif isinstance(given, int) and 0 <= given < len(cls._members):
            by_number: Self = list(cls._members.values())[given]
            return by_number
        shown = repr(given) if isinstance(given, (str, int)) else f"a {type(given).__name__}"
        raise ValueError(f"{shown} is no {cls.__name__}; choose one of {', '.join(cls._members)}")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return int(self) == int(other)
        return getattr(other, "name", None) == self.name and getattr(other, "value", None) == int(self)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    __str__ = __repr__


class SpanKind(Code):
    """The part a span plays: INTERNAL, SERVER, CLIENT, PRODUCER or CONSUMER."""

    INTERNAL: ClassVar[SpanKind]
    SERVER: ClassVar[SpanKind]
    CLIENT: ClassVar[SpanKind]
    PRODUCER: ClassVar[SpanKind]
    CONSUMER: ClassVar[SpanKind]


class StatusCode(Code):
    """How a span ended: UNSET, OK or ERROR."""

    UNSET: ClassVar[StatusCode]
    OK: ClassVar[StatusCode]
    ERROR: ClassVar[StatusCode]


def number_of(kind: object) -> int:
    """Return the number of a span kind, ours or OpenTelemetry's; of what is none, INTERNAL's."""
    if kind is None:
        return 0
    try:
        return int(SpanKind.of(kind))
    except ValueError as error:
        from lambent.diagnostics import say_once

        say_once("kind", f"{error}; INTERNAL is used")
        return 0


SpanKind._define("INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
StatusCode._define("UNSET", "OK", "ERROR")


class Status:
    """A status code and, for an error, what went wrong."""

    __slots__ = ("description", "status_code")

    def __init__(self, status_code: object = 0, description: str | None = None) -> None:
        self.status_code = StatusCode.of(status_code)
        self.description = description if self.status_code == 2 else None

    @property
    def is_ok(self) -> bool:
        """Whether this is no error."""
        return self.status_code != 2

    @property
    def is_unset(self) -> bool:
        """Whether nobody has decided."""
        return self.status_code == 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Status):
            return NotImplemented
        return self.status_code == other.status_code and self.description == other.description

    __hash__ = None  # type: ignore[assignment]  # comparable, not a key

    def __repr__(self) -> str:
        return f"Status({self.status_code.name}, {self.description!r})"


def set_status(span: Span, status: object, description: str | None) -> None:
    """Set an open span's status, by the rules of `Span.set_status`."""
    code = getattr(status, "status_code", None)
    if code is not None:
        description = getattr(status, "description", None)
    else:
        code = status
    try:
        number = int(StatusCode.of(code))
    except Exception as error:  # noqa: BLE001  # ValueError, or what asking an odd object for its type raises
        from lambent.diagnostics import say_once

        say_once("status", str(error))
        return
    if number == 0 or span._status_code == 1:
        return
    span._recorded = -1
    span._status_code = number
    span._status_message = (
        clean_name(description) or None if number == 2 and description is not None else None
    )
