"""Where finished spans go: one module for each destination.

An exporter is handed batches and says what became of them. It reads no environment and decides
nothing about *when*: delivery does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent.exporters import console, file, memory, otlp_grpc, otlp_http, stdout, xray_udp
    from lambent.span import Span

__all__ = [
    "Delivered",
    "Exporter",
    "Result",
    "console",
    "file",
    "memory",
    "otlp_grpc",
    "otlp_http",
    "stdout",
    "xray_udp",
]

_MODULES = frozenset(__all__) - {"Delivered", "Exporter", "Result"}


def __getattr__(name: str) -> object:
    # So that `import lambent` is enough to reach each of them.
    if name in _MODULES:
        return __import__(f"lambent.exporters.{name}", fromlist=["__name__"])
    raise AttributeError(f"module 'lambent.exporters' has no attribute {name!r}")


class Result:
    """What became of one batch.

    `ok` is true when every span arrived. `lost` counts those that did not, or of which nobody
    can say; `rejected` those that the server refused in a partial success. `reason` is "" when
    ok, else one line without secrets. `warning` is one line that came with a success: there was
    no loss and something to know all the same. `quiet` marks a failure that was to be expected
    and is not worth a line. `retries` counts repeated requests, `bytes` what was sent or
    written of payload. Of a batch of which nothing has arrived, `again` says that it is worth another try
    later; of one that was sent as a whole and not answered, `unconfirmed` says that it may have arrived.
    """

    __slots__ = (
        "again", "bytes", "lost", "ok", "quiet", "reason", "rejected", "retries", "unconfirmed", "warning",
    )  # fmt: skip

    def __init__(
        self,
        ok: bool = True,
        lost: int = 0,
        rejected: int = 0,
        reason: str = "",
        *,
        retries: int = 0,
        bytes: int = 0,  # noqa: A002  # the field's name; the type is not needed here
        warning: str = "",
        quiet: bool = False,
        again: bool = False,
        unconfirmed: bool = False,
    ) -> None:
        self.again = again
        self.unconfirmed = unconfirmed
        self.ok = ok
        self.lost = lost
        self.rejected = rejected
        self.reason = reason
        self.retries = retries
        self.bytes = bytes
        self.warning = warning
        self.quiet = quiet

    def __repr__(self) -> str:
        fields = ", ".join([f"{name}={getattr(self, name)!r}" for name in Result.__slots__])
        return f"Result({fields})"


class Delivered(Result):
    """What became of a batch that arrived whole, at once: the usual result, made with less ado."""

    __slots__ = ()

    def __init__(self, retries: int, size: int) -> None:
        self.again = self.unconfirmed = self.quiet = False
        self.ok = True
        self.lost = self.rejected = 0
        self.reason = self.warning = ""
        self.retries = retries
        self.bytes = size


class Exporter:
    """Delivers finished spans somewhere. The base class of all of them."""

    immediate = False
    """Whether spans are handed over one by one as they end, through `on_end`."""

    waits = True
    """Whether it waits for somebody else, a server: no start without time for an answer."""

    concurrent = False
    """Whether several threads may export with it at once. If not, invocations that run at the same time
    take turns."""

    def on_end(self, span: Span) -> None:
        """Take one span that has just ended. Called for immediate exporters only."""

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        """Deliver the spans within `timeout` seconds, retries included. Never raises."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of connections and files. What comes after it is lost, and said to be."""
