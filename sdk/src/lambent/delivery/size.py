"""How many bytes a finished span takes, guessed. Loaded when spans pile up.

The guess is near what OTLP needs. It exists to keep a queue from eating a function's memory, so it must
be cheap, and right about what is large: texts, bytes and long lists.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent.delivery.sync import SyncDelivery
    from lambent.span import Span

__all__ = ["estimate", "next_look", "take"]

_SPAN = 120  # ids, times and the lengths of its parts
_ATTRIBUTE = 16  # a number and some lengths
_PART = 40  # an event or a link
_MOST_UNSEEN = 16


def estimate(span: Span) -> int:
    """Return about how many bytes the span takes."""
    # Its private parts, because the public ones make copies: this runs for each span that waits.
    attributes = span._attributes
    size = _SPAN + len(span.name) + _ATTRIBUTE * len(attributes) + len("".join(attributes))
    # A copy, made in one step: whoever exports may add to a span that waits, in another thread.
    for value in list(attributes.values()):
        kind = type(value)
        if kind is str:
            size += len(value)  # type: ignore[arg-type]  # a text
        elif kind is not int and kind is not bool and kind is not float:
            size += _of(value)
    if span._status_message:
        size += len(span._status_message)
    if span._events:
        for event in span._events:
            size += _PART + len(event.name) + _of_mapping(event.attributes)
    if span._links:
        for link in span._links:
            size += _PART + _of_mapping(link.attributes)
    return size


def _of_mapping(mapping: Mapping[str, object]) -> int:
    return sum([_ATTRIBUTE + len(key) + _of(value) for key, value in mapping.items()])


def _of(value: object) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, tuple):
        return sum([8 + _of(item) for item in value])
    if isinstance(value, dict):
        return _of_mapping(value)
    return 8


def next_look(left: int, largest: int) -> int:
    """Return after how many more spans to look again, when there are `left` bytes.

    Soon enough that spans twice as large as the largest of the last ones fit until then, and never so late
    that a few sudden giants go unseen.
    """
    return max(0, min(_MOST_UNSEEN, left // (2 * largest)))


def take(delivery: SyncDelivery, span: Span) -> None:
    """Take a finished span if there is room in spans and bytes; an invocation's own span always."""
    waiting = len(delivery._queue)
    if waiting < delivery.size:
        most = delivery._config.queue_bytes
        sizes = _sizes(delivery, waiting, span)
        delivery._measured = waiting + 1
        delivery._bytes += sum(sizes)
        if delivery._bytes <= most or span in delivery.active:
            half = delivery.size // 2
            stop = half if waiting + 1 < half else delivery.size
            look = min(next_look(most - delivery._bytes, max(sizes)), most >> 17)
            delivery._room = min(stop, waiting + 1 + look)
            delivery._append(span)
            if waiting + 1 >= half or 2 * delivery._bytes >= most:
                delivery.half_full()
            return
        # What a recorder has written is that of all since the last look, and those before this one stay.
        delivery._bytes -= sizes[-1] if delivery.recorder is None else min(sizes[-1], estimate(span))
        delivery._measured = waiting
        delivery._room = 0
        delivery.drop("queue_bytes")
        delivery.give_up((span,))
    elif span in delivery.active:
        delivery._append(span)  # there is one for each invocation, and it tells what is missing
    else:
        delivery.drop("closed" if delivery.closed else "queue_full")
        delivery.give_up((span,))


def _sizes(delivery: SyncDelivery, waiting: int, span: Span) -> list[int]:
    """Return how many bytes the spans take that came since the last look: of each, or all of them."""
    recorder = delivery.recorder
    if recorder is not None:
        # It has written them, so it knows; going through every attribute takes half a microsecond.
        before, now = delivery._written, recorder.written
        delivery._written = now
        if now > before:
            return [now - before]
        # It has started over, or another thread has looked in between: then they are gone through.
    return [estimate(each) for each in [*delivery._queue[delivery._measured : waiting], span]]
