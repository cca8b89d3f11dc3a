"""W3C Baggage: the header in and out, against OpenTelemetry's propagator; the current entries."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage as theirs
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

from lambent.propagation import baggage
from lambent.propagation.baggage import attach, current, detach, parse, to_header


@pytest.mark.parametrize(
    ("header", "entries"),
    [
        ("", {}),
        ("SomeKey=SomeValue", {"SomeKey": "SomeValue"}),
        ("a=1,b=2", {"a": "1", "b": "2"}),
        (" a \t=\t 1 , b = 2 ;p;q=r,,", {"a": "1", "b": "2"}),
        ("a=", {"a": ""}),
        ("a=1,a=2", {"a": "2"}),
        ("a=b=c", {"a": "b=c"}),
        ("k=%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29", {"k": "\t \"';=asdf!@#$%^&*()"}),
        ("serverNode=DF%2028,userId=Am%C3%A9lie", {"serverNode": "DF 28", "userId": "Amélie"}),
        ("k=%zz%", {"k": "%zz%"}),
        ("k=%ff", {"k": "\ufffd"}),
        ("a%20b=c", {"a b": "c"}),
        ("k=Jane+Doe", {"k": "Jane Doe"}),
        ("k=YWI+/w==", {"k": "YWI+/w=="}),
    ],
)
def test_a_good_header(header: str, entries: dict[str, str]) -> None:
    assert parse(header) == entries


@pytest.mark.parametrize(
    "bad", ["a", "=b", "a b=c", "ä=c", 'a="c"', "a=b\\c", "a=b c", "a=ü", "(a)=b", "@=b"]
)
def test_a_malformed_entry_is_left_out_alone(bad: str) -> None:
    assert parse(f"first=1,{bad},last=2") == {"first": "1", "last": "2"}


def test_properties_travel_on() -> None:
    entries = parse("a=1; p1 ;p2=x%20y,b=2")
    assert entries == {"a": "1", "b": "2"}
    assert to_header({**entries, "c": "3"}) == "a=1;p1 ;p2=x%20y,b=2,c=3"


def test_the_limits_in() -> None:
    many = ",".join(f"k{number}=v" for number in range(65))
    assert list(parse(many)) == [f"k{number}" for number in range(64)]
    assert parse(f"a=1,b={'x' * 4094},c={'x' * 4095},d=2").keys() == {"a", "b"}, "c alone is past the room"
    assert parse(f"a=1,b={'x' * 4095},d=2") == {"a": "1", "d": "2"}
    exact = f"a={'x' * 4094},b={'y' * 4093}"
    assert len(exact) == 8192
    assert parse(exact).keys() == {"a", "b"}
    assert parse(exact + "y").keys() == {"a"}


def test_the_limits_out() -> None:
    assert to_header({f"k{number}": "v" for number in range(65)}).count(",") == 63
    assert to_header({"a": "1", "b": "x" * 4095, "c": "2"}) == "a=1,c=2"
    full = to_header({"a": "x" * 4094, "b": "y" * 4093})
    assert len(full) == 8192
    assert to_header({"a": "x" * 4094, "b": "y" * 4094, "c": "3"}) == f"a={'x' * 4094},c=3"


NAMES = st.text(min_size=1, max_size=8)
ENTRIES = st.dictionaries(NAMES, st.text(max_size=20), max_size=8)


@given(ENTRIES)
def test_what_goes_out_comes_in_again(entries: dict[str, str]) -> None:
    header = to_header(entries)
    assert header.isascii()
    assert parse(header) == entries


# OpenTelemetry strips what it has decoded, and keeps no empty name.
STRIPPED = st.text(max_size=12).map(str.strip)


@given(st.dictionaries(STRIPPED.filter(bool), STRIPPED, max_size=8))
def test_opentelemetry_reads_ours_and_we_theirs(entries: dict[str, str]) -> None:
    ours = W3CBaggagePropagator().extract({"baggage": to_header(entries)}, Context())
    assert theirs.get_all(ours) == entries
    back: dict[str, str] = {}
    W3CBaggagePropagator().inject(back, ours)
    assert parse(back.get("baggage", "")) == entries


@given(st.text(max_size=80))
def test_rubbish_never_raises(header: str) -> None:
    assert parse(to_header(parse(header))) == parse(header)


def test_a_value_that_is_no_text_is_written_as_its_text() -> None:
    assert to_header({"a": 1, "": "x", "b": "\ud800"}) == "a=1,b=%3F"  # type: ignore[dict-item]  # wrong on purpose


def test_the_current_entries() -> None:
    assert current() == {}
    mine = {"a": "1"}
    token = attach(mine)
    mine["b"] = "2"
    assert current() == {"a": "1"} == baggage.BAGGAGE.get()
    seen: list[object] = []

    def elsewhere() -> None:
        seen.append(current())
        detach(token)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(10)
    assert seen == [{}]
    assert current() == {"a": "1"}, "what another context undoes is not undone here"
    detach(token)
    detach(token)
    assert current() == {}
