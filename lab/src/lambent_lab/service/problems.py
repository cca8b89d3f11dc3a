"""What the service refuses, under the names and status codes that AWS's API has for it."""

from __future__ import annotations

from http import HTTPStatus

from lambent_lab.errors import LabError


class ServiceError(LabError):
    """A request that the Lambda service refuses. `code` is AWS's name of the exception, `status` HTTP's."""

    def __init__(
        self, code: str, status: int, message: str, *, reason: str | None = None, retry_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.reason = reason
        self.retry_s = retry_s

    @property
    def fault(self) -> str:
        """Whose fault it is, in the words of AWS's `Type` member."""
        return "Service" if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "User"


def invalid_parameter(message: str) -> ServiceError:
    """A value that is well formed and cannot be taken."""
    return ServiceError("InvalidParameterValueException", 400, message)


def not_found(message: str) -> ServiceError:
    """Something that is not there."""
    return ServiceError("ResourceNotFoundException", 404, message)


def function_not_found(arn: str) -> ServiceError:
    """A function, or a version of one, that is not there."""
    return not_found(f"Function not found: {arn}")


def conflict(message: str) -> ServiceError:
    """Something that is there already, or stands in the way."""
    return ServiceError("ResourceConflictException", 409, message)


def stale_revision() -> ServiceError:
    """A RevisionId that is not the current one."""
    return ServiceError(
        "PreconditionFailedException",
        412,
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
    )


def throttled(*, reserved: bool) -> ServiceError:
    """No room: the function's own reserved concurrency is used up, or what the account has for all."""
    reason = (
        "ReservedFunctionConcurrentInvocationLimitExceeded"
        if reserved
        else "ConcurrentInvocationLimitExceeded"
    )
    return ServiceError("TooManyRequestsException", 429, "Rate Exceeded.", reason=reason)
