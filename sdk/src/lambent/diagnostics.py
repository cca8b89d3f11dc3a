"""What lambent says to people: one line on stderr, in Lambda a line of the function's log.

Written straight to the stream: the user's logging configuration is theirs, and `logging` is a
module that a cold start need not pay for.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["mask", "masked", "say", "say_once", "shown"]

_said: set[str] = set()


def say(text: str) -> None:
    """Write one line `lambent: text`. Never raises; line breaks become spaces, secrets stars."""
    try:
        line = " ".join(masked(text, _secrets()).split())
        sys.stderr.write(f"lambent: {line}\n")
        sys.stderr.flush()
    except Exception:  # noqa: BLE001, S110  # a closed or replaced stderr is not the function's problem
        pass


def say_once(key: str, text: str) -> None:
    """Write the line unless one with this key has been written in this process."""
    if key not in _said:
        _said.add(key)
        say(text)


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every secret, and every word of one, replaced by stars."""
    parts = {part for secret in secrets for part in (secret, *secret.split()) if len(part) >= 4}
    parts -= {"Basic", "Bearer"}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, "****")
    return text


_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def _secrets() -> list[str]:
    """Return what must not be said: keys, headers, what URLs hold of them, and variables named like secrets.

    What is said may quote an exception of somebody else's, and that may quote anything.
    """
    from contextlib import suppress

    from lambent.config import headers_in, known

    found = []
    for (api_key, headers, *urls), variables in known:
        found += [api_key, *headers.values()]
        for url in urls:
            rest, _, query = url.partition("://")[2].partition("?")
            found += [query, *[pair.partition("=")[2] for pair in query.split("&")]]
            user, _, password = rest.partition("/")[0].rpartition("@")[0].partition(":")
            found += [password or user]
        for name, value in variables.items():
            if len(value) >= 8 and name.upper().endswith(_NAMES):
                found.append(value.strip())
            elif name.upper().endswith("_HEADERS"):
                for pair in value.split(","):
                    with suppress(ValueError):
                        found += headers_in(pair).values()
    return [secret for secret in found if len(secret) >= 4]


def mask(secret: str) -> str:
    """Return a text that shows that there is a secret, and nothing of it."""
    return "****" if secret else ""


def shown(options: Mapping[str, object]) -> str:
    """Return the options of a configuration as text, without its secrets."""
    parts = []
    for name, value in sorted(options.items()):
        text = repr(value)
        if name == "variables":
            continue
        if name in {"api_key", "headers"} and value:
            text = repr(mask(str(value)))
        elif isinstance(value, str) and ("://" in value or "@" in value):
            # A URL may hold a password before its @, a token behind its ?, and a key in its path.
            scheme, slashes, rest = value.partition("://") if "://" in value else ("", "", value)
            address, question, _ = rest.partition("?")
            user, at, place = address.rpartition("@")
            place = "/".join(
                [part if len(part) < 16 or not i else "****" for i, part in enumerate(place.split("/"))]
            )
            text = repr(f"{scheme}{slashes}{mask(user)}{at}{place}{question and '?****'}")
        parts.append(f"{name}={text}")
    return ", ".join(parts)
