"""What a mapping of a queue can be told, and what AWS refuses. Pure.

Rules
- BatchSize is 10 unless said otherwise: up to 10,000, over 10 with a window only; 10 at most for a FIFO
  queue, which has no window.
- A queue's visibility timeout is no shorter than its function's.
- What belongs to streams and brokers (StartingPosition, ParallelizationFactor, …) is refused for a queue.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lambent_lab.environ import ACCOUNT, REGION
from lambent_lab.errors import UsageError
from lambent_lab.service import arns
from lambent_lab.service.names import qualified_arn
from lambent_lab.service.problems import ServiceError, invalid_parameter
from lambent_lab.service.sources.filters import MAX_FILTERS, Filters, PatternError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.service.arns import Arn

MAX_BATCH, MAX_WITHOUT_WINDOW, MAX_WINDOW_S = 10_000, 10, 300
MIN_CONCURRENCY, MAX_CONCURRENCY = 2, 1000
QUEUES = "arn:aws:sqs:"
REPORT = "ReportBatchItemFailures"

_NOT_OF_QUEUES = (
    "StartingPosition", "StartingPositionTimestamp", "ParallelizationFactor", "DestinationConfig",
    "MaximumRecordAgeInSeconds", "BisectBatchOnFunctionError", "MaximumRetryAttempts",
    "TumblingWindowInSeconds", "Topics", "Queues", "SourceAccessConfigurations", "SelfManagedEventSource",
    "AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig", "DocumentDBEventSourceConfig",
)  # fmt: skip
_TOLD = ("KMSKeyArn", "MetricsConfig", "LoggingConfig", "ProvisionedPollerConfig")
"""What is told back, and changes nothing here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A mapping: the queue's ARN, the function, and how the one's messages get to the other."""

    queue: Arn
    function: str
    qualifier: str | None = None
    batch_size: int = 10
    window_s: int = 0
    enabled: bool = True
    patterns: tuple[str, ...] = ()
    reporting: bool = False
    max_concurrency: int | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What there is one mapping of: the queue, the function, and its version or alias."""
        return self.queue.text, self.function, self.qualifier

    @property
    def fifo(self) -> bool:
        """Whether the queue keeps an order."""
        return self.queue.resource.endswith(".fifo")

    def document(self) -> dict[str, Any]:
        """Return what AWS's API tells of it."""
        made: dict[str, Any] = {
            "EventSourceArn": self.queue.text,
            "FunctionArn": qualified_arn(self.function, self.qualifier),
            "BatchSize": self.batch_size,
            "MaximumBatchingWindowInSeconds": self.window_s,
            "FunctionResponseTypes": [REPORT] if self.reporting else [],
        }
        if self.patterns:
            made["FilterCriteria"] = {"Filters": [{"Pattern": text} for text in self.patterns]}
        if self.max_concurrency is not None:
            made["ScalingConfig"] = {"MaximumConcurrency": self.max_concurrency}
        return {**made, **self.about}


def new(arn: str, function: str, qualifier: str | None, request: Mapping[str, Any]) -> Settings:
    """Return the settings of a new mapping. Raises ServiceError for what AWS refuses, or the lab has not."""
    try:
        queue = arns.parse(arn)
    except ValueError as error:
        raise invalid_parameter(str(error)) from error
    if queue.service != "sqs":
        raise invalid_parameter(f"{arn} is of {queue.service}: the lab has mappings of SQS queues only.")
    return changed(Settings(queue=queue, function=function, qualifier=qualifier), request)


def stated(queue: str, function: str, qualifier: str | None, request: Mapping[str, Any], at: str) -> Settings:
    """Return the settings that a file, or a call, says. Raises UsageError for what AWS refuses.

    `queue` is an ARN, or a name in the lab's account.
    """
    arn = queue if ":" in queue else f"{QUEUES}{REGION}:{ACCOUNT}:{queue}"
    try:
        return new(arn, function, qualifier, request)
    except ServiceError as error:
        raise UsageError(f"{at}: {error}") from error


def pattern_text(pattern: object) -> str:
    """Return a filter's pattern as text."""
    return pattern if isinstance(pattern, str) else json.dumps(pattern)


def changed(before: Settings, request: Mapping[str, Any]) -> Settings:
    """Return settings with what a request changes. Raises ServiceError."""
    for name in _NOT_OF_QUEUES:
        if request.get(name):
            raise invalid_parameter(f"{name} is not valid for SQS event sources.")
    changes: dict[str, Any] = {}
    for name, setting in (
        ("BatchSize", "batch_size"),
        ("MaximumBatchingWindowInSeconds", "window_s"),
        ("Enabled", "enabled"),
    ):
        if request.get(name) is not None:
            changes[setting] = request[name]
    if request.get("FunctionResponseTypes") is not None:
        changes["reporting"] = REPORT in request["FunctionResponseTypes"]
    if request.get("ScalingConfig") is not None:  # an empty one takes the limit away
        changes["max_concurrency"] = request["ScalingConfig"].get("MaximumConcurrency")
    if request.get("FilterCriteria") is not None:
        filters = request["FilterCriteria"].get("Filters") or []
        changes["patterns"] = tuple(each.get("Pattern", "") for each in filters)
    about = {name: request[name] for name in _TOLD if request.get(name) is not None}
    made = replace(before, **changes, about={**before.about, **about})
    _check(made)
    return made


def _check(made: Settings) -> None:
    if not 1 <= made.batch_size <= MAX_BATCH:
        raise invalid_parameter(f"The batch size must lie between 1 and {MAX_BATCH}.")
    if not 0 <= made.window_s <= MAX_WINDOW_S:
        raise invalid_parameter(f"The batching window must lie between 0 and {MAX_WINDOW_S} seconds.")
    if made.fifo and made.window_s:
        raise invalid_parameter("Batching window is not supported for FIFO queues.")
    if made.fifo and made.batch_size > MAX_WITHOUT_WINDOW:
        raise invalid_parameter(f"The batch size of a FIFO queue is {MAX_WITHOUT_WINDOW} at most.")
    if made.batch_size > MAX_WITHOUT_WINDOW and not made.window_s:
        raise invalid_parameter(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
    most = made.max_concurrency
    if most is not None and not MIN_CONCURRENCY <= most <= MAX_CONCURRENCY:
        raise invalid_parameter(
            f"The maximum concurrency must lie between {MIN_CONCURRENCY} and {MAX_CONCURRENCY}."
        )
    if len(made.patterns) > MAX_FILTERS:
        raise invalid_parameter(f"A mapping has {MAX_FILTERS} filters at most.")
    try:
        Filters(made.patterns)
    except PatternError as error:
        raise invalid_parameter(f"Invalid filter pattern definition. ({error})") from error


def check_visibility(visibility_s: int, timeout_s: float) -> None:
    """Refuse a queue whose messages come again while the function has them."""
    if visibility_s < timeout_s:
        raise invalid_parameter(
            f"Queue visibility timeout: {visibility_s} seconds is less than "
            f"Function timeout: {timeout_s:g} seconds"
        )
