"""What asynchronous invocation does with an event that fails, grows old or succeeds, and what it tells. Pure.

Source: AWS Lambda's developer guide, "Asynchronous invocation", and the API's FunctionEventInvokeConfig.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lambent_lab.service.names import LATEST, qualified_arn
from lambent_lab.service.result import parse_payload

if TYPE_CHECKING:
    from lambent_lab.environment import Invocation

RETRIES = 2
"""How often an event is tried again that the function failed on, unless told otherwise."""

MAX_AGE_S = 21_600
"""For how long an event may wait: six hours, unless told otherwise."""

MAX_HOPS = 16
"""Over how many destinations one event may come: AWS ends loops of functions after about as many."""

Condition = Literal[
    "Success", "RetriesExhausted", "EventAgeExceeded", "ZeroReservedConcurrency", "ResourceNotFound"
]
"""What has become of an event; the last where its version or alias is no more, of which AWS says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings of a function, version or alias. None: not set. The destinations are ARNs."""

    retries: int | None = None
    max_age_s: int | None = None
    on_success: str | None = None
    on_failure: str | None = None
    modified: float = 0.0

    @property
    def attempts(self) -> int:
        """How often an event is run at most."""
        return 1 + (RETRIES if self.retries is None else self.retries)

    @property
    def age_s(self) -> int:
        """How old an event may become, in seconds."""
        return MAX_AGE_S if self.max_age_s is None else self.max_age_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What has become of an event.

    count: how often the function ran with it; delivered and undelivered: ARNs of destinations and dead-letter
    queues; problems: why each of the latter has not got it.
    """

    function: str
    request_id: str
    qualifier: str | None
    condition: Condition
    count: int
    version: str | None = None
    invocation: Invocation | None = None
    delivered: tuple[str, ...] = ()
    undelivered: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the event was given up."""
        return self.condition != "Success"


def retry_wait_s(first_s: float, failures: int) -> float:
    """For how long an event waits that the function has failed on so often: twice as long each time."""
    return first_s * 2.0 ** (failures - 1)


def record(outcome: Outcome, payload: bytes, now: dt.datetime) -> bytes:
    """The record that a destination gets, as AWS writes it: version 1.0."""
    made: dict[str, object] = {
        "version": "1.0",
        "timestamp": now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "requestContext": {
            "requestId": outcome.request_id,
            "functionArn": qualified_arn(outcome.function, outcome.qualifier or LATEST),
            "condition": outcome.condition,
            "approximateInvokeCount": outcome.count,
        },
        "requestPayload": parse_payload(payload),
    }
    invocation = outcome.invocation
    if invocation is not None:
        response: dict[str, object] = {"statusCode": 200, "executedVersion": outcome.version}
        if invocation.function_error is not None:
            response["functionError"] = invocation.function_error
        made["responseContext"] = response
        made["responsePayload"] = parse_payload(invocation.payload)
    return json.dumps(made).encode()
