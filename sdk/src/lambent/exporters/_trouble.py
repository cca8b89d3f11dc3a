"""What OTLP over HTTP does about a batch that did not arrive at once: wait, give up, say why. Loaded then."""

from __future__ import annotations

from os import urandom

from lambent.diagnostics import masked
from lambent.exporters import Result
from lambent.exporters._answer import RETRYABLE, backoff, message, one_line, partial_success, retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.exporters._http import AnyAnswer, TransportError
    from lambent.exporters.otlp_http import OtlpHttpExporter

__all__ = ["clean", "internal", "lost", "not_tried", "settle"]

_CONNECTION_RETRIES = 2


def settle(
    exporter: OtlpHttpExporter, answer: AnyAnswer | None, failure: TransportError | None, deadline: float,
    count: int, retries: int, size: int,
) -> Result | None:  # fmt: skip
    """Return what became of a batch of so many spans and bytes; None, after a wait, for another try."""
    if answer is not None and 200 <= answer.status < 300:
        return _partial(exporter, answer, count, retries, size)
    wait, note = _next_wait(exporter, answer, failure, retries)
    if wait is not None and wait >= deadline - exporter._clock():
        wait, note = None, note or "no time for another try"
    if wait is None:
        return _failed(exporter, answer, failure, note, count, retries)
    exporter._wait(wait)
    return None


def not_tried(exporter: OtlpHttpExporter, count: int) -> Result:
    """Return the result of an export that was not begun."""
    if exporter._closed:
        return lost(exporter, count, "the exporter is closed")
    return lost(exporter, count, "no time was left to send", again=True)


def internal(exporter: OtlpHttpExporter, error: Exception, count: int) -> Result:
    """Return the result of an accident of our own. Its text is left out: it may quote a header."""
    return lost(exporter, count, f"internal {type(error).__name__}")


def lost(
    exporter: OtlpHttpExporter, count: int, reason: str, retries: int = 0, *, again: bool = False
) -> Result:
    """Return the result of a batch that is lost as a whole."""
    return Result(False, count, 0, f"{exporter._endpoint.origin}: {reason}", retries=retries, again=again)


def clean(exporter: OtlpHttpExporter, text: str) -> str:
    """Return somebody else's text as one line without the exporter's secrets."""
    secrets = list(exporter._headers.values())
    secrets += exporter._endpoint.secrets
    if exporter._proxy is not None:
        secrets += exporter._proxy.secrets
    # Some backends take their key in the URL, and servers like to quote that.
    path, _, query = exporter._endpoint.target.partition("?")
    secrets += [query, *[pair.partition("=")[2] for pair in query.split("&")]]
    secrets += [segment for segment in path.split("/") if len(segment) >= 16]
    # Masked first: a cut must not leave half a secret that no longer looks like one.
    return one_line(masked(text, secrets))


def _next_wait(
    exporter: OtlpHttpExporter, answer: AnyAnswer | None, failure: TransportError | None, retries: int
) -> tuple[float | None, str]:
    """Return the seconds to wait before the next try, None for no further one, and why."""
    random = urandom(1)[0] / 256  # `random` is a module to load, and knows nothing of forks
    if failure is not None:
        if failure.delivered or failure.final or (failure.refused and exporter._quiet_refused):
            return None, ""
        # Who could not be reached the last time is tried once until he can be: a function
        # must not wait at every invocation for a server that is not there.
        if exporter._unreachable or retries >= _CONNECTION_RETRIES:
            return None, ""
        return backoff(retries, random), ""
    assert answer is not None
    if answer.status not in RETRYABLE:
        return None, ""
    wait = backoff(retries, random)
    asked = answer.headers.get(b"retry-after")
    if wait is not None and asked is not None:
        seconds = retry_after(asked.decode("latin-1"), exporter._wall_clock())
        if seconds is not None:
            return seconds, f"it asks to wait {seconds:g} s, longer than there is"
    return wait, ""


def _partial(exporter: OtlpHttpExporter, answer: AnyAnswer, count: int, retries: int, size: int) -> Result:
    rejected, text = partial_success(answer.body, _content_type(answer))
    text = clean(exporter, text)
    rejected = min(max(rejected, 0), count)
    if not rejected:
        return Result(retries=retries, bytes=size, warning=text)
    reason = f"{exporter._endpoint.origin} rejected {rejected} of {count} spans"
    if text:
        reason += f": {text}"
    return Result(False, 0, rejected, reason, retries=retries, bytes=size)


def _failed(
    exporter: OtlpHttpExporter, answer: AnyAnswer | None, failure: TransportError | None, note: str,
    count: int, retries: int,
) -> Result:  # fmt: skip
    if failure is not None:
        exporter._unreachable = not failure.delivered
        text = clean(exporter, str(failure))
        result = lost(exporter, count, text, retries, again=not failure.delivered)
        result.unconfirmed = failure.delivered
        result.quiet = failure.refused and exporter._quiet_refused
        return result
    assert answer is not None
    exporter._unreachable = False
    reason = f"answered {answer.status}"
    if 300 <= answer.status < 400:
        reason += ", a redirect, which is not followed: set the endpoint to where it leads"
    else:
        text = clean(exporter, message(answer.body, _content_type(answer)))
        if text:
            reason += f": {text}"
    if note:
        reason += f" ({note})"
    return lost(exporter, count, reason, retries, again=answer.status in RETRYABLE)


def _content_type(answer: AnyAnswer) -> str:
    return answer.headers.get(b"content-type", b"").decode("latin-1").lower()
