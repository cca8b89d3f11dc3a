"""What a mapping can be told, and what AWS refuses. Pure.

Rules
- BatchSize is 10 unless said otherwise: up to 10,000, over 10 with a window only; 10 at most for a FIFO
  queue, which has no window.
- A queue's visibility timeout is no shorter than its function's.
- A stream's BatchSize is 100 unless said otherwise; StartingPosition is needed, MaximumRetryAttempts and
  MaximumRecordAgeInSeconds are -1, no limit. There are no tumbling windows.
- What belongs to streams and brokers (StartingPosition, ParallelizationFactor, …) is refused for a queue,
  what belongs to queues (ScalingConfig) for a stream.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lambent_lab.environ import ACCOUNT, REGION
from lambent_lab.errors import UsageError
from lambent_lab.service import arns, parcels
from lambent_lab.service.names import qualified_arn
from lambent_lab.service.problems import ServiceError, invalid_parameter
from lambent_lab.service.sources.filters import MAX_FILTERS, Filters, PatternError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.service.arns import Arn

MAX_BATCH, MAX_WITHOUT_WINDOW, MAX_WINDOW_S = 10_000, 10, 300
MIN_CONCURRENCY, MAX_CONCURRENCY = 2, 1000
MAX_PARALLEL, MAX_RETRIES = 10, 10_000
MIN_AGE_S, MAX_AGE_S = 60, 604_800
KINDS = ("sqs", "kinesis", "dynamodb")
SERVICES: Mapping[str, str] = {"kinesis": "kinesis", "dynamodb": "dynamodbstreams"}
"""What boto3 calls the services that streams are read from."""
_POSITIONS = ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")
QUEUES = "arn:aws:sqs:"
REPORT = "ReportBatchItemFailures"

_NOT_OF_STREAMS = (
    "ScalingConfig", "Topics", "Queues", "SourceAccessConfigurations", "SelfManagedEventSource",
    "AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig", "DocumentDBEventSourceConfig",
)  # fmt: skip
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
    """A mapping: the ARN of a queue or a stream, the function, and how the one's records get to the other.

    The fields from `starting_position` on are of streams only.
    """

    source: Arn
    function: str
    qualifier: str | None = None
    batch_size: int = 10
    window_s: int = 0
    enabled: bool = True
    patterns: tuple[str, ...] = ()
    reporting: bool = False
    max_concurrency: int | None = None
    starting_position: str | None = None
    starting_timestamp: float | None = None
    parallelization: int = 1
    bisect: bool = False
    max_age_s: int = -1
    max_retries: int = -1
    on_failure: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What there is one mapping of: the queue, the function, and its version or alias."""
        return self.source.text, self.function, self.qualifier

    @property
    def stream(self) -> bool:
        """Whether it is a stream, and no queue."""
        return self.source.service != "sqs"

    @property
    def fifo(self) -> bool:
        """Whether the queue keeps an order."""
        return self.source.resource.endswith(".fifo")

    def document(self) -> dict[str, Any]:
        """Return what AWS's API tells of it."""
        made: dict[str, Any] = {
            "EventSourceArn": self.source.text,
            "FunctionArn": qualified_arn(self.function, self.qualifier),
            "BatchSize": self.batch_size,
            "MaximumBatchingWindowInSeconds": self.window_s,
            "FunctionResponseTypes": [REPORT] if self.reporting else [],
        }
        if self.stream:
            destination = {} if self.on_failure is None else {"Destination": self.on_failure}
            made |= {
                "StartingPosition": self.starting_position,
                "ParallelizationFactor": self.parallelization,
                "BisectBatchOnFunctionError": self.bisect,
                "MaximumRecordAgeInSeconds": self.max_age_s,
                "MaximumRetryAttempts": self.max_retries,
                "TumblingWindowInSeconds": 0,
                "DestinationConfig": {"OnFailure": destination},
            }
            if self.starting_timestamp is not None:
                made["StartingPositionTimestamp"] = self.starting_timestamp
        if self.patterns:
            made["FilterCriteria"] = {"Filters": [{"Pattern": text} for text in self.patterns]}
        if self.max_concurrency is not None:
            made["ScalingConfig"] = {"MaximumConcurrency": self.max_concurrency}
        return {**made, **self.about}


def new(arn: str, function: str, qualifier: str | None, request: Mapping[str, Any]) -> Settings:
    """Return the settings of a new mapping. Raises ServiceError for what AWS refuses, or the lab has not."""
    try:
        source = arns.parse(arn)
    except ValueError as error:
        raise invalid_parameter(str(error)) from error
    if source.service not in KINDS or (source.service == "dynamodb" and "/stream/" not in source.resource):
        raise invalid_parameter(
            f"{arn} cannot be polled: the lab has mappings of SQS queues, Kinesis streams and streams of "
            "DynamoDB tables."
        )
    made = Settings(source=source, function=function, qualifier=qualifier)
    if made.stream:
        position, moment = request.get("StartingPosition"), request.get("StartingPositionTimestamp")
        if position not in _POSITIONS or (position == "AT_TIMESTAMP" and source.service != "kinesis"):
            raise invalid_parameter(f"StartingPosition cannot be {position}: choose TRIM_HORIZON or LATEST.")
        if (position == "AT_TIMESTAMP") != (moment is not None):
            raise invalid_parameter("Timestamp only valid with StartingPosition AT_TIMESTAMP")
        made = replace(made, batch_size=100, starting_position=position, starting_timestamp=_unix(moment))
    return changed(made, request)


def _unix(moment: object) -> float | None:
    """Return a time as Unix has it, from what JSON or a file has."""
    if moment is None or isinstance(moment, (int, float)):
        return None if moment is None else float(moment)
    if isinstance(moment, dt.datetime):
        return moment.timestamp()
    try:
        return dt.datetime.fromisoformat(str(moment)).timestamp()
    except ValueError as error:
        raise invalid_parameter(f"StartingPositionTimestamp cannot be {moment}.") from error


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
    for name in _NOT_OF_STREAMS if before.stream else _NOT_OF_QUEUES:
        if request.get(name):
            kind = f"{before.source.service} event" if before.stream else "SQS event"
            raise invalid_parameter(f"{name} is not valid for {kind} sources.")
    if request.get("TumblingWindowInSeconds"):
        raise invalid_parameter("The lab has no tumbling windows: leave TumblingWindowInSeconds out.")
    changes: dict[str, Any] = {}
    for name, setting in (
        ("BatchSize", "batch_size"),
        ("MaximumBatchingWindowInSeconds", "window_s"),
        ("Enabled", "enabled"),
        ("ParallelizationFactor", "parallelization"),
        ("BisectBatchOnFunctionError", "bisect"),
        ("MaximumRecordAgeInSeconds", "max_age_s"),
        ("MaximumRetryAttempts", "max_retries"),
    ):
        if request.get(name) is not None:
            changes[setting] = request[name]
    if request.get("FunctionResponseTypes") is not None:
        changes["reporting"] = REPORT in request["FunctionResponseTypes"]
    if request.get("ScalingConfig") is not None:  # an empty one takes the limit away
        changes["max_concurrency"] = request["ScalingConfig"].get("MaximumConcurrency")
    if request.get("DestinationConfig") is not None:
        changes["on_failure"] = request["DestinationConfig"].get("OnFailure", {}).get("Destination") or None
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
    if made.stream:
        _check_stream(made)
    elif made.batch_size > MAX_WITHOUT_WINDOW and not made.window_s:
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
        Filters(made.patterns, None if made.source.service == "dynamodb" else "body")
    except PatternError as error:
        raise invalid_parameter(f"Invalid filter pattern definition. ({error})") from error


def _check_stream(made: Settings) -> None:
    if not 1 <= made.parallelization <= MAX_PARALLEL:
        raise invalid_parameter(f"The parallelization factor must lie between 1 and {MAX_PARALLEL}.")
    if made.max_age_s != -1 and not MIN_AGE_S <= made.max_age_s <= MAX_AGE_S:
        raise invalid_parameter(
            f"The maximum age of records must be -1, or lie between {MIN_AGE_S} and {MAX_AGE_S} seconds."
        )
    if not -1 <= made.max_retries <= MAX_RETRIES:
        raise invalid_parameter(f"The maximum of retries must lie between -1 and {MAX_RETRIES}.")
    if made.on_failure is not None:
        try:
            parcels.check(made.on_failure, stream=True)
        except parcels.UnfitError as error:
            raise invalid_parameter(f"The destination {error}.") from error


def check_visibility(visibility_s: int, timeout_s: float) -> None:
    """Refuse a queue whose messages come again while the function has them."""
    if visibility_s < timeout_s:
        raise invalid_parameter(
            f"Queue visibility timeout: {visibility_s} seconds is less than "
            f"Function timeout: {timeout_s:g} seconds"
        )
