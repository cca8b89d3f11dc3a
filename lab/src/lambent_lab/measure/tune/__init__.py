"""Tuning: memory sizes against time and cost, with the prices of a date."""

from __future__ import annotations

from lambent_lab.measure.tune.running import Tune, run

__all__ = ["Tune", "run"]
