"""The soak: very many invocations in one environment a side, and whether anything grows with them."""

from __future__ import annotations

from lambent_lab.measure.soak.running import Soak, run

__all__ = ["Soak", "run"]
