"""Functions that do not run in the lab: in AWS, behind a URL in RIE's form, in a container.

Each kind is one module with one class that has `invoke`, `stop` and `box` as the lab's own functions have.
What cannot be measured there is absent. Their packages are imported when such a target is used.
"""

from __future__ import annotations

from lambent_lab.measure.remote.kinds import Remote, kind_of, open_remote

__all__ = ["Remote", "kind_of", "open_remote"]
