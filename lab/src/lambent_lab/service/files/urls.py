"""What a file, or a call in Python, says of a function's URL.

Rules
- `true` is a URL that anybody may call; a table says more: `auth` (NONE or AWS_IAM), `mode` (BUFFERED or
  RESPONSE_STREAM), `port` (0, the default, takes a free one) and `cors`.
- `cors` is `true`, every origin with every method and header, or a table: `origins`, `methods`, `headers` and
  `expose` (lists), `credentials` (a flag) and `max_age` (seconds).
- In a template it is FunctionUrlConfig, or a resource AWS::Lambda::Url.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from lambent_lab.errors import UsageError
from lambent_lab.service.files import definition as read
from lambent_lab.service.urls.settings import AUTHS, MODES, Cors, UrlSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T", bound=str)

_KEYS = ("auth", "mode", "port", "cors")
_CORS = ("origins", "methods", "headers", "expose", "credentials", "max_age")
_ALL = Cors(origins=("*",), methods=("*",), headers=("*",))
_MAX_AGE_S = 86_400
_MAX_PORT = 65_535


def own(value: object, where: str) -> UrlSettings | None:
    """Return what the lab's own file says. Raises UsageError."""
    if isinstance(value, bool):
        return UrlSettings() if value else None
    given = read.table(value, where)
    _check_keys(given, _KEYS, where)
    return UrlSettings(
        auth=_choice(given.get("auth", "NONE"), AUTHS, f"{where}.auth"),
        mode=_choice(given.get("mode", "BUFFERED"), MODES, f"{where}.mode"),
        port=_number(given.get("port", 0), _MAX_PORT, f"{where}.port"),
        cors=_own_cors(given.get("cors"), f"{where}.cors"),
    )


def template(value: Callable[[str], Any], where: str) -> UrlSettings:
    """Return what a template says; `value` is asked for its properties. Raises UsageError."""
    auth, mode = value("AuthType"), value("InvokeMode")
    if auth is None:
        raise UsageError(f"{where} has no AuthType: it is NONE or AWS_IAM.")
    return UrlSettings(
        auth=_choice(auth, AUTHS, f"{where}.AuthType"),
        mode=_choice("BUFFERED" if mode is None else mode, MODES, f"{where}.InvokeMode"),
        cors=_template_cors(value("Cors"), f"{where}.Cors"),
    )


def _own_cors(value: object, where: str) -> Cors | None:
    if value is None or value is False:
        return None
    if value is True:
        return _ALL
    given = read.table(value, where)
    _check_keys(given, _CORS, where)
    found: dict[str, Any] = {}
    for key in ("origins", "methods", "headers", "expose"):
        if key in given:
            found[key] = _texts(given[key], f"{where}.{key}")
    if "credentials" in given:
        found["credentials"] = read.flag(given["credentials"], f"{where}.credentials")
    if "max_age" in given:
        found["max_age_s"] = _number(given["max_age"], _MAX_AGE_S, f"{where}.max_age")
    return Cors(**found) if found else None


def _template_cors(value: object, where: str) -> Cors | None:
    given = read.table(value, where)
    for key in ("AllowOrigins", "AllowMethods", "AllowHeaders", "ExposeHeaders"):
        if key in given:
            _texts(given[key], f"{where}.{key}")
    if "AllowCredentials" in given:
        flag = given["AllowCredentials"]
        # A template's parameters are text even where they are truth values.
        flag = flag.lower() == "true" if flag in {"true", "false", "True", "False"} else flag
        given = {**given, "AllowCredentials": read.flag(flag, f"{where}.AllowCredentials")}
    if "MaxAge" in given:
        given = {**given, "MaxAge": _number(given["MaxAge"], _MAX_AGE_S, f"{where}.MaxAge")}
    return Cors.of(given)


def _check_keys(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            raise read.unknown(key, known, where)


def _choice(value: object, choices: tuple[T, ...], where: str) -> T:
    for choice in choices:
        if value == choice:
            return choice
    raise UsageError(f"{where} cannot be {read.shown(value)}: choose {' or '.join(choices)}.")


def _number(value: object, most: int, where: str) -> int:
    number = read.integer(value, where)
    if not 0 <= number <= most:
        raise UsageError(f"{where} cannot be {number}: choose 0 to {most}.")
    return number


def _texts(value: object, where: str) -> tuple[str, ...]:
    return tuple(read.text(item, where) for item in read.items(value, where))
