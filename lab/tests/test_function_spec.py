"""What a function may be, and what is said of one that may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec

Make = Callable[..., FunctionSpec]
SOURCE = "def handler(event, context):\n    return None\n"


def test_defaults(write_function: Make) -> None:
    spec = write_function(SOURCE, name="shop")
    assert (spec.version, spec.log_format, spec.initialization) == ("$LATEST", "Text", "on-demand")
    assert (spec.max_concurrency, spec.freeze, spec.logs_json) == (None, True, False)


@pytest.mark.parametrize(
    "options",
    [
        {"version": "1"},
        {"version": "4711"},
        {"log_format": "JSON", "application_log_level": "TRACE", "system_log_level": "WARN"},
        {"initialization": "provisioned-concurrency"},
        {"initialization": "snap-start"},
        {"max_concurrency": 1},
        {"max_concurrency": 1600, "application_log_level": "ERROR"},
        {"freeze": False},
    ],
)
def test_accepted(write_function: Make, options: dict[str, Any]) -> None:
    spec = write_function(SOURCE, name="shop", **options)
    assert all(getattr(spec, name) == value for name, value in options.items())


def test_managed_instances_log_in_json(write_function: Make) -> None:
    assert write_function(SOURCE, name="shop", max_concurrency=4).logs_json
    assert write_function(SOURCE, name="shop", log_format="JSON").logs_json


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"version": "0"}, "version"),
        ({"version": "live"}, "version"),
        ({"version": ""}, "version"),
        ({"version": "1\n"}, "version"),
        ({"log_format": "json"}, "log_format"),
        ({"initialization": "eager"}, "initialization"),
        ({"max_concurrency": 0}, "concurrency"),
        ({"max_concurrency": 1601}, "concurrency"),
        ({"max_concurrency": 2, "initialization": "snap-start"}, "managed instances"),
        ({"log_format": "JSON", "application_log_level": "WARNING"}, "application_log_level"),
        ({"log_format": "JSON", "system_log_level": "ERROR"}, "system_log_level"),
        ({"system_log_level": "WARN"}, "log format JSON"),
        ({"env": {"LEVEL": 1}}, "LEVEL' must be text, not 1"),
        ({"timeout_s": "3"}, "timeout must be a number"),
        ({"memory_mb": "256"}, "memory must be a whole number"),
        ({"application_log_level": "WARN"}, "log format JSON"),
        ({"memory_mb": 127}, "127 MB"),
        ({"memory_mb": "256"}, "whole number of MB, not '256'"),
        ({"memory_mb": 256.5}, "whole number of MB"),
        ({"timeout_s": None}, "number of seconds, not None"),
        ({"timeout_s": True}, "number of seconds"),
        ({"timeout_s": float("nan")}, "timeout of nan"),
        ({"env": {"LIMIT": 1}}, "'LIMIT' must be text, not 1"),
        ({"env": {1: "LIMIT"}}, "1 must be text"),
    ],
)
def test_refused(write_function: Make, options: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        write_function(SOURCE, name="shop", **options)
