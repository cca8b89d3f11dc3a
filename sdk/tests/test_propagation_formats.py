"""X-Ray's and Zipkin's headers against OpenTelemetry's packages, propagators of others, any carrier."""

from __future__ import annotations

import importlib.metadata
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import lambent
from lambent.context import SpanContext
from lambent.propagation import KNOWN, extract, flat, foreign, write

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = SpanContext(int(TRACE, 16), int(SPAN, 16), True, 1)
ROOT = f"1-{TRACE[:8]}-{TRACE[8:]}"
XRAY = f"Root={ROOT};Parent={SPAN};Sampled=1"
THEIRS: dict[str, Any] = {
    "tracecontext": TraceContextTextMapPropagator(),
    "xray": AwsXRayPropagator(),
    "xray-lambda": AwsXRayPropagator(),
    "b3": B3SingleFormat(),
    "b3multi": B3MultiFormat(),
}


def test_every_format_has_its_counterpart() -> None:
    assert THEIRS.keys() == KNOWN.keys() - {"baggage"}


@pytest.mark.parametrize("name", THEIRS)
@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 1))
def test_what_one_writes_the_other_reads(name: str, trace_id: int, span_id: int, flags: int) -> None:
    context = SpanContext(trace_id, span_id, True, flags)
    ours: dict[str, str] = {}
    write(name, context, ours)
    assert extract(ours, (name,)) == context
    # Their getters know a name in one way of writing it only.
    read = THEIRS[name].extract(ours, Context())
    theirs = otel.get_current_span(read).get_span_context()
    assert (theirs.trace_id, theirs.span_id, int(theirs.trace_flags)) == (trace_id, span_id, flags)
    back: dict[str, str] = {}
    THEIRS[name].inject(back, read)
    assert back == ours
    assert extract({key.upper(): [value.encode()] for key, value in back.items()}, (name,)) == context


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (XRAY, 1),
        (f"Root={ROOT};Parent={SPAN};Sampled=0", 0),
        (f"Root={ROOT};Parent={SPAN};Sampled=?", 0),
        (f"Root={ROOT};Parent={SPAN}", 0),
        (f"Self=1-5759e988-bd862e3fe1be46a994272793;{XRAY};Lineage=1:0a1b2c3d:0;nonsense;", 1),
        (f" sampled = 1 ; parent = {SPAN.upper()} ; ROOT = {ROOT.upper()} ", 1),
    ],
)
def test_xray(header: str, flags: int) -> None:
    for name in ("X-Amzn-Trace-Id", "AWSTraceHeader"):
        found = extract({name: header}, ("xray",))
        assert found is not None
        assert (found, found.trace_flags) == (
            SpanContext(CONTEXT.trace_id, CONTEXT.span_id, True, flags),
            flags,
        )


@pytest.mark.parametrize(
    "header",
    [
        "", "Root", f"Root={ROOT}", f"Root={ROOT};Sampled=1", f"Parent={SPAN};Sampled=1",
        f"Root=2{ROOT[1:]};Parent={SPAN}", f"Root={ROOT}0;Parent={SPAN}", f"Root={ROOT};Parent={SPAN}0",
        f"Root={ROOT.replace('-', '')};Parent={SPAN}", f"Root={ROOT[:-1]}g;Parent={SPAN}",
        f"Root=1-{'0' * 8}-{'0' * 24};Parent={SPAN}", f"Root={ROOT};Parent={'0' * 16}",
        f"Root={ROOT[:-1]}_;Parent={SPAN}",
    ],
)  # fmt: skip
def test_xray_without_a_parent_to_name(header: str) -> None:
    assert extract({"x-amzn-trace-id": header}, ("xray",)) is None


@pytest.mark.parametrize(
    ("carrier", "flags"),
    [
        ({"b3": f"{TRACE}-{SPAN}-1"}, 1),
        ({"B3": f"{TRACE}-{SPAN}-d-{SPAN}"}, 1),
        ({"b3": f"{TRACE}-{SPAN}-0-{SPAN}"}, 0),
        ({"b3": f"{TRACE}-{SPAN}"}, 1),
        ({"b3": f"{TRACE.upper()}-{SPAN.upper()}-1"}, 1),
        ({"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN, "X-B3-Sampled": "true"}, 1),
        ({"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN, "X-B3-Sampled": "0"}, 0),
        ({"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN, "X-B3-Sampled": "0", "X-B3-Flags": "1"}, 1),
        ({"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN, "X-B3-ParentSpanId": SPAN}, 1),
    ],
)
@pytest.mark.parametrize("name", ["b3", "b3multi"])
def test_b3(name: str, carrier: dict[str, str], flags: int) -> None:
    found = extract(carrier, (name,))
    assert found is not None
    assert (found.trace_id, found.span_id, found.trace_flags) == (CONTEXT.trace_id, CONTEXT.span_id, flags)


def test_b3_with_short_trace_ids() -> None:
    found = extract({"b3": f"{TRACE[16:]}-{SPAN}-1"}, ("b3",))
    assert found is not None
    assert found.trace_id == int(TRACE[16:], 16)


@pytest.mark.parametrize(
    "header",
    ["0", "1", "d", "", f"{TRACE}", f"{TRACE}-{SPAN}0-1", f"{TRACE[1:]}-{SPAN}-1", f"{'0' * 32}-{SPAN}-1",
     f"{TRACE}-{'0' * 16}-1", f"{TRACE[:-1]}g-{SPAN}-1"],
)  # fmt: skip
def test_b3_that_names_no_span(header: str) -> None:
    assert extract({"b3": header}, ("b3",)) is None


def test_the_first_that_finds_one_wins() -> None:
    carrier = {
        "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
        "b3": f"{TRACE}-{SPAN}-1",
        "X-Amzn-Trace-Id": "Root=1",
    }
    first = extract(carrier, ("xray", "tracecontext", "baggage", "b3"))
    assert first is not None
    assert first.trace_id == int("1" * 32, 16)
    assert extract(carrier, ("b3", "tracecontext")) == CONTEXT
    assert extract(carrier, ("tracecontext", "none")) is None


def test_the_environment_is_what_xray_lambda_falls_back_on() -> None:
    other = {"X-Amzn-Trace-Id": f"Root=1-{'1' * 8}-{'2' * 24};Parent={'3' * 16};Sampled=1"}
    assert extract({}, ("xray-lambda",), XRAY) == CONTEXT
    assert extract({}, ("xray",), XRAY) is None
    assert extract(other, ("xray-lambda",), XRAY) == extract(other, ("xray",)) != CONTEXT
    w3c = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    assert extract(w3c, ("xray-lambda", "tracecontext"), XRAY) == CONTEXT
    assert extract(w3c, ("tracecontext", "xray-lambda"), XRAY) == extract(w3c, ("tracecontext",)) != CONTEXT


# Carriers.

W3C = f"00-{TRACE}-{SPAN}-01"
CODED = b64encode(W3C.encode()).decode()


@pytest.mark.parametrize(
    "carrier",
    [
        {"Traceparent": W3C},
        {b"TRACEPARENT": W3C.encode()},
        {"traceparent": [W3C]},
        {"traceparent": (W3C.encode(),)},
        {"traceparent": bytearray(W3C.encode())},
        {"traceparent": {"stringValue": W3C, "dataType": "String"}},
        {"traceparent": {"StringValue": W3C, "DataType": "String"}},
        {"traceparent": {"binaryValue": CODED, "dataType": "Binary", "stringListValues": []}},
        {"traceparent": {"BinaryValue": W3C.encode(), "DataType": "Binary"}},
        {"traceparent": {"Type": "String", "Value": W3C}},
        {"traceparent": {"Type": "Binary", "Value": CODED}},
        {"traceparent": {"Type": "Binary", "Value": W3C}},
        {"traceparent": {"bytes": list(W3C.encode())}},
        [{"traceparent": list(W3C.encode())}],
        [{"other": [1]}, {"traceparent": [code - 256 if code > 127 else code for code in W3C.encode()]}],
        [("traceparent", W3C.encode()), ("other", b"\xff")],
        [["TraceParent", W3C]],
    ],
    ids=repr,
)
def test_every_carrier(carrier: object) -> None:
    assert extract(carrier, ("tracecontext",)) == CONTEXT
    assert flat(carrier) == {"traceparent": W3C}


def test_an_object_with_items() -> None:
    class Headers:
        def items(self) -> list[tuple[str, str]]:
            return [("TraceParent", W3C), ("tracestate", "a=1"), ("TRACESTATE", "b=2"), ("host", "x")]

    assert flat(Headers()) == {"traceparent": W3C, "tracestate": "a=1,b=2"}
    assert flat(Headers(), every=True).keys() == {"traceparent", "tracestate", "host"}


class Broken:
    def items(self) -> object:
        raise RuntimeError("broken")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["traceparent", "Baggage", "b3", "X-Amzn-Trace-Id", "stringValue", "Value", "bytes"]
            )
            | st.text(max_size=3)
            | st.binary(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON | st.just(Broken()) | st.just(object()))
def test_rubbish_never_raises(carrier: object) -> None:
    assert all(type(value) is str for value in flat(carrier, every=True).values())
    extract(carrier, ("tracecontext", "baggage", "b3", "xray-lambda"), "Root")
    lambent.extract(carrier)
    lambent.carriers.extract_baggage(carrier)


# Propagators of other packages.


class Theirs:
    """A propagator as another package brings it."""

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
        value = carrier.get("x-theirs")
        if value == "break":
            raise RuntimeError("broken")
        if value is None:
            return context
        span = otel.NonRecordingSpan(otel.SpanContext(int(value), 7, True, otel.TraceFlags(1)))
        return otel.set_span_in_context(span, context)

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
        span = otel.get_current_span(context).get_span_context()
        if span.trace_id == 13:
            raise RuntimeError("broken")
        carrier["X-Theirs"] = str(span.trace_id)


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def load(self) -> object:
            return Theirs

    monkeypatch.setattr(foreign, "_loaded", {})
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda group, name: [Point()] if (group, name) == ("opentelemetry_propagator", "theirs") else [],
    )


def test_a_propagator_of_another_package(theirs: None, capsys: pytest.CaptureFixture[str]) -> None:
    found = extract({"X-THEIRS": "99", "traceparent": W3C}, ("theirs", "tracecontext"))
    assert found == SpanContext(99, 7, True, 1)
    assert extract({"traceparent": W3C}, ("theirs", "tracecontext")) == CONTEXT
    carrier: dict[str, str] = {}
    write("theirs", SpanContext(99, 7, False, 1), carrier)
    assert carrier == {"X-Theirs": "99"}
    assert capsys.readouterr().err == ""


def test_one_that_fails_is_said_once(theirs: None, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert extract({"x-theirs": "break", "traceparent": W3C}, ("theirs", "tracecontext")) == CONTEXT
        write("theirs", SpanContext(13, 7), {})
    assert capsys.readouterr().err.count("propagator 'theirs': it fails (RuntimeError") == 1


def test_one_that_is_installed_is_found() -> None:
    names = {point.name for point in importlib.metadata.entry_points(group="opentelemetry_propagator")}
    assert {"tracecontext", "baggage", "b3", "b3multi", "xray"} <= names
    assert (
        foreign.extract("b3multi", {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "1"})
        == CONTEXT
    )
