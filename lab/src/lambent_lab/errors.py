"""The lab's errors: one family, each with the exit code that the command line ends with."""

from __future__ import annotations


class LabError(Exception):
    """Something went wrong; the message says what happened and what to do next."""

    exit_code: int = 1


class UsageError(LabError):
    """The lab was asked for something it cannot do as it was asked."""

    exit_code = 2
