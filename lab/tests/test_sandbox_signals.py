"""The parts of a box that signals make up, with processes that are only numbers."""

from __future__ import annotations

import pytest

from lambent_lab.sandbox import parts, signals
from lambent_lab.sandbox.signals import MarkedTree, SampledMemory, SignalFreezer

MB = 1 << 20


class Numbers(MarkedTree):
    """A tree whose processes are given: those that are found quickly, and those that lost their parent."""

    def __init__(self, *found: int) -> None:
        super().__init__("mark")
        self.found = list(found)
        self.orphans: list[int] = []

    def descendants(self) -> list[int]:
        return list(self.found)

    def pids(self) -> list[int]:
        return [*self.found, *self.orphans]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What was sent to whom."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(parts, "send", lambda pids, number: sent.extend((pid, number) for pid in pids))
    monkeypatch.setattr(parts, "send_kill", lambda pids: sent.extend((pid, 9) for pid in pids))
    monkeypatch.setattr(signals, "_stands", lambda pid: (pid, parts.STOP) in sent)
    return sent


def test_over_the_limit_the_largest_is_killed_and_the_next_one_only_when_it_has_gone(
    sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {1: 60 * MB, 2: 80 * MB, 3: 50 * MB}
    monkeypatch.setattr(signals, "_resident", sizes.__getitem__)
    monkeypatch.setattr(signals, "_proportional", sizes.__getitem__)
    tree = Numbers(1, 2, 3)
    memory = SampledMemory(tree, 100 * MB)
    memory.sample()
    memory.sample()
    assert (sent, memory.kills()) == ([(2, 9)], 1)
    tree.found = [1, 3]
    memory.sample()
    assert (sent, memory.kills()) == ([(2, 9), (1, 9)], 2)
    tree.found = [3]
    memory.sample()
    assert (memory.kills(), memory.peak()) == (2, 190 * MB)


def test_what_forked_processes_share_is_counted_once(
    sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_resident", lambda pid: 60 * MB)
    monkeypatch.setattr(signals, "_proportional", lambda pid: 35 * MB)
    memory = SampledMemory(Numbers(1, 2), 100 * MB)
    memory.sample()
    assert (sent, memory.peak()) == ([], 70 * MB)


def test_nothing_is_frozen_while_a_process_turns_up_that_was_not_stopped(sent: list[tuple[int, int]]) -> None:
    tree = Numbers(1)
    freezer = SignalFreezer(tree)
    freezer.begin()
    tree.found.append(2)  # forked between the list and the signal
    assert not freezer.frozen()
    tree.orphans.append(3)
    assert not freezer.frozen()
    assert freezer.frozen()
    assert sent == [(pid, parts.STOP) for pid in (1, 2, 3)]
    freezer.thaw()
    assert sent[3:] == [(pid, parts.CONTINUE) for pid in (1, 2, 3)]
