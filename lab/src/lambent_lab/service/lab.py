"""The lab as an ordinary, blocking Python object: functions in, results out.

Everything asynchronous (environments, the receiver) lives in one event loop in a thread of its own. Whoever
waits in the calling thread can be interrupted by Ctrl-C; leaving the `with` block then ends all environments.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from lambent_lab.errors import LabError, UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.premises import Ahead
from lambent_lab.service.aws import Aws
from lambent_lab.service.collect import MAX_WAITING, Arrivals
from lambent_lab.service.core import Core
from lambent_lab.service.events import RETRY_S
from lambent_lab.service.fleet import MAX_ENVIRONMENTS
from lambent_lab.service.function import Function
from lambent_lab.service.names import LATEST, is_name
from lambent_lab.traces.stdout import MARKER, split_log
from lambent_lab.traces.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from typing import Any

    from lambent_lab.environment import Environment, Invocation
    from lambent_lab.function import ApplicationLogLevel, Initialization, LogFormat, SystemLogLevel
    from lambent_lab.service.catalog import Version
    from lambent_lab.service.core import Deployed
    from lambent_lab.service.serving import Endpoint, Server
    from lambent_lab.traces import SpanRecord
    from lambent_lab.traces.receiver import Counts, Receiver

T = TypeVar("T")

_LOOK_UP_S = 0.25

MAX_PRINTED = 1000
"""How many of a function's last lines with spans are kept, for those that it prints at its end."""

CLOSE_SECONDS = 30.0
"""How long the end of a lab may take: several times the longest shutdown budget."""


def _take(waiting: deque[T], stored: Iterable[T]) -> None:
    """Take out what has been stored, but for what has had to give way meanwhile."""
    for each in stored:
        if waiting and waiting[0] is each:
            waiting.popleft()


class Lab:
    """A local Lambda. Use it as `with Lab() as lab:`.

    `store` is where spans are kept: a Store, a path, or nothing for memory only. `max_environments` is how
    many environments may exist at once, as an account's concurrency limits them; those idle for
    `idle_timeout` seconds are ended (None: they stay). An event that a function failed on is tried again
    after `event_retry_wait` seconds, and after twice as long the second time. `aws_endpoint_url` is where
    queues, topics, buckets and buses are (None: as AWS_ENDPOINT_URL and its like say it). `environment` makes
    an execution environment from a spec and a callback for log lines; tests give another one.
    """

    def __init__(
        self,
        *,
        store: Store | str | Path | None = None,
        max_environments: int = MAX_ENVIRONMENTS,
        idle_timeout: float | None = None,
        event_retry_wait: float = RETRY_S,
        aws_endpoint_url: str | None = None,
        environment: Callable[..., Environment] | None = None,
    ) -> None:
        if max_environments < 1:
            raise UsageError(f"A lab cannot have {max_environments} environments: allow one at least.")
        if idle_timeout is not None and not 0 < idle_timeout < math.inf:
            raise UsageError(
                f"An idle time of {idle_timeout} s is not possible: choose more than 0, or None."
            )
        if not 0 <= event_retry_wait < math.inf:
            raise UsageError(f"Events cannot wait {event_retry_wait} s for a retry: choose 0 or more.")
        self._own_store = not isinstance(store, Store)
        self._store = store if isinstance(store, Store) else Store(store or ":memory:")
        self.core = Core(
            environment or self._environment,
            max_environments=max_environments,
            idle_s=idle_timeout,
            retry_s=event_retry_wait,
            aws=Aws(aws_endpoint_url),
        )
        self._ahead = Ahead()
        self._arrivals = Arrivals()
        self._unsaved: deque[SpanRecord] = deque()
        self._printed: deque[str] = deque(maxlen=MAX_WAITING)
        self.core.on_done.append(self._done)
        self._saving = threading.Lock()
        self.on_spans: list[Callable[[Sequence[SpanRecord]], None]] = []
        """Who is told of spans in the order in which they are stored, after each invocation and by `save`."""
        self._servers: list[Server] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._receiver: Receiver | None = None

    def __enter__(self) -> Self:
        from lambent_lab.traces.receiver import Receiver

        if self._loop is not None:
            raise LabError("This lab is open already: make another one.")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lambent-lab", daemon=True)
        self._thread.start()
        try:
            self._receiver = self.run(self._open(Receiver))
        except BaseException:
            self.close()
            raise
        return self

    async def _open(self, receiver: type[Receiver]) -> Receiver:
        self.core.fleet.watch_idle()
        return await receiver.start(self._receive)

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _environment(
        self, spec: FunctionSpec, *, on_line: Callable[[str], None] | None = None
    ) -> Environment:
        from lambent_lab.environment import Environment  # what a function needs, importing the lab does not

        # A function in a network of its own reaches the receiver under the address that it has outside.
        forward = [self._receiver.port] if self._receiver else []
        return Environment(spec, on_line=on_line, forward=forward, ahead=self._ahead)

    @property
    def aws_endpoint_url(self) -> str | None:
        """Where queues, topics, buckets and buses are; it may be changed, for a lab that others have made."""
        return self.core.aws.endpoint_url

    @aws_endpoint_url.setter
    def aws_endpoint_url(self, url: str | None) -> None:
        self.core.aws.endpoint_url = url

    @property
    def otlp_url(self) -> str:
        """The base URL of the lab's OTLP/HTTP receiver, for OTEL_EXPORTER_OTLP_ENDPOINT."""
        if self._receiver is None:
            raise LabError("The lab is not open: use `with Lab() as lab:`.")
        return self._receiver.url

    @property
    def received(self) -> Counts:
        """What the receiver has counted."""
        if self._receiver is None:
            raise LabError("The lab is not open: use `with Lab() as lab:`.")
        return self._receiver.counts

    @property
    def store(self) -> Store:
        """The store, with every span in it that has arrived so far."""
        self.save()
        return self._store

    def function(
        self,
        name: str,
        *,
        code: str | Path,
        handler: str,
        memory: int = 128,
        timeout: float = 3,
        env: Mapping[str, str] | None = None,
        python: str | Path | None = None,
        init_cpu: Literal["boost", "share"] = "boost",
        bytecode: bool = True,
        extensions: Iterable[str | Path] = (),
        runtime: str | None = None,
        layers: Iterable[str | Path] = (),
        version: str = "$LATEST",
        log_format: LogFormat = "Text",
        application_log_level: ApplicationLogLevel | None = None,
        system_log_level: SystemLogLevel | None = None,
        initialization: Initialization = "on-demand",
        max_concurrency: int | None = None,
        freeze: bool = True,
        tmp_mb: int = 512,
        network: Literal["host", "private"] = "host",
        url: bool | Mapping[str, object] = False,
        on_line: Callable[[str], None] | None = None,
    ) -> Function:
        """Make a function of a folder of code, a zip file or a wheel.

        `memory` is in MB, `timeout` in seconds; `extensions` are executable files that run from
        /opt/extensions; with `url` the function has an HTTP endpoint, at its `url`: True, or the options of
        `Function.add_url`; the rest is as in `FunctionSpec`. `on_line` is called with every log line as it
        appears, from the lab's own thread. Raises UsageError for values that Lambda would not take.
        """
        spec = FunctionSpec(
            name=name,
            code=Path(code).absolute(),
            handler=handler,
            memory_mb=memory,
            timeout_s=timeout,
            env=dict(env or {}),
            # Not resolved: a virtual environment's interpreter is a link.
            python=None if python is None else Path(python).absolute(),
            init_cpu=init_cpu,
            bytecode=bytecode,
            extensions=_paths("extensions", extensions),
            runtime=runtime,
            layers=_paths("layers", layers),
            version=version,
            log_format=log_format,
            application_log_level=application_log_level,
            system_log_level=system_log_level,
            initialization=initialization,
            max_concurrency=max_concurrency,
            freeze=freeze,
            tmp_mb=tmp_mb,
            network=network,
        )
        if url is False:
            return self.add(spec, on_line=on_line)
        from lambent_lab.service.files.urls import own
        from lambent_lab.service.urls.doors import urls_of

        settings = own(url, "url")
        made = self.add(spec, on_line=on_line)
        if settings is not None:
            self.run(urls_of(self.core).put(self.core.functions[name], LATEST, settings))
        return made

    def add(
        self,
        spec: FunctionSpec,
        about: Mapping[str, Any] | None = None,
        *,
        on_line: Callable[[str], None] | None = None,
    ) -> Function:
        """Make a function of a spec. `about` holds what only AWS's API tells of it: Role, Description, …"""
        if not is_name(spec.name):
            raise UsageError(
                f"A function cannot be called {spec.name!r}: use up to 64 letters, digits, '-' and '_'."
            )
        printed: deque[str] = deque(maxlen=MAX_PRINTED)

        def hear(line: str) -> None:
            if MARKER in line:
                printed.append(line)
            if on_line is not None:
                on_line(line)

        return Function(self, self.core, self.core.deploy(spec, about, on_line=hear, replaces=True), printed)

    def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> Server:
        """Answer AWS's HTTP API of Lambda for this lab's functions, until its end; port 0 takes a free one.

        boto3 and the aws CLI work against the `url` of what is returned.
        """
        from lambent_lab.service.api.desk import Desk
        from lambent_lab.service.serving import Endpoint

        return self.listen(Endpoint(Desk(self.core)), host, port)

    def listen(self, endpoint: Endpoint, host: str, port: int) -> Server:
        """Answer requests with an endpoint of one's own, until the lab's end."""
        from lambent_lab.service.serving import Server

        self.run(endpoint.listen(host, port))
        server = Server(self, endpoint)
        self._servers.append(server)
        return server

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Let something go on in the lab's event loop, beside the caller."""
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise LabError("The lab is not open: use `with Lab() as lab:`.")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the lab's event loop and wait for it; interrupting the wait cancels it."""
        future = self.begin(work)
        try:
            # A signal that the kernel hands to another thread does not end this one's wait (Ctrl-C would be
            # noticed with the next one only): it looks up now and then, and Python acts on the signal.
            while not wait((future,), _LOOK_UP_S).done:
                pass
            return future.result()
        except CancelledError as error:
            raise LabError("The lab was closed while this was under way.") from error
        except BaseException:
            future.cancel()
            raise

    def claim(self, request_id: str, started_ns: int, ended_ns: int) -> list[SpanRecord]:
        """Take the received spans of one invocation, each once."""
        return self._arrivals.claim(request_id, started_ns, ended_ns)

    def save(self, spans: Sequence[SpanRecord] = (), source: str = "") -> None:
        """Store spans, and first those that were received, or printed by served invocations, until now."""
        with self._saving:
            # What is stored twice is there once; what Ctrl-C cuts short is stored the next time.
            received, lines = list(self._unsaved), list(self._printed)
            printed = split_log(lines)[1] if lines else []
            self._store.add(received, "otlp")
            self._store.add(printed, "stdout")
            self._store.add(spans, source)
            if arrived := [*received, *printed, *spans]:
                for tell in self.on_spans:
                    tell(arrived)
            _take(self._unsaved, received)
            _take(self._printed, lines)

    def _done(self, _deployed: Deployed, _version: Version, invocation: Invocation) -> None:
        # Nobody asks for the spans of a served invocation: they go to the store, in somebody else's time.
        self._printed.extend(line for line in invocation.log if MARKER in line)
        self._arrivals.forget(invocation.started_ns)

    def _receive(self, spans: Sequence[SpanRecord], received_ns: int) -> None:
        # The disk is left for later: the function that exports is waiting for the answer.
        self._arrivals.add(spans, received_ns)
        self._unsaved.extend(spans)

    def close(self) -> None:
        """End every environment and the receiver. Safe to call twice; Ctrl-C does not cut it short."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            if self._own_store:  # what was never opened may have stored spans all the same
                self._store.close()
            return
        if loop.is_closed():
            return
        interrupted = _wait(asyncio.run_coroutine_threadsafe(self._shut_down(), loop))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CLOSE_SECONDS)
        if not thread.is_alive():
            loop.close()
        try:
            self.save()
        finally:
            if self._own_store:
                self._store.close()
        if interrupted is not None:
            raise interrupted

    async def _shut_down(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                for server in self._servers:
                    await server.stop()
                await self.core.close()
        finally:
            await self._ahead.close()
            if self._receiver is not None:
                await self._receiver.close()
            # What is still under way (an interrupted invocation, say) must not outlive its loop.
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            if others:
                await asyncio.wait(others, timeout=5)


def _paths(what: str, given: Iterable[str | Path]) -> tuple[Path, ...]:
    if isinstance(given, str | Path):
        raise UsageError(f"{what} is a list of paths: write {what}=[{str(given)!r}].")
    return tuple(Path(path).absolute() for path in given)


def _wait(closing: Future[None]) -> BaseException | None:
    """Wait for the end through the user's impatience; return it when there was some."""
    impatience: BaseException | None = None
    while True:
        try:
            closing.result(2 * CLOSE_SECONDS)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            impatience = interrupt
        except TimeoutError as error:
            raise LabError("The lab's environments did not end in time: look for processes left.") from error
        else:
            return impatience
