"""What an event says of who called: one module for each family of event sources.

A trigger is a pure function of the event. `recognise` decides by what defines a kind of event,
with a few dictionary look-ups, and loads the module of that kind when the first such event comes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reader = Callable[[object], "int | None"]

__all__ = ["Description", "recognise"]


class Description:
    """What the root span of an invocation says because of its event.

    `carrier` holds the headers, names in lower case, that may carry the caller's context;
    `read_response` returns the HTTP status code of a response, None when it has none.
    """

    __slots__ = ("attributes", "carrier", "name", "read_response", "trigger")

    def __init__(
        self,
        trigger: str,
        name: str = "",
        attributes: dict[str, object] | None = None,
        carrier: Mapping[str, str] | None = None,
        read_response: Reader | None = None,
    ) -> None:
        self.trigger = trigger
        self.name = name
        self.attributes = attributes or {}
        self.carrier = carrier or {}
        self.read_response = read_response


def recognise(event: object) -> Description:
    """Return what is known of this event: of an unknown one, that its trigger is "other"."""
    if isinstance(event, dict):
        request = event.get("requestContext")
        if isinstance(request, dict):
            http = request.get("http")
            if "methodArn" in event or "routeArn" in event:
                return Description(
                    "other"
                )  # an authorizer's question: its answer is a policy, not a response
            if isinstance(http, dict) and "method" in http:
                from lambent.triggers.apigateway import describe_v2

                return describe_v2(event, request, http)
            if "httpMethod" in event and "resource" in event and "elb" not in request:
                from lambent.triggers.apigateway import describe_v1

                return describe_v1(event, request)
    return Description("other")
