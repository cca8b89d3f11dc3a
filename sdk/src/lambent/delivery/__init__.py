"""When spans leave the process."""

from __future__ import annotations

__all__ = ["say_once"]


def say_once(key: str, text: str) -> None:
    """Say something once. Never raises: where no file can be opened any more, no module can be loaded."""
    try:
        from lambent.diagnostics import say_once as say

        say(key, text)
    except Exception:  # noqa: BLE001  # as said
        return
