"""What a function's log says of its trace, in the lab, where awslambdaric writes the lines as in Lambda."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
import logging, threading
import lambent

logger = logging.getLogger("shop")
logger.setLevel("INFO")
tracer = lambent.init(service_name="shop")
logger.info("starting")

@tracer.handler
def handler(event, context):
    logger.info("order %s", event["order"], extra={"order": event["order"]})
    with tracer.trace("pay"):
        logger.warning({"paid": False})
        try:
            {}["card"]
        except KeyError:
            logger.exception("no card")
    thread = threading.Thread(target=logger.info, args=("elsewhere",))
    thread.start()
    thread.join()
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as opened:
        yield opened


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def lines(log: str) -> dict[str, dict[str, Any]]:
    """The application's lines by their message."""
    found = [json.loads(line) for line in log.splitlines() if line.startswith('{"timestamp"')]
    return {str(line["message"]): line for line in found}


def test_lambdas_json_lines_carry_the_ids(lab: Lab, code: Path) -> None:
    env = {"LAMBENT_LOG_CORRELATION": "true", "LAMBENT_LOG_EVENTS": "warning"}
    function = lab.function(
        "json", code=code, handler="app.handler", memory=512, timeout=30, env=env, log_format="JSON"
    )
    for _ in range(2):
        result = function.invoke({"order": 7})
        assert result.ok, result.log
        got = lines(result.log)
        pay, root = sorted(result.spans, key=lambda span: span.name != "pay")
        for message, span in [
            ("order 7", root),
            ("{'paid': False}", pay),
            ("no card", pay),
        ]:
            line = got[message]
            assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.span_id), message
            assert line["faas.invocation_id"] == line["requestId"] == result.request_id
        assert got["{'paid': False}"]["message"] == {"paid": False}
        assert (got["no card"]["errorType"], got["order 7"]["order"]) == ("KeyError", 7)
        elsewhere = got["elsewhere"]
        assert elsewhere["faas.invocation_id"] == result.request_id
        assert "trace_id" not in elsewhere
        assert [event["name"] for event in pay.events] == ["log", "exception"]
        assert root.events == []
        if result.cold:
            assert not {"trace_id", "span_id", "faas.invocation_id"} & set(got["starting"])


def test_the_text_format_may_name_them(lab: Lab, code: Path) -> None:
    (code / "app.py").write_text(
        "import logging\n"
        "form = '%(trace_id)s/%(span_id)s/%(faas.invocation_id)s %(message)s\\n'\n"
        "logging.getLogger().handlers[0].setFormatter(logging.Formatter(form))\n" + APP
    )
    function = lab.function(
        "text",
        code=code,
        handler="app.handler",
        memory=512,
        timeout=30,
        env={"LAMBENT_LOG_CORRELATION": "true"},
    )
    result = function.invoke({"order": 7})
    assert result.ok, result.log
    pay, root = sorted(result.spans, key=lambda span: span.name != "pay")
    said = result.log.splitlines()
    assert "// starting" in said
    assert f"{root.trace_id}/{root.span_id}/{result.request_id} order 7" in said
    assert f"{pay.trace_id}/{pay.span_id}/{result.request_id} {{'paid': False}}" in said
    assert f"//{result.request_id} elsewhere" in result.log


def test_switched_off_the_lines_are_lambdas_own(lab: Lab, code: Path) -> None:
    function = lab.function(
        "off", code=code, handler="app.handler", memory=512, timeout=30, log_format="JSON"
    )
    result = function.invoke({"order": 7})
    got = lines(result.log)
    assert set(got["order 7"]) == {"timestamp", "level", "message", "logger", "requestId", "order"}
