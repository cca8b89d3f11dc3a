"""The cases of the W3C's own test suite for Trace Context (w3c/trace-context, test/test.py), as a table.

The suite sends a request with the headers of a case to a service, which calls back with the context it has
made of them. Here the service is a function behind a function URL, which injects its context into what it
would send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import lambent
from lambent.propagation import extract, flat
from lambent.testing import LambdaContext, recording_tracer

if TYPE_CHECKING:
    from collections.abc import Callable

TRACE, SPAN = "12345678901234567890123456789012", "1234567890123456"
GOOD = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"
Headers = list[tuple[str, str]]


def bars(first: int, last: int) -> str:
    return ",".join(f"bar{number:02}={number:02}" for number in range(first, last + 1))


# test → the headers sent, whether the trace goes on.
TRACEPARENT: dict[str, list[tuple[Headers, bool]]] = {
    "both_missing": [([], False)],
    "included_tracestate_missing": [([("traceparent", GOOD)], True)],
    "duplicated": [([("traceparent", f"00-{TRACE[:-1]}1-{SPAN}-01"), ("traceparent", GOOD)], False)],
    "header_name": [([("trace-parent", GOOD)], False), ([("trace.parent", GOOD)], False)],
    "header_name_valid_casing": [
        ([(name, GOOD)], True) for name in ("TraceParent", "TrAcEpArEnT", "TRACEPARENT")
    ],
    "version_0x00": [
        ([("traceparent", f"{GOOD}.")], False),
        ([("traceparent", f"{GOOD}-what-the-future-will-be-like")], False),
    ],
    "version_0xcc": [
        ([("traceparent", f"cc{GOOD[2:]}")], True),
        ([("traceparent", f"cc{GOOD[2:]}-what-the-future-will-be-like")], True),
        ([("traceparent", f"cc{GOOD[2:]}.what-the-future-will-be-like")], False),
    ],
    "version_0xff": [([("traceparent", f"ff{GOOD[2:]}")], False)],
    "version_illegal_characters": [([("traceparent", f"{bad}{GOOD[2:]}")], False) for bad in (".0", "0.")],
    "version_too_long": [([("traceparent", f"{bad}{GOOD[2:]}")], False) for bad in ("000", "0000")],
    "version_too_short": [([("traceparent", GOOD[1:])], False)],
    "trace_id_all_zero": [([("traceparent", f"00-{'0' * 32}-{SPAN}-01")], False)],
    "trace_id_illegal_characters": [
        ([("traceparent", f"00-{bad}-{SPAN}-01")], False) for bad in (f".{TRACE[1:]}", f"{TRACE[:-1]}.")
    ],
    "trace_id_too_long": [([("traceparent", f"00-{TRACE}3-{SPAN}-01")], False)],
    "trace_id_too_short": [([("traceparent", f"00-{TRACE[:-1]}-{SPAN}-01")], False)],
    "parent_id_all_zero": [([("traceparent", f"00-{TRACE}-{'0' * 16}-01")], False)],
    "parent_id_illegal_characters": [
        ([("traceparent", f"00-{TRACE}-{bad}-01")], False) for bad in (f".{SPAN[1:]}", f"{SPAN[:-1]}.")
    ],
    "parent_id_too_long": [([("traceparent", f"00-{TRACE}-{SPAN}7-01")], False)],
    "parent_id_too_short": [([("traceparent", f"00-{TRACE}-{SPAN[:-1]}-01")], False)],
    "trace_flags_illegal_characters": [
        ([("traceparent", f"{GOOD[:-2]}{bad}")], False) for bad in (".0", "0.")
    ],
    "trace_flags_too_long": [([("traceparent", f"{GOOD[:-2]}001")], False)],
    "trace_flags_too_short": [([("traceparent", f"{GOOD[:-2]}1")], False)],
    "ows_handling": [
        ([("traceparent", f"{before}{GOOD}{after}")], True)
        for before, after in ((" ", ""), ("\t", ""), ("", " "), ("", "\t"), ("\t ", " \t"))
    ],
    "illegal_traceparent_several_requests": [([("traceparent", f"00-{'0' * 32}-{SPAN}-01")], False)],
}  # fmt: skip

KEY = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
VALUE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")
FOO = {"foo": "1"}
THREE = {"foo": "1", "bar": "2", "baz": "3"}

# test → the tracestate headers sent along with a traceparent, the entries that go on.
TRACESTATE: dict[str, list[tuple[list[str], dict[str, str]]]] = {
    "included": [(["foo=1,bar=2"], {"foo": "1", "bar": "2"})],
    "empty_header": [([""], {}), (["foo=1", ""], FOO), (["", "foo=1"], FOO)],
    "multiple_headers_different_keys": [
        (["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
         {"foo": "1", "bar": "2", "rojo": "1", "congo": "2", "baz": "3"}),
    ],
    "duplicated_keys": [(["foo=1,foo=1"], {}), (["foo=1,foo=2"], {}), (["foo=1", "foo=1"], {}),
                        (["foo=1", "foo=2"], {})],
    "all_allowed_characters": [([f"{KEY}={VALUE}"], {KEY: VALUE}),
                               ([f"{KEY}@a-z0-9_-*/={VALUE}"], {f"{KEY}@a-z0-9_-*/": VALUE})],
    "ows_handling": [
        (["foo=1 \t , \t bar=2, \t baz=3"], THREE),
        (["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], THREE),
        *[([padded], FOO) for padded in (" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t")],
    ],
    "key_illegal_characters": [(["foo =1"], {}), (["FOO=1"], {}), (["foo.bar=1"], {})],
    "key_illegal_vendor_format": [
        ([f"{bad}=1,bar=2"], {}) for bad in ("foo@", "@foo", "foo@@bar", "foo@bar@baz")
    ],
    "member_count_limit": [
        ([bars(1, 10), bars(11, 20), bars(21, 30), bars(31, 32)],
         {f"bar{number:02}": f"{number:02}" for number in range(1, 33)}),
        ([bars(1, 10), bars(11, 20), bars(21, 30), bars(31, 33)], {}),
    ],
    "key_length_limit": [
        (["foo=1", f"{'z' * 256}=1"], {**FOO, "z" * 256: "1"}),
        (["foo=1", f"{'z' * 257}=1"], {}),
        (["foo=1", f"{'t' * 241}@{'v' * 14}=1"], {**FOO, f"{'t' * 241}@{'v' * 14}": "1"}),
        (["foo=1", f"{'t' * 242}@v=1"], {}),
        (["foo=1", f"t@{'v' * 15}=1"], {}),
    ],
    "value_illegal_characters": [(["foo=bar=baz"], {}), (["foo=,bar=3"], {})],
}  # fmt: skip


def http_event(headers: Headers) -> dict[str, Any]:
    """Return payload 2.0, where repeated headers come joined."""
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return {"requestContext": {"http": {"method": "POST"}}, "headers": joined}


def rest_event(headers: Headers) -> dict[str, Any]:
    """Return payload 1.0, where repeated headers come as lists too."""
    lists: dict[str, list[str]] = {}
    for name, value in headers:
        lists.setdefault(name, []).append(value)
    return {
        "httpMethod": "POST", "resource": "/", "path": "/", "requestContext": {"path": "/"},
        "headers": {name: values[-1] for name, values in lists.items()}, "multiValueHeaders": lists,
    }  # fmt: skip


def alb_event(headers: Headers) -> dict[str, Any]:
    """Return what a load balancer sends that is set to multi-value headers."""
    event = rest_event(headers)
    del event["headers"], event["resource"]
    return {**event, "requestContext": {"elb": {"targetGroupArn": "arn"}}}


EVENTS = [http_event, rest_event, alb_event]


def sent_by_a_function(
    headers: Headers, requests: int = 1, make: Callable[[Headers], dict[str, Any]] = http_event
) -> list[dict[str, str]]:
    """Return what a function sends when it is called with these headers."""
    tracer = recording_tracer()
    sent: list[dict[str, str]] = []

    @tracer.handler
    def handler(event: object, context: object) -> None:
        for number in range(requests):
            with tracer.trace(f"request {number}"):
                sent.append(lambent.inject({}))

    handler(make(headers), LambdaContext())
    return sent


def cases(table: dict[str, list[tuple[list[object], object]]]) -> list[object]:
    return [
        pytest.param(*case, id=f"{name}-{number}")
        for name, each in table.items()
        for number, case in enumerate(each)
    ]


@pytest.mark.parametrize("make", EVENTS)
@pytest.mark.parametrize(("headers", "goes_on"), cases(TRACEPARENT))  # type: ignore[arg-type]  # a table
def test_traceparent(headers: Headers, goes_on: bool, make: Any) -> None:
    (sent,) = sent_by_a_function(headers, make=make)
    version, trace_id, span_id, flags = sent["traceparent"].split("-")
    assert (version, flags) == ("00", "01")
    assert (trace_id == TRACE) == goes_on
    assert span_id != SPAN
    assert (extract(headers, ("tracecontext",)) is not None) == goes_on


@pytest.mark.parametrize("make", EVENTS)
@pytest.mark.parametrize(("states", "entries"), cases(TRACESTATE))  # type: ignore[arg-type]  # a table
def test_tracestate(states: list[str], entries: dict[str, str], make: Any) -> None:
    headers = [("traceparent", GOOD), *[("tracestate", state) for state in states]]
    (sent,) = sent_by_a_function(headers, make=make)
    assert sent["traceparent"].split("-")[1] == TRACE
    parsed = extract(sent, ("tracecontext",))
    assert parsed is not None
    assert list(parsed.trace_state.items()) == list(entries.items())
    unsampled = extract([("traceparent", UNSAMPLED), *headers[1:]], ("tracecontext",))
    assert unsampled is not None
    assert (unsampled.trace_state, unsampled.trace_flags) == (entries, 0)


@pytest.mark.parametrize("name", ["TraceState", "TrAcEsTaTe", "TRACESTATE"])
def test_tracestate_header_name_valid_casing(name: str) -> None:
    (sent,) = sent_by_a_function([("traceparent", GOOD), (name, "foo=1")])
    assert sent["tracestate"] == "foo=1"


@pytest.mark.parametrize("name", ["trace-state", "trace.state"])
def test_tracestate_header_name(name: str) -> None:
    (sent,) = sent_by_a_function([("traceparent", GOOD), (name, "foo=1")])
    assert sent.keys() == {"traceparent"}


@pytest.mark.parametrize("state", ["foo=1", "foo=1,bar=2"])
def test_tracestate_included_traceparent_missing(state: str) -> None:
    (sent,) = sent_by_a_function([("tracestate", state)])
    assert sent.keys() == {"traceparent"}


@pytest.mark.parametrize("headers", [[("traceparent", GOOD)], []])
def test_multiple_requests(headers: Headers) -> None:
    sent = [each["traceparent"].split("-") for each in sent_by_a_function(headers, 3)]
    assert len({span_id for _, _, span_id, _ in sent}) == 3
    traces = {trace_id for _, trace_id, _, _ in sent}
    assert len(traces) == 1
    assert (traces == {TRACE}) == bool(headers)


def test_level_2_the_random_flag_goes_on() -> None:
    (sent,) = sent_by_a_function([("traceparent", f"{GOOD[:-2]}03")])
    assert sent["traceparent"].endswith("-03")
    (sent,) = sent_by_a_function([("traceparent", f"{GOOD[:-2]}02")])
    assert sent["traceparent"].endswith("-02")
    (sent,) = sent_by_a_function([("traceparent", f"{GOOD[:-2]}fd")])
    assert sent["traceparent"].endswith("-01"), "flags that nobody knows yet are not sent on"


def test_flat_joins_what_is_repeated() -> None:
    assert flat([("TraceState", "a=1"), ("tracestate", "b=2")]) == {"tracestate": "a=1,b=2"}
