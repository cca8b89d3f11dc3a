"""Which kind an event is of, when it is none of the common ones: by the keys that define it."""

from __future__ import annotations

from lambent.triggers import OBJECT_LAMBDA, RARE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.triggers import Description

__all__ = ["find"]

# Events have the second name of each; AWS's documentation has examples with the first.
_BROKERS = {
    "SelfManagedKafka": "aws:SelfManagedKafka", "aws:SelfManagedKafka": "aws:SelfManagedKafka",
    "aws:mq": "aws:amq", "aws:amq": "aws:amq", "aws:kafka": "aws:kafka", "aws:rmq": "aws:rmq",
}  # fmt: skip


def find(event: dict[str, object]) -> Description | None:
    """Return what is known of an event, None for nothing."""
    source = event.get("eventSource")
    if isinstance(source, str) and source in _BROKERS:
        from lambent.triggers.brokers import describe_batch

        return describe_batch("aws:rmq" if "rmqMessagesByQueue" in event else _BROKERS[source], event)
    if "records" in event and "invocationId" in event and "applicationArn" not in event:
        from lambent.triggers.brokers import describe_batch

        return describe_batch("firehose", event)
    found: Description | None = None
    if source == "aws:docdb" or "tasks" in event or any(map(event.__contains__, OBJECT_LAMBDA)):
        from lambent.triggers.data import describe_change

        found = describe_change(event)
    elif "info" in event or "fieldName" in event:
        from lambent.triggers.http import describe_field

        found = describe_field(event)
    elif "methodArn" in event:
        from lambent.triggers.http import describe

        return describe(event, {})
    elif "raw_path" in event or "actionGroup" in event:
        from lambent.triggers.http import describe

        found = describe(event, None)
    elif "httpMethod" in event and "path" in event:
        from lambent.triggers.http import describe_v1

        return describe_v1(event, {})  # written by hand, or without its context: still a request
    if found is None and (
        not RARE.isdisjoint(event)
        or any(type(each) is dict and ("Execution" in each or "context" in each) for each in event.values())
    ):
        from lambent.triggers.services import describe as describe_service

        found = describe_service(event)
    return found
