"""What lambent says to people: one line on stderr, in Lambda a line of the function's log.

Written straight to the stream: the user's logging configuration is theirs, and `logging` is a
module that a cold start need not pay for.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["mask", "say", "say_once", "shown"]

_said: set[str] = set()


def say(text: str) -> None:
    """Write one line `lambent: text`. Never raises; line breaks become spaces."""
    try:
        line = " ".join(text.split())
        sys.stderr.write(f"lambent: {line}\n")
        sys.stderr.flush()
    except Exception:  # noqa: BLE001, S110  # a closed or replaced stderr is not the function's problem
        pass


def say_once(key: str, text: str) -> None:
    """Write the line unless one with this key has been written in this process."""
    if key not in _said:
        _said.add(key)
        say(text)


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
        elif isinstance(value, str) and "://" in value:
            # A URL may hold a password before its @ and a token behind its ?.
            scheme, _, rest = value.partition("://")
            host = rest.partition("?")[0].rpartition("@")
            text = repr(f"{scheme}://{mask(host[0])}{host[1]}{host[2]}{'?****' if '?' in rest else ''}")
        parts.append(f"{name}={text}")
    return ", ".join(parts)
