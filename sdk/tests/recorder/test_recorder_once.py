"""Who gets what a dead process left: only those who lack it, and what may have arrived twice at most."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from sdk.tests.exporters.conftest import OK, Server
from sdk.tests.recorder.test_recorder_recovery import ENV, run
from sdk.tests.test_fan_out import names

import lambent
from lambent.exporters import Exporter, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sdk.tests.exporters.conftest import Peer

    from lambent.span import Span

EXPORTERS = """
import time
from lambent.exporters import Exporter, Result
class One(Exporter):
    answers = []
    def __init__(self):
        self.got = []
    def export(self, spans, timeout):
        answer = self.answers.pop(0) if self.answers else ""
        if answer in ("", "ok"):
            self.got += [span.name for span in spans]
            return Result()
        if answer == "hang":
            time.sleep(timeout)
        return Result(False, len(spans), 0, answer, again=answer == "down", unconfirmed=answer == "silent")
class Other(One):
    answers = []
"""

PROGRAM = """
import os, sys, lambent
from both import One, Other
One.answers = ANSWERS
exporters = [One(), Other()]
tracer = lambent.init(exporters=exporters, timeout=0.5 if "hang" in One.answers else 10.0)
"""


@pytest.fixture
def twice(tmp_path: Path) -> Callable[..., Any]:
    """Run a program that has two exporters."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "both.py").write_text(EXPORTERS)
    folder = tmp_path / "recorder"
    folder.mkdir()

    def go(program: str, answers: str) -> Any:
        source = PROGRAM.replace("ANSWERS", repr(answers.split(",")))
        done = run(source + program, folder, PYTHONPATH=f"{lambent.__path__[0]}/..:{code}")
        assert done.returncode == 0, done.stderr
        return done

    return go


DIE = """
tracer.start_span("{name}").end()
tracer.force_flush()
{more}
print(exporters[0].got, exporters[1].got)
sys.stdout.flush()
os._exit(0)
"""


def test_only_those_get_it_that_lack_it(twice: Callable[..., Any]) -> None:
    first = twice(DIE.format(name="first", more=""), "down")
    assert first.stdout == "[] ['first']\n"
    second = twice(DIE.format(name="second", more=""), "")
    assert second.stdout == "['second', 'first'] ['second']\n"
    assert "delivered 1 spans of an earlier process" in second.stderr
    assert twice(DIE.format(name="third", more=""), "").stdout == "['third'] ['third']\n"


def test_what_both_have_in_the_end_is_done_with(twice: Callable[..., Any]) -> None:
    first = twice(DIE.format(name="first", more="tracer.force_flush()"), "down")
    assert first.stdout == "['first'] ['first']\n"
    assert twice(DIE.format(name="second", more=""), "").stdout == "['second'] ['second']\n"


def test_what_one_refuses_for_good_is_not_kept_from_the_other(twice: Callable[..., Any]) -> None:
    assert twice(DIE.format(name="first", more=""), "refused").stdout == "[] ['first']\n"
    assert twice(DIE.format(name="second", more=""), "").stdout == "['second', 'first'] ['second']\n"


def test_recovery_that_one_of_them_does_not_take(twice: Callable[..., Any]) -> None:
    """The second process brings it to one exporter, the third one to the other."""
    leave = "tracer.start_span('open')\nsys.stdout.flush()\nos._exit(0)\n"
    twice(leave, "")
    second = twice(DIE.format(name="second", more=""), "ok,down")
    assert second.stdout == "['second'] ['second', 'open']\n"
    third = twice(DIE.format(name="third", more=""), "")
    assert third.stdout == "['third', 'open'] ['third']\n"
    assert twice(DIE.format(name="fourth", more=""), "").stdout == "['fourth'] ['fourth']\n"


def test_one_that_is_down_keeps_nothing_from_the_others(twice: Callable[..., Any]) -> None:
    twice("tracer.start_span('open')\nsys.stdout.flush()\nos._exit(0)\n", "")
    second = twice(DIE.format(name="second", more=""), "down,down,down")
    assert second.stdout == "[] ['second', 'open']\n"
    third = twice(DIE.format(name="third", more=""), "")
    got, other = third.stdout.split("] [")
    assert sorted(eval(f"{got}]")) == ["open", "second", "third"]
    assert other == "'third']\n"


def test_one_that_hangs_keeps_nothing_from_the_others(twice: Callable[..., Any]) -> None:
    twice("tracer.start_span('open')\nsys.stdout.flush()\nos._exit(0)\n", "")
    # It is put off three times, and then there is a part of the time that the hanging one does not have.
    more = """
for _ in range(20):
    tracer.start_span('more').end(); tracer.force_flush()
    if "open" in exporters[1].got:
        break
"""
    done = twice(DIE.format(name="second", more=more), ",".join(["hang"] * 50))
    assert (done.stdout[:3], done.stdout.count("'open'")) == ("[] ", 1)


class Silent(Exporter):
    """Takes what it gets, and does not say so of what was recovered."""

    def __init__(self) -> None:
        self.got: list[Span] = []

    def export(self, spans: Sequence[Span], timeout: float) -> Result:
        self.got += spans
        if any("lambent.recovered" in span.attributes for span in spans):
            return Result(False, len(spans), 0, "no answer", unconfirmed=True)
        return Result()


def test_what_may_have_arrived_is_sent_twice_more_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**ENV, "LAMBENT_RECORDER_FOLDER": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    died = run(
        "import os, lambent\n"
        "from lambent.exporters import Exporter, Result\n"
        "class Silent(Exporter):\n"
        "    def export(self, spans, timeout):\n"
        "        return Result(False, len(spans), 0, 'no answer', unconfirmed=True)\n"
        "tracer = lambent.init(exporter=Silent())\n"
        "tracer.start_span('sent').end()\n"
        "tracer.force_flush()\n"
        "os._exit(0)\n",
        tmp_path,
    )
    assert "lost 1 of 1 spans: no answer" in died.stderr
    sent = []
    for process in range(3):
        exporter = Silent()
        tracer = lambent.init(exporter=exporter)
        for _ in range(3):
            tracer.start_span("mine").end()
            assert tracer.force_flush()
        tracer.close()
        sent.append([span for span in exporter.got if span.name == "sent"])
        said = capsys.readouterr().err
        assert ("gave up 1 recorded spans, tried too often: no answer" in said) is (process == 1)
    assert [len(each) for each in sent] == [1, 1, 0]
    assert sent[0][0].context.span_id == sent[1][0].context.span_id
    assert sent[0][0].attributes["lambent.resent"] is True
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def slow() -> Iterator[tuple[Server, threading.Event]]:
    hold = threading.Event()

    def answer(server: Server, peer: Peer) -> None:
        while (request := peer.request()) is not None:
            server.requests.append(request)
            if not hold.is_set():
                time.sleep(0.3)
            peer.send(OK)

    server = Server(answer)
    yield server, hold
    server.close()


def test_without_time_for_an_answer_it_is_put_off(
    slow: tuple[Server, threading.Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, fast = slow
    endpoint = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": server.url}
    for name, value in {**ENV, **endpoint, "LAMBENT_RECORDER_FOLDER": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    done = run("import os, lambent\nlambent.init().start_span('open')\nos._exit(0)\n", tmp_path, **endpoint)
    assert done.returncode == 0, done.stderr
    tracer = lambent.init()
    for _ in range(2):
        tracer.start_span("mine").end()
        # An answer takes 0.3 s, so what would be left is too little for another one.
        tracer.force_flush(timeout_millis=650)
    assert [name for request in names(server) for name in request].count("open") == 0
    fast.set()
    for _ in range(2):
        tracer.start_span("mine").end()
        assert tracer.force_flush(timeout_millis=60_000)
    assert [name for request in names(server) for name in request].count("open") == 1
    assert tracer.stats().recovered == 1
    tracer.close()
