"""The reader of a flight recorder against everything that bytes can be."""

from __future__ import annotations

import contextlib
import marshal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.delivery import recorder as writer
from lambent.delivery import recorder_format as reader

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


def ring(*records: bytes) -> bytes:
    data = writer.with_check(writer.SEGMENT_HEAD.pack(b"SEGM", 0, 7))
    for value in records:
        data += value + writer.check(writer.KEY, value)
    return bytes(writer.FIRST) + data + bytes(SEGMENT - len(data))


def record(*fields: Any) -> bytes:
    return marshal.dumps(fields, 2)


def span(
    number: int = 1, *, end: int = 0, name: Any = "s", attributes: Any = None, rare: Any = None
) -> bytes:
    return record(1, number, 0, 0, name, 5, end, {} if attributes is None else attributes, rare)


def test_a_start_and_its_end() -> None:
    content = reader.read(
        ring(record(1, 1, 0, 0, "s", 5, {}), record(1, 2, 1, 0, "t", 6, {"a": 1}), record(1, 9)), SEGMENT
    )
    assert [(each.span_id, each.end_time) for each in content.finished] == [(1, 9)]
    assert [(each.span_id, each.parent_id, each.attributes) for each in content.unfinished] == [
        (2, 1, {"a": 1})
    ]
    assert content.last_sign == 9
    assert not content.damaged


def test_an_end_brings_what_was_set_since_the_start() -> None:
    start = record(1, 1, 0, 0, "s", 5, {"a": 1})
    content = reader.read(
        ring(start, record(1, 9, {"a": 1, "b": "x"}), record(1, 9, {}), record(2, 9, {})), SEGMENT
    )
    assert [(each.end_time, each.attributes) for each in content.spans.values()] == [(9, {"a": 1, "b": "x"})]
    assert not content.damaged
    content = reader.read(ring(start, record(1, 9, {2: 1}), record(3, 9)), SEGMENT)
    assert [(each.end_time, each.attributes) for each in content.spans.values()] == [(0, {"a": 1})]
    assert content.damaged == 1


@pytest.mark.parametrize(
    "value",
    [
        record(), record(None), record((1, "2")), record("note"), record("note", "what", "when", None),
        record("invocation", 1, 1 << 64, 1), record(1, 2, 3), span(0), span(1 << 64),
        span(1, name=5), span(1, attributes=()), span(1, end=1 << 64), record(1, 1, 0, 0, "s", 5, ()),
        span(1, rare=()), span(1, rare=(3, None, "", (), (), (0, 0, 0))),
        span(1, rare=(0, None, "", (1,), (), (0, 0, 0))), span(1, rare=(0, None, "", (), (1,), (0, 0, 0))),
        span(1, rare=(0, None, "", (), (), (-1, 0, 0))), record(1, 1, 0, 31, "s", 5, 0, {}, None),
    ],
)  # fmt: skip
def test_a_record_that_passes_its_check_and_makes_no_sense(value: bytes) -> None:
    content = reader.read(ring(value, span(2)), SEGMENT)
    assert list(content.spans) == [2]
    assert content.damaged == 1


@given(st.binary(max_size=3 * SEGMENT), st.integers(-1, 2 * SEGMENT))
def test_any_bytes_can_be_read(data: bytes, segment: int) -> None:
    assert reader.read(bytes(writer.FIRST) + data, segment).spans == {}


def test_an_end_is_believed_when_it_can_be_one() -> None:
    ends = [record(3, 9), record(2, 4), record(2, 1 << 63), record(2, 8), record(2, 9)]
    content = reader.read(ring(span(1, end=7), span(2), record(1, 9), *ends, span(3)), SEGMENT)
    assert [(each.span_id, each.end_time) for each in content.finished] == [(1, 7), (2, 8)]
    assert not content.damaged


@pytest.mark.parametrize("at", [0, 1, 10, -1, -9])
def test_a_damaged_record_is_stepped_over(at: int) -> None:
    data = bytearray(ring(span(1), span(2, name="(((("), span(3)))
    begin = writer.FIRST + writer.SEGMENT_HEAD_SIZE + len(span(1)) + writer.CHECK_SIZE
    size = len(span(2, name="((((")) + writer.CHECK_SIZE
    data[begin + at % size] ^= 1
    content = reader.read(bytes(data), SEGMENT)
    assert list(content.spans) == [1, 3]
    assert content.damaged == 1


@given(st.data())
def test_one_changed_byte_never_changes_a_span(data: st.DataObject) -> None:
    """Starts and ends alike have a check: what is left of a damaged file is true, or it is not there."""
    records = [
        record(1, 1, 0, 0, "s", 5, {"a": 1}),
        record(1, 2, 1, 0, "t", 6, {}),
        record(2, 8, {"b": 2}),
        record(1, 9),
    ]
    whole = ring(*records)
    size = sum(len(each) + writer.CHECK_SIZE for each in records)
    at = data.draw(st.integers(0, size - 1)) + writer.FIRST + writer.SEGMENT_HEAD_SIZE
    damaged = bytearray(whole)
    damaged[at] ^= data.draw(st.integers(1, 255))
    content = reader.read(bytes(damaged), SEGMENT)
    expected = {1: ("s", 9, {"a": 1}), 2: ("t", 8, {"b": 2})}
    for span_id, found in content.spans.items():
        name, end, attributes = expected[span_id]
        assert found.name == name
        assert found.end_time in {0, end}
        assert found.attributes == (attributes if found.end_time or span_id == 1 else {})
    kept = sum(1 + bool(each.end_time) for each in content.spans.values())
    assert kept in {2, 3}  # without its start an end says nothing


def test_a_root_may_say_when_its_invocation_is_due() -> None:
    content = reader.read(ring(record(1, 1, 0, 0, "s", 5, 0, {}, None, 70)), SEGMENT)
    assert content.deadlines == {1: 70}
    assert [each.span_id for each in content.unfinished] == [1]


def test_damage_everywhere_takes_little_time() -> None:
    """Whoever can write the file must not hold up the next process."""
    nested = b"(\x02\x00\x00\x00" * 60 + b"N"
    data = writer.with_check(writer.SEGMENT_HEAD.pack(b"SEGM", 0, 1)) + nested * 20_000
    assert reader.read(bytes(writer.FIRST) + data, len(data)).spans == {}


@given(st.binary(min_size=writer.HEAD_SIZE, max_size=200))
def test_a_head_is_ours_or_none(data: bytes) -> None:
    assert reader.unpack_head(data) is None
    head = writer.with_check(writer.HEAD.pack(writer.MAGIC, 1, 4096, 65536, b"12345678", 9))
    assert reader.unpack_head(head + data) == (1, 4096, 65536, b"12345678", 9)


def shortly(*shapes: bytes) -> bytes:
    """A ring whose starts refer to shapes, with ends of the short form."""

    def end(span_id: int, time: int) -> bytes:
        return writer.END.pack(writer.END_MARK, span_id, time, span_id ^ time)

    noted = b"".join(writer.with_check(each) for each in shapes)
    records = [
        writer.with_check(record(1, 1 << 100, 1, 0, 5, ["x", 255])),
        writer.with_check(record(2, 1 << 100, 2, 1, 6, [])),
        end(2, 8),
        end(1, 9),
    ]
    data = writer.with_check(writer.SEGMENT_HEAD.pack(b"SEGM", 0, 7)) + b"".join(records)
    page = bytes(writer.SHAPES_AT) + noted + bytes(writer.FIRST - writer.SHAPES_AT - len(noted))
    return page + data + bytes(SEGMENT - len(data))


SHAPES = record(1, "s", 2, ["a", "ÿ"]), record(2, "t", 0, [])


def test_the_short_forms() -> None:
    content = reader.read(shortly(*SHAPES), SEGMENT)
    assert [
        (each.trace_id, each.span_id, each.parent_id, each.kind, each.name, each.start_time, each.end_time)
        for each in content.finished
    ] == [(1 << 100, 1, 0, 2, "s", 5, 9), (1 << 100, 2, 1, 0, "t", 6, 8)]
    assert [each.attributes for each in content.finished] == [{"a": "x", "ÿ": 255}, {}]
    assert not content.damaged


def test_a_root_of_a_shape_says_when_its_invocation_is_due() -> None:
    whole = bytearray(shortly(SHAPES[1]))
    start = writer.with_check(record(2, 5, 3, 0, 6, [], 70, 0))
    at = writer.FIRST + writer.SEGMENT_HEAD_SIZE
    whole[at:] = start + bytes(len(whole) - at - len(start))
    content = reader.read(bytes(whole), SEGMENT)
    assert content.deadlines == {3: 70}
    assert [(each.name, each.trace_id, each.parent_id) for each in content.unfinished] == [("t", 5, 0)]


@given(st.data())
def test_one_changed_byte_never_changes_what_is_short(data: st.DataObject) -> None:
    whole = shortly(*SHAPES)
    at = data.draw(st.sampled_from([at for at, byte in enumerate(whole) if byte]))
    damaged = bytearray(whole)
    damaged[at] ^= data.draw(st.integers(1, 255))
    expected = {1: ("s", 9, {"a": "x", "ÿ": 255}), 2: ("t", 8, {})}
    content = reader.read(bytes(damaged), SEGMENT)
    for span_id, found in content.spans.items():
        name, end, attributes = expected[span_id]
        assert (found.name, found.attributes) == (name, attributes)
        assert found.end_time in {0, end}


@pytest.mark.parametrize(
    "shape",
    [
        record(1, "s", 2, ["a"]),
        record(1, "s", 2, ["a", 2]),
        record(1, "s", 2),
        record("1", "s", 2, ["a", "b"]),
    ],
)
def test_a_shape_that_does_not_fit(shape: bytes) -> None:
    content = reader.read(shortly(shape, SHAPES[1]), SEGMENT)
    assert list(content.spans) == [2]
    assert content.damaged
