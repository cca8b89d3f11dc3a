"""How long to wait before a request is repeated. Loaded when one has failed."""

from __future__ import annotations

TYPE_CHECKING = False

__all__ = ["BACKOFF", "RETRYABLE", "backoff", "retry_after"]

RETRYABLE = frozenset({429, 502, 503, 504})
"""The statuses that ask for another try (OTLP specification, "Failures" of OTLP/HTTP)."""

BACKOFF = (0.1, 0.2, 0.4, 0.8)
"""Seconds before each further try; after the last one it is over."""


def backoff(retries: int, random: float) -> float | None:
    """Return the wait after so many retries, a fifth more or less as `random` in [0, 1) says.

    None when there have been enough of them.
    """
    if retries >= len(BACKOFF):
        return None
    return BACKOFF[retries] * (0.8 + 0.4 * random)


def retry_after(value: str, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for, None when it makes no sense.

    It is a number of seconds or an HTTP date, compared with `now` in seconds since the epoch
    (RFC 9110 section 10.2.3).
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:18])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
