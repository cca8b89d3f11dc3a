"""Wrapping what yields: generators, what `contextlib` makes of them, and what may return a coroutine.

Loaded when one is wrapped. What is sent, thrown and closed goes through; between two values the reader's own
span is the current one.
"""

from __future__ import annotations

from types import CoroutineType

from lambent.context import CURRENT
from lambent.wrapping import drop_own_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["MAKERS"]


def _around_generator(call: Any, begin: Any, fail: Any, succeed: Any) -> Any:
    def generator(*args: Any, **kwargs: Any) -> Any:
        outside = CURRENT.get()
        state = begin(args, kwargs)
        try:
            # What `yield from` does, but the block is active only while the generator runs: between
            # two values the reader's own span is the current one.
            inner = call(*args, **kwargs)
            item = next(inner)
            while True:
                inside = CURRENT.get()
                CURRENT.set(outside)
                try:
                    sent = yield item
                except GeneratorExit:
                    outside = _swap(inside)
                    response = inner.close()
                    if response is None:  # always, before Python 3.13
                        raise
                    break
                except BaseException as exc:  # noqa: BLE001  # the inner one's to handle
                    outside = _swap(inside)
                    drop_own_frame(exc)
                    item = inner.throw(exc)
                else:
                    outside = _swap(inside)
                    item = next(inner) if sent is None else inner.send(sent)
        except StopIteration as stop:
            response = stop.value
        except BaseException as exc:
            drop_own_frame(exc)
            fail(state, exc)
            CURRENT.set(outside)
            raise
        succeed(state, response)
        CURRENT.set(outside)
        return response

    return generator


def _around_async_generator(call: Any, begin: Any, fail: Any, succeed: Any) -> Any:
    async def async_generator(*args: Any, **kwargs: Any) -> Any:
        outside = CURRENT.get()
        state = begin(args, kwargs)
        try:
            # As above: values, exceptions and the closing go through.
            inner = call(*args, **kwargs)
            item = await anext(inner)
            while True:
                inside = CURRENT.get()
                CURRENT.set(outside)
                try:
                    sent = yield item
                except GeneratorExit:
                    outside = _swap(inside)
                    await inner.aclose()
                    raise
                except BaseException as exc:  # noqa: BLE001  # the inner one's to handle
                    outside = _swap(inside)
                    drop_own_frame(exc)
                    item = await inner.athrow(exc)
                else:
                    outside = _swap(inside)
                    item = await inner.asend(sent)
        except StopAsyncIteration:
            pass
        except BaseException as exc:
            drop_own_frame(exc)
            fail(state, exc)
            CURRENT.set(outside)
            raise
        succeed(state, None)
        CURRENT.set(outside)

    return async_generator


def _swap(span: Any) -> Any:
    """Make the span current and return the one that was."""
    before = CURRENT.get()
    CURRENT.set(span)
    return before


def _around_manager(call: Any, begin: Any, fail: Any, succeed: Any) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def manager(*args: Any, **kwargs: Any) -> Any:
        state = begin(args, kwargs)
        try:
            with call(*args, **kwargs) as value:
                yield value
        except BaseException as exc:
            drop_own_frame(exc)
            fail(state, exc)
            raise
        succeed(state, None)

    return manager


def _around_async_manager(call: Any, begin: Any, fail: Any, succeed: Any) -> Any:
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def manager(*args: Any, **kwargs: Any) -> Any:
        state = begin(args, kwargs)
        try:
            async with call(*args, **kwargs) as value:
                yield value
        except BaseException as exc:
            drop_own_frame(exc)
            fail(state, exc)
            raise
        succeed(state, None)

    return manager


def _around_either(call: Any, begin: Any, fail: Any, succeed: Any) -> Any:
    async def followed(coroutine: Any, state: Any, inside: Any) -> Any:
        outside = _swap(inside)
        try:
            response = await coroutine
        except BaseException as exc:
            drop_own_frame(exc)
            fail(state, exc)
            CURRENT.set(outside)
            raise
        succeed(state, response)
        CURRENT.set(outside)
        return response

    def either(*args: Any, **kwargs: Any) -> Any:
        outside = CURRENT.get()
        state = begin(args, kwargs)
        try:
            response = call(*args, **kwargs)
        except BaseException as exc:
            drop_own_frame(exc)
            fail(state, exc)
            raise
        if type(response) is CoroutineType:  # it may be awaited anywhere: only then is the block active again
            return followed(response, state, _swap(outside))
        succeed(state, response)
        return response

    return either


MAKERS = {
    "either": _around_either,
    "generator": _around_generator,
    "async generator": _around_async_generator,
    "manager": _around_manager,
    "async manager": _around_async_manager,
}
