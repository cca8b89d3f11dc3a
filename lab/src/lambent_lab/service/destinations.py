"""Where the outcomes of asynchronous invocation go, and what becomes of them there.

Rules
- A destination that is a function of the lab gets the record as an event of its own; over more than 16 of
  them it goes no further, so that functions which hand on to each other come to an end.
- Queues, topics, buckets and buses are called at their endpoints. A dead-letter queue is served beside a
  destination.
- What is not delivered is told with the reason, and counted under the names of AWS's metrics.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError
from lambent_lab.service import names, parcels
from lambent_lab.service.aws import CallError
from lambent_lab.service.policy import MAX_HOPS, record

if TYPE_CHECKING:
    from lambent_lab.service.aws import Aws
    from lambent_lab.service.core import Call, Core, Deployed
    from lambent_lab.service.parcels import Parcel
    from lambent_lab.service.policy import Outcome

_LAMBDA = "arn:aws:lambda:"


class Destinations:
    """Hands outcomes on. `failures` counts the records and dead letters that were not delivered."""

    def __init__(self, core: Core, aws: Aws) -> None:
        self.failures: Counter[str] = Counter()
        self._core = core
        self._aws = aws

    async def hand_on(self, outcome: Outcome, deployed: Deployed, call: Call, hops: int) -> Outcome:
        """Send an outcome where it is wanted; return it with where it has arrived, and where not and why."""
        policy = deployed.record.policy(call.qualifier)
        wanted = policy.on_failure if outcome.failed else policy.on_success
        letters = deployed.record.latest.about.get("DeadLetterConfig", {}).get("TargetArn")
        now, trace = dt.datetime.now(dt.UTC), call.trace_header
        told = record(outcome, call.payload, now)
        delivered: list[str] = []
        undelivered: dict[str, str] = {}
        if letters and outcome.failed:
            try:
                await self.send(parcels.dead_letter(letters, outcome, call.payload, trace))
                delivered.append(letters)
            except LabError as error:
                undelivered[letters] = str(error)
                self.failures["DeadLetterErrors"] += 1
        if wanted is not None:
            try:
                if wanted.startswith(_LAMBDA):
                    self._queue(wanted, replace(call, payload=told, request_id=None), hops)
                else:
                    await self.send(parcels.pack(wanted, outcome, told, now, str(uuid.uuid4()), trace))
                delivered.append(wanted)
            except LabError as error:
                undelivered = {wanted: str(error)} | undelivered
                self.failures["DestinationDeliveryFailures"] += 1
        return replace(
            outcome,
            delivered=tuple(delivered),
            undelivered=tuple(undelivered),
            problems=tuple(undelivered.values()),
        )

    def _queue(self, arn: str, call: Call, hops: int) -> None:
        if hops >= MAX_HOPS:
            raise LabError(f"it has come over {hops} functions, which hand on to each other")
        reference = names.parse(arn)
        deployed = self._core.find(reference)
        self._core.events.put(deployed, replace(call, qualifier=reference.qualifier), hops + 1)

    async def send(self, parcel: Parcel) -> None:
        """Send one parcel. Raises LabError."""
        arn, parameters = parcel.arn, dict(parcel.parameters)
        if arn.service == "sqs":
            parameters["QueueUrl"] = await self._aws.queue_url(arn)
        try:
            answer = await self._aws.call(arn.service, arn.region, parcel.operation, **parameters)
        except CallError:
            self._aws.forget_queue(arn)
            raise
        if answer.get("FailedEntryCount"):
            [entry] = answer["Entries"]
            raise CallError(f"{entry.get('ErrorCode')}: {entry.get('ErrorMessage')}")
