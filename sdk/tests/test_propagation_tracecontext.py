"""W3C Trace Context, in and out, against OpenTelemetry's propagator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as otel
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from lambent.context import SpanContext, TraceState
from lambent.propagation import extract
from lambent.propagation.tracecontext import extract as extract_tracecontext
from lambent.propagation.tracecontext import inject, parse_trace_state

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (GOOD, 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-03", 3),
        (f"00-{TRACE}-{SPAN}-ff", 3),
        (f" {GOOD}\t", 1),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", 1),
        (f"01-{TRACE}-{SPAN}-01", 1),
    ],
)
def test_a_good_header(header: str, flags: int) -> None:
    context = extract_tracecontext({"traceparent": header})
    assert context == SpanContext(int(TRACE, 16), int(SPAN, 16), True, flags)


@pytest.mark.parametrize(
    "header",
    [
        "", "00", "nonsense", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-01-more", f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01", f"00-{TRACE}-{SPAN}0-01", f"00-{TRACE}-{SPAN}-1",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01", f"00-{TRACE[:-1]}\u0663-{SPAN}-01", f"00 {TRACE} {SPAN} 01",
        f"0x-{TRACE}-{SPAN}-01",
    ],
)  # fmt: skip
def test_a_malformed_header_is_no_parent(header: str) -> None:
    assert extract_tracecontext({"traceparent": header}) is None
    assert extract_tracecontext({"traceparent": header, "tracestate": "a=b"}) is None


@pytest.mark.parametrize(
    ("header", "entries"),
    [
        ("a=b", {"a": "b"}),
        ("a=b,c=d", {"a": "b", "c": "d"}),
        (" a=b , ,c= d,", {"a": "b", "c": " d"}),
        ("tenant@system=x", {"tenant@system": "x"}),
        ("0tenant@system=x", {"0tenant@system": "x"}),
        ("a_-*/1=x y", {"a_-*/1": "x y"}),
        (f"{'k' * 256}={'v' * 256}", {"k" * 256: "v" * 256}),
        (",".join(f"k{number}=v" for number in range(32)), {f"k{number}": "v" for number in range(32)}),
    ],
)
def test_a_good_state(header: str, entries: dict[str, str]) -> None:
    assert parse_trace_state(header) == entries


@pytest.mark.parametrize(
    "header",
    [
        "a", "=b", "a=", "A=b", "a=b=c", "a=ü", "a=\x01", "a b=c", "_a=b", "a@=b", "@a=b", "a@b@c=d",
        "a@_b=c",
        "a=b,a=c",
        f"{'k' * 257}=v", f"a={'v' * 257}", f"{'t' * 242}@s=v", f"t@{'s' * 15}=v",
        ",".join(f"k{number}=v" for number in range(33)),
    ],
)  # fmt: skip
def test_a_malformed_state_is_dropped_alone(header: str) -> None:
    assert parse_trace_state(header) == {}
    context = extract_tracecontext({"traceparent": GOOD, "tracestate": header})
    assert context is not None
    assert context.trace_state == {}


KEYS = st.text("abc019", min_size=1, max_size=5).map(lambda text: f"k{text}")
STATES = st.dictionaries(KEYS, st.text("abcXYZ019:;./", min_size=1, max_size=8), max_size=4)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 3), STATES)
def test_what_goes_out_comes_in_again_here_and_there(
    trace_id: int, span_id: int, flags: int, state: dict[str, str]
) -> None:
    carrier: dict[str, str] = {}
    inject(SpanContext(trace_id, span_id, False, flags, TraceState(state)), carrier)
    assert extract_tracecontext(carrier) == SpanContext(trace_id, span_id, True, flags, TraceState(state))
    context = TraceContextTextMapPropagator().extract(carrier)
    theirs = otel.get_current_span(context).get_span_context()
    assert (theirs.trace_id, theirs.span_id, int(theirs.trace_flags)) == (trace_id, span_id, flags)
    assert dict(theirs.trace_state) == state
    back: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(back, context)
    assert extract_tracecontext(back) == extract_tracecontext(carrier)


@given(st.text(max_size=60) | st.text("0123456789abcdef-", min_size=50, max_size=60), st.text(max_size=30))
def test_rubbish_never_raises(traceparent: str, tracestate: str) -> None:
    extract_tracecontext({"traceparent": traceparent, "tracestate": tracestate})
    parse_trace_state(tracestate)


def test_an_invalid_context_is_not_sent() -> None:
    carrier: dict[str, str] = {}
    inject(SpanContext(0, 1), carrier)
    assert carrier == {}


def test_the_named_formats_are_asked_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    carrier = {"traceparent": GOOD}
    assert extract(carrier, ("baggage", "tracecontext")) is not None
    assert extract(carrier, ("none",)) is None
    assert extract(carrier, ()) is None
    assert capsys.readouterr().err == ""
    for _ in range(2):
        assert extract(carrier, ("jaeger", "tracecontext")) is not None
    assert capsys.readouterr().err.count("propagator 'jaeger'") == 1
    assert extract({}, ("tracecontext",)) is None


def test_more_entries_than_a_receiver_must_take_are_not_sent() -> None:
    state = TraceState({f"k{number}": "v" for number in range(33)})
    carrier: dict[str, str] = {}
    inject(SpanContext(1, 2, False, 1, state), carrier)
    assert list(parse_trace_state(carrier["tracestate"])) == list(state)[:32]


def test_sent_more_than_once() -> None:
    assert extract([("traceparent", "x"), ("traceparent", GOOD)], ("tracecontext",)) is not None
    assert extract({"traceparent": [GOOD, GOOD]}, ("tracecontext",)) is None
    assert extract({"traceparent": f"{GOOD},"}, ("tracecontext",)) is not None
    assert extract({"traceparent": "," * 10_000}, ("tracecontext",)) is None


def test_values_that_are_no_text() -> None:
    assert extract_tracecontext({"traceparent": 7}) is None  # type: ignore[dict-item]  # wrong on purpose
    context = extract_tracecontext({"traceparent": GOOD, "tracestate": 7})  # type: ignore[dict-item]  # the same
    assert context is not None
    assert context.trace_state == {}
