"""A pytest plugin for opentelemetry-api's own tests: lambent serves the API, and keeps its context.

Some of those tests put a runtime context of the API's default kind in place: they get lambent's instead.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import lambent

lambent.init(exporter="memory")

from opentelemetry import context, trace  # noqa: E402  # after lambent, as in a function
from opentelemetry.context import contextvars_context  # noqa: E402  # as above

from lambent.otel import RuntimeContext, runtime  # noqa: E402  # as above


class OwnContext(RuntimeContext):
    """A new runtime context of lambent's, for who makes one of the default kind."""

    def __init__(self) -> None:
        self.__dict__.update(runtime.__dict__)


assert type(trace.get_tracer_provider()).__module__ == "lambent.otel.provider"
assert vars(context)["_RUNTIME_CONTEXT"] is runtime
for module in (contextvars_context, context):  # newer versions have it in both
    vars(module)["ContextVarsRuntimeContext"] = OwnContext

_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: Any) -> None:
    """Note what became of each test, its parts and what goes around it."""
    if report.failed:
        _outcomes[report.nodeid] = "failed"
    elif report.when == "call":
        _outcomes.setdefault(report.nodeid, report.outcome)


def pytest_sessionfinish() -> None:
    """Write it down for who has started pytest."""
    Path(os.environ["LAMBENT_OUTCOMES"]).write_text(json.dumps(_outcomes))
