"""Load: what users or arrivals at a rate find, latencies corrected for coordinated omission.

`calls` is one invocation, `loops` makes many of them, `figures` and `words` say what came of it; `collected`
adds up what several generators have seen.
"""

from __future__ import annotations

from lambent_lab.measure.load.running import LoadTest, content, run

__all__ = ["LoadTest", "content", "run"]
