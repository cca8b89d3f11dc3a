"""The pytest fixture `lab`: a local Lambda for tests.

pytest loads this module in every run, so it imports nothing but pytest until a test asks for a lab.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent_lab import Lab

IDLE_S = 60.0
"""An environment that no test has used for so long is ended, so that a long run does not collect them."""


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A local Lambda, the same as `with lambent_lab.Lab() as lab`.

    It lives as long as the test session. A function belongs to whoever makes it: two tests that make one of
    the same name do not share environments. Make it in a fixture of a wider scope to share warm ones.
    """
    from lambent_lab import Lab

    with Lab(idle_timeout=IDLE_S) as opened:
        yield opened
