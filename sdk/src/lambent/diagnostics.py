"""What lambent says to people: one line on stderr, in Lambda a line of the function's log.

Written straight to the stream: the user's logging configuration is theirs, and `logging` is a
module that a cold start need not pay for.
"""

from __future__ import annotations

import sys

__all__ = ["mask", "say", "say_once"]

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
