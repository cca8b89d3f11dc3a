"""Sample events by name: what AWS services send to a function, generated with the time that is given."""

from __future__ import annotations

import difflib
from types import MappingProxyType
from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError
from lambent_lab.events import http, notices, records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from lambent_lab.events.values import Event

__all__ = ["SAMPLES", "describe", "names", "sample"]

SAMPLES: Mapping[str, Callable[[datetime], Event]] = MappingProxyType(
    {
        "alb": http.alb,
        "apigw-v1": http.apigw_v1,
        "apigw-v2": http.apigw_v2,
        "cloudwatch-logs": notices.cloudwatch_logs,
        "custom": notices.custom,
        "dynamodb": records.dynamodb,
        "empty": notices.empty,
        "eventbridge": notices.eventbridge,
        "function-url": http.function_url,
        "kafka": records.kafka,
        "kinesis": records.kinesis,
        "s3": notices.s3,
        "schedule": notices.schedule,
        "sns": records.sns,
        "sqs": records.sqs,
        "vpc-lattice": http.vpc_lattice,
    }
)


def names() -> tuple[str, ...]:
    """Return the names of all samples, sorted."""
    return tuple(SAMPLES)


def describe(name: str) -> str:
    """Return what a sample is, in a few words."""
    first = (SAMPLES[name].__doc__ or "").partition("\n")[0]
    return first.removeprefix("Return ").rstrip(".")


def sample(name: str, now: datetime) -> Event:
    """Return a sample event of the time `now`, which has a zone. Raises UsageError for other names."""
    if name not in SAMPLES:
        near = difflib.get_close_matches(name, SAMPLES, 1)
        hint = f"did you mean {near[0]}? All names: " if near else "the names are: "
        raise UsageError(f"There is no sample event {name!r}; {hint}{', '.join(SAMPLES)}.")
    return SAMPLES[name](now)
