from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from benchmarks import gates

from lambent_lab.measure import machine

if TYPE_CHECKING:
    from pathlib import Path

AA, SLOWER = gates.EXPERIMENTS[0], gates.EXPERIMENTS[2]


def outcome(experiment: str, verdict: str, *, found: bool) -> gates.Outcome:
    return {
        "experiment": experiment,
        "seed": 1,
        "verdict": verdict,
        "found": found,
        "pairs": 10,
        "seconds": 5.0,
        "reason": "Because\nof this.",
        "ratios": {"warm_ms": 1.01},
    }


def test_one_fail_of_a_copy_breaks_the_promise() -> None:
    good = [outcome("aa", "PASS", found=True)] * 30 + [outcome("aa", "INCONCLUSIVE", found=False)] * 10
    assert gates.held(AA, good)
    assert not gates.held(AA, [*good, outcome("aa", "FAIL", found=False)])
    assert not gates.held(AA, [outcome("aa", "INCONCLUSIVE", found=False)] * 40)
    assert not gates.held(AA, [])


def test_one_of_twenty_slower_ones_may_stay_open() -> None:
    fails = [outcome("slower", "FAIL", found=True)]
    open_ = [outcome("slower", "INCONCLUSIVE", found=False)]
    assert gates.held(SLOWER, fails * 19 + open_)
    assert not gates.held(SLOWER, fails * 18 + open_ * 2)
    assert not gates.held(SLOWER, [*fails * 39, outcome("slower", "PASS", found=False)])


def test_the_page_says_where_and_when() -> None:
    document: dict[str, object] = {
        "command": "python benchmarks/gates.py --doc",
        "started": "2026-01-02T03:04:05+00:00",
        "machine": machine.describe(),
        "load": [[0.1, 0.2, 0.3], None],
        "outcomes": [outcome("aa", "PASS", found=True), outcome("slower", "FAIL", found=True)],
    }
    page = gates.page(document)
    assert "Measured 2026-01-02 03:04 UTC on " in page
    assert "| A function against a copy of itself | 1 | 1 | 0 | 0 | 1 | 10 | 5 | yes |" in page
    assert "- `slower`, FAIL: Because of this." in page


def test_an_unknown_experiment_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gates.main(["faster"])
    assert "there are aa, aa-warm, slower, import, spans" in capsys.readouterr().err


def test_a_lost_span_is_found(tmp_path: Path) -> None:
    """The smallest of the experiments, in the real lab."""
    assert gates.main(["spans", "--gates", "1", "--output", str(tmp_path / "gates.json")]) == 0
    [found] = json.loads((tmp_path / "gates.json").read_bytes())["outcomes"]
    assert found["verdict"] == "FAIL"
    assert "were not received" in found["reason"]
