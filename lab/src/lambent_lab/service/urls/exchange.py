"""One request to a function URL, and its answer.

Rules
- A function that fails, runs out of time or answers what is no response is 502, `Internal Server Error`. What
  a response lacks is written to the lab's log, of which AWS has none.
- Where there is no room for an invocation it is 429; a reserved concurrency of 0 switches the URL off so.
- An event over 6 MB is 413. A URL whose alias is no more is 403.
- With BUFFERED the whole response comes at once. A caller that goes away does not end the invocation.
- With RESPONSE_STREAM each piece goes to the caller as it comes. A response of the content type
  `application/vnd.awslambda.http-integration-response` begins with its status and header fields; of every
  other one all is body, that of a function which does not stream too. When the function fails in the middle,
  the connection is closed without the end of the body; before that, 502.
- A WebSocket is refused with 400; an offer of HTTP/2 is not taken up.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import uuid
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Self

from lambent_lab.errors import LabError
from lambent_lab.http import BadBody, CutOff, Later, Response, StreamedResponse
from lambent_lab.protocol.prelude import PreludeError, PreludeReader
from lambent_lab.service.api import errors
from lambent_lab.service.api.invoke import MAX_PAYLOAD, too_large, trace_header
from lambent_lab.service.api.streaming import Pipe
from lambent_lab.service.core import Call
from lambent_lab.service.names import LATEST
from lambent_lab.service.problems import ServiceError
from lambent_lab.service.urls import answer, cors, event, signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from lambent_lab.http import Answer, Request
    from lambent_lab.service.catalog import Version
    from lambent_lab.service.urls.answer import Fields
    from lambent_lab.service.urls.doors import Door

_log = logging.getLogger(__name__)

FAILED = b"Internal Server Error"
_FORBIDDEN = 403


def preflight(door: Door, request: Request) -> Response | None:
    """Return the answer to a request of CORS for leave, which the function does not see; None: it is none."""
    configured = door.settings.cors
    if configured is None or not cors.is_preflight(request.method, request.headers):
        return None
    fields = cors.preflight(configured, request.headers)
    return Response(200, b"", (answer.JSON, *_common(str(uuid.uuid4())), *fields))


class Exchange:
    """One request and its answer."""

    def __init__(self, door: Door, request: Request) -> None:
        self._door = door
        self._core = door.core
        self._deployed = door.deployed
        self._settings = door.settings  # as they were when it came
        self._request = request
        self._id = str(uuid.uuid4())
        self._trace = ""

    def answer(self) -> Answer | Awaitable[Answer]:
        """Run the function."""
        try:
            version, call = self._call()
        except LabError as error:
            return self._refused(error)
        if self._settings.mode == "RESPONSE_STREAM":
            return self._stream(version, call)
        return self._invoke(version, call)

    def broken(self, why: BadBody) -> Response:
        """Answer a request whose body is not there."""
        if why is BadBody.TOO_LARGE:
            return self._refused(too_large())
        message = "The request's body ended early."
        return self._refused(ServiceError("InvalidRequestContentException", 400, message))

    def _call(self) -> tuple[Version, Call]:
        """Return what is to be run. Raises LabError for a request that does not reach the function."""
        request, door = self._request, self._door
        now = dt.datetime.now(dt.UTC)
        caller = None
        if self._settings.auth == "AWS_IAM":
            path, query = event.target(request)
            signed = signature.Signed(
                method=request.method,
                path=path,
                query=query,
                values=lambda name: event.values(request, name),
                body=request.body,
            )
            caller = signature.verify(signed, now)
        alias = None if door.qualifier == LATEST else door.qualifier
        if alias is not None and alias not in self._deployed.record.aliases:
            raise ServiceError("AccessDeniedException", 403, signature.FORBIDDEN)
        self._trace = trace_header(request.headers.get("x-amzn-trace-id"), self._deployed)
        root = dict(part.split("=", 1) for part in self._trace.split(";") if "=" in part)["Root"]
        made = event.make(
            request, door.id, request_id=self._id, root=root, now=now, port=door.port, caller=caller
        )
        payload = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        if len(payload) > MAX_PAYLOAD:
            raise too_large()
        call = Call(payload=payload, request_id=self._id, qualifier=alias, trace_header=self._trace)
        return self._core.choose(self._deployed, alias), call

    def _invoke(self, version: Version, call: Call) -> Later:
        """Have the function's whole response answered."""
        later = Later()

        def answered(payload: bytes, error: str | None) -> None:
            later.set(self._failed() if error is not None else self._read(payload))

        async def run() -> None:
            try:
                await self._core.run(self._deployed, version, call, answered)
            except asyncio.CancelledError:
                later.set(self._refused(LabError("The lab is closing.")))
                raise
            except Exception as error:  # noqa: BLE001 - the edge: whatever is raised becomes an answer
                later.set(self._refused(error))

        self._core.fleet.begin(run())
        return later

    async def _stream(self, version: Version, call: Call) -> Response | StreamedResponse:
        """Have the function's response answered while it is being made."""
        pipe = _Response()
        task = self._core.fleet.spawn_raising(
            self._core.run(self._deployed, version, replace(call, sink=pipe))
        )
        begun = asyncio.ensure_future(pipe.begun.wait())
        pieces = pipe.pieces()
        try:
            either: list[asyncio.Future[Any]] = [begun, task]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and task.exception() is not None:
                pipe.abandon()
                return self._refused(task.exception() or LabError("The lab failed."))
            status, fields, first = await self._begun(pipe, pieces)
        except asyncio.CancelledError:
            pipe.abandon()
            raise
        except LabError as error:
            pipe.abandon()
            return self._failed(error)
        finally:
            begun.cancel()
        fields = self._fields(fields)
        if status in answer.BODILESS:
            pipe.abandon()
            return Response(status, b"", fields)
        return StreamedResponse(status, fields, _Body(pipe, pieces, first))

    async def _begun(self, pipe: _Response, pieces: AsyncIterator[bytes]) -> tuple[int, Fields, bytes]:
        """Return status, header fields and the body's first piece. Raises LabError when there are none."""
        if pipe.content_type != answer.PRELUDE_TYPE:
            first = await anext(pieces, b"")
            if not first and pipe.error is not None:
                raise LabError("The function failed before it began to answer.")
            kind = pipe.content_type or answer.STREAM_TYPE
            return 200, ((answer.JSON[0], kind),), first
        reader = PreludeReader()
        async for piece in pieces:
            rest = reader.feed(piece)
            if reader.prelude is not None:
                return *answer.begun(reader.prelude), rest
        if pipe.error is None:
            raise PreludeError("The response ended before its prelude did.")
        raise LabError("The function failed before it began to answer.")

    def _refused(self, error: BaseException) -> Response:
        """Return the answer to a request that did not get through to the function."""
        response = errors.failure(error, self._request)
        if isinstance(error, ServiceError) and error.status == _FORBIDDEN:
            name = "Message" if error.code == "AccessDeniedException" else "message"
            response = replace(
                response,
                body=json.dumps({name: str(error)}, separators=(",", ":")).encode(),
                headers=(("x-amzn-RequestId", self._id), ("x-amzn-ErrorType", error.code)),
            )
        if not any(name.lower() == "content-type" for name, _ in response.headers):
            response = replace(response, headers=(answer.JSON, *response.headers))
        return replace(response, headers=self._fields(response.headers, common=False))

    def _read(self, payload: bytes) -> Response:
        try:
            read = answer.read(payload)
        except answer.AnswerError as error:
            return self._failed(error)
        return Response(read.status, read.body, self._fields(read.headers))

    def _failed(self, why: LabError | None = None) -> Response:
        if isinstance(why, (answer.AnswerError, PreludeError)):
            _log.warning(
                "%s answered request %s with what is no response: %s", self._deployed.name, self._id, why
            )
        return Response(502, FAILED, self._fields((answer.JSON,)))

    def _fields(self, fields: Fields, *, common: bool = True) -> Fields:
        origin = self._request.headers.get("origin")
        given = cors.applied(self._settings.cors, origin, fields)
        return (*_common(self._id if common else None, self._trace), *given)


class _Response(Pipe):
    """Takes a response from an environment, and remembers its content type."""

    def __init__(self) -> None:
        super().__init__()
        self.content_type: str | None = None

    def begin(self, content_type: str, streaming: bool) -> None:
        """A response begins."""
        self.content_type = content_type
        super().begin(content_type, streaming)


class _Body:
    """The rest of a response, for the server. It ends in a CutOff where the function has failed."""

    def __init__(self, pipe: _Response, pieces: AsyncIterator[bytes], first: bytes) -> None:
        self._pipe = pipe
        self._pieces = pieces
        self._first = first

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            return first
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            if self._pipe.error is not None:
                raise CutOff from None
            raise

    async def aclose(self) -> None:
        """Nobody reads on: the end has been read, or the caller has gone."""
        self._pipe.abandon()


def _common(request_id: str | None, trace: str = "") -> Fields:
    fields = [("Date", formatdate(usegmt=True))]
    if request_id is not None:
        fields.append(("x-amzn-RequestId", request_id))
    if trace:
        fields.append(("X-Amzn-Trace-Id", trace))
    return tuple(fields)
