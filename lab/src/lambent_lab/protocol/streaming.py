"""What Lambda allows a streamed response: how much of it, and how fast. Values only, no clocks.

Rules
- A streamed response may have 200 MB (until July 2025 it was 20 MB), taken as MiB like Lambda's other sizes.
- Bandwidth is a token bucket of 6 MiB that is refilled with 2 MiB/s: the first 6 MiB pass at once, what
  follows at 2 MiB/s. So does AWS's emulator; the documentation says it of the size alone, which comes to the
  same for a response that is made faster than that.
- What a caller wants in one piece (Invoke instead of InvokeWithResponseStream) has a response's usual limit,
  and no bandwidth.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """The limits of a streamed response. Sizes in bytes; `rate` in bytes a second, None for no limit."""

    size: int = 200 * MIB
    burst: int = 6 * MIB
    rate: float | None = 2.0 * MIB


AWS_LIMITS = StreamLimits()


class Bandwidth:
    """The bucket of one response. Times are seconds on any clock that only goes forward."""

    def __init__(self, limits: StreamLimits, now: float) -> None:
        self._burst = float(limits.burst)
        self._rate = limits.rate
        self._tokens = self._burst
        self._at = now

    def take(self, size: int, now: float) -> float:
        """Take `size` bytes out and return how many seconds they have to wait.

        A piece may be larger than the bucket, which goes into debt then: what comes next waits for it too.
        """
        if self._rate is None:
            return 0.0
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        self._tokens -= size
        return max(0.0, -self._tokens / self._rate)
