"""Values as attributes: payloads and arguments, cut to limits, and without what must not leave.

Rules
- Redaction comes first: what is under a key that names a secret is replaced, at any depth, in JSON that
  is text inside the value too; then whatever matches a pattern (keys of AWS, tokens, private keys, and
  the user's own). Text that cannot be looked into (base64, bytes) is replaced by its size.
- Depth, the items of a container, the length of one text and the length of all are limited. What is
  left out is marked with "…".
- The value is never changed, and no code of its class runs: an object shows its attributes.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    class Options(Protocol):
        """What is read of the configuration."""

        backend: str
        capture_depth: int
        capture_size: int
        redact_keys: tuple[str, ...]
        redact_pattern: str


__all__ = ["REDACTED", "Capture", "capture_for", "payload"]

REDACTED = "[redacted]"
_KEYS = (
    "password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "accesskey", "privatekey",
    "authorization", "credential", "cookie", "signature", "sessionid", "ssn", "creditcard", "cardnumber",
    "cvv", "receipthandle", "challengeanswer", "clientcertpem", "passcode", "dbpass", "encryptionkey",
    "signingkey", "sessionkey", "connectionstring", "jwt", "bearer", "csrf", "cvc",
)  # fmt: skip
_WHOLE = frozenset({"auth", "otp", "pass", "pin"})  # which many a word contains
_PATTERNS = (
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\beyJ[\w-]{6,}\.[\w-]{4,}\.[\w-]*",
    r"\b(?:gh[oprsu]_|github_pat_|glpat-|sk-|[rs]k_live_|xox[abeprs]-|hf_|npm_|AIza)[\w-]{16,}",
    r"(?i:\b(?:bearer|basic)\s+[\w.~+/=-]{8,})",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    r"(?<=://)[^/@\s:]+:[^/@\s]+(?=@)",
)
_BASE64 = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/_-]{64,}={0,2}")
_ENCODED = ("ey", "ew", "W3", "Wy", "W1")  # what "{" and "[" look like in base64
_JSON = re.compile(r'\s*(?:\{\s*["}]|\[\s*["[\]{\d-])[^\0-\x08\x0b\x0c\x0e-\x1f]*')
_LABELS = ("name", "key", "Name", "Key")
_SELF_EVIDENT = frozenset({"datetime", "decimal", "uuid", "pathlib", "ipaddress", "fractions"})
_ITEMS = 100
_TEXT = 1024
_LOOK_INTO = 262_144
_HEAD = 4096  # what is base64 to here is so to its end


class Capture:
    """How values become text. Make one for a configuration and keep it."""

    def __init__(
        self, *, depth: int = 8, size: int = 4096, keys: Iterable[str] = (), pattern: str = ""
    ) -> None:
        self.depth = depth
        self.size = size
        names = "|".join([*_KEYS, *[re.escape(_plain(key)) for key in keys if _plain(key)]])
        self._key = re.compile(names)
        self._values = [re.compile(each) for each in ("|".join(_PATTERNS), pattern) if each]
        # `key=value`, `"key": "value"` and `<key>value` in text that is not all JSON: a form, a log line.
        spaced = "|".join(["[-_ ]?".join(map(re.escape, name)) for name in names.split("|")])
        self._pair = re.compile(
            rf"""(?i)((?:{spaced})[\w.-]*[\\"']*\s*[=:>]\s*)(\\*"(?:[^"\\]|\\.)*"?|[^&,;\s}}"]+)"""
        )

    def text(self, value: object) -> str:
        """Return the value as JSON, text as it is, of `size` characters at most. Never raises."""
        try:
            clean = self.clean(value)
            if isinstance(clean, str):
                return self._cut(clean, self.size)
            from json import dumps

            return self._cut(dumps(clean, ensure_ascii=False, separators=(",", ":")), self.size)
        except Exception as error:  # noqa: BLE001  # any value of anybody's: it is told that there was one
            return f"<{type(value).__name__}: {type(error).__name__}>"

    def clean(self, value: object) -> object:
        """Return a copy of plain values only, redacted and within the limits."""
        return self._clean(value, self.depth, [self.size])

    def _cut(self, text: str, length: int) -> str:
        return text if len(text) <= length else f"{text[: max(0, length - 1)]}…"

    def _clean(self, value: object, depth: int, left: list[int]) -> object:
        if value is None or isinstance(value, (bool, int, float)):
            left[0] -= 6
            exact: Any = float.__float__ if isinstance(value, float) else int.__int__
            return value if value is None or isinstance(value, bool) else exact(value)
        if isinstance(value, str):
            return self._clean_text(value, depth, left)
        if isinstance(value, (bytes, bytearray, memoryview)):
            left[0] -= 20
            return f"<{len(value)} bytes>"
        pairs: Iterable[tuple[object, object]] | None = None
        if isinstance(value, dict):
            pairs = value.items()
        elif not isinstance(value, (list, tuple, set, frozenset)) or hasattr(type(value), "_fields"):
            shown = _shown(value)
            if shown is not None:
                return self._clean(shown, depth, left)
            left[0] -= 20
            return self._scalar(value)
        if depth <= 0 or left[0] <= 0:
            return "…"
        if pairs is None:
            pair = value if isinstance(value, (list, tuple)) and len(value) == 2 else (None, None)
            if isinstance(pair[0], str) and self._names_secret(pair[0], pair[1]):
                return [pair[0], REDACTED]  # as headers come in lists: a name, and what it names
            items: list[object] = []
            for item in value:
                if len(items) >= _ITEMS or left[0] <= 0:
                    items.append("…")
                    break
                items.append(self._clean(item, depth - 1, left))
            return items
        found: dict[str, object] = {}
        # `{"name": "password", "value": ...}`: likewise.
        labels = [value.get(key) for key in _LABELS] if isinstance(value, dict) else []
        named = any(self._names_secret(label, True) for label in labels if isinstance(label, str))
        for key, item in list(pairs):
            if len(found) >= _ITEMS or left[0] <= 0:
                found["…"] = "…"
                break
            name = self._cut(key if isinstance(key, str) else str(self._scalar(key)), 128)
            left[0] -= len(name) + 4
            found[self._hide(name)] = (
                REDACTED
                if self._names_secret(name, item) or (named and name.lower().startswith("value"))
                else self._clean(item, depth - 1, left)
            )
        return found

    def _names_secret(self, name: str, item: object) -> bool:
        if item is None or item is False or (isinstance(item, str) and not item):
            return False
        plain = _plain(name)
        # How many tokens a model took is nobody's secret.
        return bool(plain in _WHOLE or self._key.search(plain)) and not (
            isinstance(item, (int, float)) and plain.endswith("tokens")
        )

    def _clean_text(self, value: str, depth: int, left: list[int]) -> object:
        if value[:2] in _ENCODED and len(value) <= _LOOK_INTO:
            value = _decoded(value)
        if value.lstrip()[:1] in ("{", "[") and len(value) <= _LOOK_INTO and depth > 0:
            from json import dumps, loads

            try:
                inner = self._clean(loads(value), depth - 1, left)
                return dumps(inner, ensure_ascii=False, separators=(",", ":"))
            except (ValueError, RecursionError):
                pass
        if _BASE64.fullmatch(value[:_HEAD]):
            left[0] -= 24
            return f"<{len(value)} characters>"
        # Beyond what will be kept, some more: a secret that begins before the cut must be seen whole.
        found = self._hide(value[: 2 * _TEXT + 4096])
        found = self._cut(self._pair.sub(rf"\1{REDACTED}", found), min(_TEXT, max(left[0], 16)))
        left[0] -= len(found) + 2
        return found

    def _hide(self, text: str) -> str:
        for pattern in self._values:
            text = pattern.sub(REDACTED, text)
        return text

    def _scalar(self, value: object) -> object:
        """Return what has a plain text of its own; of anything else, its type."""
        if isinstance(value, (bool, int, float)) or type(value).__module__.partition(".")[0] in _SELF_EVIDENT:
            return str(value)
        return value.__name__ if isinstance(value, type) else f"<{type(value).__name__}>"


def _decoded(text: str) -> str:
    """Return the JSON that a text is in base64, also if its end is missing; any other text as it is."""
    from binascii import a2b_base64

    try:
        inner = a2b_base64(text).decode()
    except ValueError:  # not base64, or not of text
        return text
    return inner if _JSON.fullmatch(inner) else text


def _shown(value: object) -> object:
    """Return what stands for an object: its attributes, of a member of an enum its value. None: nothing."""
    kind: Any = type(value)
    if isinstance(value, tuple):  # a named one
        return dict(zip(kind._fields, value, strict=False))
    fields = getattr(value, "__dict__", None)
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "args": value.args, **(fields or {})}
    if fields is None and hasattr(kind, "__dataclass_fields__"):  # of one with slots
        slots = {name: getattr(kind, name, None) for name in kind.__dataclass_fields__}
        return {
            name: _of_slot(slot, value)
            for name, slot in slots.items()
            if type(slot).__name__ == "member_descriptor"
        }
    if not isinstance(fields, dict) or isinstance(value, type) or callable(value):
        return None
    return fields.get("_value_", fields)


def _of_slot(slot: Any, value: object) -> object:
    try:
        return slot.__get__(value)
    except AttributeError:  # nothing is in it
        return None


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "").replace(" ", "")


def capture_for(options: Options) -> Capture:
    """Return the one that a configuration asks for."""
    global _last  # noqa: PLW0603  # compiling patterns takes longer than using them
    wanted = options.capture_depth, options.capture_size, options.redact_keys, options.redact_pattern
    if _last is None or _last[0] != wanted:
        depth, size, keys, pattern = wanted
        _last = wanted, Capture(depth=depth, size=size, keys=keys, pattern=pattern)
    return _last[1]


_last: tuple[tuple[int, int, tuple[str, ...], str], Capture] | None = None


def payload(options: Options, part: str, value: object) -> dict[str, object]:
    """Return the attribute that keeps the request or the response of an invocation."""
    name = f"lambent.{part}.payload"
    if options.backend == "honeyhive":
        name = "honeyhive_inputs.event" if part == "request" else "honeyhive_outputs.result"
    return {name: capture_for(options).text(value)}
