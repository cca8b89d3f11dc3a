"""Measuring in the lab: pairs of fresh environments, exact intervals, every raw value kept."""

from __future__ import annotations

from lambent_lab.measure.bench import Benchmark, Progress, exit_code, run
from lambent_lab.measure.results import SCHEMA, Results, dumps, loads, read

__all__ = ["SCHEMA", "Benchmark", "Progress", "Results", "dumps", "exit_code", "loads", "read", "run"]
