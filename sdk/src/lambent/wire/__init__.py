"""Finished spans as bytes: OTLP in protobuf and in JSON."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.wire import json, protobuf

__all__ = ["json", "protobuf"]


def __getattr__(name: str) -> object:
    # So that `import lambent` is enough to reach each of them.
    if name in __all__:
        return __import__(f"lambent.wire.{name}", fromlist=["__name__"])
    raise AttributeError(f"module 'lambent.wire' has no attribute {name!r}")
