"""`examples/sqs-batch`, both forms, in the lab: the whole trace of a batch, and what is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sqs-batch"
SENDERS = {
    "c-1001": ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"),
    "c-1002": ("0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"),
    "c-1003": ("5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"),
}
RANKS = ("ERROR", "OK", "UNSET")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as opened:
        yield opened


def event(name: str) -> Any:
    return json.loads((EXAMPLE / "events" / f"{name}.json").read_text())


def linked(span: Any) -> list[tuple[str, str]]:
    return sorted((link["trace_id"], link["span_id"]) for link in span.links)


@pytest.mark.parametrize("form", ["manual", "short"])
def test_the_whole_trace(lab: Lab, form: str) -> None:
    function = lab.function(f"batch-{form}", code=EXAMPLE, handler=f"{form}.handler", memory=512)
    first = function.invoke(event("three-customers"))
    assert first.ok, first.log
    assert first.payload == {"batchItemFailures": []}
    names = sorted(span.name for span in first.spans)
    assert names == ["cold_start_canary", "lambent.invoke", "sqs.batch", *["sqs.process"] * 3]
    (root,) = (span for span in first.spans if span.name == "lambent.invoke")
    (totals,) = (span for span in first.spans if span.name == "sqs.batch")
    (canary,) = (span for span in first.spans if span.name == "cold_start_canary")
    processed = {
        str(span.attributes["customer.id"]): span for span in first.spans if span.name == "sqs.process"
    }
    assert not root.parent_span_id
    assert (root.kind, totals.kind) == ("SERVER", "CONSUMER")
    assert (totals.trace_id, totals.parent_span_id) == (root.trace_id, root.span_id)
    assert linked(root) == linked(totals) == sorted(SENDERS.values())
    assert totals.attributes["messaging.batch.message_count"] == 3
    assert totals.attributes["lambent.batch.succeeded"] == 3
    assert processed.keys() == SENDERS.keys()
    for customer, span in processed.items():
        assert span.kind == "CONSUMER"
        assert (span.trace_id, span.parent_span_id) == SENDERS[customer]
        assert linked(span) == [(root.trace_id, root.span_id)]
        assert span.attributes["messaging.system"] == "aws_sqs"
        assert span.attributes["messaging.batch.message_count"] == 3
    assert canary.trace_id not in {span.trace_id for span in first.spans if span is not canary}

    failed = event("one-without-a-plan")
    second = function.invoke(failed)
    assert second.ok, second.log
    message = failed["Records"][1]["messageId"]
    assert second.payload == {"batchItemFailures": [{"itemIdentifier": message}]}
    spans = {span.name: span for span in second.spans if span.name != "sqs.process"}
    assert spans.keys() == {"lambent.invoke", "sqs.batch"}, "a canary sings once"
    assert spans["sqs.batch"].attributes["lambent.batch.failed"] == 1
    assert spans["sqs.batch"].status_message == "1 of 3 records failed"
    one, *others = sorted(
        (span for span in second.spans if span.name == "sqs.process"),
        key=lambda span: RANKS.index(span.status),
    )
    assert one.attributes["messaging.message.id"] == message
    assert (one.trace_id, one.parent_span_id) == SENDERS["c-1002"]
    assert one.status == "ERROR"
    assert [each["name"] for each in one.events] == ["exception"]
    assert [span.status for span in others] == ["UNSET", "UNSET"]
