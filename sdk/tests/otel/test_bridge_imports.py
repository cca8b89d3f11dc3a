"""Whichever is imported first, in fresh processes; and what the bridge loads, when."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import opentelemetry.trace
import pytest

SITE = str(Path(opentelemetry.trace.__file__).parents[2])
SDK = str(Path(__file__).parents[2] / "src")

PROGRAM = """
import sys
{before}
import lambent
from lambent.exporters.memory import MemoryExporter
exporter = MemoryExporter()
tracer = lambent.init(exporter=exporter)
{between}
from opentelemetry import baggage, context, propagate, trace
assert trace.get_tracer_provider() is tracer.provider
assert isinstance(tracer.provider, trace.TracerProvider)
{after}
with tracer.trace("outer") as outer:
    assert trace.get_current_span() is outer and isinstance(outer, trace.Span)
    with trace.get_tracer("library", "1.2").start_as_current_span("inner") as inner:
        assert isinstance(inner, trace.Span)
        assert lambent.current_span() is inner is trace.get_current_span()
        with tracer.trace("innermost") as innermost:
            carrier = {{}}
            propagate.inject(carrier)
assert lambent.current_span() is None and trace.get_current_span() is trace.INVALID_SPAN
spans = {{span.name: span for span in exporter.spans}}
assert spans["innermost"].parent.span_id == inner.context.span_id
assert spans["inner"].parent.span_id == outer.context.span_id
assert spans["inner"].instrumentation_scope.name == "library"
assert spans["innermost"].instrumentation_scope.name == "lambent"
state = innermost.context
assert carrier["traceparent"] == f"00-{{state.trace_id:032x}}-{{state.span_id:016x}}-01"
"""
EARLY = """
from opentelemetry import trace
early = trace.get_tracer("early")
@early.start_as_current_span("decorated")
def decorated():
    return trace.get_current_span().is_recording()
assert not decorated()
"""
EARLY_WORKS = """
assert decorated()
with early.start_as_current_span("early"):
    pass
assert [span.name for span in exporter.spans] == ["decorated", "early"]
assert {span.instrumentation_scope.name for span in exporter.spans} == {"early"}
"""
ORDERS = {
    "lambent first": {},
    "the API first": {"before": "import opentelemetry.trace"},
    "its context alone first": {"before": "import opentelemetry.context"},
    "its namespace alone first": {"before": "import opentelemetry.semconv"},
    "baggage first": {"before": "import opentelemetry.baggage"},
    "between": {"between": "import opentelemetry.propagate"},
    "tracers of the API from before": {"before": EARLY, "after": EARLY_WORKS},
    "the provider asked for first": {"between": "tracer.provider.get_tracer('x')"},
}


@pytest.mark.parametrize("order", ORDERS)
def test_whatever_is_imported_first(run_python: Any, order: str) -> None:
    parts = {"before": "", "between": "", "after": "", **ORDERS[order]}
    done = run_python(PROGRAM.format(**parts), {"PYTHONPATH": os.pathsep.join([SDK, SITE])})
    assert done.stderr == ""


@pytest.mark.parametrize("first", ["propagate", "trace", "baggage"])
def test_propagators_that_are_an_argument(run_python: Any, first: str) -> None:
    program = f"""
import lambent
tracer = lambent.init(exporter="memory", propagators=["xray"])
import opentelemetry.{first}
from opentelemetry import propagate
assert propagate.get_global_textmap().fields == {{"X-Amzn-Trace-Id"}}
"""
    assert run_python(program, {"PYTHONPATH": os.pathsep.join([SDK, SITE])}).stderr == ""


def test_a_context_from_before(run_python: Any) -> None:
    program = """
from opentelemetry import baggage, context, trace
remote = trace.NonRecordingSpan(trace.SpanContext(7, 8, True, trace.TraceFlags(1)))
before = baggage.set_baggage("user", "7", trace.set_span_in_context(remote))
token = context.attach(context.set_value("kept", 1, before))
import lambent
from lambent.propagation import baggage as ours
from lambent.exporters.memory import MemoryExporter
tracer = lambent.init(exporter=MemoryExporter())
assert trace.get_current_span() is remote and context.get_value("kept") == 1
with tracer.trace("inside") as span:
    assert span.parent.trace_id == 7 and span.parent.span_id == 8
    assert context.get_value("kept") == 1
    assert trace.get_current_span() is span
    assert dict(ours.current()) == baggage.get_all() == {"user": "7"}
    assert lambent.inject({})["baggage"] == "user=7"
context.detach(token)
assert not ours.current() and not baggage.get_all()
assert context.get_value("kept") is None
assert trace.get_current_span() is trace.INVALID_SPAN and lambent.current_span() is None
"""
    assert run_python(program, {"PYTHONPATH": os.pathsep.join([SDK, SITE])}).stderr == ""


BRIDGE = """
import sys
import lambent
tracer = lambent.init()
before = set(sys.modules)
{imported}
loaded = sorted(set(sys.modules) - before)
print(*loaded)
"""


def test_what_the_import_of_the_api_adds(run_python: Any) -> None:
    env = {"PYTHONPATH": os.pathsep.join([SDK, SITE])}
    program = BRIDGE.format(imported="import opentelemetry.trace")
    bridged = set(run_python(program, env).stdout.split())
    alone = set(run_python(program.replace("tracer = lambent.init()", ""), env).stdout.split())
    assert bridged - alone == {
        "lambent.hooks",
        "lambent.otel",
        "lambent.otel.provider",
    }, "the bridge needs nothing that the API does not load anyway"


def test_without_the_api_nothing_of_it_is_loaded(run_python: Any) -> None:
    program = """
import sys
import lambent
tracer = lambent.init()
finders = len(sys.meta_path)
try:
    import opentelemetry
except ImportError:
    pass
else:
    raise AssertionError("it is not to be found here")
import json
try:
    tracer.provider
except lambent.LambentError as error:
    print(error)
"""
    done = run_python(program)
    assert done.stdout == (
        "tracer.provider is for instrumentations of OpenTelemetry's: pip install opentelemetry-api\n"
    )
    assert done.stderr == ""


def test_switched_off_it_leaves_the_api_alone(run_python: Any) -> None:
    program = """
import sys
import lambent
tracer = lambent.init()
from opentelemetry import trace
assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
assert not [name for name in sys.modules if name.startswith("lambent.otel")]
assert not [finder for finder in sys.meta_path if "lambent" in repr(finder)]
with tracer.provider.get_tracer("x").start_as_current_span("s") as span:
    assert not span.is_recording()
tracer.provider.add_span_processor(object())
assert tracer.provider.force_flush() and tracer.provider.resource is not None
tracer.provider.shutdown()
"""
    env = {"PYTHONPATH": os.pathsep.join([SDK, SITE]), "OTEL_SDK_DISABLED": "true"}
    assert run_python(program, env).stderr == ""


def test_a_thread_may_import_the_api_while_another_makes_the_tracer(run_python: Any) -> None:
    program = """
import threading
import lambent
def imports():
    from opentelemetry import trace
    tracers.append(trace.get_tracer("thread"))
tracers = []
threads = [threading.Thread(target=imports) for _ in range(8)]
for thread in threads[:4]:
    thread.start()
tracer = lambent.init(exporter="memory")
for thread in threads[4:]:
    thread.start()
for thread in threads:
    thread.join(30)
assert len(tracers) == 8
for each in tracers:
    with each.start_as_current_span("s") as span:
        assert span.is_recording(), each
"""
    assert run_python(program, {"PYTHONPATH": os.pathsep.join([SDK, SITE])}).stderr == ""


def test_a_forked_child_records_as_well(run_python: Any) -> None:
    program = """
import os
import lambent
from lambent.exporters.memory import MemoryExporter
exporter = MemoryExporter()
tracer = lambent.init(exporter=exporter)
from opentelemetry import trace
library = trace.get_tracer("library")
with tracer.trace("parent") as parent:
    child = os.fork()
    if not child:
        with library.start_as_current_span("in the child") as span:
            assert span.parent == parent.context
        found = [span.name for span in exporter.spans]
        os._exit(0 if found == ["in the child"] and tracer.provider.force_flush() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with library.start_as_current_span("in the parent"):
        pass
assert [span.name for span in exporter.spans] == ["in the parent", "parent"]
"""
    assert run_python(program, {"PYTHONPATH": os.pathsep.join([SDK, SITE])}).stderr == ""
