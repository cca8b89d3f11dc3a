"""One function of the lab, for callers that wait: invocations in, results out."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError, UsageError
from lambent_lab.service.collect import Arrival, divide
from lambent_lab.service.core import Call
from lambent_lab.service.names import LATEST, qualified_arn
from lambent_lab.service.result import make_result
from lambent_lab.service.source import Source, add
from lambent_lab.service.sources import settings
from lambent_lab.traces.stdout import split_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lambent_lab.function import FunctionSpec
    from lambent_lab.sandbox import BoxReport
    from lambent_lab.service.core import Core, Deployed
    from lambent_lab.service.lab import Lab
    from lambent_lab.service.pool import Member
    from lambent_lab.service.result import Result
    from lambent_lab.service.urls import UrlSettings
    from lambent_lab.traces import SpanRecord

MAX_EVENT_BYTES = 6 * 1024 * 1024
"""What Lambda accepts as a synchronous invocation's event."""


class Function:
    """A function that can be invoked. Made by `Lab.function`; its methods may be called from several threads.

    An invocation uses an idle environment, or makes one. Environments stay, frozen, until `stop`, the lab's
    idle time or the end of the lab.
    """

    def __init__(self, lab: Lab, core: Core, deployed: Deployed, printed: deque[str] | None = None) -> None:
        self._printed = printed if printed is not None else deque()
        self._lab = lab
        self._core = core
        self._deployed = deployed

    @property
    def spec(self) -> FunctionSpec:
        """What the function is now."""
        return self._deployed.record.latest.spec

    @property
    def name(self) -> str:
        """The function's name."""
        return self._deployed.name

    @property
    def arn(self) -> str:
        """The function's ARN, without a qualifier."""
        return qualified_arn(self.name, None)

    @property
    def url(self) -> str | None:
        """The function's URL, if it has one (see `add_url`); that of an alias where only that has one."""
        return self._lab.run(self._url())

    @property
    def box(self) -> BoxReport | None:
        """How the newest environment is held, None before there was one."""
        return self._deployed.box

    def start(self) -> None:
        """Make an environment now if there is none; its first invocation is cold all the same."""
        self._lab.run(self._prepare())

    def invoke(
        self,
        event: object = None,
        *,
        qualifier: str | None = None,
        client_context: Mapping[str, object] | None = None,
        trace_header: str | None = None,
    ) -> Result:
        """Run the function once and wait for its result.

        `event` is anything JSON can hold; None stands for `{}`. `qualifier` is a version's number or an
        alias, `client_context` what a mobile client would send, `trace_header` an X-Ray trace header.
        A function that fails is a result, not an exception. Raises UsageError for an event that Lambda would
        not take, LabError when no environment can be made, `problems.ServiceError` (a LabError) when there is
        no such version or no room.
        """
        call = Call(
            payload=encode_event({} if event is None else event),
            observed=False,  # what the lab does with others' spans and logs happens below
            qualifier=qualifier,
            client_context=None if client_context is None else json.dumps(client_context),
            trace_header=trace_header,
        )
        invocation = self._lab.run(self._core.invoke(self._deployed, call))
        _, printed, problems = split_log(invocation.log)
        received = self._lab.claim(invocation.request_id, invocation.started_ns, invocation.ended_ns)
        spans = {(span.trace_id, span.span_id): span for span in [*received, *printed]}
        try:
            self._lab.save(printed, "stdout")
        except LabError as error:  # the function ran: what came of it is worth more than its record
            problems.append(str(error))
        ordered = sorted(spans.values(), key=lambda span: (span.start_ns, span.span_id))
        return make_result(invocation, ordered, problems)

    def publish(self, description: str | None = None) -> str:
        """Publish the code and configuration as they are now; return the version's number."""
        return self._lab.run(self._publish(description))

    def alias(self, name: str, version: str) -> None:
        """Point an alias to a published version, or to `$LATEST`; `invoke(qualifier=name)` uses it."""
        self._lab.run(self._alias(name, version))

    def reserve(self, count: int | None) -> None:
        """Let the function have this many invocations at once and no more; None ends that."""
        self._lab.run(self._reserve(count))

    def provision(self, count: int, qualifier: str = LATEST) -> None:
        """Have environments of a version started ahead, from now on; return when they are there.

        Raises LabError when they cannot be made.
        """
        self._lab.run(self._provision(count, qualifier))

    def add_source(
        self,
        source: str,
        *,
        batch_size: int | None = None,
        window: int = 0,
        filters: Iterable[object] = (),
        report_failures: bool = False,
        max_concurrency: int | None = None,
        start: str | None = None,
        retries: int = -1,
        max_age: int = -1,
        bisect: bool = False,
        parallel: int = 1,
        on_failure: str | None = None,
        qualifier: str | None = None,
        enabled: bool = True,
    ) -> Source:
        """Have an SQS queue, or a stream of Kinesis or DynamoDB, polled for the function; return when it is.

        `source` is an ARN, or a queue's name in the lab's account; `window` are seconds, `filters` patterns
        of EventBridge (JSON, or what it stands for), `report_failures` is ReportBatchItemFailures. From
        `start` to `on_failure` the arguments are of streams, and mean what they do in the lab's file. The
        source is looked for where `Lab(aws_endpoint_url=…)` or AWS_ENDPOINT_URL says. Raises UsageError for
        what Lambda would not take, `problems.ServiceError` (a LabError) when the source is not there.
        """
        request: dict[str, object] = {
            "BatchSize": batch_size,
            "MaximumBatchingWindowInSeconds": window,
            "Enabled": enabled,
            "FunctionResponseTypes": [settings.REPORT] if report_failures else [],
            "ScalingConfig": None if max_concurrency is None else {"MaximumConcurrency": max_concurrency},
            "FilterCriteria": {"Filters": [{"Pattern": settings.pattern_text(each)} for each in filters]},
            "StartingPosition": start,
            "MaximumRetryAttempts": None if retries == -1 else retries,
            "MaximumRecordAgeInSeconds": None if max_age == -1 else max_age,
            "BisectBatchOnFunctionError": bisect or None,
            "ParallelizationFactor": None if parallel == 1 else parallel,
            "DestinationConfig": None if on_failure is None else {"OnFailure": {"Destination": on_failure}},
        }
        wanted = settings.stated(source, self.name, qualifier, request, "add_source")
        return self._lab.run(add(self._lab, wanted, self._deployed))

    @property
    def sources(self) -> tuple[Source, ...]:
        """The queues and streams that `add_source` has it fed from."""
        mappings = list(self._core.sources.mappings.values())
        return tuple(Source(self._lab, each) for each in mappings if each.deployed is self._deployed)

    def add_url(
        self,
        qualifier: str | None = None,
        *,
        auth: str = "NONE",
        mode: str = "BUFFERED",
        port: int = 0,
        cors: bool | Mapping[str, object] = False,
    ) -> str:
        """Give the function, or an alias of it, an HTTP endpoint of its own, and return its URL.

        The options are those of `url` in the lab's file; `auth` may be "AWS_IAM", `mode` "RESPONSE_STREAM".
        A URL that there is takes these settings. Raises UsageError.
        """
        from lambent_lab.service.files.urls import own

        settings = own({"auth": auth, "mode": mode, "port": port, "cors": cors}, "add_url")
        assert settings is not None
        return self._lab.run(self._add_url(qualifier or LATEST, settings))

    def remove_url(self, qualifier: str | None = None) -> None:
        """End the URL of the function, or of an alias; nothing happens where there is none."""
        self._lab.run(self._remove_url(qualifier or LATEST))

    def stop(self) -> None:
        """End the environments: idle ones now, busy ones after their invocation. The next one is cold."""
        self._lab.run(self._stop())

    def late(self, results: Iterable[Result]) -> dict[str, list[SpanRecord]]:
        """The spans of these invocations that came after their end, by request id.

        What a tracer keeps until its environment ends is there after `stop`. Each span is given out once.
        """
        lines = [self._printed.popleft() for _ in range(len(self._printed))]
        waiting = [Arrival(span, 0) for span in split_log(lines)[1]]
        found: dict[str, list[SpanRecord]] = {}
        for result in results:
            # No span was received at no time: only those that name the request are its own.
            printed, waiting = divide(waiting, result.request_id, 1, 0)
            known = {(span.trace_id, span.span_id) for span in result.spans}
            for span in [*self._lab.claim(result.request_id, 1, 0), *printed]:
                if (span.trace_id, span.span_id) not in known:
                    known.add((span.trace_id, span.span_id))
                    found.setdefault(result.request_id, []).append(span)
        return found

    async def _prepare(self) -> None:
        await self._deployed.pool(self._deployed.record.latest).prepare()

    async def _publish(self, description: str | None) -> str:
        return (await self._core.publish(self._deployed, description)).number

    async def _alias(self, name: str, version: str) -> None:
        record = self._deployed.record
        if name in record.aliases:
            record.change_alias(name, version=version, description=None, weights={}, revision=None)
        else:
            record.add_alias(name, version)

    async def _reserve(self, count: int | None) -> None:
        if count is None:
            self._deployed.record.reserved = None
        else:
            self._core.reserve(self._deployed, count)

    async def _provision(self, count: int, qualifier: str) -> None:
        pool = self._core.provision(self._deployed, qualifier, count)
        await pool.filled()
        if pool.failure is not None:
            raise LabError(pool.failure)

    async def _url(self) -> str | None:
        urls = self._core.urls
        doors = {} if urls is None else urls.of(self._deployed)
        found = doors.get(LATEST) or next(iter(doors.values()), None)
        return None if found is None else found.url

    async def _add_url(self, qualifier: str, settings: UrlSettings) -> str:
        from lambent_lab.service.urls.doors import urls_of

        if qualifier != LATEST:
            self._deployed.record.alias(qualifier)  # raises where there is none
        return (await urls_of(self._core).put(self._deployed, qualifier, settings)).url

    async def _remove_url(self, qualifier: str) -> None:
        if self._core.urls is not None:
            await self._core.urls.remove(self._deployed, qualifier)

    async def _stop(self) -> None:
        fleet = self._core.fleet
        members: list[Member] = []
        for number, pool in list(self._deployed.pools().items()):
            members += pool.retire(provisioned=None if number == LATEST else pool.provisioned)
        await fleet.end_all(members)


def encode_event(event: object) -> bytes:
    """Return an event as JSON. Raises UsageError when JSON cannot hold it or Lambda would not take it."""
    try:
        payload = json.dumps(event, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"The event cannot be written as JSON: {error}.") from error
    if len(payload) > MAX_EVENT_BYTES:
        raise UsageError(
            f"The event has {len(payload)} bytes; Lambda takes {MAX_EVENT_BYTES} at most: send a smaller one."
        )
    return payload
