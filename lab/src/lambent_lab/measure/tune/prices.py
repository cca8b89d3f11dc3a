"""What Lambda costs: the table in prices.json, with its date and source, and what an invocation comes to.

Rules
- An invocation costs its billed time, in whole milliseconds (init included, since August 2025), times the
  memory in GB (of 1,024 MB), times the price of a GB-second; and the price of a request.
- Prices are those on demand, of the first tier, without the free tier and without savings plans.
- A price that is not known is absent; it is not taken from another region.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lambent_lab.measure.results_load import PriceInfo

ARCHITECTURES = ("x86_64", "arm64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The prices of one region, in USD. gb_second: by architecture, those that are known."""

    region: str
    as_of: str
    source: str
    request: float
    gb_second: Mapping[str, float]

    def cost(self, architecture: str, memory_mb: int, billed_ms: float) -> float:
        """USD of one invocation that was billed so many milliseconds."""
        return self.request + billed_ms / 1000 * memory_mb / 1024 * self.gb_second[architecture]

    def info(self) -> PriceInfo:
        """What a result file says of it."""
        return {
            "as_of": self.as_of,
            "source": self.source,
            "region": self.region,
            "request": self.request,
            "gb_second": dict(self.gb_second),
        }


def load(region: str, file: Path | None = None) -> Prices:
    """The prices of a region, from our table or a file of the same form. Raises UsageError."""
    if file is None:
        text = resources.files("lambent_lab.measure.tune").joinpath("prices.json").read_text("utf-8")
    else:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"Could not read {file}: {error}.") from error
    try:
        return _read(json.loads(text), region)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{file or 'prices.json'} is no table of prices ({type(error).__name__}: {error}): it needs "
            '"as_of", "source" and "regions", each with "request" and "x86_64" or "arm64" in USD.'
        ) from error


def _read(table: Any, region: str) -> Prices:
    regions = table["regions"]
    if region not in regions:
        raise UsageError(
            f"No prices are known of {region!r}. Known are {', '.join(sorted(regions))}; or give --prices."
        )
    found = regions[region]
    prices = {name: float(found[name]) for name in ARCHITECTURES if name in found}
    if not prices:
        raise ValueError(f"{region} has no price of a GB-second")
    return Prices(
        region=region,
        as_of=str(table["as_of"]),
        source=str(table["source"]),
        request=float(found["request"]),
        gb_second=prices,
    )
