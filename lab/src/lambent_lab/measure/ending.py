"""How a run ends before its end: Ctrl-C, being told to end, or a lab that breaks. What was measured is kept.

None of these is raised: a run that was cut short has a result file, which says so.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


UNDONE = "Interrupted before all was as it had been found."
"""What it comes to that the end of a run was cut short, too."""


@dataclass(slots=True)
class Ending:
    """What has cut a run short so far; of several errors the first is told."""

    interrupted: bool = False
    error: str | None = None

    @contextmanager
    def noted(self, *, interruption: str | None = None, usage: bool = True) -> Iterator[None]:
        """Note what ends the block, in place of raising it.

        interruption: the error that one comes to, where it leaves something undone; usage: whether a
        UsageError is noted as well, or raised.
        """
        try:
            yield
        except (KeyboardInterrupt, SystemExit):  # SystemExit: the process was told to end
            self.interrupted, self.error = True, self.error or interruption
        except LabError as trouble:
            if isinstance(trouble, UsageError) and not usage:
                raise
            self.error = self.error or str(trouble)
