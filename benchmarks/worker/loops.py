"""Loops in a bare process: spans recorded, spans delivered, invocations; or just import + init.

Called as `python loops.py WHAT`; prints one JSON object as the last line of its standard output.
"""

from __future__ import annotations

import sys
import time

from benchmarks.worker import peer
from benchmarks.worker.work import EVENT

SPANS_PER_BATCH = 100
BATCHES = 20
WARM_BATCHES = 3
INVOCATIONS = 200
WARM_INVOCATIONS = 20


class Context:
    """What the runtime client hands to a handler, with the attributes that tools read."""

    def __init__(self) -> None:
        self.function_name = "bench"
        self.function_version = "$LATEST"
        self.invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:bench"
        self.memory_limit_in_mb = "256"
        self.log_group_name = "/aws/lambda/bench"
        self.log_stream_name = "2026/01/01/[$LATEST]0123456789abcdef"
        self.client_context = None
        self.identity = None
        self.number = 0
        self.aws_request_id = ""
        self.next_request()

    def next_request(self) -> None:
        """A new request id, as each invocation has."""
        self.number += 1
        self.aws_request_id = f"8f507cfc-0000-4697-b07a-{self.number:012d}"

    def get_remaining_time_in_millis(self) -> int:
        """Plenty."""
        return 60_000


def _function(event: object, context: object) -> object:  # noqa: ARG001 - Lambda's signature
    peer.children()
    return {"statusCode": 200}


def _batches(*, flush_timed: bool) -> dict[str, object]:
    """Nanoseconds of each batch of spans; the flush inside or outside the clock."""
    times = []
    for number in range(WARM_BATCHES + BATCHES):
        begin = time.perf_counter_ns()
        peer.spans(SPANS_PER_BATCH)
        if flush_timed:
            peer.flush()
            took = time.perf_counter_ns() - begin
        else:
            took = time.perf_counter_ns() - begin
            peer.flush()
        if number >= WARM_BATCHES:
            times.append(took)
    made = (WARM_BATCHES + BATCHES) * SPANS_PER_BATCH
    return {"batches_ns": times, "spans_per_batch": SPANS_PER_BATCH, "spans_made": made}


def _round_trips() -> list[int]:
    """Nanoseconds of requests of an invocation's size on a bare socket: no tool can be faster."""
    import os
    import socket

    host, _, port = os.environ["BENCH_ENDPOINT"].removeprefix("http://").partition(":")
    request = b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 1500\r\n\r\n" + bytes(1500)
    times = []
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(INVOCATIONS):
            begin = time.perf_counter_ns()
            connection.sendall(request)
            connection.recv(4096)
            times.append(time.perf_counter_ns() - begin)
    return times


def main(what: str) -> dict[str, object]:
    """Do one kind of loop."""
    begin = time.perf_counter_ns()
    traced = peer.start(_function)
    init_ns = time.perf_counter_ns() - begin
    result: dict[str, object] = {"init_ns": init_ns, "python": sys.version.split()[0]}
    if what == "record":
        result |= _batches(flush_timed=False)
        result["recording"] = peer.recording()
    elif what == "deliver":
        result |= _batches(flush_timed=True)
    elif what == "invoke":
        context = Context()
        times = []
        for number in range(WARM_INVOCATIONS + INVOCATIONS):
            context.next_request()
            begin = time.perf_counter_ns()
            traced(EVENT, context)
            took = time.perf_counter_ns() - begin
            if number >= WARM_INVOCATIONS:
                times.append(took)
        result |= {"calls_ns": times, "invocations": WARM_INVOCATIONS + INVOCATIONS}
        result["round_trips_ns"] = _round_trips()
    return result


if __name__ == "__main__":
    outcome = main(sys.argv[1])
    import json
    import os

    print("\n" + json.dumps(outcome), flush=True)
    os._exit(
        0
    )  # everything is delivered; what a tool does at exit is not measured and need not be waited for
