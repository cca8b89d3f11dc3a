"""Which header fields let a browser's page of another origin call a function URL. Pure.

Rules
- Where CORS is configured, preflight requests are answered without the function, with 200, and all
  responses get the configured fields; those of the function's own that they conflict with are dropped.
- An origin is allowed when it is listed, or `*` is. `*` is answered with `*`, or with the origin itself where
  credentials are allowed: browsers take no `*` with them. Who is not allowed gets none of the fields.
- Without a configuration nothing is added, and OPTIONS is a method like others: the function's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.service.urls.answer import Fields
    from lambent_lab.service.urls.settings import Cors

ANY = "*"


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a request asks for leave to make another one."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def preflight(cors: Cors, headers: Mapping[str, str]) -> Fields:
    """Return the fields of the answer to a preflight request."""
    origin = _origin(cors, headers.get("origin"))
    if not origin:
        return ()
    fields = list(origin)
    credentials = bool(cors.credentials)
    methods = _named(cors.methods, headers.get("access-control-request-method", ""), exact=credentials)
    if methods:
        fields.append(("Access-Control-Allow-Methods", methods))
    names = _named(cors.headers, headers.get("access-control-request-headers", ""), exact=credentials)
    if names:
        fields.append(("Access-Control-Allow-Headers", names))
    if cors.max_age_s is not None:
        fields.append(("Access-Control-Max-Age", str(cors.max_age_s)))
    return tuple(fields)


def applied(cors: Cors | None, origin: str | None, fields: Fields) -> Fields:
    """Return a response's fields with those that are configured."""
    if cors is None:
        return fields
    ours = _origin(cors, origin)
    if not ours:
        return fields
    if cors.expose:
        ours = (*ours, ("Access-Control-Expose-Headers", ",".join(cors.expose)))
    names = {name.lower() for name, _ in ours} - {"vary"}
    return (*(field for field in fields if field[0].lower() not in names), *ours)


def _origin(cors: Cors, origin: str | None) -> Fields:
    allowed = cors.origins or ()
    if ANY in allowed and not cors.credentials:
        return (("Access-Control-Allow-Origin", ANY),)
    if origin is None or not (ANY in allowed or origin in allowed):
        return ()
    fields = (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))
    return (*fields, ("Access-Control-Allow-Credentials", "true")) if cors.credentials else fields


def _named(allowed: tuple[str, ...] | None, asked: str, *, exact: bool) -> str:
    """Return the methods or names of fields that are allowed. With credentials browsers take no `*`."""
    if not allowed:
        return ""
    return asked if exact and ANY in allowed else ",".join(allowed)
