"""The prelude of streamed HTTP responses: whole, in any pieces, and malformed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.protocol.prelude import MAX_PRELUDE, Prelude, PreludeError, PreludeReader, parse_prelude

END = bytes(8)
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=10)
TEXTS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)


@given(
    st.integers(100, 599),
    st.dictionaries(NAMES, TEXTS, max_size=5),
    st.dictionaries(NAMES, st.lists(TEXTS, max_size=3), max_size=3),
    st.lists(TEXTS, max_size=3),
    st.binary(max_size=100),
    st.lists(st.integers(1, 40), max_size=20),
    st.booleans(),
)
def test_any_prelude_in_any_pieces(
    status: int,
    headers: dict[str, str],
    many: dict[str, list[str]],
    cookies: list[str],
    body: bytes,
    cuts: list[int],
    escaped: bool,
) -> None:
    value = {"statusCode": status, "headers": headers, "multiValueHeaders": many, "cookies": cookies}
    data = json.dumps(value, ensure_ascii=escaped).encode() + END + body
    reader, got = PreludeReader(), b""
    for cut in [*cuts, len(data)]:
        piece, data = data[:cut], data[cut:]
        got += reader.feed(piece)
    expected = [*headers.items(), *((name, text) for name, texts in many.items() for text in texts)]
    assert reader.end() == Prelude(status, tuple(expected), tuple(cookies))
    assert got == body


@given(st.binary(max_size=200))
def test_anything_is_a_prelude_or_an_error(data: bytes) -> None:
    reader = PreludeReader()
    try:
        reader.feed(data + END)
        assert isinstance(reader.end(), Prelude)
    except PreludeError:
        pass


def test_what_is_missing_has_a_default() -> None:
    assert parse_prelude(b"{}") == Prelude(200, (), ())
    assert parse_prelude(b'{"statusCode":null,"headers":null,"cookies":null,"more":1}') == Prelude(
        200, (), ()
    )
    assert parse_prelude(b'{"headers":{"A":1,"B":true,"C":1.5}}').headers == (
        ("A", "1"),
        ("B", "true"),
        ("C", "1.5"),
    )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"a":NaN}',
        b"[" * 5000,
        b'{"statusCode":99}',
        b'{"statusCode":600}',
        b'{"statusCode":"200"}',
        b'{"statusCode":true}',
        b'{"headers":[]}',
        b'{"headers":{"A B":"c"}}',
        b'{"headers":{"":"c"}}',
        b'{"headers":{"A":"c\\r\\nD: e"}}',
        b'{"headers":{"A":null}}',
        b'{"headers":{"A":["b"]}}',
        b'{"multiValueHeaders":{"A":"b"}}',
        b'{"cookies":"a=b"}',
        b'{"cookies":[{}]}',
    ],
)
def test_malformed_preludes(text: bytes) -> None:
    with pytest.raises(PreludeError):
        PreludeReader().feed(text + END)


def test_the_delimiter_lies_in_the_first_16_kb() -> None:
    def prelude(size: int) -> bytes:
        text = b'{"headers":{"A":"' + b"x" * (size - 20) + b'"}}'
        assert len(text) == size
        return text

    fits = prelude(MAX_PRELUDE - 8)
    assert PreludeReader().feed(fits + END + b"body") == b"body"
    with pytest.raises(PreludeError, match="16384"):
        PreludeReader().feed(prelude(MAX_PRELUDE - 7) + END)
    slow = PreludeReader()
    slow.feed(b"{" + b" " * (MAX_PRELUDE - 2))
    with pytest.raises(PreludeError, match="NUL"):
        slow.feed(b" ")
    with pytest.raises(PreludeError, match="ended"):
        PreludeReader().end()
