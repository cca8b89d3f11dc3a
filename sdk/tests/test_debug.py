"""LOG_LEVEL=DEBUG: a line each about context, export and flush, without secrets; nothing when it is off."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import lambent
from lambent.exporters import Exporter, Result
from lambent.testing import LambdaContext

if TYPE_CHECKING:
    from collections.abc import Sequence

SECRET = "hush-4711-abcdef"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HTTP = {
    "requestContext": {"http": {"method": "GET", "path": "/"}},
    "version": "2.0",
    "routeKey": "GET /",
    "rawPath": "/",
    "headers": {"traceparent": f"00-{TRACE}-{PARENT}-01", "authorization": SECRET},
}


class Other(Exporter):
    """A user's exporter whose repr holds a key."""

    def __init__(self, result: Result | None = None) -> None:
        self.result = result or Result(bytes=5, retries=1)

    def export(self, spans: Sequence[Any], timeout: float) -> Result:
        return self.result

    def __repr__(self) -> str:
        return SECRET


@pytest.mark.parametrize("variable", ["LOG_LEVEL", "LAMBENT_LOG_LEVEL"])
def test_the_lines(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "DEBUG")
    tracer = lambent.init(exporter=Other())
    handler = tracer.handler(lambda event, context: None)
    handler(HTTP, LambdaContext())
    handler({}, LambdaContext())
    tracer.close()
    said = capsys.readouterr().err
    assert SECRET not in said
    lines = said.splitlines()
    assert len(lines) == 6
    assert re.fullmatch(
        rf"lambent: debug: context: extracted trace {TRACE}, parent {PARENT}, sampled; "
        r"the invocation is span [0-9a-f]{16}",
        lines[0],
    )
    export = r"lambent: debug: export: 1 spans by Other in \d+\.\d ms, 5 bytes, 1 retries; all delivered"
    flush = r"lambent: debug: flush: 1 spans in \d+\.\d ms, complete"
    assert re.fullmatch(export, lines[1])
    assert re.fullmatch(flush, lines[2])
    assert re.fullmatch(
        r"lambent: debug: context: the event carries none; trace [0-9a-f]{32} begins with span [0-9a-f]{16}",
        lines[3],
    )


def test_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    tracer = lambent.init(exporter=Other(Result(False, 1, 0, "it is down", quiet=True)))
    tracer.start_span("a").end()
    assert tracer.force_flush() is False
    tracer.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("1 of them not delivered: it is down")
    assert lines[1].endswith("incomplete")


@pytest.mark.parametrize("endpoint", [f"http://u:{SECRET}@127.0.0.1:9/{SECRET}?k={SECRET}"])
def test_an_address_is_shown_without_its_secrets(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAMBENT_LOG_LEVEL", "debug")
    tracer = lambent.init(endpoint=endpoint, exporter="otlp", headers={"x-key": SECRET})
    tracer.start_span("a").end()
    assert tracer.force_flush() is False
    tracer.close()
    said = capsys.readouterr().err
    assert "http://127.0.0.1:9" in said
    assert SECRET not in said


def test_off_it_is_not_even_loaded(run_python: Any) -> None:
    program = """
import sys, lambent
tracer = lambent.init(exporter="none")
tracer.handler(lambda event, context: None)({}, None)
tracer.start_span("a").end()
tracer.force_flush()
assert "lambent.debug" not in sys.modules
"""
    for level in ("", "INFO", "nonsense"):
        assert run_python(program, {"LOG_LEVEL": level, "AWS_LAMBDA_FUNCTION_NAME": "f"}).stderr == ""


@pytest.mark.parametrize("way", ["variable", "argument"])
def test_spans_are_mirrored_on_the_console(
    way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if way == "variable":
        monkeypatch.setenv("LAMBENT_CONSOLE", "true")
    tracer = lambent.init(exporter=Other(), **({"console": True} if way == "argument" else {}))
    tracer.start_span("load order", attributes={"rows": 3}).end()
    assert tracer.force_flush()
    tracer.close()
    (line,) = capsys.readouterr().out.splitlines()
    assert "load order" in line
    assert "rows=3" in line


def test_the_console_is_not_mirrored_twice(capsys: pytest.CaptureFixture[str]) -> None:
    tracer = lambent.init(exporter="console", console=True)
    tracer.start_span("once").end()
    assert tracer.force_flush()
    tracer.close()
    assert capsys.readouterr().out.count("once") == 1
