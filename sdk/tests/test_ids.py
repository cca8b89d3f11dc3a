"""Ids: never zero, never twice, whatever process, thread or restored image draws them."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from lambent import tracer as tracer_module
from lambent.config import read
from lambent.ids import KernelIds


@pytest.fixture
def urandom(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes the kernel was asked for, call by call."""
    asked: list[int] = []
    real = os.urandom

    def counting(size: int) -> bytes:
        asked.append(size)
        return real(size)

    monkeypatch.setattr(os, "urandom", counting)
    return asked


def test_they_are_in_range_and_differ() -> None:
    ids = KernelIds()
    spans = [ids.span_id() for _ in range(5000)]
    traces = [ids.trace_id() for _ in range(5000)]
    assert len(set(spans)) == len(set(traces)) == 5000
    assert all(0 < number < 1 << 64 for number in spans)
    assert all(0 < number < 1 << 128 for number in traces)
    # Both halves are random: a backend may sample by either.
    assert (
        len({number >> 64 for number in traces}) == len({number & (1 << 64) - 1 for number in traces}) == 5000
    )


def test_one_system_call_fills_the_pool(urandom: list[int]) -> None:
    ids = KernelIds(at_once=100)
    for _ in range(100):
        ids.span_id()
    assert urandom == [800]
    ids.span_id()
    assert urandom == [800, 800]


def test_one_at_a_time_keeps_nothing(urandom: list[int]) -> None:
    ids = KernelIds(at_once=1)
    for _ in range(5):
        ids.span_id()
    ids.trace_id()
    assert urandom == [8] * 7


def test_a_zero_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [bytes(16), bytes(8) + (7).to_bytes(8, "little"), (5).to_bytes(8, "little") * 2]
    monkeypatch.setattr(os, "urandom", lambda size: numbers.pop(0))
    ids = KernelIds(at_once=2)
    assert [ids.span_id(), ids.span_id(), ids.span_id()] == [7, 5, 5]


def test_snapstart_draws_each_id_from_the_kernel(monkeypatch: pytest.MonkeyPatch, urandom: list[int]) -> None:
    for environ, calls in (({"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}, 30), ({}, 1)):
        monkeypatch.setattr("lambent.ids._shared", None)
        urandom.clear()
        tracer = tracer_module.Tracer(read({"test_mode": True}, environ))
        for _ in range(10):
            tracer.start_span("s")
        assert len(urandom) == calls
        tracer.close()


def test_tracers_share_one_pool() -> None:
    first = tracer_module.Tracer(read({"test_mode": True}, {}))
    second = tracer_module.Tracer(read({"test_mode": True}, {}))
    assert first._ids is second._ids
    first.close()
    second.close()


def test_threads_draw_different_ones() -> None:
    ids = KernelIds(at_once=16)
    found: list[list[int]] = [[] for _ in range(8)]
    barrier = threading.Barrier(8)

    def draw(into: list[int]) -> None:
        barrier.wait(10)
        into.extend(ids.span_id() for _ in range(3000))

    threads = [threading.Thread(target=draw, args=(into,)) for into in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    together = [number for into in found for number in into]
    assert len(set(together)) == len(together) == 24_000


def test_forks_draw_different_ones(run_python: Any) -> None:
    program = """
import os
from lambent.ids import KernelIds
ids = KernelIds()
ids.span_id()  # the pool is full now
readers = []
for _ in range(4):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, " ".join(str(ids.span_id()) for _ in range(100)).encode())
        os._exit(0)
    os.close(writer)
    readers.append(reader)
found = [str(ids.span_id()) for _ in range(100)]
for reader in readers:
    found += os.read(reader, 65536).decode().split()
    os.wait()
print(len(found), len(set(found)))
"""
    assert run_python(program).stdout == "500 500\n"
