"""One sample: a fresh environment, its cold start, its warm invocations.

Rules
- A sample begins with a stopped function, so its first invocation makes a new environment.
- What was measured stays in the sample, also when it is interrupted or its environment breaks.
- Each invocation is recorded and counted as `records` says.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

from lambent_lab.errors import LabError
from lambent_lab.measure.records import record, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from lambent_lab.measure.records import ResultLike
    from lambent_lab.measure.results import Sample, SampleKind


class FunctionLike(Protocol):
    """A function in the lab, with at most one idle environment."""

    def invoke(self, event: object = ...) -> ResultLike:
        """Run it once, in the idle environment or a new one."""

    def stop(self) -> None:
        """End the idle environment: the next invocation is cold."""

    @property
    def box(self) -> object:
        """How its environment is held."""


@runtime_checkable
class Lingering(Protocol):
    """A function that can tell which spans came after the end of their invocations, once it has stopped."""

    def late(self, results: Sequence[Any]) -> Mapping[str, Sequence[object]]:
        """The spans that no result has yet, by request id."""


class LabLike(Protocol):
    """The service, as far as measuring needs it."""

    @property
    def otlp_url(self) -> str:
        """The base URL of the lab's own OTLP receiver."""

    def function(
        self,
        name: str,
        *,
        code: Path,
        handler: str,
        memory: int = ...,
        timeout: float = ...,
        env: Mapping[str, str] | None = ...,
        python: Path | None = ...,
        bytecode: bool = ...,
        init_cpu: Literal["boost", "share"] = ...,
        runtime: str | None = ...,
        layers: Iterable[Path] = ...,
    ) -> FunctionLike:
        """Make a function."""


def empty_sample(
    identity: int,
    *,
    pair: int | None,
    kind: SampleKind,
    side: str,
    memory_mb: int,
    python: str | None = None,
) -> Sample:
    """A sample that has not run."""
    return {
        "id": identity,
        "pair": pair,
        "kind": kind,
        "side": side,
        "memory_mb": memory_mb,
        "python": python,
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "complete": False,
        "error": None,
        "invocations": [],
        "values": {},
    }


def fill(
    sample: Sample, function: FunctionLike, event: object, warm: int, on_invocation: Callable[[], None]
) -> None:
    """Run the sample's invocations into it. What was measured stays in it also when it is interrupted.

    A LabError (the environment could not be made or held) is recorded as the sample's error and ends it.
    """
    fill_together([(sample, function)], event, warm, lambda _: on_invocation(), list)


def fill_together(
    pairs: Sequence[tuple[Sample, FunctionLike]],
    event: object,
    warm: int,
    on_invocation: Callable[[FunctionLike], None],
    shuffle: Callable[[list[Any]], object],
) -> None:
    """Run several samples' invocations step by step: all cold starts, then a warm one of each, and so on.

    The cold starts come in the order given, each later step in the order that `shuffle` leaves them in. A
    sample whose environment breaks (LabError) ends with its error; the others go on. Where there are several,
    their invocations of the same index belong together, and the samples say so.
    """
    going = [_Going(sample, function, 1 + warm) for sample, function in pairs]
    with ExitStack() as ends:
        for each in going:
            if len(going) > 1:
                each.sample["alternating"] = True
            ends.callback(each.end)
            each.begin()
        for index in range(1 + warm):
            order = [each for each in going if each.sample["error"] is None]
            if index:
                shuffle(order)
            for each in order:
                if each.invoke(event, index):
                    on_invocation(each.function)


class _Going:
    """A sample under way."""

    def __init__(self, sample: Sample, function: FunctionLike, planned: int) -> None:
        self.sample, self.function, self._planned = sample, function, planned
        self._results: list[ResultLike] = []

    def begin(self) -> None:
        """See to it that the next environment is a new one."""
        try:
            self.function.stop()
        except LabError as error:
            self.sample["error"] = str(error)

    def invoke(self, event: object, index: int) -> bool:
        """Run the function once, and return whether there was an environment to do it."""
        try:
            result = self.function.invoke(event)
        except LabError as error:
            self.sample["error"] = str(error)
            return False
        self._results.append(result)
        self.sample["invocations"].append(record(index, result))
        return True

    def end(self) -> None:
        """End the environment, and say what the sample came to."""
        sample = self.sample
        try:
            self.function.stop()
            if sample["error"] is None and len(self._results) == self._planned:
                if isinstance(self.function, Lingering):
                    _add_late(sample, self._results, self.function.late(self._results))
                sample["complete"] = True
        except LabError as error:
            sample["error"] = sample["error"] or str(error)
        finally:
            sample["values"] = values(sample["invocations"])


def _add_late(sample: Sample, results: Sequence[ResultLike], late: Mapping[str, Sequence[object]]) -> None:
    """Count spans that left with the environment's end, as `finalize` lets them, for their invocations."""
    for index, result in enumerate(results):
        spans = late.get(result.request_id)
        if spans:
            whole = replace(cast("Any", result), spans=[*(result.spans or ()), *spans])
            sample["invocations"][index] = record(index, whole)
