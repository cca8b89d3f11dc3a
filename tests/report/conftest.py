"""Puts the repository's root on the path: the browser is one of its tools."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
