"""The poller of one mapping: messages out of the queue, batches into the function, what is done deleted.

Rules
- It asks with long polls, for a second each: so long may its end take. An endpoint that answers at once all
  the same is asked no oftener than that.
- It asks for messages only while the function may run: those that wait in the queue are not counted as
  received.
- A batch is handed over when it is full, when its window is over (it begins with the first message), or
  without a window after the first poll that brings something. Messages that filters leave out are deleted.
- What is done is deleted. What has failed is left alone: the queue shows it again when its visibility
  timeout is over, and moves it to its own dead-letter queue when that has happened too often.
- Of a FIFO queue, what has failed is made visible together, a moment before it would be, and while nothing is
  asked for: emulators show a group's messages one by one when their time is over, and let the later ones
  overtake; and while they hold an unanswered poll they are slow with everything else.
- Where there is no room for the invocation it is tried again, after a second and then twice as long each
  time, until the visibility timeout is over.
- At the end nothing more is received; batches under way have some seconds. Messages that are not handled by
  then go back to the queue at once.
- Trouble with the endpoint is told, and tried again after a second, then after twice as long, a minute at
  most.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import LabError
from lambent_lab.service.aws import CallError
from lambent_lab.service.problems import ServiceError
from lambent_lab.service.sources import verdicts
from lambent_lab.service.sources.filters import Filters
from lambent_lab.service.sources.records import Batch, record
from lambent_lab.service.sources.states import FIRST, MOST, pollers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambent_lab.environment import Invocation
    from lambent_lab.service.core import Core, Deployed
    from lambent_lab.service.sources.settings import Settings
    from lambent_lab.service.sources.states import End

_log = logging.getLogger(__name__)

NEVER = "the function may not run at all: its reserved concurrency is 0"
POLL_S = 1
MOST_AT_ONCE = 10
"""As many messages SQS gives, deletes or returns in one call."""

_LOOK_S = 1.0  # how often it is looked whether there is room, if nothing tells it
_LEAST_S, _MOST_S = 1.0, 60.0
_EARLY_S = 0.25
_RETURN_S = 8.0  # what it may take to give messages back
_GRACE_S = 5.0  # what batches under way have at the end of the lab
_TOO_MANY = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """A batch that is over: how many records it had, how many of them failed, and what invocation it was.

    problem: what the lab, or the endpoint, has to say to it.
    """

    records: int
    failed: int
    request_id: str | None = None
    function_error: str | None = None
    problem: str | None = None


class Poller:
    """Polls one queue for one function, from `start` to `stop`. Belongs to the lab's event loop.

    `find` returns the function, or raises LabError; `heard` is told of batches, `trouble` of what keeps it
    from polling, and with None that nothing does any more.
    """

    def __init__(
        self,
        core: Core,
        settings: Settings,
        *,
        find: Callable[[], Deployed],
        heard: Callable[[Handled], None],
        trouble: Callable[[str | None], None],
    ) -> None:
        self._core = core
        self._settings = settings
        self._find = find
        self._heard = heard
        self._trouble = trouble
        self._filters = Filters(settings.patterns)
        self._most = settings.max_concurrency or MOST
        self._allowed = min(FIRST, self._most)
        self._stopping = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], Batch] = {}
        self._left: Batch | None = None  # what did not fit into the batch before
        self._freeing: dict[asyncio.Task[None], float] = {}  # and when each is due
        self._failure: LabError | None = None
        self._visibility_s = 30.0
        # Of its own: a poll takes long, and others' calls must not wait for it.
        self._thread = ThreadPoolExecutor(1, "lambent-poll")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._poll())

    async def ready(self) -> None:
        """There is nothing to wait for: what comes from now on is in the queue."""

    async def stop(self, *, patiently: bool = False) -> None:
        """Receive no more, and let batches under way have some seconds, or as long as they take."""
        self._stopping.set()
        if self._task is not None and not (await asyncio.wait([self._task], timeout=_GRACE_S))[0]:
            self._task.cancel()  # the endpoint does not answer
            await asyncio.wait([self._task], timeout=_GRACE_S)
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=None if patiently else _GRACE_S)
        if self._freeing:
            await asyncio.wait(self._freeing, timeout=_GRACE_S)
        unhandled = [batch for task, batch in self._under_way.items() if task.cancel()]
        if self._left is not None:
            unhandled.append(self._left)
        with contextlib.suppress(LabError, TimeoutError):
            async with asyncio.timeout(_RETURN_S):
                for batch in unhandled:
                    await self._give_back(list(batch.handles.values()))
        self._thread.shutdown(wait=False, cancel_futures=True)

    # -- the queue

    async def _poll(self) -> None:
        wait_s, known = _LEAST_S, False
        while not self._stopping.is_set():
            try:
                if not known:
                    await self._look_up()
                    known = True
                    self._trouble(None)
                await self._wait_for_room()
                await self._gather_and_run()
                await asyncio.sleep(0)  # a batch that has been handed over counts from its first turn on
                self._raise_failure()
            except LabError as error:
                self._core.aws.forget_queue(self._settings.source)
                known = False
                self._trouble(str(error))
                await self._pause(wait_s)
                wait_s = min(2 * wait_s, _MOST_S)
            except Exception as error:  # noqa: BLE001 - nobody waits for this: it is told, and tried again
                _log.exception("the poller of %s has failed", self._settings.source.text)
                self._trouble(f"the lab failed: {error!r}")
                await self._pause(_MOST_S)
            else:
                wait_s = _LEAST_S
                self._trouble(None)

    def _raise_failure(self) -> None:
        """Raise what a batch has met, so that it is told here."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def _look_up(self) -> None:
        asked = await self._call("get_queue_attributes", AttributeNames=["VisibilityTimeout"])
        self._visibility_s = float(asked.get("Attributes", {}).get("VisibilityTimeout", 30))

    async def _wait_for_room(self) -> None:
        """Wait until one more batch may be under way, and the function run once more."""
        while not self._stopping.is_set():
            deployed = self._find()
            if deployed.record.reserved == 0:
                raise LabError(NEVER)
            if len(self._under_way) >= self._allowed:
                await asyncio.wait(self._under_way, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            elif not self._core.admits(deployed):
                await self._core.fleet.wait_freed(_LOOK_S)
            else:
                return

    async def _gather_and_run(self) -> None:
        """Gather a batch and hand it over, if anything comes."""
        batch, self._left = self._left or Batch(self._settings.batch_size), None
        try:
            await self._gather(batch)
        finally:
            if len(batch):
                if self._stopping.is_set():
                    await self._give_back(list(batch.handles.values()))
                else:
                    task = asyncio.get_running_loop().create_task(self._run(batch))
                    self._under_way[task] = batch
                    task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)

    async def _gather(self, batch: Batch) -> None:
        """Poll until the batch is full or its window over; without a window, once."""
        window = float(self._settings.window_s)
        until = time.monotonic() + window if len(batch) else None
        while not batch.full and self._left is None and not self._stopping.is_set():
            left = POLL_S if until is None else until - time.monotonic()
            if left <= 0:
                return
            messages = await self._receive(batch.room, left)
            if until is None:
                if not messages:
                    return
                until = time.monotonic() + window
            await self._take(batch, messages)

    async def _take(self, batch: Batch, messages: Sequence[Any]) -> None:
        """Put messages into the batch; what filters leave out is deleted, what does not fit comes later."""
        dropped: list[str] = []
        returned: list[str] = []
        now = time.monotonic()
        if not len(batch):
            batch.since = now
        for message in messages:
            made = record(message, self._settings.source)
            if not self._filters.let_through(made):
                dropped.append(made["receiptHandle"])
            elif returned or not (self._left or batch).add(made, made["messageId"], made["receiptHandle"]):
                if self._settings.fifo:
                    # Those before it may fail, and then come first again: it goes back behind them.
                    returned.append(made["receiptHandle"])
                else:
                    self._left = Batch(self._settings.batch_size, now)
                    self._left.add(made, made["messageId"], made["receiptHandle"])
        if dropped:
            await self._delete(dropped)
        if returned:
            await self._give_back(returned)

    async def _receive(self, count: int, left_s: float) -> list[Any]:
        wait_s = min(POLL_S, math.ceil(left_s))
        await self._let_free(wait_s + _EARLY_S)
        begun = time.monotonic()
        answer = await self._call(
            "receive_message",
            poll=True,
            MaxNumberOfMessages=min(count, MOST_AT_ONCE),
            WaitTimeSeconds=wait_s,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
            AttributeNames=["All"],  # the older name of the same, which emulators know
        )
        messages: list[Any] = answer.get("Messages", [])
        if not messages:
            await self._pause(wait_s - (time.monotonic() - begun))
        return messages

    async def _delete(self, handles: Sequence[str]) -> None:
        await self._for_all("delete_message_batch", handles)

    async def _give_back(self, handles: Sequence[str]) -> None:
        await self._for_all("change_message_visibility_batch", handles, VisibilityTimeout=0)

    async def _for_all(self, operation: str, handles: Sequence[str], **more: Any) -> None:
        """Do something with many messages; tell what the queue does not do, once it has been asked twice."""
        problems: list[Any] = []
        for start in range(0, len(handles), MOST_AT_ONCE):
            entries = [
                {"Id": str(number), "ReceiptHandle": handle, **more}
                for number, handle in enumerate(handles[start : start + MOST_AT_ONCE])
            ]
            refused = (await self._call(operation, Entries=entries)).get("Failed", [])
            again = {each["Id"] for each in refused if not each.get("SenderFault")}
            if again:
                entries = [entry for entry in entries if entry["Id"] in again]
                refused = (await self._call(operation, Entries=entries)).get("Failed", [])
            problems += refused
        if problems:
            said = f"{problems[0].get('Code')}: {problems[0].get('Message')}"
            raise CallError(f"{operation} of {len(problems)} messages: {said}")

    async def _call(self, operation: str, *, poll: bool = False, **parameters: Any) -> Any:
        aws, queue = self._core.aws, self._settings.source
        url = await aws.queue_url(queue)
        executor = self._thread if poll else None
        return await aws.call("sqs", queue.region, operation, executor=executor, QueueUrl=url, **parameters)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless it is to stop."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()

    # -- batches

    async def _run(self, batch: Batch) -> None:
        """Hand a batch over, and delete what is done."""
        settings, ids = self._settings, batch.handles
        invocation: Invocation | None = None
        bad, problem = frozenset(ids), None
        try:
            invocation = await self._invoke(batch, batch.since + self._visibility_s)
            if invocation is not None:
                end: End = "failed" if invocation.function_error is not None else "done"
                self._pace(end)
                bad = verdicts.failed(
                    invocation.payload, invocation.function_error, ids, reporting=settings.reporting
                )
                await self._delete([handle for name, handle in ids.items() if name not in bad])
        except LabError as error:
            self._failure = error
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - nobody waits for this: it is told, and comes again
            _log.exception("a batch of %s has failed", settings.source.text)
            self._failure = LabError(f"the lab failed: {error!r}")
            problem = str(self._failure)
        if invocation is None and problem is None:
            problem = "there was no room for it"
            if self._stopping.is_set():
                await self._give_back(list(ids.values()))
        if bad and settings.fifo and not self._stopping.is_set():
            again = [handle for name, handle in ids.items() if name in bad]
            due = batch.since + self._visibility_s - _EARLY_S
            task = asyncio.get_running_loop().create_task(self._free(again, due))
            self._freeing[task] = due
            task.add_done_callback(self._freeing.pop)
        self._heard(
            Handled(
                records=len(batch),
                failed=len(bad),
                request_id=None if invocation is None else invocation.request_id,
                function_error=None if invocation is None else invocation.function_error,
                problem=problem,
            )
        )

    async def _free(self, handles: Sequence[str], due: float) -> None:
        """Make messages visible when that is due anyway, all of them at once."""
        await self._pause(due - time.monotonic())
        with contextlib.suppress(LabError):  # the queue does it by itself
            await self._give_back(handles)

    async def _let_free(self, seconds: float) -> None:
        """Wait until all is visible that is to be made so within these seconds."""
        until = time.monotonic() + seconds
        soon = [task for task, due in self._freeing.items() if due < until]
        if soon:
            await asyncio.wait(soon)

    async def _invoke(self, batch: Batch, until: float) -> Invocation | None:
        """Run the function with a batch; None when there has been no room for too long."""
        wait_s = _LEAST_S
        while True:
            try:
                return await self._core.feed(self._find(), batch.payload, self._settings.qualifier)
            except ServiceError as error:
                if error.status != _TOO_MANY:
                    raise
            self._pace("throttled")
            if self._stopping.is_set() or time.monotonic() + wait_s >= until:
                return None
            await self._pause(wait_s)
            wait_s = min(2 * wait_s, _MOST_S)

    def _pace(self, end: End) -> None:
        self._allowed = pollers(self._allowed, end, self._most, reporting=self._settings.reporting)
