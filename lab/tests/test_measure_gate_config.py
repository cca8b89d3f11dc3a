from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from lambent_lab.errors import UsageError
from lambent_lab.measure.gate import config as gate_config
from lambent_lab.measure.gate.config import (
    COUNTS,
    DEFAULT_METRICS,
    GateConfig,
    Growth,
    as_json,
    find,
    load,
    parse,
    share,
)


def test_the_usual_limits_are_those_of_the_quality_gates() -> None:
    usual = GateConfig()
    assert usual.max_regression == 0.05
    assert (usual.cold_max_ms, usual.warm_warn_ms, usual.memory_overhead_max_mb) == (1000, 100, 100)
    assert (usual.success_min, usual.history_tolerance) == (0.9, 0.2)
    assert usual.pairs == (10, 20, 40, 60)
    assert usual.metric_names() == ("cold_ms", "warm_ms", "memory_mb")


def test_a_table_changes_them(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        """
[tool.lambent.gate]
max-regression = "3%"
metrics = ["cold", "warm-cpu"]
pairs = [12, 30]
warm = 5
memory = [512, 256]
cold_max_ms = 500
warm-warn-ms = false
success-min = "95%"
history = "main.json"

[tool.lambent.gate.counts]
modules = 0
package-bytes = "2%"
system-calls = false
exported-bytes = { growth = "10%", max = 100_000 }
"""
    )
    found = load(path)
    assert found.max_regression == pytest.approx(0.03)
    assert found.metric_names() == ("cold_ms", "warm_cpu_ms")
    assert (found.pairs, found.warm, found.memory) == ((12, 30), 5, (256, 512))
    assert (found.cold_max_ms, found.warm_warn_ms, found.success_min) == (500, None, 0.95)
    assert found.history == "main.json"
    assert found.growth("modules") == Growth(more=0)
    assert found.growth("package-bytes").allowed(1000) == pytest.approx(1020)
    assert found.growth("system-calls").allowed(10) is None
    assert found.growth("exported-bytes") == Growth(share=0.1, most=100_000)
    assert found.growth("spans-made").allowed(100) == pytest.approx(103)
    json.dumps(as_json(found))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max-regresion = 0.1", "did you mean 'max-regression'"),
        ("cold_max = 900", "did you mean 'cold-max-ms'"),
        ("xyzzy = 1", "there are max-regression, metrics"),
        ('metrics = ["wram"]', "did you mean 'warm'"),
        ("metrics = []", "is not a list of metrics"),
        ("counts = { module = 0 }", "did you mean 'modules'"),
        ("counts = { modules = -1 }", "modules: -1"),
        ("counts = { modules = { grow = 1 } }", "did you mean 'growth'"),
        ("counts = 3", "is not a table"),
        ("max-regression = 5", "write 5%"),
        ('max-regression = "many"', "is not a share"),
        ("max-regression = true", "is not a share"),
        ("max-regression = -0.1", "is not a share"),
        ('success-min = "190%"', "more than all of them"),
        ("pairs = [5, 10]", "fewer than 8"),
        ("pairs = [20, 10]", "must grow"),
        ("pairs = 'ten'", "list of numbers"),
        ("memory = 64", "from 128 to 10240"),
        ("cold-max-ms = 'fast'", "not a number above 0"),
        ("cold-max-ms = true", "not a number above 0"),
        ("warm = 1.5", "not a whole number"),
        ("history = 3", "path of a file"),
        ("max-regression = 0.1\nmax_regression = 0.1", "twice"),
    ],
)
def test_what_it_cannot_hold_is_an_error_that_helps(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[tool.lambent.gate]\n{text}\n")
    with pytest.raises(UsageError) as raised:
        load(path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not str(raised.value).endswith("?.")


@pytest.mark.parametrize("text", ["", "[tool.ruff]", "[tool.lambent]"])
def test_a_file_without_the_table_leaves_the_usual(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert load(tmp_path / "pyproject.toml") == GateConfig()


@pytest.mark.parametrize(("text", "said"), [("[tool", "not TOML"), ("tool = 3", "not a table")])
def test_a_file_that_is_not_toml_is_said(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        load(tmp_path / "pyproject.toml")
    with pytest.raises(UsageError, match="Could not read"):
        load(tmp_path / "absent.toml")


def test_it_is_found_upwards(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    assert find(inner) == tmp_path / "pyproject.toml"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("5%", 0.05), (" 5 % ", 0.05), ("0.05", 0.05), (0.05, 0.05), (0, 0), ("120%", 1.2)],
)
def test_shares(value: object, expected: float) -> None:
    assert share(value) == pytest.approx(expected)


def test_every_metric_has_a_name_of_its_own() -> None:
    assert len(set(gate_config.METRICS.values())) == len(gate_config.METRICS)


def test_the_guide_has_every_setting_with_its_usual_value() -> None:
    """But for the counts and the history, which have examples."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "gate.md").read_text()
    [text] = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    table = tomllib.loads(text)["tool"]["lambent"]["gate"]
    usual = as_json(GateConfig())
    assert {name.replace("-", "_") for name in table} == set(usual)
    assert set(table["counts"]) == set(COUNTS)
    found = as_json(parse(table))
    told = {"counts", "history", "memory", "metrics"}
    assert {name: found[name] for name in usual if name not in told} == {
        name: usual[name] for name in usual if name not in told
    }
    assert table["metrics"] == list(DEFAULT_METRICS)
