"""A function that does as the event says: works, fails, hangs, dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import lambent

tracer = lambent.init()
# Its exports are nobody's to wait for, in no mode: the environment is frozen in the middle of them.
beside = lambent.init(mode="sync")


def die(how: str) -> None:
    """Come to the end that the event asks for."""
    if how == "exception":
        raise ValueError("as asked")
    if how == "timeout":
        time.sleep(60)
    elif how == "os._exit":
        os._exit(3)
    elif how == "segfault":
        import ctypes

        ctypes.string_at(0)
    elif how == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "out of memory":
        held = []
        while True:
            held.append(b"x" * (64 << 20))


under_way: list[threading.Thread] = []
LONGEST_S = 10.0


def flush_beside(case: str) -> None:
    """Export in a thread that the function does not wait for."""
    beside.start_span("beside", attributes={"case": case}).end()
    flushes = beside.stats().flushes.count
    thread = threading.Thread(target=beside.force_flush, daemon=True)
    under_way.append(thread)
    thread.start()
    # It is under way, or has failed already and waits for another try.
    while (stats := beside.stats()).waiting and stats.flushes.count == flushes:
        time.sleep(0.001)


def settle() -> None:
    """Give the export that was frozen the time to end, and what it left a flush: as in every invocation."""
    while under_way:
        under_way.pop().join(LONGEST_S)
        beside.force_flush()


def handler(event: dict[str, str], context: object) -> dict[str, str]:
    """Make three spans, the invocation's own among them, and end as asked."""
    settle()
    with tracer.invocation(event, context, attributes={"case": event["case"]}):
        return work(event, event["case"])


def work(event: dict[str, str], case: str) -> dict[str, str]:
    """Do it."""
    for name in ("first", "second"):
        with tracer.trace(name, attributes={"case": case}):
            pass
    if event["fault"] == "freeze":
        flush_beside(case)
    die(event["fault"])
    sys.stdout.write(f"worked {case}\n")
    return {"answer": case}
