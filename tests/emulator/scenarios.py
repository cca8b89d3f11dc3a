"""What the emulators are compared on: bootstrap scripts as data, and the payloads that a caller sends.

A scenario is a runtime's whole behaviour: its steps during init, and those after each `next`. `again` are the
steps of an init after a failed one. `DIFFERENCES` says where the lab follows AWS and RIE does not, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BASE = "/2018-06-01"
RESPONSE = f"{BASE}/runtime/invocation/{{id}}/response"
ERROR = f"{BASE}/runtime/invocation/{{id}}/error"
INIT_ERROR = f"{BASE}/runtime/init/error"
TYPE = "Lambda-Runtime-Function-Error-Type"
MODE = "Lambda-Runtime-Function-Response-Mode"

Step = list[Any]


def call(title: str, method: str, path: str, **options: Any) -> Step:
    """Return a step that makes one request and prints its answer under `title`."""
    return ["call", title, method, path, options]


def answer(body: str, **options: Any) -> Step:
    """Return the step that answers the invocation."""
    return call("response", "POST", RESPONSE, body=body, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One comparison. `payloads` are sent one after the other."""

    name: str
    init: list[Step] = field(default_factory=list)
    again: list[Step] | None = None
    invocations: list[list[Step]]
    payloads: list[str] = field(default_factory=lambda: ["{}"])
    timeout_s: int = 3

    @property
    def waits(self) -> int:
        """How many times the runtime will have asked for an event when all payloads have been answered."""
        last = self.invocations[-1] if self.invocations else [["exit"]]
        ends = any(step[0] in {"exit", "signal", "sleep"} for step in last)
        return len(self.invocations) + (not ends)


SCENARIOS = [
    Scenario(
        name="an answer is handed through",
        invocations=[[answer('{"ok": true}')], [answer("not json at all")], [answer("")]],
        payloads=['{"a": 1}', '"text"', "null"],
    ),
    Scenario(
        name="paths and methods",
        init=[
            call("ping", "GET", f"{BASE}/ping"),
            call("unknown path", "GET", f"{BASE}/nothing"),
            call("unknown version", "GET", "/2017-01-01/runtime/invocation/next"),
            call("post to next", "POST", f"{BASE}/runtime/invocation/next"),
            call("get init error", "GET", INIT_ERROR),
            call("delete ping", "DELETE", f"{BASE}/ping"),
        ],
        invocations=[
            [
                call("get response", "GET", RESPONSE),
                call("put response", "PUT", RESPONSE, body="x"),
                answer("1"),
            ]
        ],
    ),
    Scenario(
        name="answers out of turn",
        init=[
            call("response before next", "POST", RESPONSE, body="x"),
            call("error before next", "POST", ERROR, body="{}"),
        ],
        invocations=[
            [
                call("wrong id", "POST", RESPONSE.replace("{id}", "other"), body="x"),
                call("error for a wrong id", "POST", ERROR.replace("{id}", "other"), body="{}"),
                call("init error after init", "POST", INIT_ERROR, body="{}"),
                answer("1"),
                call("second response", "POST", RESPONSE, body="2"),
                call("error after the response", "POST", ERROR, body="{}"),
            ],
            [answer("3")],
        ],
        payloads=["1", "2"],
    ),
    Scenario(
        name="an error is handed through",
        invocations=[
            [
                call(
                    "error", "POST", ERROR, body='{"errorMessage":"m","errorType":"T"}',
                    headers=[[TYPE, "Function.Odd"]],
                )
            ],
            [call("error", "POST", ERROR, body='{"errorMessage":"m","errorType":"T","stackTrace":["a"]}')],
            [call("error", "POST", ERROR, body="not json", headers=[[TYPE, "nonsense here"]])],
        ],
        payloads=["1", "2", "3"],
    ),
    Scenario(
        name="init reports an error",
        init=[
            call(
                "init error", "POST", INIT_ERROR, body='{"errorMessage":"no","errorType":"Runtime.Odd"}',
                headers=[[TYPE, "Runtime.Odd"]],
            ),
            ["exit", 1],
        ],
        again=[],
        invocations=[[answer('"second"')]],
        payloads=["1", "2"],
    ),
    Scenario(
        name="leaving with status 0", invocations=[[["exit", 0]]], again=[], payloads=["1"]
    ),
    Scenario(name="leaving with status 3", invocations=[[["exit", 3]]], payloads=["1"]),
    Scenario(name="killed", invocations=[[["signal", "SIGKILL"]]], payloads=["1"]),
    Scenario(name="segmentation fault", invocations=[[["signal", "SIGSEGV"]]], payloads=["1"]),
    Scenario(name="leaving during init", init=[["exit", 4]], invocations=[], payloads=["1"]),
    Scenario(name="too slow", invocations=[[["sleep", 5]]], payloads=["1"], timeout_s=1),
    Scenario(
        name="a streamed answer",
        invocations=[
            [
                call(
                    "response", "POST", RESPONSE, chunks=["one ", "two ", "three"],
                    headers=[[MODE, "streaming"], ["Content-Type", "text/plain"]],
                )
            ],
            [
                call(
                    "response", "POST", RESPONSE, chunks=["one ", "two"],
                    headers=[[MODE, "streaming"]],
                    trailers=[
                        [TYPE, "Function.Broken"],
                        ["Lambda-Runtime-Function-Error-Body", "eyJlcnJvck1lc3NhZ2UiOiAibSJ9"],
                    ],
                )
            ],
        ],
        payloads=["1", "2"],
    ),
    Scenario(
        name="an unknown response mode",
        invocations=[[call("odd mode", "POST", RESPONSE, body="x", headers=[[MODE, "odd"]]), ["exit", 1]]],
    ),
    Scenario(
        name="the largest answer",
        invocations=[[answer("x", times=6 * 1024 * 1024)], [answer("x", times=6 * 1024 * 1024 + 100)]],
        payloads=["1", "2"],
        timeout_s=20,
    ),
    Scenario(
        name="an answer that is too large",
        invocations=[[answer("x", times=6 * 1024 * 1024 + 101)], [answer("2")]],
        payloads=["1", "2"],
        timeout_s=20,
    ),
    Scenario(
        name="an answer that ends early",
        invocations=[[call("short", "POST", RESPONSE, body="12345", length=10), ["sleep", 0.2], ["exit", 1]]],
    ),
    Scenario(
        name="what the function prints",
        init=[["print", "during init"]],
        invocations=[[["print", "one"], answer("1")], [["print", "two"], answer("2")]],
        payloads=["1", "2"],
    ),
]  # fmt: skip  # one call, one line: the table is read by people


CRASH = "AWS answers a function that failed with 200 and X-Amz-Function-Error; RIE with 502"

DIFFERENCES: dict[tuple[str, str], str] = {
    ("init reports an error", "caller 1"): (
        "AWS runs init again inside the first invocation; RIE answers with the first init's error, and runs "
        "init again for the second invocation"
    ),
    ("init reports an error", "caller 2"): "follows from the first invocation's difference",
    ("init reports an error", "log"): "follows from the first invocation's difference",
    ("leaving during init", "caller 1"): f"{CRASH} and without a body",
    ("leaving with status 0", "caller 1"): CRASH,
    ("leaving with status 3", "caller 1"): CRASH,
    ("killed", "caller 1"): CRASH,
    ("segmentation fault", "caller 1"): CRASH,
    ("an unknown response mode", "caller 1"): f"{CRASH}, here without a body",
    ("too slow", "caller 1"): (
        "AWS answers with Sandbox.Timedout, the request id and the error header; RIE with a plain sentence"
    ),
    ("a streamed answer", "caller 2"): (
        "a stream that ends in an error is a failed invocation to a caller who does not stream; RIE hands "
        "out what came before the error"
    ),
    ("an answer that ends early", "caller 1"): CRASH,
    ("an answer that ends early", "log"): (
        "the Runtime API answers a body that ends early with 400 TruncatedHTTPRequest; RIE closes the "
        "connection"
    ),
}
"""Scenario and what differs in it (a caller's answer, or what the runtime saw and printed), and why."""
