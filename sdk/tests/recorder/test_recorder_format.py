"""The reader of a flight recorder against everything that bytes can be."""

from __future__ import annotations

import contextlib
import marshal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.delivery import recorder_format as reader
from lambent.delivery import recorder_layout as layout

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SEGMENT = 4096


@given(VALUES)
def test_what_python_wrote_is_read(value: Any) -> None:
    assert reader.decode(marshal.dumps(value, 2)) == value


@given(st.integers(), st.booleans(), st.floats(allow_nan=False))
def test_types_are_kept(number: int, flag: bool, fraction: float) -> None:
    found = reader.decode(marshal.dumps((number, flag, fraction), 2))
    assert isinstance(found, tuple)
    assert [type(each) for each in found] == [int, bool, float]


def test_a_lone_surrogate_is_text_too() -> None:
    assert reader.decode(marshal.dumps("\ud800", 2)) == "\ud800"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        reader.decode(data)


@given(VALUES, st.data())
def test_a_cut_value_is_an_error(value: Any, data: st.DataObject) -> None:
    whole = marshal.dumps(value, 2)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError):  # noqa: PT011  # which of them is no part of the contract
        reader.decode(whole[:cut])


@pytest.mark.parametrize(
    "value",
    [compile("1", "", "eval"), 1j, ..., {1: 2}, {1}, frozenset(), StopIteration],
    ids=lambda value: type(value).__name__,
)
def test_no_other_type_is_made(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # as above
        reader.decode(marshal.dumps(value, 2))


def test_values_in_each_other_are_limited() -> None:
    with pytest.raises(ValueError, match="deep"):
        reader.decode(b"(\x01\x00\x00\x00" * 10_000 + b"N")


@pytest.mark.parametrize("kind", [b"(", b"[", b"u", b"s", b"t"])
def test_a_huge_length_takes_no_memory(kind: bytes) -> None:
    with pytest.raises(ValueError, match="longer"):
        reader.decode(kind + b"\xff\xff\xff\xff")
    with pytest.raises(ValueError, match="longer"):
        reader.decode(b"l\xff\xff\xff\x7f")


def ring(*records: tuple[int, bytes], seed: int = 7) -> bytes:
    data = layout.pack_segment(seed)
    for kind, payload in records:
        record = layout.pack_frame(kind << 24 | len(payload)) + payload
        data += record + layout.check(seed, record)
    return bytes(layout.FIRST) + data + bytes(SEGMENT - len(data))


def span(
    number: int = 1, *, end: int = 0, name: Any = "s", attributes: Any = None, rare: Any = None
) -> bytes:
    return marshal.dumps((1, number, 0, 0, name, 5, end, {} if attributes is None else attributes, rare), 2)


def test_a_start_and_its_end() -> None:
    content = reader.read(
        ring(
            (layout.START, span(1)),
            (layout.START, span(2)),
            (layout.END, (1).to_bytes(8, "little") + (9).to_bytes(8, "little")),
        ),
        SEGMENT,
    )
    assert [(each.span_id, each.end_time) for each in content.finished] == [(1, 9)]
    assert [each.span_id for each in content.unfinished] == [2]
    assert content.last_sign == 9
    assert not content.damaged


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"N", span(0), span(1 << 64), span(1, name=5), span(1, attributes=()), span(1, end=1 << 64),
        span(1, rare=()), span(1, rare=(3, None, "", (), (), (0, 0, 0))),
        span(1, rare=(0, None, "", (1,), (), (0, 0, 0))), span(1, rare=(0, None, "", (), (1,), (0, 0, 0))),
        span(1, rare=(0, None, "", (), (), (-1, 0, 0))), marshal.dumps((1, 1, 0, 31, "s", 5, 0, {}, None), 2),
    ],
)  # fmt: skip
def test_a_record_that_passes_its_check_and_makes_no_sense(payload: bytes) -> None:
    content = reader.read(ring((layout.START, payload), (layout.START, span(2))), SEGMENT)
    assert list(content.spans) == [2]
    assert content.damaged == 1


@pytest.mark.parametrize("kind", [layout.END, layout.INVOCATION, layout.ACKNOWLEDGED, layout.NOTE])
def test_a_payload_of_a_wrong_size(kind: int) -> None:
    content = reader.read(ring((kind, b"abc"), (layout.START, span(2))), SEGMENT)
    assert list(content.spans) == [2]
    assert content.damaged == 1


@given(st.binary(max_size=3 * SEGMENT), st.integers(-1, 2 * SEGMENT))
def test_any_bytes_can_be_read(data: bytes, segment: int) -> None:
    assert reader.read(bytes(layout.FIRST) + data, segment).spans == {}


def test_a_damaged_record_is_stepped_over() -> None:
    data = bytearray(ring((layout.START, span(1)), (layout.START, span(2)), (layout.START, span(3))))
    size = len(span(1)) + layout.OVERHEAD
    data[layout.FIRST + layout.SEGMENT_HEAD_SIZE + size + 10] ^= 1
    content = reader.read(bytes(data), SEGMENT)
    assert list(content.spans) == [1, 3]
    assert content.damaged == 1


@given(st.binary(min_size=layout.HEAD_SIZE, max_size=200))
def test_a_head_is_ours_or_none(data: bytes) -> None:
    assert layout.unpack_head(data) is None
    head = layout.pack_head(1, 4096, 65536, b"12345678", 9)
    assert layout.unpack_head(head + data) == (1, 4096, 65536, b"12345678", 9)
