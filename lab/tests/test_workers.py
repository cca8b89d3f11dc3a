"""The workers of a managed instance: every order of calls, without sockets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent_lab.http import Later, Request, Response
from lambent_lab.protocol import Answer, Event
from lambent_lab.runtime import Ended, Exited, InitDone
from lambent_lab.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = "/2018-06-01/runtime"
LIMIT = 3


class Lives(RuleBasedStateMachine):
    """What the rules allow happens, and nothing else changes anything."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.idle = 0
        self.workers: Workers = self.run(lambda: Workers(self._on_idle, LIMIT))
        self.polls: list[tuple[Later, list[Response]]] = []
        self.running: dict[str, asyncio.Future[Ended]] = {}
        self.answered: set[str] = set()
        self.late: set[str] = set()
        self.polled = 0
        self.number = 0
        self.init_failed = False

    def teardown(self) -> None:
        self.loop.close()

    def _on_idle(self) -> None:
        self.idle += 1

    def run(self, work: Callable[[], Any]) -> Any:
        async def inside() -> Any:
            result = work()
            await asyncio.sleep(0)
            return result

        return self.loop.run_until_complete(inside())

    def call(self, method: str, path: str, body: bytes = b"{}") -> Any:
        request = Request(method, f"{BASE}/{path}", body=body)
        return self.run(lambda: self.workers.handle(request))

    @rule()
    def poll(self) -> None:
        answer = self.call("GET", "invocation/next")
        if len(self.polls) >= LIMIT:
            assert isinstance(answer, Response)
            assert (answer.status, error(answer)) == (403, "Runtime.TooManyIdleRuntimes")
            return
        assert isinstance(answer, Later)
        got: list[Response] = []
        answer.then(got.append)
        self.polls.append((answer, got))
        self.polled += 1
        assert self.idle == self.polled

    @precondition(lambda self: self.polls)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.polls) - 1))
        later, got = self.polls.pop(index)
        self.run(later.drop)
        assert not got

    @precondition(lambda self: self.polls)
    @rule()
    def hand_over(self) -> None:
        self.number += 1
        name = f"id-{self.number}"
        self.running[name] = self.run(lambda: self.workers.hand_over(Event(name, b"event", 1)))
        _, got = self.polls.pop(0)  # the one that has waited longest
        assert [(response.status, response.body) for response in got] == [(200, b"event")]
        assert ("Lambda-Runtime-Aws-Request-Id", name) in got[0].headers

    @precondition(lambda self: self.number)
    @rule(data=st.data(), kind=st.sampled_from(["response", "error"]))
    def answer(self, data: st.DataObject, kind: str) -> None:
        name = f"id-{data.draw(st.integers(0, self.number))}"
        reply = self.call("POST", f"invocation/{name}/{kind}", name.encode())
        assert isinstance(reply, Response)
        if name in self.running:
            assert reply.status == 202
            ended = self.running.pop(name)
            outcome = ended.result().outcome
            assert isinstance(outcome, Answer)
            assert (outcome.body, outcome.error_type) == (
                name.encode(),
                None if kind == "response" else "Function.Unknown",
            )
            self.run(lambda: self.workers.finish(name, late=False))
            self.answered.add(name)
        elif name in self.late:
            assert (reply.status, error(reply)) == (410, "InvokeTimeout")
            self.late.remove(name)
        else:
            assert (reply.status, error(reply)) == (400, "InvalidRequestID")

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def time_out(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[name]
        self.run(lambda: self.workers.finish(name, late=True))
        self.late.add(name)

    @rule()
    def init_error(self) -> None:
        reply = self.call("POST", "init/error")
        assert isinstance(reply, Response)
        if self.polled or self.init_failed:
            assert (reply.status, error(reply)) == (403, "InvalidStateTransition")
        else:
            assert reply.status == 202
            self.init_failed = True

    @rule(path=st.sampled_from(["restore/next", "invocation/x/y/response", "nothing"]))
    def elsewhere(self, path: str) -> None:
        reply = self.call("POST", path)
        assert isinstance(reply, Response)
        assert reply.status == 404

    @precondition(lambda self: self.running)
    @rule()
    def process_ends(self) -> None:
        running, self.running = self.running, {}
        self.run(lambda: self.workers.process_ended(-9))
        for ended in running.values():
            self.loop.run_until_complete(asyncio.wait([ended], timeout=5))
            assert ended.result().outcome == Exited(-9)
        for name in running:
            self.workers.finish(name, late=False)
        assert not self.loop.run_until_complete(self.workers.wait_ready(5))

    @invariant()
    def agrees(self) -> None:
        assert self.workers.ready is bool(self.polls)
        if self.polled and not self.init_failed:
            assert isinstance(self.workers.init.result()[0], InitDone)


def error(response: Response) -> str:
    """The errorType in a refusal."""
    return str(json.loads(response.body)["errorType"])


TestLives = Lives.TestCase
TestLives.settings = settings(deadline=None, stateful_step_count=40)
