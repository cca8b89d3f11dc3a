"""Environments that die, for real: the next process of the environment delivers what was lost, once."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lambent_lab.service import Function
    from lambent_lab.traces import SpanRecord

APP = """
import ctypes, os, signal, sys, time
import lambent

tracer = lambent.init()

@tracer.handler
def handler(event, context):
    how = event.get("how")
    with tracer.trace("done", attributes={"step": 1}):
        pass
    if how is None:
        return "fine"
    with tracer.trace("outer", attributes={"order": 7}):
        with tracer.trace("inner", attributes={"deep": True}) as inner:
            inner.set_attribute("late", "yes")
            if how == "timeout":
                time.sleep(30)
            elif how == "exit":
                os._exit(3)
            elif how == "segfault":
                ctypes.string_at(0)
            elif how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif how == "memory":
                held = []
                while True:
                    held.append(bytearray(4_000_000))
            elif how == "slow":
                time.sleep(event["seconds"])
    return "fine"
"""


class CountingLab(Lab):
    """A lab that keeps what its receiver was sent, as often as it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: list[SpanRecord] = []

    def _receive(self, spans: Sequence[SpanRecord], received_ns: int) -> None:
        self.arrived.extend(spans)
        super()._receive(spans, received_ns)


@pytest.fixture
def lab() -> Iterator[CountingLab]:
    with CountingLab() as opened:
        yield opened


@pytest.fixture
def make(lab: CountingLab, tmp_path: Path) -> Callable[..., Function]:
    def build(**arguments: Any) -> Function:
        (tmp_path / "app.py").write_text(textwrap.dedent(APP))
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": lab.otlp_url, **arguments.pop("env", {})}
        return lab.function(
            "orders", code=tmp_path, handler="app.handler", env=env, **{"timeout": 10, **arguments}
        )

    return build


def wait_for(lab: CountingLab, wanted: Callable[[list[SpanRecord]], bool]) -> list[SpanRecord]:
    """Return every span that arrived, in order, once there are those that are wanted."""
    deadline = time.monotonic() + 30
    while not wanted(lab.arrived) and time.monotonic() < deadline:
        time.sleep(0.05)
    return list(lab.arrived)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("exit", "crash"),
        ("segfault", "crash"),
        ("kill", "crash"),
        ("memory", "out_of_memory"),
        ("timeout", "timeout"),
    ],
)
def test_the_next_process_delivers(
    lab: CountingLab, make: Callable[..., Function], how: str, reason: str, mode: str
) -> None:
    function = make(timeout=2 if how == "timeout" else 20, env={"LAMBENT_MODE": mode})
    assert function.invoke({}).ok
    assert not function.invoke({"how": how}).ok
    assert function.box is not None
    unknown = [text for text in function.box.cannot if text.startswith("kills: ")]
    if how == "memory" and unknown:
        pytest.skip(unknown[0])  # what ran out of memory is a crash like any other
    again = function.invoke({})
    assert again.ok
    assert function.invoke({}).ok
    # Two invocations before and after, a "done" in each, and the one that died.
    spans = wait_for(lab, lambda found: len([each for each in found if each.name == "orders"]) >= 4)
    final = [span for span in spans if not span.attributes.get("lambent.partial")]
    assert sorted(span.name for span in final) == ["done"] * 4 + ["inner"] + ["orders"] * 4 + ["outer"]
    assert len({span.span_id for span in final}) == len(final), "each once"
    unfinished = {span.name: span for span in final if span.attributes.get("lambent.unfinished")}
    assert set(unfinished) == {"orders", "outer", "inner"}, again.log
    for span in unfinished.values():
        assert span.attributes["lambent.recovered"] is True
        assert span.attributes["lambent.termination.reason"] == reason, span.attributes
        assert span.status == "ERROR"
        assert span.end_ns >= span.start_ns
    assert unfinished["orders"].attributes["faas.invocation_id"]
    assert unfinished["outer"].attributes["order"] == 7
    assert unfinished["inner"].parent_span_id == unfinished["outer"].span_id
    assert unfinished["inner"].links == []
    assert len({span.trace_id for span in unfinished.values()}) == 1
    partial = {span.name: span for span in spans if span.attributes.get("lambent.partial")}
    if how == "timeout":
        # The watchdog came first, and saw the attributes of that moment.
        assert {name: span.span_id for name, span in partial.items()} == {
            name: span.span_id for name, span in unfinished.items()
        }
        assert partial["inner"].attributes["late"] == "yes"
        assert unfinished["inner"].attributes["late"] == "yes", "what supersedes it says no less"
        assert [name for name, span in partial.items() if span.attributes.get("lambent.running")] == ["inner"]
    else:
        assert not partial


def test_another_functions_death_is_not_its_own(
    lab: CountingLab, make: Callable[..., Function], tmp_path: Path
) -> None:
    function = make()
    other = lab.function(
        "other", code=tmp_path, handler="app.handler", env={"LAMBENT_RECORDER": "off"}, timeout=20
    )
    assert function.invoke({}).ok
    time.sleep(
        0.1
    )  # for the watchdog to note how many were killed so far; if it is later, so much the better
    assert not other.invoke({"how": "memory"}).ok
    assert not function.invoke({"how": "exit"}).ok
    assert not other.invoke({"how": "memory"}).ok
    assert function.invoke({}).ok
    spans = wait_for(lab, lambda found: len([each for each in found if each.name == "orders"]) >= 3)
    reasons = {span.attributes.get("lambent.termination.reason") for span in spans}
    assert reasons == {None, "crash"}


def test_an_invocation_that_finishes_after_the_alarm(lab: CountingLab, make: Callable[..., Function]) -> None:
    function = make(timeout=4, env={"LAMBENT_DEADLINE_MARGIN": "2000"})
    assert function.invoke({"how": "slow", "seconds": 2.5}).ok
    assert function.invoke({}).ok
    spans = wait_for(lab, lambda found: len([each for each in found if each.name == "orders"]) >= 3)
    inner = [span for span in spans if span.name == "inner"]
    assert len(inner) == 2
    assert len({span.span_id for span in inner}) == 1
    assert [span.attributes.get("lambent.partial", False) for span in inner] == [True, False]
    assert inner[0].attributes["lambent.running"] is True
    assert inner[1].status == "UNSET"
    assert inner[1].duration_ms > inner[0].duration_ms
    assert not any(span.attributes.get("lambent.recovered") for span in spans)


def test_switched_off_nothing_is_kept(lab: CountingLab, make: Callable[..., Function]) -> None:
    function = make(env={"LAMBENT_RECORDER": "off", "LAMBENT_WATCHDOG": "off"})
    assert not function.invoke({"how": "exit"}).ok
    assert function.invoke({}).ok
    spans = wait_for(lab, lambda found: any(each.name == "orders" for each in found))
    assert {span.name for span in spans} == {"orders", "done"}
