"""The account of a tracer's spans: what was started, and what became of each. Loaded when asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent.delivery.sync import SyncDelivery

__all__ = ["ExporterStats", "Flushes", "Stats", "collect"]


class _Figures:
    """Named figures that compare and print like what they hold."""

    __slots__: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the figures as plain data."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # figures, not a key

    def __repr__(self) -> str:
        fields = ", ".join([f"{name}={getattr(self, name)!r}" for name in self.__slots__])
        return f"{type(self).__name__}({fields})"


def _plain(value: object) -> object:
    if isinstance(value, _Figures):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return dict(value) if isinstance(value, dict) else value


class Flushes(_Figures):
    """How long flushes took, in seconds. Flushes of an empty queue are not counted."""

    __slots__ = ("count", "last", "longest", "total")

    def __init__(self, count: int = 0, total: float = 0.0, longest: float = 0.0, last: float = 0.0) -> None:
        self.count = count
        self.total = total
        self.longest = longest
        self.last = last


class ExporterStats(_Figures):
    """What one exporter was given and made of it."""

    __slots__ = ("acknowledged", "bytes", "dropped", "exported", "last_failure", "name", "retried", "waiting")

    def __init__(
        self,
        name: str,
        exported: int,
        acknowledged: int,
        dropped: dict[str, int],
        waiting: int,
        retried: int,
        bytes: int,  # noqa: A002  # the name of the figure
        last_failure: str,
    ) -> None:
        self.name = name
        self.exported = exported
        self.acknowledged = acknowledged
        self.dropped = dropped
        self.waiting = waiting
        self.retried = retried
        self.bytes = bytes
        self.last_failure = last_failure


class Stats(_Figures):
    """One tracer's account, since its process began or was forked.

    `started` spans are either open or `ended`; those that the sampler left out are neither, and counted
    in `sampled_out`. `exported` were given to exporters, `acknowledged` taken by them; `waiting` are in
    the queue, being exported just now, or have failed and are sent again. `dropped` counts the lost ones by
    reason:

    - `queue_full`, `queue_bytes`: no room in the queue;
    - `failed`: an exporter could not deliver them; `unconfirmed`: it sent them and got no answer;
    - `rejected`: the server refused them;
    - `exporter_error`: an exporter raised; `closed`: the tracer was closed.

    With one exporter, `ended` is `acknowledged` + `waiting` + all of `dropped`. With several, the
    figures of exports are sums, and `exporters` has each of them. `recovered` are spans of an earlier
    process that were delivered here; `retried` counts repeated requests, `bytes` payload sent.

    What one process has dropped because a backend was down, or for want of room, may be in its flight
    recorder, and is `recovered` by the next one: it counts in both. `gave_way` spans are no longer in the
    recorder, since it was full; that is no loss by itself.
    """

    __slots__ = (
        "acknowledged",
        "bytes",
        "dropped",
        "ended",
        "exported",
        "exporters",
        "flushes",
        "gave_way",
        "recovered",
        "retried",
        "sampled_out",
        "started",
        "waiting",
    )

    def __init__(
        self,
        *,
        started: int = 0,
        ended: int = 0,
        sampled_out: int = 0,
        waiting: int = 0,
        recovered: int = 0,
        gave_way: int = 0,
        dropped: dict[str, int] | None = None,
        flushes: Flushes | None = None,
        exporters: tuple[ExporterStats, ...] = (),
        handed_over: int = 0,
    ) -> None:
        self.started = started
        self.ended = ended
        self.sampled_out = sampled_out
        self.waiting = waiting
        self.exported = handed_over + sum([each.exported for each in exporters])
        self.acknowledged = handed_over + sum([each.acknowledged for each in exporters])
        self.dropped = dict(dropped or {})
        for each in exporters:
            for reason, count in each.dropped.items():
                self.dropped[reason] = self.dropped.get(reason, 0) + count
        self.recovered = recovered
        self.gave_way = gave_way
        self.retried = sum([each.retried for each in exporters])
        self.bytes = sum([each.bytes for each in exporters])
        self.flushes = flushes or Flushes()
        self.exporters = exporters

    @property
    def lost(self) -> int:
        """How many spans were dropped, for whatever reason."""
        return sum(self.dropped.values())

    def attributes(self) -> dict[str, object]:
        """Return the figures as attributes of an invocation's span."""
        told: dict[str, object] = {"lambent.spans.dropped": self.lost}
        for reason, count in self.dropped.items():
            told[f"lambent.spans.dropped.{reason}"] = count
        for name in ("started", "ended", "sampled_out", "exported", "acknowledged", "recovered", "retried"):
            told[f"lambent.spans.{name}"] = getattr(self, name)
        told["lambent.export.bytes"] = self.bytes
        told["lambent.flush.count"] = self.flushes.count
        told["lambent.flush.total_ms"] = round(self.flushes.total * 1000, 3)
        told["lambent.flush.longest_ms"] = round(self.flushes.longest * 1000, 3)
        return told


def collect(delivery: SyncDelivery) -> Stats:
    """Return the account as it stands."""
    exporters = tuple(
        [
            ExporterStats(
                type(lane.exporter).__name__,
                lane.exported,
                lane.acknowledged,
                dict(lane.dropped),
                len(lane.pending),
                lane.retried,
                lane.bytes,
                lane.last_failure,
            )
            for lane in delivery.lanes or ()
        ]
    )
    # Other threads go on meanwhile, so in this order: nothing is ended that has not started, nothing is over
    # that has not ended.
    dropped = dict(delivery.drops)
    handed_over = delivery.handed_over
    ended = delivery.taken + delivery.handed_over + delivery.queued + delivery.refused
    waiting = delivery.waiting
    if len(exporters) == 1:  # what it is just exporting is neither in the queue nor over
        over = handed_over + exporters[0].acknowledged + sum(exporters[0].dropped.values())
        waiting = max(0, ended - over - sum(dropped.values()))
    return Stats(
        started=delivery.started,
        ended=ended,
        sampled_out=delivery.sampled_out,
        waiting=waiting,
        recovered=delivery.recovered,
        gave_way=delivery.recorder.gave_way if delivery.recorder is not None else 0,
        dropped=dropped,
        flushes=Flushes(delivery.flushes, delivery.flush_total, delivery.flush_longest, delivery.flush_last),
        exporters=exporters,
        handed_over=handed_over,
    )
