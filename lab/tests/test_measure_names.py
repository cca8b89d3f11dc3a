"""What `lambent_lab.measure` offers, and that asking for it loads no more than it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lambent_lab import measure


def test_every_name_is_there_and_listed() -> None:
    assert sorted(measure.__all__) == sorted(measure._HOMES)
    for name in measure.__all__:
        found = getattr(measure, name)
        assert found is not None
        assert getattr(found, "__name__", name) == name
    assert set(measure.__all__) <= set(dir(measure))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'PerformanceTseter'"):
        _ = measure.PerformanceTseter


def test_the_package_alone_loads_none_of_its_modules() -> None:
    code = (
        "import sys, lambent_lab.measure\n"
        "print(*[m for m in sys.modules if m.startswith(('lambent_lab.measure.', 'psutil', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
