"""Threads, tasks and log records: what carries a span on, and what says which it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = """
import json, threading
from concurrent.futures import ThreadPoolExecutor
import lambent
tracer = lambent.init()

def work(name):
    with tracer.trace(name):
        pass

@tracer.handler
def handler(event, context):
    with tracer.trace("thread"):
        each = threading.Thread(target=work, args=("in a thread",))
        each.start()
        each.join()
    with tracer.trace("timer"):
        each = threading.Timer(0.01, work, args=("in a timer",))
        each.start()
        each.join()
    with tracer.trace("pool"), ThreadPoolExecutor(1) as pool:
        pool.submit(work, "first in a pool").result()
        with tracer.trace("inside"):
            pool.submit(work, "second in a pool").result()
    each = threading.Thread(target=work, args=("below the root",))
    each.start()
    each.join()

handler({}, None)
"""


def test_threads(program: Callable[..., Any]) -> None:
    run = program(THREADS, "threading")
    assert run.outline == [
        "lambent: shop SERVER",
        "  lambent: thread INTERNAL",
        "    lambent: in a thread INTERNAL",
        "  lambent: timer INTERNAL",
        "    lambent: in a timer INTERNAL",
        "  lambent: pool INTERNAL",
        "    lambent: first in a pool INTERNAL",
        "    lambent: inside INTERNAL",
        "      lambent: second in a pool INTERNAL",
        "  lambent: below the root INTERNAL",
    ]


TASKS = """
import asyncio
import lambent
tracer = lambent.init()

async def fetch(number):
    with tracer.trace(f"fetch {number}"):
        await asyncio.sleep(0)

def blocking():
    with tracer.trace("blocking"):
        pass

async def work():
    with tracer.trace("gather"):
        await asyncio.gather(fetch(1))
    with tracer.trace("task"):
        await asyncio.create_task(fetch(2))
    with tracer.trace("thread"):
        await asyncio.to_thread(blocking)

@tracer.handler
def handler(event, context):
    asyncio.run(work())

handler({}, None)
"""


def test_tasks(program: Callable[..., Any]) -> None:
    """The instrumentor measures coroutines with spans that are never current: lambent's are beside them."""
    run = program(
        TASKS,
        "asyncio",
        OTEL_PYTHON_ASYNCIO_COROUTINE_NAMES_TO_TRACE="fetch",
        OTEL_PYTHON_ASYNCIO_TO_THREAD_FUNCTION_NAMES_TO_TRACE="blocking",
    )
    assert run.outline == [
        "lambent: shop SERVER",
        "  lambent: gather INTERNAL",
        "    asyncio: asyncio coro-fetch INTERNAL",
        "    lambent: fetch 1 INTERNAL",
        "  lambent: task INTERNAL",
        "    asyncio: asyncio coro-fetch INTERNAL",
        "    lambent: fetch 2 INTERNAL",
        "  lambent: thread INTERNAL",
        "    asyncio: asyncio to_thread-blocking INTERNAL",
        "    lambent: blocking INTERNAL",
    ]


LOGS = """
import json, logging, sys
{before}
import lambent
tracer = lambent.init()
records = []

class Keep(logging.Handler):
    def emit(self, record):
        records.append([record.getMessage(), record.otelTraceID, record.otelSpanID, record.otelServiceName])

logging.getLogger("orders").addHandler(Keep())
logging.getLogger("orders").propagate = False

@tracer.handler
def handler(event, context):
    logging.getLogger("orders").warning("root")
    with tracer.trace("inside"):
        logging.getLogger("orders").warning("inside")

handler({}, None)
logging.getLogger("orders").warning("outside")
print(json.dumps(records))
"""


@pytest.mark.parametrize("before", ["", "from opentelemetry import trace"])
def test_log_records_say_which_span_they_belong_to(program: Callable[..., Any], before: str) -> None:
    run = program(LOGS.replace("{before}", before), "logging", OTEL_PYTHON_LOG_CORRELATION="true")
    root, inside = run.spans
    assert run.output == [
        ["root", root.trace_id, root.span_id, "shop"],
        ["inside", inside.trace_id, inside.span_id, "shop"],
        ["outside", "0", "0", "shop"],
    ]
