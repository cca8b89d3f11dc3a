"""AWS X-Ray's header: `X-Amzn-Trace-Id`, in messages `AWSTraceHeader`.

`Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=<0 or 1>`, with fields of others between. Without a Root or
a Parent there is no parent span to name, and so no context.
"""

from __future__ import annotations

from lambent.context import SpanContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

__all__ = ["extract", "inject"]

_HEX = frozenset("0123456789abcdefABCDEF")


def extract(carrier: Mapping[str, str]) -> SpanContext | None:
    """Return the context of a carrier with lower-case names, None when it has no valid one."""
    header = carrier.get("x-amzn-trace-id") or carrier.get("awstraceheader")
    if not isinstance(header, str):
        return None
    fields: dict[str, str] = {}
    for part in header.split(";"):
        key, _, value = part.partition("=")
        fields.setdefault(key.strip().lower(), value.strip())
    version, _, root = fields.get("root", "").partition("-")
    parent, sampled = fields.get("parent", ""), fields.get("sampled", "0")
    if (
        version != "1"
        or len(root) != 33
        or root[8] != "-"
        or len(parent) != 16
        or not _HEX.issuperset(root[:8] + root[9:] + parent)
    ):
        return None
    context = SpanContext(int(root[:8] + root[9:], 16), int(parent, 16), True, int(sampled == "1"))
    return context if context.is_valid else None


def inject(context: SpanContext, carrier: MutableMapping[str, str]) -> None:
    """Write the context into the carrier."""
    trace_id = f"{context.trace_id:032x}"
    root, sampled = f"1-{trace_id[:8]}-{trace_id[8:]}", context.trace_flags & 1
    carrier["X-Amzn-Trace-Id"] = f"Root={root};Parent={context.span_id:016x};Sampled={sampled}"
