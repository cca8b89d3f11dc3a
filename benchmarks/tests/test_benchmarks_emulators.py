"""The comparison of emulators runs with both of them, and its verdicts follow from the values."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks import emulators
from benchmarks.harness.emulators import LabEmulator, RieEmulator, at_once, endurance, first, warm
from benchmarks.harness.rie import RieUnavailableError, binary

PYTHON = Path(sys.executable)


def test_rie_answers() -> None:
    try:
        binary()
    except RieUnavailableError as reason:
        pytest.skip(str(reason))
    with RieEmulator(PYTHON) as rie:
        assert first(rie) > 0
        assert len(warm(rie, 3, before=1)) == 3


def test_the_lab_answers_from_one_environment_a_new_one_and_several(tmp_path: Path) -> None:
    with LabEmulator(PYTHON, tmp_path, freeze=True) as lab, closing(lab.client()) as client:
        before = client.invoke()
        assert client.invoke() == before
        lab.renew(1)
        assert client.invoke() != before
        marks = endurance(lab, 20, lambda _: None)
        assert [mark["invocations"] for mark in marks] == list(range(2, 21, 2))
        many = at_once(lab, 3)
        assert (many["environments"], many["answers"]) == (3, 3)
        assert json.loads(before)["stream"]


def test_a_verdict_is_about_the_median_of_the_rounds() -> None:
    def one(rie: float, free: float, frozen: float) -> dict[str, dict[str, float]]:
        values = {emulators.RIE: rie, emulators.FREE: free, emulators.FROZEN: frozen}
        return {name: {"warm": value, "cold": value * 10} for name, value in values.items()}

    rows = {
        row["title"]: row for row in emulators.summary([one(1, 1.1, 1.5), one(2, 2.6, 2.2), one(1, 1.0, 3)])
    }
    assert rows["warm, not freezing, against RIE"]["median"] == pytest.approx(1.1)
    assert rows["warm, not freezing, against RIE"]["met"]
    assert rows["warm, above RIE"]["median"] == pytest.approx(0.5)
    assert not emulators.summary([one(1, 1.3, 1)])[3]["met"]
    content = {
        "summary": list(rows.values()),
        "endurance": [
            {"invocations": 10, "lab_mb": 30.0, "environment_mb": 20.0},
            {"invocations": 20, "lab_mb": 33.0, "environment_mb": 20.1},
        ],
        "at_once": {
            "environments": 9,
            "answers": 10,
            "all_running_after_s": 1,
            "lab_mb": 1,
            "environments_mb": 1,
        },
        "environments_wanted": 10,
    }
    verdicts = [verdict for _, _, verdict in emulators.lines(content) if verdict]
    assert [verdict.endswith("NOT met") for verdict in verdicts] == [False, False, False, True, False, True]
