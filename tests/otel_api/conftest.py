"""Puts the root on the path, which a plain `pytest` does not: `tests` is a namespace there."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
