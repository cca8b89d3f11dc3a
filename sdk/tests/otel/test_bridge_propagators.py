"""lambent's formats as propagators of the API, against those of OpenTelemetry's own packages."""

from __future__ import annotations

import os
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import opentelemetry.trace
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.aws.aws_xray_propagator import AwsXRayLambdaPropagator, AwsXRayPropagator
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.textmap import Getter

import lambent

if TYPE_CHECKING:
    from lambent.exporters.memory import MemoryExporter

SDK = Path(__file__).parents[2]
POINTS = tomllib.loads((SDK / "pyproject.toml").read_text())["project"]["entry-points"][
    "opentelemetry_propagator"
]
ORACLES: dict[str, Any] = {
    "xray": AwsXRayPropagator,
    "xray-lambda": AwsXRayLambdaPropagator,
    "b3": B3SingleFormat,
    "b3multi": B3MultiFormat,
}
HEADERS = {
    "xray": {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"},
    "xray-lambda": {
        "X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"
    },
    "b3": {"b3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"},
    "b3multi": {
        "x-b3-traceid": "80f198ee56343ba864fe8b2a57d3eff7",
        "x-b3-spanid": "e457b5a2e4d86bd1",
        "x-b3-sampled": "1",
    },
}
SPANS = st.builds(
    trace.SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([trace.TraceFlags(0), trace.TraceFlags(1)]),
)


def load(name: str) -> Any:
    module, _, attribute = POINTS[name].partition(":")
    return getattr(import_module(module), attribute)()


def around(span: trace.SpanContext) -> Context:
    return trace.set_span_in_context(trace.NonRecordingSpan(span), Context())


def found(extracted: Context) -> trace.SpanContext:
    return trace.get_current_span(extracted).get_span_context()


def test_every_format_has_an_entry_point() -> None:
    assert POINTS.keys() == ORACLES.keys()


@pytest.mark.parametrize("name", POINTS)
@given(span=SPANS)
def test_what_is_written(name: str, span: trace.SpanContext) -> None:
    ours: dict[str, str] = {}
    theirs: dict[str, str] = {}
    load(name).inject(ours, around(span))
    ORACLES[name]().inject(theirs, around(span))
    assert ours == theirs
    assert load(name).fields == ORACLES[name]().fields
    assert found(load(name).extract(ours)) == trace.SpanContext(
        span.trace_id, span.span_id, True, span.trace_flags
    )


@pytest.mark.parametrize("name", POINTS)
def test_what_is_read(name: str) -> None:
    expected = found(ORACLES[name]().extract(HEADERS[name]))
    assert expected.is_valid
    assert found(load(name).extract(HEADERS[name])) == expected
    other_case = {key.upper(): value for key, value in HEADERS[name].items()}
    assert found(load(name).extract(other_case)) == expected, "headers have names in any case"
    assert not found(load(name).extract({})).is_valid
    kept = context.set_value("kept", 1, Context())
    assert load(name).extract({}, kept) is kept
    assert context.get_value("kept", load(name).extract(HEADERS[name], kept)) == 1


class Silent(Getter[dict[str, str]]):
    """A getter that lists no names, as some do not."""

    def get(self, carrier: dict[str, str], key: str) -> list[str] | None:
        return [carrier[key]] if key in carrier else None

    def keys(self, carrier: dict[str, str]) -> list[str]:
        return []


@pytest.mark.parametrize("name", POINTS)
def test_a_getter_that_lists_no_names(name: str) -> None:
    assert found(load(name).extract(HEADERS[name], getter=Silent())).is_valid


@pytest.mark.parametrize("name", POINTS)
def test_nothing_is_written_without_a_span(name: str) -> None:
    carrier: dict[str, str] = {}
    load(name).inject(carrier, Context())
    assert carrier == {}


def test_lambdas_own_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADERS["xray"]["X-Amzn-Trace-Id"])
    assert not found(load("xray").extract({})).is_valid
    given = around(trace.SpanContext(7, 8, True))
    for base in (None, Context(), given):
        expected = found(AwsXRayLambdaPropagator().extract({}, base))
        assert found(load("xray-lambda").extract({}, base)) == expected
    assert found(load("xray-lambda").extract({}, given)).trace_id == 7


PROGRAM = """
import lambent
tracer = lambent.init(exporter="memory")
from opentelemetry import propagate, trace
with tracer.trace("a") as span:
    carrier = {}
    propagate.inject(carrier)
print(sorted(carrier))
assert f"Parent={span.context.span_id:016x}" in carrier["X-Amzn-Trace-Id"]
"""


def test_the_environment_names_them(run_python: Any, tmp_path: Path) -> None:
    """As in a function whose package holds the wheel and the API, and no other propagator."""
    site = Path(opentelemetry.trace.__file__).parents[2]
    info = tmp_path / "lambent-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lambent\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(
        "[opentelemetry_propagator]\n" + "".join(f"{name} = {point}\n" for name, point in POINTS.items())
    )
    (tmp_path / "opentelemetry").mkdir()
    needed = [
        *[
            "attributes",
            "baggage",
            "context",
            "environment_variables",
            "propagate",
            "trace",
            "util",
            "version",
        ],
        *["propagators/composite.py", "propagators/textmap.py"],
    ]
    for name in needed:
        target = tmp_path / "opentelemetry" / name
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(site / "opentelemetry" / name)
    for name in ("typing_extensions.py", *[path.name for path in site.glob("opentelemetry_api-*")]):
        (tmp_path / name).symlink_to(site / name)
    env = {
        "PYTHONPATH": f"{SDK / 'src'}{os.pathsep}{tmp_path}",
        "OTEL_PROPAGATORS": "tracecontext,baggage,xray,b3",
    }
    done = run_python(PROGRAM, env)
    assert done.stdout == "['X-Amzn-Trace-Id', 'b3', 'traceparent']\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (["xray", "b3multi"], ["X-Amzn-Trace-Id", "x-b3-sampled", "x-b3-spanid", "x-b3-traceid"]),
        (["tracecontext"], ["traceparent"]),
        (["none"], []),
        (["b3", "unheard"], ["b3"]),
    ],
)
def test_the_argument_decides_for_the_api_too(
    names: list[str], written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", propagate.get_global_textmap())
    tracer = lambent.init(exporter="memory", propagators=names)
    carrier: dict[str, str] = {}
    with tracer.trace("a"):
        propagate.inject(carrier)
    assert sorted(carrier) == written
    tracer.close()


def test_without_a_format_a_function_may_extract_and_attach_nothing(
    monkeypatch: pytest.MonkeyPatch, exporter: MemoryExporter
) -> None:
    """OpenTelemetry's composite propagator returns None where it has no formats."""
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", propagate.get_global_textmap())
    tracer = lambent.init(exporter=exporter, propagators="none")

    @tracer.handler
    def handler(event: Any, context_: Any) -> None:
        for _ in range(2):
            token = context.attach(propagate.extract(event["headers"]))
            with trace.get_tracer("framework").start_as_current_span("inside"):
                pass
            context.detach(token)

    handler({"httpMethod": "GET", "path": "/", "requestContext": {}, "resource": "/", "headers": {}}, None)
    handler({"headers": {}}, None)
    roots = [span for span in exporter.spans if span.parent is None]
    parents = [span.parent for span in exporter.spans if span.name == "inside"]
    assert parents == [root.context for root in roots for _ in range(2)]
    tracer.close()
