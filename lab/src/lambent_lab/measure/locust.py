"""A Locust user that invokes a Lambda function, for load from many machines.

It needs `pip install 'lambent-lab[load]'`. Use it in a locustfile of your own:

    from lambent_lab.measure.locust import LambdaUser, task

    class Orders(LambdaUser):
        target = "aws:orders"

        @task
        def order(self):
            self.invoke({"id": 1001})

or let `lambent locust TARGET` do so. Locust patches Python's sockets and threads as soon as it is imported:
import this module in Locust's own process and nowhere else. Each invocation is one of Locust's requests, of
type LAMBDA; a throttled one is an error there, and counted apart in the result file that the master (or the
only process) writes where `LAMBENT_LOAD_PLAN` asks for one.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from locust import User, events, task
from locust.exception import StopUser

from lambent_lab.errors import UsageError
from lambent_lab.measure import header, load
from lambent_lab.measure.ending import Ending
from lambent_lab.measure.load import calls
from lambent_lab.measure.load.collected import Collected, section_of
from lambent_lab.measure.load.loops import Load
from lambent_lab.measure.load.words import conclude
from lambent_lab.measure.remote import aws
from lambent_lab.measure.results import dumps, write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPConnection

    from locust.env import Environment

    from lambent_lab.measure.load.loops import Outcome

__all__ = ["Failed", "LambdaUser", "Throttled", "task"]

PLAN = "LAMBENT_LOAD_PLAN"
"""The variable in which `lambent locust` hands over what is to be done, as JSON."""

_REPORT = "lambent_report"
_FINISH = "lambent_finish"

_LAST_WORD_S = 10.0
"""How long a master waits for the reports of workers whose users have had the time to stop."""

_LOG = logging.getLogger(__name__)


class Failed(Exception):  # noqa: N818 - the name that Locust's table of errors shows
    """An invocation failed."""


class Throttled(Exception):  # noqa: N818 - as above
    """An invocation was throttled: 429."""


class LambdaUser(User):
    """A user that invokes `target`: aws:FUNCTION[:QUALIFIER], or a URL as AWS's interface emulator has it.

    event: what is invoked with, unless `invoke` is given another; region, endpoint_url: of AWS's API.
    """

    abstract = True
    target: str = ""
    event: object = {}
    region: str | None = None
    endpoint_url: str | None = None
    timeout_s: float = 60.0

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._last: float | None = None
        self._opened = ExitStack()
        self._connect: Callable[[], HTTPConnection] | None = None
        self._path = ""

    def on_start(self) -> None:
        """Be counted."""
        state(self.environment).came(1)

    def on_stop(self) -> None:
        """Be counted no more, and hang up."""
        state(self.environment).came(-1)
        self._opened.close()
        self._connect = None

    def invoke(self, event: object = None, name: str | None = None) -> Outcome:
        """Invoke once, and tell Locust. `name` is what Locust's statistics call it (default: the target)."""
        try:
            call = self._call(json.dumps(self.event if event is None else event).encode())
        except UsageError as error:
            self.environment.process_exit_code = error.exit_code
            self.environment.runner.quit()
            raise StopUser(str(error)) from error
        mine = state(self.environment)
        started = time.perf_counter()
        outcome = call(0)
        ended = time.perf_counter()
        mine.add(started, ended, None if self._last is None else started - self._last, outcome)
        self._last = started
        self.environment.events.request.fire(
            request_type="LAMBDA",
            name=name or self.target,
            response_time=(ended - started) * 1000,
            response_length=0,
            exception=_exception(outcome),
            context={"cold": outcome.cold},
        )
        return outcome

    def _call(self, payload: bytes) -> calls.Call:
        """One invocation to be made. Raises UsageError."""
        if self.target.startswith("aws:"):
            shared = state(self.environment)
            if shared.client is None:
                shared.client = calls.aws_client(self.region, self.endpoint_url, 1000)
            function, qualifier = aws.split(self.target.removeprefix("aws:"))
            return calls.aws_call(shared.client, function, qualifier, payload)
        if self._connect is None:
            url = self.target or self.host or ""
            opened = self._opened.enter_context(calls.connections(url, timeout_s=self.timeout_s))
            self._connect, self._path = opened
        return calls.url_call(self._connect, self._path, payload)


def _exception(outcome: Outcome) -> Exception | None:
    if outcome.kind == "ok":
        return None
    return (Throttled if outcome.kind == "throttled" else Failed)(outcome.error or outcome.kind)


class State:
    """What this process has seen, and, in a master, what its workers have told."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.client: Any = None
        python = None if plan.get("python") is None else Path(plan["python"])
        self.beginning = header.begin("load", plan.get("command", ()), python)
        if plan.get("target", {"kind": "lab"})["kind"] != "lab":
            self.beginning.machine["function_python"] = None  # it runs elsewhere
        self.collected = Collected(float(plan.get("ramp_up_s", 0.0)))
        self.workers: set[str] = set()
        self.stopped_s: float | None = None
        self._zero = time.perf_counter()

    def begin(self) -> None:
        """The test begins: times count from here."""
        self._zero = time.perf_counter()

    def end(self) -> None:
        """The test has ended."""
        self.stopped_s = time.perf_counter() - self._zero

    def came(self, users: int) -> None:
        """Users came or went."""
        self.collected.came(max(0.0, time.perf_counter() - self._zero), users)

    def add(self, started: float, ended: float, since_last: float | None, outcome: Outcome) -> None:
        """Take one invocation, in times of the performance counter."""
        self.collected.add(started - self._zero, ended - self._zero, since_last, outcome)


def state(environment: Any) -> State:
    """The state of this process; made when it is first asked for."""
    found = getattr(environment, "lambent_state", None)
    if found is None:
        found = environment.lambent_state = State(json.loads(os.environ.get(PLAN) or "{}"))
    assert isinstance(found, State)
    return found


@events.init.add_listener  # type: ignore[untyped-decorator]  # Locust's own is untyped
def _on_init(environment: Any, runner: Any, **_: object) -> None:
    """Have workers tell the master, and the master (or the only process) write the result file."""
    from locust.runners import MasterRunner, WorkerRunner

    mine = state(environment)
    if isinstance(runner, WorkerRunner):

        def tell(**_: object) -> None:
            runner.send_message(_REPORT, mine.collected.take())

        environment.events.test_stop.add_listener(tell)
        runner.register_message(_FINISH, lambda **_: runner.stop())
        environment.events.report_to_master.add_listener(
            lambda data, **_: data.update({_REPORT: mine.collected.take()})
        )
    elif isinstance(runner, MasterRunner):

        def absorb(client_id: str, taken: Any) -> None:
            if taken:
                mine.workers.add(client_id)
                mine.collected.absorb(taken)

        environment.events.worker_report.add_listener(
            lambda client_id, data, **_: absorb(client_id, data.get(_REPORT))
        )
        told: set[str] = set()

        def last(msg: Any, **_: object) -> None:
            told.add(msg.node_id)
            absorb(msg.node_id, msg.data)

        runner.register_message(_REPORT, last)
        environment.events.test_start.add_listener(lambda **_: told.clear())
    environment.events.test_start.add_listener(lambda **_: mine.begin())
    environment.events.test_stop.add_listener(lambda **_: mine.end())
    if isinstance(runner, MasterRunner):
        environment.events.test_stop.add_listener(lambda **_: _gather(runner, told))
    if not isinstance(runner, WorkerRunner) and mine.plan.get("output"):
        environment.events.quit.add_listener(lambda **_: _write(mine))


def _gather(runner: Any, told: set[str]) -> None:
    """Wait for the last report of every worker: Locust itself gives them half a second, and a user's last
    invocation may take longer.
    """
    waiting = {client.id for client in runner.clients.all} - told
    for client_id in waiting:
        runner.send_message(_FINISH, client_id=client_id)
    limit = time.perf_counter() + runner.environment.stop_timeout + _LAST_WORD_S
    while waiting and time.perf_counter() < limit:
        gevent.sleep(0.02)
        waiting = {client.id for client in runner.clients.all} - told
    if waiting:
        _LOG.warning("%d workers have not sent their last report: what they counted is missing", len(waiting))


def _write(mine: State) -> None:
    """Write the result file."""
    plan = mine.plan
    test = load.LoadTest(
        load=Load(users=plan["users"], duration_s=plan["duration_s"], ramp_up_s=plan["ramp_up_s"], seed=0),
        target=plan["target"],
        memory_mb=plan["memory_mb"],
        timeout_s=plan["timeout_s"],
        max_error_rate=plan["max_error_rate"],
        event_name=plan["event_name"],
        command=tuple(plan["command"]),
    )
    section = section_of(
        mine.collected,
        {
            "mode": "closed",
            "engine": "locust",
            "users": plan["users"],
            "duration_s": plan["duration_s"],
            "ramp_up_s": plan["ramp_up_s"],
            "rate": None,
            "arrivals": None,
            "pause_s": plan["pause_s"],
            "concurrency": None,
            "memory_mb": plan["memory_mb"],
            "workers": max(1, len(mine.workers)),
        },
    )
    section["headline"], section["conclusion"] = conclude(section)
    short = mine.stopped_s is None or mine.stopped_s < plan["duration_s"] - 1
    head = header.finish(mine.beginning, Ending(interrupted=short))
    write_text(Path(plan["output"]), dumps(load.content(test, section, head)))
