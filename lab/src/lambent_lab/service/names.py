"""Names of functions as AWS's API takes them: a name, a partial or a whole ARN, with or without a qualifier.

Rules
- A qualifier is `$LATEST`, a version's number or an alias's name. One in the name and another beside it must
  be equal.
- An ARN of another region or account names nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from lambent_lab.environ import ACCOUNT, REGION, function_arn
from lambent_lab.service.problems import ServiceError, invalid_parameter, not_found

LATEST = "$LATEST"
MAX_NAME = 64

_FORM = re.compile(
    r"(?:arn:(?:aws[a-zA-Z-]*)?:lambda:)?"
    r"(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?"
    r"(?:function:)?"
    r"(?P<name>[a-zA-Z0-9_-]+)"
    r"(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]+))?"
)
_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?"
    r"(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
_QUALIFIER = re.compile(r"\$LATEST|[a-zA-Z0-9_-]{1,128}")
_ALIAS = re.compile(r"(?![0-9]+\Z)[a-zA-Z0-9_-]{1,128}")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A function that a request names: its name, and the qualifier if one was given."""

    name: str
    qualifier: str | None = None

    @property
    def arn(self) -> str:
        """The ARN, with the qualifier where there is one."""
        return qualified_arn(self.name, self.qualifier)


def qualified_arn(name: str, qualifier: str | None) -> str:
    """Return a function's ARN, with the qualifier where there is one."""
    arn = function_arn(name)
    return arn if qualifier is None else f"{arn}:{qualifier}"


def is_name(text: str) -> bool:
    """Tell whether a function can have this name."""
    return _NAME.fullmatch(text) is not None


def is_alias(text: str) -> bool:
    """Tell whether an alias can have this name; a number is a version."""
    return _ALIAS.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Tell whether this is the number of a published version."""
    return text.isascii() and text.isdecimal()


@lru_cache(maxsize=4096)
def parse(text: str, qualifier: str | None = None) -> Reference:
    """Return what a request's FunctionName and Qualifier mean. Raises ServiceError in AWS's words."""
    match = _FORM.fullmatch(text)
    if match is None or len(match["name"]) > MAX_NAME or len(text) > 256:
        rule = (
            f"satisfy regular expression pattern: {_PATTERN}"
            if match is None
            else f"have length less than or equal to {MAX_NAME}"
        )
        raise invalid(
            f"Value '{text[:300]}' at 'functionName' failed to satisfy constraint: Member must {rule}"
        )
    if match["region"] not in {None, REGION}:
        raise not_found(f"Functions from '{match['region']}' are not reachable in this region ('{REGION}')")
    if match["account"] not in {None, ACCOUNT}:
        raise ServiceError(
            "AccessDeniedException", 403, f"The lab's account is {ACCOUNT}: {text} belongs to another one."
        )
    given = qualifier or None
    if given is not None and _QUALIFIER.fullmatch(given) is None:
        raise invalid(
            f"Value '{given[:300]}' at 'qualifier' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)"
        )
    inside = match["qualifier"]
    if given is not None and inside is not None and given != inside:
        raise invalid_parameter(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return Reference(match["name"], given or inside)


def invalid(*problems: str) -> ServiceError:
    """Return AWS's ValidationException about these problems."""
    count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected"
    return ServiceError("ValidationException", 400, f"{count}: {'; '.join(problems)}")
