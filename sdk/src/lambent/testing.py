"""Fakes for tests of functions that use lambent: a clock, ids, Lambda's context, exporters.

from lambent.testing import LambdaContext, recording_tracer

tracer = recording_tracer()
...
assert [span.name for span in tracer.spans] == ["load order"]
"""

from __future__ import annotations

import time

from lambent.config import read
from lambent.exporters.memory import MemoryExporter
from lambent.tracer import Tracer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent.span import Span

__all__ = [
    "FakeClock",
    "LambdaContext",
    "MemoryExporter",
    "RecordingTracer",
    "SequentialIds",
    "recording_tracer",
]


class FakeClock:
    """A clock that moves when told to: `clock()` is nanoseconds since the epoch."""

    def __init__(self, start: int = 1_700_000_000_000_000_000) -> None:
        self.now = start

    def __call__(self) -> int:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds."""
        self.now += round(seconds * 1_000_000_000)


class SequentialIds:
    """Ids 1, 2, 3 …, traces and spans counted apart."""

    def __init__(self) -> None:
        self._traces = 0
        self._spans = 0

    def trace_id(self) -> int:
        """Return the next trace id."""
        self._traces += 1
        return self._traces

    def span_id(self) -> int:
        """Return the next span id."""
        self._spans += 1
        return self._spans


class LambdaContext:
    """What Lambda passes to a handler as its second argument."""

    def __init__(
        self,
        *,
        function_name: str = "test-function",
        function_version: str = "$LATEST",
        memory_limit_in_mb: int = 128,
        aws_request_id: str = "00000000-0000-4000-8000-000000000000",
        region: str = "eu-west-1",
        account_id: str = "123456789012",
        timeout: float = 3.0,
        client_context: object = None,
    ) -> None:
        self.function_name = function_name
        self.function_version = function_version
        self.memory_limit_in_mb = str(memory_limit_in_mb)
        self.aws_request_id = aws_request_id
        self.invoked_function_arn = f"arn:aws:lambda:{region}:{account_id}:function:{function_name}"
        self.log_group_name = f"/aws/lambda/{function_name}"
        self.log_stream_name = "2024/01/01/[$LATEST]0123456789abcdef0123456789abcdef"
        self.client_context = client_context
        self.identity = None
        self._deadline = time.monotonic() + timeout

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the timeout, 0 when it has passed."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


class RecordingTracer(Tracer):
    """A tracer that keeps what it records, with a clock and ids of the test's."""

    def __init__(self, arguments: Mapping[str, object], environ: Mapping[str, str]) -> None:
        self.exporter = MemoryExporter()
        self.fake_clock = FakeClock()
        config = read({"exporter": self.exporter, **arguments}, environ)
        super().__init__(config, clock=self.fake_clock, ids=SequentialIds())

    @property
    def spans(self) -> list[Span]:
        """The finished spans, oldest first."""
        return self.exporter.spans


def recording_tracer(*, environ: Mapping[str, str] | None = None, **arguments: object) -> RecordingTracer:
    """Return a tracer for a test: in memory, with its own clock (`fake_clock`) and ids.

    `environ` stands for the process's environment, which is not read; the arguments are `init`'s.
    """
    return RecordingTracer(arguments, environ or {})
