"""The errors that lambent raises. Only `init` and its relatives do; recording never fails."""

from __future__ import annotations

__all__ = ["ConfigError", "LambentError"]


class LambentError(Exception):
    """Anything that lambent raises."""


class ConfigError(LambentError, TypeError, ValueError):
    """An argument of `init` that cannot be right, with what to write instead."""
