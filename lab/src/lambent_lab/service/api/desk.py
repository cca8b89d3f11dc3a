"""What all operations of the API work on, and how their lists are handed out in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent_lab.service import names
from lambent_lab.service.problems import invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lambent_lab.service.core import Core, Deployed

Parameters = dict[str, Any]
Document = dict[str, Any] | None

MAX_LISTED = 50


class Desk:
    """What the operations work on: the service, the layers that ARNs are mapped to, and the API's own URL."""

    def __init__(
        self,
        core: Core,
        *,
        layers: Mapping[str, Path] | None = None,
        on_line: Callable[[str], Callable[[str], None] | None] = lambda _: None,
    ) -> None:
        self.core = core
        self.layers = dict(layers or {})
        self.on_line = on_line
        self.url = ""

    def target(self, request: Parameters) -> tuple[Deployed, str | None]:
        """Return the function that a request names, and the qualifier."""
        reference = names.parse(request["FunctionName"], request.get("Qualifier"))
        return self.core.find(reference), reference.qualifier


def page(found: Sequence[Any], request: Parameters) -> tuple[Sequence[Any], dict[str, str]]:
    """Return the part of a list that a request asks for, and the marker of the next one."""
    marker = request.get("Marker") or "0"
    if not marker.isdecimal():
        raise invalid_parameter(f"The marker {marker!r} is none that the lab gave out.")
    start = int(marker)
    end = start + min(request.get("MaxItems") or MAX_LISTED, MAX_LISTED)
    return found[start:end], {"NextMarker": str(end)} if end < len(found) else {}
