"""Invocations that have been answered and are not over: without extensions they will be in no time.

Whoever finds no room may wait for one of these, instead of being refused or given a new environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambent_lab.service.fleet import Fleet
    from lambent_lab.service.pool import Pool


class Settling:
    """Counts one invocation."""

    def __init__(self, fleet: Fleet, pool: Pool) -> None:
        self._fleet = fleet
        self._pool = pool
        self._counted = False

    def wrap(
        self, on_answer: Callable[[bytes, str | None], None] | None
    ) -> Callable[[bytes, str | None], None]:
        """Return what is called with the answer."""

        def answered(payload: bytes, error: str | None) -> None:
            if not self._pool.spec.extensions:
                self._counted = True
                self._fleet.answered += 1
                self._pool.answered += 1
            if on_answer is not None:
                on_answer(payload, error)

        return answered

    def over(self) -> None:
        """The invocation is over."""
        if self._counted:
            self._fleet.answered -= 1
            self._pool.answered -= 1
        self._fleet.freed()
