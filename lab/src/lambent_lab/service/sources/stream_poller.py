"""The poller of one mapping of a stream: each shard's records in their order, and none twice that is done.

Rules
- A shard is read from the mapping's StartingPosition on, or from behind what is done: that is kept while the
  mapping exists, in memory. Shards that come of others are read when those are at their end.
- Each shard is read twice a second while nothing comes; batches and windows are as a queue's. A shard hands
  over one batch after the other, or as many at once as ParallelizationFactor says: records of one key never
  at once.
- Records that filters leave out are done.
- What fails is tried again at once, then after twice as long each time, a minute at most, and holds up its
  shard. For want of room it is tried again as well, which is not counted.
- What is given up, because it was tried often enough or has grown older than MaximumRecordAgeInSeconds, is
  told to the on-failure destination: a queue or a topic gets where in the stream it is, a bucket the records
  too.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from lambent_lab.environ import ACCOUNT
from lambent_lab.errors import LabError
from lambent_lab.service import parcels
from lambent_lab.service.names import qualified_arn
from lambent_lab.service.problems import ServiceError
from lambent_lab.service.sources import stream_records, verdicts
from lambent_lab.service.sources.filters import Filters
from lambent_lab.service.sources.poller import NEVER, Handled
from lambent_lab.service.sources.settings import SERVICES
from lambent_lab.service.sources.stream_records import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambent_lab.environment import Invocation
    from lambent_lab.service.core import Core, Deployed
    from lambent_lab.service.sources.settings import Settings
    from lambent_lab.service.sources.stream_records import Item

_log = logging.getLogger(__name__)

DONE = ""
"""Stands for a shard that is at its end, among the sequence numbers."""

_IDLE_S = 0.5
_SHARDS_S = 5.0  # how often it is looked for new shards
_LEAST_S, _MOST_S = 0.2, 60.0
_GRACE_S = 5.0
_AT_ONCE = {"kinesis": 10_000, "dynamodb": 1000}
_TOO_MANY = 429
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambent-lab"


class StoppedError(LabError):
    """The poller is to stop: what is not done is read again."""


class StreamPoller:
    """Reads one stream for one function, from `start` to `stop`. Belongs to the lab's event loop.

    `name` is the mapping's UUID. `done` has the sequence number up to which each shard is done, and is kept
    up to date; the rest is as in `Poller`.
    """

    def __init__(
        self,
        core: Core,
        settings: Settings,
        *,
        name: str,
        done: dict[str, str],
        find: Callable[[], Deployed],
        heard: Callable[[Handled], None],
        trouble: Callable[[str | None], None],
    ) -> None:
        self._core = core
        self._settings = settings
        self._name = name
        self._done = done
        self._find = find
        self._heard = heard
        self._trouble = trouble
        self._kinesis = settings.source.service == "kinesis"
        self._filters = Filters(settings.patterns, "data" if self._kinesis else None)
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._closed: set[str] = set()
        self._shards: dict[str, asyncio.Task[None]] = {}
        self._since = time.time()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def ready(self) -> None:
        """Wait until it is known where the shards are read from, or that this takes longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await self._ready.wait()

    async def stop(self, *, patiently: bool = False) -> None:
        """Read no more, and let invocations under way have some seconds, or as long as they take."""
        self._stopping.set()
        self._ended.set()
        tasks = [*self._shards.values(), *([self._task] if self._task is not None else [])]
        if tasks:
            await asyncio.wait(tasks, timeout=None if patiently else _GRACE_S)
        for task in tasks:
            task.cancel()

    # -- shards

    async def _look(self) -> None:
        """Begin to read shards as they come."""
        wait_s, first = 1.0, True
        while not self._stopping.is_set():
            self._ended.clear()
            try:
                begun = self._begin(await self._list(), first=first)
            except LabError as error:
                self._ready.set()
                self._trouble(str(error))
                await self._pause(wait_s)
                wait_s = min(2 * wait_s, _MOST_S)
                continue
            self._trouble(None)
            if first:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_GRACE_S):
                        for reading in begun:
                            await reading.wait()
                self._ready.set()
            wait_s, first = 1.0, False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SHARDS_S):
                    await self._ended.wait()

    def _begin(self, found: Sequence[Mapping[str, Any]], *, first: bool) -> list[asyncio.Event]:
        """Begin to read those shards whose turn it is; return what tells that they are being read."""
        begun = []
        names: set[str] = {shard["ShardId"] for shard in found}
        for shard in found:
            name = shard["ShardId"]
            if shard.get("SequenceNumberRange", {}).get("EndingSequenceNumber") is not None:
                self._closed.add(name)
            parents = names & {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")}
            if name in self._shards or self._done.get(name) == DONE:
                continue
            if all(self._done.get(parent) == DONE for parent in parents):
                reading = asyncio.Event()
                # What has come since then is all new.
                position = self._settings.starting_position if first else "TRIM_HORIZON"
                work = self._read(name, position or "TRIM_HORIZON", reading)
                self._shards[name] = asyncio.get_running_loop().create_task(work)
                begun.append(reading)
        return begun

    async def _list(self) -> list[Mapping[str, Any]]:
        shards: list[Mapping[str, Any]] = []
        more: dict[str, Any] = {}
        while True:
            if self._kinesis:
                where = more or {"StreamName": self._stream}
                answer = await self._call("list_shards", **where)
                shards += answer.get("Shards", [])
                more = {"NextToken": answer["NextToken"]} if answer.get("NextToken") else {}
            else:
                asked = await self._call("describe_stream", StreamArn=self._settings.source.text, **more)
                answer = asked["StreamDescription"]
                shards += answer.get("Shards", [])
                last = answer.get("LastEvaluatedShardId")
                more = {"ExclusiveStartShardId": last} if last else {}
            if not more:
                return shards

    @property
    def _stream(self) -> str:
        return self._settings.source.resource.removeprefix("stream/")

    async def _call(self, operation: str, **parameters: Any) -> Any:
        source = self._settings.source
        return await self._core.aws.call(SERVICES[source.service], source.region, operation, **parameters)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless it is to stop."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()

    # -- one shard

    async def _read(self, shard: str, position: str, reading: asyncio.Event) -> None:
        """Read a shard to its end."""
        iterator: str | None = None
        wait_s, again = _LEAST_S, False
        while not self._stopping.is_set():
            try:
                if iterator is None:
                    iterator = await self._iterator(shard, position, again=again)
                    again = True
                reading.set()
                items, iterator, over = await self._gather(shard, iterator)
                self._trouble(None)
                wait_s = _LEAST_S
                if items:
                    await self._hand_over(shard, items)
                if over:
                    self._done[shard] = DONE
                    self._ended.set()
                    return
            except StoppedError:
                return
            except LabError as error:
                self._trouble(str(error))
            except Exception as error:  # noqa: BLE001 - nobody waits for this: it is told, and tried again
                _log.exception("the poller of %s has failed", self._settings.source.text)
                self._trouble(f"the lab failed: {error!r}")
            else:
                continue
            reading.set()
            iterator = None
            await self._pause(wait_s)
            wait_s = min(2 * wait_s, _MOST_S)

    async def _iterator(self, shard: str, position: str, *, again: bool) -> str:
        """Return where a shard is read from: behind what is done, or at the mapping's position."""
        known = self._done.get(shard)
        if self._kinesis:
            where: dict[str, Any] = {"StreamName": self._stream}
            sequence, moment = "StartingSequenceNumber", self._settings.starting_timestamp
            if position == "LATEST" and again:  # nothing that has come meanwhile may be lost
                position, moment = "AT_TIMESTAMP", self._since
            if position == "AT_TIMESTAMP" and known is None:
                where["Timestamp"] = dt.datetime.fromtimestamp(moment or 0.0, dt.UTC)
        else:
            where, sequence = {"StreamArn": self._settings.source.text}, "SequenceNumber"
        if known is not None:
            position = "AFTER_SEQUENCE_NUMBER"
            where[sequence] = known
        answer = await self._call("get_shard_iterator", ShardId=shard, ShardIteratorType=position, **where)
        found: str = answer["ShardIterator"]
        return found

    async def _gather(self, shard: str, iterator: str) -> tuple[list[Item], str, bool]:
        """Read until there is a batch for each lane, or the window is over.

        Return the records, where to go on, and whether the shard is at its end.
        """
        settings = self._settings
        most = settings.batch_size * settings.parallelization
        items: list[Item] = []
        until: float | None = None
        while True:
            limit = min(most - len(items), _AT_ONCE[settings.source.service])
            answer = await self._call("get_records", ShardIterator=iterator, Limit=limit)
            got = [self._item(each, shard) for each in answer.get("Records", [])]
            items += got
            following: str | None = answer.get("NextShardIterator")
            behind = answer.get("MillisBehindLatest")
            over = following is None or (shard in self._closed and not got and not behind)
            iterator = following or iterator
            now = time.monotonic()
            if over or self._stopping.is_set():
                return items, iterator, over
            if not items:
                await self._pause(_IDLE_S)
                return items, iterator, False
            until = now + settings.window_s if until is None else until
            if len(items) >= most or now >= until:
                return items, iterator, False
            await self._pause(min(_IDLE_S, until - now))

    def _item(self, message: Mapping[str, Any], shard: str) -> Item:
        if self._kinesis:
            return stream_records.kinesis(message, shard, self._settings.source, ROLE)
        return stream_records.dynamodb(message, self._settings.source)

    # -- batches

    async def _hand_over(self, shard: str, items: Sequence[Item]) -> None:
        """Hand records over, and note that they are done."""
        keep = [item for item in items if self._filters.let_through(item.view)]
        rows = stream_records.lanes(keep, self._settings.parallelization)
        alone = len(rows) == 1
        ran = await asyncio.gather(
            *(self._run(shard, row, alone=alone) for row in rows), return_exceptions=True
        )
        for result in ran:
            if result is not None:
                raise result
        self._done[shard] = items[-1].sequence

    async def _run(self, shard: str, items: Sequence[Item], *, alone: bool) -> None:
        """Hand over one batch after the other, each until it is done or given up."""
        settings = self._settings
        for whole in stream_records.parts(items, settings.batch_size):
            todo, wait_s = [whole], _LEAST_S
            while todo:
                part = await self._without_old(shard, todo.pop(0))
                if not part.items:
                    continue
                invocation = await self._invoke(part)
                ids = [item.sequence for item in part.items]
                error = invocation.function_error
                bad = verdicts.failed(invocation.payload, error, ids, reporting=settings.reporting)
                more, given_up = stream_records.after(
                    part, bad, most_retries=settings.max_retries, bisect=settings.bisect
                )
                left = sum(len(each.items) for each in more)
                finished = part.items[: len(part.items) - left]
                if finished and alone:
                    self._done[shard] = finished[-1].sequence
                self._heard(
                    Handled(
                        records=len(ids),
                        failed=left,  # and what is given up is told by itself
                        request_id=invocation.request_id,
                        function_error=error,
                    )
                )
                if given_up is not None:
                    await self._give_up(shard, given_up, "RetryAttemptsExhausted", invocation)
                if more and more[0].retries > part.retries:
                    await self._pause(wait_s)
                    wait_s = min(2 * wait_s, _MOST_S)
                todo = more + todo
                if todo and self._stopping.is_set():
                    raise StoppedError("")

    async def _without_old(self, shard: str, part: Part) -> Part:
        """Give up what has grown too old; return the rest."""
        most_s = self._settings.max_age_s
        if most_s < 0:
            return part
        limit = time.time() - most_s
        old = tuple(item for item in part.items if item.arrived and item.arrived < limit)
        if not old:
            return part
        await self._give_up(shard, Part(old, part.retries - 1), "RecordAgeExceeded", None)
        return Part(tuple(item for item in part.items if item not in old), part.retries)

    def _function(self) -> Deployed:
        """Return the function. Raises LabError when there is none, or it may not run."""
        deployed = self._find()
        if deployed.record.reserved == 0:
            raise LabError(NEVER)
        return deployed

    async def _invoke(self, part: Part) -> Invocation:
        """Run the function with records. Raises StoppedError."""
        wait_s = _LEAST_S
        payload = stream_records.event(part.items)
        while not self._stopping.is_set():
            try:
                deployed = self._function()
                if not self._core.admits(deployed):
                    await self._core.fleet.wait_freed(1.0)
                    continue
                return await self._core.feed(deployed, payload, self._settings.qualifier)
            except ServiceError as error:
                if error.status != _TOO_MANY:
                    self._trouble(str(error))
            except LabError as error:
                self._trouble(str(error))
            await self._pause(wait_s)
            wait_s = min(2 * wait_s, _MOST_S)
        raise StoppedError("")

    async def _give_up(self, shard: str, part: Part, condition: str, invocation: Invocation | None) -> None:
        """Tell the destination what is not tried any more, if there is one."""
        settings, problem = self._settings, None
        if settings.on_failure is not None:
            now = dt.datetime.now(dt.UTC)
            version = None
            with contextlib.suppress(LabError):
                version = self._find().record.version(settings.qualifier).number
            told = stream_records.failure(
                part,
                settings.source,
                shard=shard,
                function_arn=qualified_arn(settings.function, settings.qualifier),
                condition=condition,
                now=now,
                request_id=str(uuid.uuid4()) if invocation is None else invocation.request_id,
                error=None if invocation is None else invocation.function_error,
                version=None if invocation is None else version,
            )
            try:
                await self._core.destinations.send(
                    parcels.pack_stream(
                        settings.on_failure,
                        told,
                        stream_records.event(part.items),
                        f"{self._name}/{shard}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}",
                    )
                )
            except LabError as error:
                self._core.destinations.failures["DestinationDeliveryFailures"] += 1
                problem = f"not delivered to {settings.on_failure}: {error}"
        count = len(part.items)
        given_up = f"given up ({condition})" + (f", {problem}" if problem else "")
        self._heard(Handled(records=count, failed=count, problem=given_up))
