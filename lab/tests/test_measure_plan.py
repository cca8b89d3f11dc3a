from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lambent_lab.measure.plan import default_aa, schedule

sizes = st.lists(st.sampled_from([128, 256, 512, 1024]), min_size=1, unique=True)


@given(st.integers(0, 2**32), sizes, st.integers(1, 30), st.integers(0, 8))
def test_every_size_gets_all_its_pairs_numbered_in_order(
    seed: int, memory: list[int], pairs: int, aa: int
) -> None:
    planned = schedule(seed=seed, memory_mb=memory, pairs=pairs, aa=aa)
    assert [pair.number for pair in planned] == list(range(len(planned)))
    counted = Counter((pair.kind, pair.memory_mb) for pair in planned)
    assert counted == {
        key: n for size in memory for key, n in ((("ab", size), pairs), (("aa", size), aa)) if n
    }


@given(st.integers(0, 2**32), sizes, st.integers(1, 30), st.integers(0, 8))
def test_after_any_pair_the_sizes_have_been_treated_alike(
    seed: int, memory: list[int], pairs: int, aa: int
) -> None:
    seen: Counter[int] = Counter(dict.fromkeys(memory, 0))
    for pair in schedule(seed=seed, memory_mb=memory, pairs=pairs, aa=aa):
        seen[pair.memory_mb] += 1
        assert max(seen.values()) - min(seen.values()) <= 1


@given(
    st.integers(0, 2**32),
    sizes,
    st.lists(st.sampled_from(["3.11", "3.12", "3.13"]), min_size=1, unique=True),
    st.lists(st.sampled_from(["sync", "async", "other"]), min_size=1, unique=True),
    st.integers(1, 8),
    st.integers(0, 4),
)
def test_a_block_has_one_of_each_side_and_every_place_gets_its_blocks(
    seed: int, memory: list[int], pythons: list[str], variants: list[str], pairs: int, aa: int
) -> None:
    planned = schedule(seed=seed, memory_mb=memory, pairs=pairs, aa=aa, pythons=pythons, variants=variants)
    counted: Counter[tuple[str, int, str | None]] = Counter()
    seen: Counter[tuple[int, str | None]] = Counter()
    for block in planned:
        counted[block.kind, block.memory_mb, block.python] += 1
        seen[block.memory_mb, block.python] += 1
        expected = ["baseline", "baseline"] if block.kind == "aa" else [*variants, "baseline"]
        assert sorted(block.order) == sorted(expected)
        rounds = [seen[size, python] for size in memory for python in pythons]
        assert max(rounds) - min(rounds) <= 1
    numbers = {"ab": pairs, "aa": aa}
    assert counted == {
        (kind, size, python): number
        for kind, number in numbers.items()
        if number
        for size in memory
        for python in pythons
    }


def test_the_order_within_pairs_is_random_and_reproducible() -> None:
    planned = schedule(seed=7, memory_mb=[128], pairs=200, aa=0)
    first = Counter(pair.order[0] for pair in planned)
    assert all(set(pair.order) == {"candidate", "baseline"} for pair in planned)
    assert 70 < first["candidate"] < 130
    assert planned == schedule(seed=7, memory_mb=[128], pairs=200, aa=0)
    assert planned != schedule(seed=8, memory_mb=[128], pairs=200, aa=0)


def test_aa_pairs_are_the_baseline_twice_and_spread_over_the_run() -> None:
    planned = schedule(seed=1, memory_mb=[128], pairs=9, aa=3)
    places = [pair.number for pair in planned if pair.kind == "aa"]
    assert all(pair.order == ("baseline", "baseline") for pair in planned if pair.kind == "aa")
    assert [place * 3 // 12 for place in places] == [0, 1, 2]


def test_a_handful_of_pairs_has_no_aa_pairs() -> None:
    assert default_aa(7) == 0
    assert default_aa(8) == 3
