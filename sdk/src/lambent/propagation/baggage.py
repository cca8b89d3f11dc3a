"""W3C Baggage: the header `baggage`, and the entries that are current here.

Names and values are percent-coded on the way out and decoded on the way in. What breaks the rules is
left out alone, and so is what the limits of the specification have no room for. An entry's properties
travel with it: what `parse` gives are texts that remember theirs.
"""

from __future__ import annotations

from _contextvars import ContextVar  # as in `lambent.context`

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

__all__ = ["BAGGAGE", "Value", "attach", "current", "detach", "parse", "to_header"]

MAX_ENTRIES, MAX_BYTES, MAX_ENTRY = 64, 8192, 4096
"""W3C Baggage, "Limits", and OpenTelemetry's bound for one entry."""

_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")
_TOKEN = _UNRESERVED | frozenset("!#$%&'*+^`|")
_OCTETS = frozenset(map(chr, range(0x21, 0x7F))) - frozenset('",;\\')
_FORM = _UNRESERVED | frozenset("%+")

BAGGAGE: ContextVar[Mapping[str, str]] = ContextVar("lambent-baggage", default={})
"""The entries of this thread or task; a mapping in it is never changed, only replaced."""


class Value(str):
    """The value of an entry that came in, with its properties as the header wrote them."""

    __slots__ = ("properties",)
    properties: str


def current() -> Mapping[str, str]:
    """Return the entries that travel with what is sent from here."""
    return BAGGAGE.get()


def attach(mapping: Mapping[str, str]) -> Token[Mapping[str, str]]:
    """Replace the current entries; `detach` with what this returns brings the earlier ones back."""
    return BAGGAGE.set(dict(mapping))


def detach(token: Token[Mapping[str, str]]) -> None:
    """Bring back the entries from before an `attach`. Made in another context it changes nothing."""
    try:
        BAGGAGE.reset(token)
    except (ValueError, RuntimeError):
        return


def parse(header: str) -> dict[str, str]:
    """Return the entries of a `baggage` header, decoded; of a repeated name the last.

    A malformed entry is left out alone, as are entries beyond 64, over 4096 bytes, or beyond 8192 in all.
    """
    entries: dict[str, str] = {}
    room = MAX_BYTES
    for member in header.split(","):
        text = member.strip(" \t")
        room -= len(text) + 1
        if room < -1 or len(entries) >= MAX_ENTRIES:
            break
        pair, _, properties = text.partition(";")
        name, equals, value = pair.partition("=")
        name, value = name.strip(" \t"), value.strip(" \t")
        if (
            equals
            and name
            and len(text) <= MAX_ENTRY
            and _TOKEN.issuperset(name)
            and _OCTETS.issuperset(value)
        ):
            decoded = Value(_decode(value))
            decoded.properties = properties.strip(" \t") if properties.isascii() else ""
            entries[_decode(name)] = decoded
    return entries


def to_header(mapping: Mapping[str, str]) -> str:
    """Return the `baggage` header of these entries, "" for none, as many as the limits have room for."""
    members: list[str] = []
    room = MAX_BYTES + 1
    for name, value in mapping.items():
        if not name:
            continue
        member = f"{_encode(name)}={_encode(value)}"
        properties = getattr(value, "properties", "")
        if properties and len(member) + len(properties) < MAX_ENTRY:
            member = f"{member};{properties}"
        if len(member) > MAX_ENTRY or len(member) >= room:
            continue
        members.append(member)
        room -= len(member) + 1
        if len(members) == MAX_ENTRIES:
            break
    return ",".join(members)


def _encode(given: object) -> str:
    text = str(given)
    if _UNRESERVED.issuperset(text):
        return text
    from urllib.parse import quote

    return quote(text, safe="", errors="replace")


def _decode(text: str) -> str:
    if "+" in text and _FORM.issuperset(text):
        # OpenTelemetry's Python API writes a blank as in forms; then nothing else stands there uncoded.
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text, errors="replace")
