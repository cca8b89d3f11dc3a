"""What a function URL is set to: who may call it, how it answers, from which origins browsers may."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from lambent_lab.environ import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

Auth = Literal["NONE", "AWS_IAM"]
Mode = Literal["BUFFERED", "RESPONSE_STREAM"]

AUTHS: tuple[Auth, ...] = ("NONE", "AWS_IAM")
MODES: tuple[Mode, ...] = ("BUFFERED", "RESPONSE_STREAM")

_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH = 32

_CORS = {
    "AllowCredentials": "credentials",
    "AllowHeaders": "headers",
    "AllowMethods": "methods",
    "AllowOrigins": "origins",
    "ExposeHeaders": "expose",
    "MaxAge": "max_age_s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """The settings of cross-origin resource sharing. None: not set."""

    origins: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    headers: tuple[str, ...] | None = None
    expose: tuple[str, ...] | None = None
    credentials: bool | None = None
    max_age_s: int | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> Self | None:
        """Return the settings that a document of AWS's API holds; of an empty one, none."""
        given: dict[str, Any] = {
            _CORS[key]: tuple(value) if isinstance(value, list) else value
            for key, value in (document or {}).items()
            if key in _CORS
        }
        return cls(**given) if given else None

    def document(self) -> dict[str, Any]:
        """Return them as AWS's API tells them."""
        found = {key: getattr(self, name) for key, name in _CORS.items()}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in found.items()
            if value is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSettings:
    """The settings of one URL. `port` is where the lab listens for it; 0 takes a free one."""

    auth: Auth = "NONE"
    mode: Mode = "BUFFERED"
    cors: Cors | None = None
    port: int = 0


def url_id(function: str, qualifier: str) -> str:
    """Return the id of a function's URL: the same for the same name, as in AWS; 32 letters and digits."""
    number = int.from_bytes(hashlib.sha256(f"{ACCOUNT}:{REGION}:{function}:{qualifier}".encode()).digest())
    return "".join(_DIGITS[number >> 5 * place & 31] for place in range(_ID_LENGTH))


def domain_name(identity: str) -> str:
    """Return the host name that AWS would give a URL with this id."""
    return f"{identity}.lambda-url.{REGION}.on.aws"
