"""AWS's API over HTTP: requests in, the operations' documents or AWS's errors out.

Rules
- Requests are not authenticated: their signature is accepted, whatever it says.
- An error is a JSON document with `Type` and `message`, its name in the header x-amzn-ErrorType.
- What AWS's API has and the lab has not is answered 501, naming the operation.
- Invocations are answered before everything else is looked at.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote

from lambent_lab import http
from lambent_lab.errors import LabError
from lambent_lab.http import BadBody, Request, Response
from lambent_lab.service.api import (
    concurrency,
    errors,
    event_config,
    functions,
    invoke,
    model,
    permissions,
    routes,
    source_mappings,
    streaming,
    tags,
    url_config,
    versions,
)
from lambent_lab.service.names import LATEST
from lambent_lab.service.problems import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from lambent_lab.http import Answer
    from lambent_lab.service.api.desk import Desk
    from lambent_lab.service.lab import Lab

MAX_BODY = 70_167_211
"""What AWS takes as a request to make a function, in bytes."""

_INVOKE = f"{routes.FUNCTIONS}/"
_STREAM = "/2021-11-15/functions/"
_STREAMED = "/response-streaming-invocations"
_CODE = "/lambent/code/"
OPERATIONS: Mapping[str, Callable[[Desk, dict[str, Any]], Awaitable[dict[str, Any] | None]]] = {
    "CreateFunction": functions.create_function,
    "GetFunction": functions.get_function,
    "GetFunctionConfiguration": functions.get_function_configuration,
    "ListFunctions": functions.list_functions,
    "DeleteFunction": functions.delete_function,
    "UpdateFunctionCode": functions.update_function_code,
    "UpdateFunctionConfiguration": functions.update_function_configuration,
    "PublishVersion": versions.publish_version,
    "ListVersionsByFunction": versions.list_versions,
    "CreateAlias": versions.create_alias,
    "GetAlias": versions.get_alias,
    "UpdateAlias": versions.update_alias,
    "DeleteAlias": versions.delete_alias,
    "ListAliases": versions.list_aliases,
    "PutFunctionConcurrency": concurrency.put_function_concurrency,
    "GetFunctionConcurrency": concurrency.get_function_concurrency,
    "DeleteFunctionConcurrency": concurrency.delete_function_concurrency,
    "PutProvisionedConcurrencyConfig": concurrency.put_provisioned_concurrency,
    "GetProvisionedConcurrencyConfig": concurrency.get_provisioned_concurrency,
    "DeleteProvisionedConcurrencyConfig": concurrency.delete_provisioned_concurrency,
    "ListProvisionedConcurrencyConfigs": concurrency.list_provisioned_concurrency,
    "PutFunctionEventInvokeConfig": event_config.put,
    "UpdateFunctionEventInvokeConfig": event_config.update,
    "GetFunctionEventInvokeConfig": event_config.get,
    "DeleteFunctionEventInvokeConfig": event_config.delete,
    "ListFunctionEventInvokeConfigs": event_config.list_all,
    "AddPermission": permissions.add,
    "GetPolicy": permissions.get,
    "RemovePermission": permissions.remove,
    "CreateFunctionUrlConfig": url_config.create,
    "GetFunctionUrlConfig": url_config.get,
    "UpdateFunctionUrlConfig": url_config.update,
    "DeleteFunctionUrlConfig": url_config.delete,
    "ListFunctionUrlConfigs": url_config.list_all,
    "CreateEventSourceMapping": source_mappings.create,
    "GetEventSourceMapping": source_mappings.get,
    "ListEventSourceMappings": source_mappings.list_all,
    "UpdateEventSourceMapping": source_mappings.update,
    "DeleteEventSourceMapping": source_mappings.delete,
    "GetAccountSettings": functions.get_account_settings,
    "ListTags": tags.list_tags,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
}


class Endpoint:
    """The API of one lab on one port. `alias` maps names in Invoke's path to functions, as RIE's does."""

    def __init__(self, desk: Desk, alias: Mapping[str, str] | None = None) -> None:
        self.desk = desk
        self._alias = dict(alias or {})
        self._server: http.Server | None = None

    def rename(self, alias: Mapping[str, str]) -> None:
        """Have other names in Invoke's path mean functions, from now on."""
        self._alias = dict(alias)

    async def listen(self, host: str, port: int) -> None:
        """Begin to answer. Raises LabError when the port cannot be had."""
        try:
            self._server = await http.Server.start(
                self.handle, host, port, max_body=MAX_BODY, refuse=self._refuse
            )
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise LabError(f"Port {port} of {host} cannot be listened on ({why}): choose another.") from error
        self.desk.url = self.desk.url or self.url

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        assert self._server is not None
        return self._server.url

    @property
    def port(self) -> int:
        """The port."""
        assert self._server is not None
        return self._server.port

    async def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            await self._server.close()

    def handle(self, request: Request) -> Answer | Awaitable[Answer]:
        """Answer one request. An invocation's needs no task beside the invocation's own."""
        path = request.path.rstrip("/")
        if request.method == "POST" and path.endswith("/invocations") and path.startswith(_INVOKE):
            name = unquote(path[len(_INVOKE) : -len("/invocations")])
            try:
                return invoke.invoke(self.desk, self._alias.get(name, name), request)
            except LabError as error:
                return errors.failure(error, request)
        return self._handle(request)

    async def _handle(self, request: Request) -> Answer:
        try:
            return await self._answer(request)
        except Exception as error:  # noqa: BLE001 - the edge: whatever is raised becomes an answer
            return errors.failure(error, request)

    async def _answer(self, request: Request) -> Answer:
        path = request.path.rstrip("/")
        if request.method == "POST" and path.endswith(_STREAMED) and path.startswith(_STREAM):
            name = unquote(path[len(_STREAM) : -len(_STREAMED)])
            return await streaming.invoke_with_stream(self.desk, self._alias.get(name, name), request)
        if path.startswith(_CODE) and request.method in {"GET", "HEAD"}:
            return await self._code(path.removeprefix(_CODE))
        found = routes.match(request.method, path, request.query)
        if isinstance(found, frozenset):
            raise _nothing(request, found)
        query = parse_qs(request.query, keep_blank_values=True) if request.query else {}
        values = model.parameters(found.route.operation, found.parameters, query, _body(request))
        document = await OPERATIONS[found.route.operation](self.desk, values)
        body = b"" if document is None else json.dumps(document).encode()
        return Response(found.route.status, body, (("X-Amzn-RequestId", str(uuid.uuid4())),))

    async def _code(self, rest: str) -> Response:
        name, _, number = rest.partition("/")
        desk = self.desk
        deployed = desk.core.functions.get(name)
        qualifier = LATEST if number == "latest" else number
        if deployed is None or (qualifier != LATEST and qualifier not in deployed.record.published):
            raise ServiceError("ResourceNotFoundException", 404, f"There is no code at {rest}.")
        spec = deployed.record.version(qualifier).spec
        package = await asyncio.to_thread(desk.core.codes.package, spec.code)
        return Response(200, package, (("Content-Type", "application/zip"),))

    async def _refuse(self, request: Request, why: BadBody) -> Response:
        if why is not BadBody.TOO_LARGE:
            return errors.refusal(
                ServiceError("InvalidRequestContentException", 400, "The request's body ended early.")
            )
        if request.path.endswith("invocations"):
            return errors.refusal(invoke.too_large())
        message = f"Request must be smaller than {MAX_BODY} bytes"
        return errors.refusal(ServiceError("RequestEntityTooLargeException", 413, message))


class Server:
    """The API of a lab, for callers that wait. Made by `Lab.serve`. It ends with the lab, or with `close`."""

    def __init__(self, lab: Lab, endpoint: Endpoint) -> None:
        self._lab = lab
        self._endpoint = endpoint

    @property
    def url(self) -> str:
        """The base URL, for endpoint_url and AWS_ENDPOINT_URL_LAMBDA."""
        return self._endpoint.url

    @property
    def port(self) -> int:
        """The port."""
        return self._endpoint.port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering; the functions stay."""
        self._lab.run(self._endpoint.close())

    async def stop(self) -> None:
        """Stop answering. For the lab, in its event loop."""
        await self._endpoint.close()


def _body(request: Request) -> object:
    if not request.body:
        return {}
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise ServiceError(
            "InvalidRequestContentException", 400, f"Could not parse request body into json: {error}"
        ) from error


def _nothing(request: Request, methods: frozenset[str]) -> ServiceError:
    known = model.operation_for(request.method, request.path, request.query)
    if known is not None:
        return ServiceError("NotImplementedException", 501, f"The lab does not have AWS's operation {known}.")
    if methods:
        return ServiceError(
            "MethodNotAllowedException",
            405,
            f"{request.method} is not possible here: use {' or '.join(sorted(methods))}.",
        )
    return ServiceError("UnknownOperationException", 404, f"There is no operation at {request.path}.")
