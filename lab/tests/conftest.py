"""What several of the lab's tests need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from lambent_lab.function import FunctionSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# As the SDK's: a machine that is busy with other tests is no failure.
settings.register_profile("lab", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.load_profile("lab")


@pytest.fixture
def write_function(tmp_path: Path) -> Callable[..., FunctionSpec]:
    """Return what writes a module into a folder and describes it as a function."""

    def build(source: str, **options: Any) -> FunctionSpec:
        code = tmp_path / "code"
        code.mkdir(exist_ok=True)
        (code / "app.py").write_text(source)
        return FunctionSpec(**{"code": code, "handler": "app.handler", **options})

    return build
