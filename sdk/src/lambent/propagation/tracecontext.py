"""W3C Trace Context: the headers `traceparent` and `tracestate` (level 1 and 2).

A malformed `traceparent` means no parent at all; a malformed `tracestate` is dropped alone.
"""

from __future__ import annotations

from lambent.context import EMPTY_TRACE_STATE, SpanContext, TraceState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

__all__ = ["extract", "inject", "parse_trace_state"]

_KEY_START = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_KEY = _KEY_START | frozenset("_-*/")
_MAX_ENTRIES = 32
_MAX_KEY = 256


def extract(carrier: Mapping[str, str]) -> SpanContext | None:
    """Return the context of a carrier with lower-case names, None when it has no valid one."""
    header = carrier.get("traceparent")
    if not isinstance(header, str):
        return None
    text = header.replace("-", "")
    if len(header) != 55 or len(text) != 52 or not header[2] == header[35] == header[52] == "-":
        # Nearly none are like this.
        if (
            "," in header
        ):  # Sent more than once: there is no telling which counts, unless only one is a parent.
            every = [extract({**carrier, "traceparent": each}) for each in header.split(",")]
            found = [each for each in every if each is not None]
            return found[0] if len(found) == 1 else None
        parts = header.strip().split("-")
        if [*map(len, parts[:4])] != [2, 32, 16, 2]:
            return None
        if parts[0] == "00" and len(parts) > 4:
            return None
        text = "".join(parts[:4])
    try:
        fields = bytes.fromhex(text)
    except ValueError:
        return None
    if fields.hex() != text or fields[0] == 255:  # in capitals or with blanks; a version that there cannot be
        return None
    trace_id, span_id = int.from_bytes(fields[1:17], "big"), int.from_bytes(fields[17:25], "big")
    if not trace_id or not span_id:
        return None
    state = carrier.get("tracestate")
    return SpanContext(
        trace_id,
        span_id,
        True,
        fields[25] & 3,
        parse_trace_state(state) if isinstance(state, str) and state else EMPTY_TRACE_STATE,
    )


def parse_trace_state(header: str) -> TraceState:
    """Return the entries of a `tracestate` header; none at all when any of them breaks the rules."""
    entries: list[tuple[str, str]] = []
    for member in header.split(","):
        text = member.strip(" \t")
        if not text:
            continue
        key, equals, value = text.partition("=")
        if not equals or not _valid_key(key) or not _valid_value(value):
            return EMPTY_TRACE_STATE
        entries.append((key, value))
    state = TraceState.of(entries)
    if len(state) != len(entries) or len(entries) > _MAX_ENTRIES:
        return EMPTY_TRACE_STATE
    return state


def _valid_key(key: str) -> bool:
    tenant, at, system = key.partition("@")
    if at:
        return (
            0 < len(tenant) <= 241
            and 0 < len(system) <= 14
            and tenant[0] in _KEY_START
            and system[0] in _KEY_START
            and _KEY.issuperset(tenant)
            and _KEY.issuperset(system)
        )
    return 0 < len(key) <= _MAX_KEY and key[0] in _KEY_START and _KEY.issuperset(key)


def _valid_value(value: str) -> bool:
    return (
        0 < len(value) <= 256
        and value[-1] != " "
        and all(" " <= letter <= "~" and letter not in ",=" for letter in value)
    )


def inject(context: SpanContext, carrier: MutableMapping[str, str]) -> None:
    """Write the context into the carrier; an invalid one writes nothing."""
    if not context.is_valid:
        return
    carrier["traceparent"] = (
        f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0xFF:02x}"
    )
    if context.trace_state:
        members = [f"{key}={value}" for key, value in context.trace_state.items()]
        carrier["tracestate"] = ",".join(members[:_MAX_ENTRIES])
