"""What a gate holds a candidate to: the `[tool.lambent.gate]` table of pyproject.toml, checked.

Defaults are those of the quality gates that Lambda bundles of this family are held to: a cold start above
1000 ms, more than 100 MB on top of the base, or less than 90% success block; a warm invocation above 100 ms
warns. `false` switches a limit off. Names may be written with `-` or `_`. An unknown name is an error that
says which known one is nearest, so that a limit with a slip of the pen in it is not a limit that never bites.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import UsageError
from lambent_lab.measure.gate import decision
from lambent_lab.measure.shape import COLD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

METRICS = {
    "cold": "cold_ms",
    "init": "init_ms",
    "first": "first_ms",
    "warm": "warm_ms",
    "memory": "memory_mb",
    "cold-cpu": "cold_cpu_ms",
    "warm-cpu": "warm_cpu_ms",
    "peak-rss": "peak_rss_mb",
    "page-cache": "page_cache_mb",
}
"""What users call the metrics that can be gated."""

DEFAULT_METRICS = ("cold", "warm", "memory")
"""Gated where the target has them and nobody says which."""

COUNTS = ("modules", "exported-bytes", "package-bytes", "system-calls", "spans-made", "spans-delivered")
"""Gated without statistics: equal runs have equal counts."""

_ALWAYS = {"package-bytes": 64 * 1024}
"""What a count may grow by in any case, unless it is set: a package grows with every line of code."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How much a count may grow: by a share of the base's, or by so many; `most` is a limit of its own.

    Of a share and a number the larger one is allowed. All None: anything goes.
    """

    share: float | None = None
    more: int | None = None
    most: int | None = None

    def allowed(self, base: float) -> float | None:
        """The largest count that passes beside this one of the base; None when any does."""
        grown = [base + self.more] if self.more is not None else []
        if self.share is not None and base:  # a share of nothing holds nothing back
            grown.append(base * (1 + self.share))
        return max(grown, default=None)


@dataclass(frozen=True, slots=True)
class GateConfig:
    """The limits of a gate. Times in ms, memory in MB, shares as fractions of one; None is "no such limit".

    metrics: which are gated, None for those of `DEFAULT_METRICS` that the target has. counts: by the names of
    `COUNTS`; one that is missing may grow by max_regression.
    """

    max_regression: float = decision.MAX_REGRESSION
    metrics: tuple[str, ...] | None = None
    pairs: tuple[int, ...] = decision.LOOKS
    warm: int = 20
    memory: tuple[int, ...] | None = None
    cold_max_ms: float | None = 1000.0
    cold_warn_ms: float | None = None
    warm_max_ms: float | None = None
    warm_warn_ms: float | None = 100.0
    memory_overhead_max_mb: float | None = 100.0
    success_min: float | None = 0.9
    spans_lost_max: int | None = 0
    spans_missing_max: int | None = 0
    history: str | None = None
    history_tolerance: float = 0.2
    counts: Mapping[str, Growth] = field(default_factory=dict)

    def growth(self, count: str) -> Growth:
        """The limit of a count."""
        return self.counts.get(count, Growth(share=self.max_regression, more=_ALWAYS.get(count)))

    def metric_names(self) -> tuple[str, ...]:
        """The gated metrics as result files name them."""
        return tuple(METRICS[name] for name in self.metrics or DEFAULT_METRICS)

    def looks(self) -> tuple[int, ...]:
        """After how many pairs the question may be asked."""
        return looks_of(self.pairs, self.metrics)


def looks_of(pairs: Sequence[int], metrics: Sequence[str] | None) -> tuple[int, ...]:
    """After how many pairs the question may be asked. Who says how many pairs there are gets those."""
    cold = any(METRICS[name] in COLD for name in metrics or DEFAULT_METRICS)
    return (*pairs, *(decision.COLD_LOOKS if cold and tuple(pairs) == decision.LOOKS else ()))


def share(value: object) -> float:
    """A share as `5%`, `"5 %"` or 0.05. Raises ValueError."""
    text = str(value).strip()
    percent = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or number < 0:
        raise ValueError(f"{value!r} is not a share: write 5% (or 0.05)")
    if not percent and number >= 1:
        raise ValueError(f"{value!r} is not a share: write {number:g}% if that is meant")
    return number / 100 if percent else number


def _part(value: object) -> float:
    part = share(value)
    if part > 1:
        raise ValueError(f"{value!r} is more than all of them: no candidate could pass")
    return part


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value < math.inf):
        raise ValueError(f"{value!r} is not a number above 0")
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _optional(read: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is False else read(value)


def looks(value: object) -> tuple[int, ...]:
    """After how many pairs to look: a growing list, from 8 on. Raises ValueError."""
    listed = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in listed) or not listed:
        raise ValueError(f"{value!r} is not a list of numbers of pairs, as [10, 20, 40, 60]")
    found = tuple(listed)
    if found[0] < decision.MIN_PAIRS:
        raise ValueError(
            f"there is no 99% interval of fewer than {decision.MIN_PAIRS} pairs, and {found[0]} are asked for"
        )
    if list(found) != sorted(set(found)):
        raise ValueError(f"the numbers of pairs must grow, and {list(found)} do not")
    return found


def metrics(value: object) -> tuple[str, ...]:
    """The metrics to gate, each once. Raises ValueError that names the nearest known one."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not listed:
        raise ValueError(f'{value!r} is not a list of metrics, as ["cold", "warm"]')
    for name in listed:
        if name not in METRICS:
            raise ValueError(f"there is no metric {name!r}{_nearest(str(name), METRICS)}")
    return tuple(dict.fromkeys(listed))


def _sizes(value: object) -> tuple[int, ...]:
    listed = value if isinstance(value, list) else [value]
    for size in listed:
        if isinstance(size, bool) or not isinstance(size, int) or not 128 <= size <= 10240:
            raise ValueError(f"{size!r} is no memory size: Lambda has those from 128 to 10240 MB")
    if not listed:
        raise ValueError("there is no memory size in []")
    return tuple(sorted(set(listed)))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not the path of a file")
    return value


def _growth(value: object) -> Growth:
    if value is False:
        return Growth()
    if isinstance(value, dict):
        unknown = sorted(set(value) - {"growth", "max"})
        if unknown:
            raise ValueError(f"there is no {unknown[0]!r} in it{_nearest(unknown[0], ('growth', 'max'))}")
        grown = _growth(value["growth"]) if "growth" in value else Growth()
        return replace(grown, most=_whole(value["max"])) if "max" in value else grown
    if isinstance(value, int) and not isinstance(value, bool):
        return Growth(more=_whole(value))
    return Growth(share=share(value))


def _counts(value: object) -> dict[str, Growth]:
    if not isinstance(value, dict):
        raise ValueError(f'{value!r} is not a table, as counts = {{ modules = 0, package-bytes = "2%" }}')
    found: dict[str, Growth] = {}
    for key, each in value.items():
        name = key.replace("_", "-")
        if name not in COUNTS:
            raise ValueError(f"there is no count {key!r}{_nearest(name, COUNTS)}")
        try:
            found[name] = _growth(each)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    return found


_READ: dict[str, Callable[[object], Any]] = {
    "max_regression": share,
    "metrics": metrics,
    "pairs": looks,
    "warm": _whole,
    "memory": _sizes,
    "cold_max_ms": _optional(_positive),
    "cold_warn_ms": _optional(_positive),
    "warm_max_ms": _optional(_positive),
    "warm_warn_ms": _optional(_positive),
    "memory_overhead_max_mb": _optional(_positive),
    "success_min": _optional(_part),
    "spans_lost_max": _optional(_whole),
    "spans_missing_max": _optional(_whole),
    "history": _text,
    "history_tolerance": share,
    "counts": _counts,
}


def parse(table: Mapping[str, object], where: str = "[tool.lambent.gate]") -> GateConfig:
    """The limits of a table. Raises UsageError for what it cannot hold, and for what it does not know."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        read = _READ.get(name)
        if read is None:
            known = [each.replace("_", "-") for each in _READ]
            raise UsageError(sentence(f"{where} has no {key!r}{_nearest(key.replace('_', '-'), known)}"))
        if name in found:
            raise UsageError(f"{where} has {key!r} twice, once with - and once with _.")
        try:
            found[name] = read(value)
        except ValueError as error:
            raise UsageError(sentence(f"{where}, {key}: {error}")) from error
    return GateConfig(**found)


def load(path: Path) -> GateConfig:
    """The limits in a pyproject.toml; the usual ones when it has no such table. Raises UsageError."""
    try:
        document: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Could not read {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error
    for name in ("tool", "lambent", "gate"):
        document = document.get(name, {})
        if not isinstance(document, dict):
            raise UsageError(f"{path}: {name} is not a table.")
    return parse(document, f"{path}: [tool.lambent.gate]")


def find(folder: Path) -> Path | None:
    """The nearest pyproject.toml, from a folder upwards."""
    return next(
        (path for each in (folder, *folder.parents) if (path := each / "pyproject.toml").is_file()), None
    )


def as_json(config: GateConfig) -> dict[str, object]:
    """The limits as a result file keeps them."""
    found: dict[str, object] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        if each.name == "counts":
            value = {
                name: {key: getattr(limit, key) for key in ("share", "more", "most")}
                for name, limit in value.items()
            }
        found[each.name] = list(value) if isinstance(value, tuple) else value
    return found


def sentence(text: str) -> str:
    """An error as a sentence, which a question is already."""
    return text if text.endswith("?") else f"{text}."


def _nearest(name: str, known: object) -> str:
    names = list(known)  # type: ignore[call-overload]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f": did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
