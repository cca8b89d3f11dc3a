from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lambent_lab.commands.inputs import locate
from lambent_lab.errors import UsageError
from lambent_lab.measure.target import masked, masked_command, sides

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "hello"
    (folder / "pkg").mkdir(parents=True)
    (folder / "app.py").touch()
    (folder / "pkg" / "deep.py").touch()
    return folder


def test_the_default_baseline_is_the_same_bundle_switched_off(bundle: Path) -> None:
    candidate, baseline = sides(f"{bundle}/app.handler", None, {"A": "1"}, locate)
    assert (candidate.label, baseline.label) == ("traced", "untraced")
    assert (candidate.code, candidate.handler) == (baseline.code, baseline.handler)
    assert candidate.env == {"A": "1"}
    assert baseline.env == {"A": "1", "OTEL_SDK_DISABLED": "true"}
    assert baseline.switched_off


@pytest.mark.parametrize(
    ("variable", "label", "off"),
    [
        ("LAMBENT_DISABLED=true", "untraced", True),
        ("OTEL_SDK_DISABLED=TRUE", "untraced", True),
        ("OTEL_SDK_DISABLED=false", "baseline", False),
        ("MODE=", "baseline", False),
    ],
)
def test_a_variable_as_baseline(bundle: Path, variable: str, label: str, *, off: bool) -> None:
    _, baseline = sides(f"{bundle}/app.handler", variable, {}, locate)
    name, _, value = variable.partition("=")
    assert baseline.env == {name: value}
    assert baseline.switch == variable
    assert baseline.label == label
    assert baseline.switched_off is off


def test_another_bundle_as_baseline(bundle: Path) -> None:
    candidate, baseline = sides(f"{bundle}/app.handler", f"{bundle}/pkg.deep.handler", {"A": "1"}, locate)
    assert (candidate.label, baseline.label) == ("candidate", "baseline")
    assert baseline.handler == "pkg.deep.handler"
    assert baseline.env == {"A": "1"}
    assert baseline.switch is None
    assert not baseline.switched_off


def test_a_switch_that_both_sides_have_is_refused(bundle: Path) -> None:
    with pytest.raises(UsageError, match="Both sides would have OTEL_SDK_DISABLED=true"):
        sides(f"{bundle}/app.handler", None, {"OTEL_SDK_DISABLED": "true"}, locate)


def test_secrets_are_not_kept() -> None:
    env = {"HH_API_KEY": "sesame", "OTEL_EXPORTER_OTLP_HEADERS": "x=sesame", "MODE": "sync"}
    assert masked(env) == {"HH_API_KEY": "***", "OTEL_EXPORTER_OTLP_HEADERS": "***", "MODE": "sync"}
    command = [
        "lambent",
        "bench",
        "--env",
        "HH_API_KEY=sesame\nopen",
        "--env=A_TOKEN=sesame",
        "--env",
        "MODE=sync",
    ]
    shown = masked_command(command)
    assert "sesame" not in str(shown)
    assert shown == ["lambent", "bench", "--env", "HH_API_KEY=***", "--env=A_TOKEN=***", "--env", "MODE=sync"]
