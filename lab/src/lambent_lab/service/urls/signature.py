"""Whether a request to a function URL with AWS_IAM is signed, and by whom: Signature Version 4. Pure.

Rules
- A signature stands in the Authorization field, or in the query (a presigned URL). A request without one is
  Forbidden, in AWS's words.
- Its form is checked, its scope (the day, us-east-1, `lambda`), that it is at most five minutes old or early
  (a presigned URL as old as it says), that the host is signed, and that x-amz-content-sha256 is that of the
  body.
- The signature itself is checked where the lab knows the secret: that of the credentials which functions of
  the lab have. Of other access keys it knows none; whoever signs with them is let in, as everywhere in the
  lab.
- Nobody is asked whether the caller has permission.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote

from lambent_lab.environ import ACCESS_KEY, ACCOUNT, REGION, SECRET_KEY
from lambent_lab.service.problems import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ALGORITHM = "AWS4-HMAC-SHA256"
FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, "
    "see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
SKEW_S = 300
MAX_EXPIRES_S = 604_800

_SECRETS: Mapping[str, str] = {ACCESS_KEY: SECRET_KEY}
_FORM = re.compile(r"(\w+)=([^,]+)")
_TIME = "%Y%m%dT%H%M%SZ"
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request."""

    access_key: str
    account: str = ACCOUNT

    def document(self) -> dict[str, str | None]:
        """Return what the event says of the caller."""
        return {
            "accessKey": self.access_key,
            "accountId": self.account,
            "callerId": self.access_key,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": f"arn:aws:iam::{self.account}:user/{self.access_key}",
            "userId": self.access_key,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What of a request is signed: path and query as sent, the values of fields by their lower-case names."""

    method: str
    path: str
    query: str
    values: Callable[[str], tuple[str, ...]]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    access_key: str
    scope: str
    headers: tuple[str, ...]
    signature: str
    date: str
    expires_s: int | None


def verify(request: Signed, now: dt.datetime, secrets: Mapping[str, str] = _SECRETS) -> Caller:
    """Return who signed a request. Raises ServiceError (403) for one that is not signed, or not rightly."""
    claim = _claim(request)
    if claim is None:
        raise ServiceError("AccessDeniedException", 403, FORBIDDEN)
    day, _, rest = claim.scope.partition("/")
    region, _, service = rest.partition("/")
    if region != REGION:
        raise _invalid("Credential should be scoped to a valid region.")
    if service != "lambda/aws4_request":
        raise _invalid("Credential should be scoped to correct service: 'lambda'.")
    _check_time(claim, day, now)
    if "host" not in claim.headers:
        raise _invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    digest = hashlib.sha256(request.body).hexdigest()
    if any(value != digest for value in request.values("x-amz-content-sha256")):
        raise _invalid(_MISMATCH)
    secret = secrets.get(claim.access_key)
    if secret is not None and not _matches(request, claim, digest, secret, day):
        raise _invalid(_MISMATCH)
    return Caller(claim.access_key)


def _claim(request: Signed) -> _Claim | None:
    header = request.values("authorization")
    if header and header[0].startswith(ALGORITHM):
        fields = dict(_FORM.findall(header[0].removeprefix(ALGORITHM).replace(" ", "")))
        date = (*request.values("x-amz-date"), "")[0]
        given = [fields.get(name, "") for name in ("Credential", "SignedHeaders", "Signature")]
        expires = None
    else:
        query = dict(parse_qsl(request.query, keep_blank_values=True, errors="replace"))
        if query.get("X-Amz-Algorithm") != ALGORITHM:
            return None
        date = query.get("X-Amz-Date", "")
        given = [query.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")]
        text = query.get("X-Amz-Expires", "")
        expires = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else -1
    credential, names, signature = given
    access_key, _, scope = credential.partition("/")
    if not access_key or not scope or not names or not signature or not date:
        raise ServiceError(
            "IncompleteSignatureException",
            403,
            "Authorization needs a Credential, SignedHeaders, a Signature and the date (X-Amz-Date).",
        )
    if expires is not None and not 0 < expires <= MAX_EXPIRES_S:
        raise _invalid(f"X-Amz-Expires must be a number from 1 to {MAX_EXPIRES_S}.")
    return _Claim(
        access_key=access_key, scope=scope, headers=tuple(names.lower().split(";")), signature=signature,
        date=date, expires_s=expires,
    )  # fmt: skip


def _check_time(claim: _Claim, day: str, now: dt.datetime) -> None:
    try:
        at = dt.datetime.strptime(claim.date, _TIME).replace(tzinfo=dt.UTC)
    except ValueError as error:
        raise _invalid(f"Date must be in ISO-8601 'basic format'. Got '{claim.date[:40]}'.") from error
    if claim.date[:8] != day:
        raise _invalid(
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{day}' != '{claim.date[:8]}', from '{claim.date}'."
        )
    lasts = SKEW_S if claim.expires_s is None else claim.expires_s
    if now > at + dt.timedelta(seconds=lasts):
        raise _invalid(f"Signature expired: {claim.date} is now earlier than {now:{_TIME}} less {lasts} s.")
    if at > now + dt.timedelta(seconds=SKEW_S):
        raise _invalid(f"Signature not yet current: {claim.date} is still later than {now:{_TIME}}.")


def _matches(request: Signed, claim: _Claim, digest: str, secret: str, day: str) -> bool:
    lines = [
        f"{name}:{','.join(' '.join(value.split()) for value in request.values(name))}"
        for name in claim.headers
    ]
    key = f"AWS4{secret}".encode()
    for part in (day, REGION, "lambda", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    # Signers differ in how they encode what the query has encoded already.
    for query in {_query(request.query, again=False), _query(request.query, again=True)}:
        canonical = "\n".join(
            [request.method, _path(request.path), query, *lines, "", ";".join(claim.headers), digest]
        )
        hashed = hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()
        text = f"{ALGORITHM}\n{claim.date}\n{claim.scope}\n{hashed}"
        expected = hmac.new(key, text.encode("utf-8", "replace"), "sha256").hexdigest()
        if hmac.compare_digest(expected.encode(), claim.signature.encode("utf-8", "replace")):
            return True
    return False


def _path(path: str) -> str:
    """Return the canonical path: without dots and empty segments, and encoded once more."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in {"", "."}:
            kept.append(segment)
    end = "/" if kept and path.endswith("/") else ""
    return quote(f"/{'/'.join(kept)}{end}", safe="/~")


def _query(query: str, *, again: bool) -> str:
    pairs = []
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if unquote(name) == "X-Amz-Signature":
            continue
        pairs.append((_encoded(name), _encoded(value)) if again else (name, value))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    return quote(unquote(text.replace("+", " ")), safe="-_.~")


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidSignatureException", 403, message)
