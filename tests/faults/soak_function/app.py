"""A function that works as usual, and tells what its process holds when it is asked."""

from __future__ import annotations

import gc
from pathlib import Path

import lambent

tracer = lambent.init()


def held() -> dict[str, int]:
    """Return what the process holds, in kB and numbers, and what became of its spans."""
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    stats = tracer.stats()
    return {
        "rss_kb": int(fields["VmRSS"].split()[0]),
        "threads": int(fields["Threads"]),
        "fds": len(list(Path("/proc/self/fd").iterdir())),
        "tmp": len(list(Path("/tmp").iterdir())),
        "objects": len(gc.get_objects()),
        "ended": stats.ended,
        "acknowledged": stats.acknowledged,
        "lost": stats.lost,
    }


@tracer.handler
def handler(event: dict[str, object], context: object) -> object:
    """Make six spans with a few attributes, some of them new each time, an error now and then."""
    number = event["number"]
    with tracer.trace("load", attributes={"order": f"o-{number}", "rows": 3}):
        with tracer.trace("query", attributes={"text": "select 1", "cached": False}):
            pass
        with tracer.trace("parse") as span:
            span.add_event("parsed", {"bytes": number})
    with tracer.trace("price"), tracer.trace("tax", attributes={"rate": 0.19}) as span:
        if isinstance(number, int) and number % 100 == 0:
            span.record_exception(ValueError(f"order {number}"))
    return held() if event["tell"] else None
