"""Errors as AWS's API words them."""

from __future__ import annotations

import json
import logging
import uuid
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import LabError
from lambent_lab.http import Response
from lambent_lab.service.problems import ServiceError

if TYPE_CHECKING:
    from lambent_lab.http import Request

_log = logging.getLogger(__name__)

_CAPITAL = frozenset(
    {"ResourceNotFoundException", "ServiceException", "InvalidRuntimeException", "InvalidZipFileException"}
)
"""The errors whose message is called `Message`."""


def refusal(error: ServiceError) -> Response:
    """Return an error as AWS's API words it."""
    document: dict[str, Any] = {"Type": error.fault}
    if error.reason is not None:
        document = {"Reason": error.reason, **document}
    document["Message" if error.code in _CAPITAL else "message"] = str(error)
    fields = [("X-Amzn-RequestId", str(uuid.uuid4())), ("X-Amzn-ErrorType", error.code)]
    if error.retry_s is not None:
        fields.append(("Retry-After", str(error.retry_s)))
    return Response(error.status, json.dumps(document, separators=(",", ":")).encode(), tuple(fields))


def failure(error: BaseException, request: Request) -> Response:
    """Return the answer to a request that raised. What is no error of ours is the lab's fault, and logged."""
    if isinstance(error, ServiceError):
        return refusal(error)
    if isinstance(error, LabError):
        return refusal(ServiceError("ServiceException", 500, str(error)))
    _log.error("%s %s failed", request.method, request.path, exc_info=error)
    return refusal(ServiceError("ServiceException", 500, "The lab failed: its log says why."))
