"""What happens in the lab's event loop, on its way to whoever writes it down.

Rules
- Whoever tells something does not wait: neither for the writing nor for the thread that does it.
- It is written in order, some hundredths of a second later, and what came meanwhile along with it. A thread
  that woke up for every line would take its time from the invocations: both need the interpreter.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_S = 0.03
"""For how long is gathered what is written together."""


class Feed:
    """What is still to be written: callables, told by one thread and called by another."""

    def __init__(self) -> None:
        self._told: deque[Callable[[], None]] = deque()
        self._something = threading.Event()

    def tell(self, write: Callable[[], None]) -> None:
        """Have something written soon. For any thread."""
        self._told.append(write)
        if not self._something.is_set():
            self._something.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to write, and a little longer; tell whether there is."""
        if not self._something.wait(timeout_s):
            return False
        time.sleep(PAUSE_S)
        return True

    def write(self) -> None:
        """Write what there is now."""
        self._something.clear()  # first: what comes from here on is seen by the next `wait`
        for _ in range(len(self._told)):
            self._told.popleft()()
