"""What several of the lab's tests need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.function import FunctionSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def write_function(tmp_path: Path) -> Callable[..., FunctionSpec]:
    """Return what writes a module into a folder and describes it as a function."""

    def build(source: str, **options: Any) -> FunctionSpec:
        code = tmp_path / "code"
        code.mkdir(exist_ok=True)
        (code / "app.py").write_text(source)
        return FunctionSpec(**{"code": code, "handler": "app.handler", **options})

    return build
