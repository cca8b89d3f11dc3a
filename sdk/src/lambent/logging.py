"""Log records that say which trace they belong to, and spans that hold what was logged in them.

`install()` completes every record that reaches a handler, whatever logger, handler, record factory or
formatter has part in it: `logging.Logger.callHandlers` is wrapped, and nothing else. Not a record factory:
`logging` raises KeyError for an `extra` that repeats what a factory has set. So what the caller says wins.

The three attributes are always there, so that a format may name them: outside of spans as empty texts, or,
when Lambda's log format is JSON, as None, which JSON formatters leave out. Nothing in here logs or raises,
and what is logged while a record is made text becomes no event.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar

from lambent.context import CURRENT
from lambent.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["TraceFilter", "fields", "install", "uninstall"]

NAMES = ("trace_id", "span_id", "faas.invocation_id")

_original: Any = None
_active = False
_missing: str | None = ""
_events_from: int | None = None
_busy: ContextVar[bool] = ContextVar("lambent-logging", default=False)


def install(span_events: int | str | None = None) -> None:
    """Add `trace_id`, `span_id` and `faas.invocation_id` to the log records of the whole process.

    `span_events`: a level ("WARNING", 30). Records from it on also become events of the current span: `log`,
    or `exception` when they carry one. None leaves this as it is, off at first.

    The same as `lambent.init(log_correlation=True, log_events="warning")`. May be called again.
    Raises ConfigError for a level that does not exist.
    """
    global _original, _active, _missing, _events_from  # noqa: PLW0603  # logging belongs to the process, too
    from lambent.config import read

    level = _events_from if span_events is None else _level(span_events)
    in_json = read({}).variables.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    _missing = None if in_json else ""
    _events_from = level
    _active = True
    if _original is None:
        _original = logging.Logger.callHandlers
        logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign]


def uninstall() -> None:
    """Leave log records alone again. Harmless when nothing was installed."""
    global _original, _active, _events_from  # noqa: PLW0603  # as in `install`
    _active, _events_from = False, None
    # Where somebody wrapped the method after us, ours stays inside theirs, and passes on.
    if _original is not None and logging.Logger.callHandlers is _call_handlers:
        logging.Logger.callHandlers = _original  # type: ignore[method-assign]
        _original = None


class TraceFilter(logging.Filter):
    """Adds the same attributes to the records of one handler or logger, for who prefers that to `install`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete the record, and let it pass."""
        _complete(record)
        return True


def fields() -> dict[str, str]:
    """Return what identifies the current span in a log line, for libraries that do not use `logging`.

    Nothing outside of spans; no `faas.invocation_id` outside of invocations.
    """
    return {name: value for name, value in zip(NAMES, _current(), strict=True) if value}


def _current() -> tuple[str | None, str | None, str | None]:
    span = CURRENT.get()
    # Lambda's runtime client knows the invocation also where no span does: in new threads, or unsampled.
    client = sys.modules.get("awslambdaric.bootstrap")
    invocation: object = getattr(client, "_GLOBAL_AWS_REQUEST_ID", None)
    context = None if span is None else span.context
    ids: tuple[str | None, str | None] = (_missing, _missing)
    if context is not None and context.is_valid:
        ids = (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    while isinstance(span, Span):
        found = span.attributes.get("faas.invocation_id")
        if found is not None:
            invocation = found
            break
        span = span._parent  # type: ignore[assignment]  # a context ends the way up
    return (*ids, invocation if isinstance(invocation, str) and invocation else _missing)


def _complete(record: logging.LogRecord) -> None:
    held = record.__dict__
    for name, value in zip(NAMES, _current(), strict=True):
        held.setdefault(name, value)


def _call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
    if _active:
        try:
            _complete(record)
            if _events_from is not None and record.levelno >= _events_from and not _busy.get():
                _add_event(record)
        except Exception as error:  # noqa: BLE001  # a log line must not fail for its ids
            from lambent.diagnostics import say_once

            say_once("log record", f"a log record was not completed: {type(error).__name__}")
    _original(self, record)


def _add_event(record: logging.LogRecord) -> None:
    span = CURRENT.get()
    if span is None or not span.is_recording():
        return
    # What the arguments and the exception log of themselves, while they are made text, are no events.
    token = _busy.set(True)
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  # arguments that do not fit: the handler says so
        message = str(record.msg)
    try:
        attributes = {"log.severity": record.levelname, "log.logger": record.name, "log.message": message}
        exception = record.exc_info[1] if record.exc_info else None
        # A span keeps an exception once; that it was logged again is an event of its own.
        if exception is not None and exception is not getattr(span, "_recorded_exception", None):
            span.record_exception(exception, attributes)
        else:
            span.add_event("log", attributes)
    finally:
        _busy.reset(token)


def _level(given: int | str) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    found = logging.getLevelNamesMapping().get(str(given).upper())
    if found is None:
        from lambent.errors import ConfigError

        raise ConfigError(f"{given!r} is no log level; use one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return found
