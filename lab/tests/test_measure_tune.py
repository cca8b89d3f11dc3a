"""Tuning: prices, costs, what is chosen and what ties, with a lab that runs nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import dumps, exit_code, loads, tune
from lambent_lab.measure.summary import figure
from lambent_lab.measure.target import Target
from lambent_lab.measure.testing import FakeFunction, FakeLab, FakeResult
from lambent_lab.measure.tune.prices import ARCHITECTURES, load
from lambent_lab.measure.tune.summary import choose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# -- prices


def test_the_prices_are_those_of_aws() -> None:
    prices = load("us-east-1")
    assert prices.as_of == "2026-09-19"
    # AWS's own example: 128 MB for 1 ms is $0.0000000021 on x86 and $0.0000000017 on Arm.
    assert prices.cost("x86_64", 128, 1) - prices.request == pytest.approx(2.1e-9, rel=0.02)
    assert prices.cost("arm64", 128, 1) - prices.request == pytest.approx(1.7e-9, rel=0.02)
    # 3 million requests of 120 ms at 1,536 MB: 540,000 GB-s, $9.00, and $0.60 for the requests.
    assert 3e6 * prices.cost("x86_64", 1536, 120) == pytest.approx(9.60, abs=0.01)
    assert load("ap-east-1").gb_second["x86_64"] > prices.gb_second["x86_64"]


def test_a_price_that_is_not_known_is_absent() -> None:
    assert set(load("me-central-1").gb_second) == {"x86_64"}
    with pytest.raises(UsageError, match="No prices are known of 'mars-1'"):
        load("mars-1")


def test_prices_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    table = {
        "as_of": "2030-01-01",
        "source": "a contract",
        "regions": {"here": {"x86_64": 1.0, "request": 0.5}},
    }
    file.write_text(json.dumps(table))
    assert load("here", file).cost("x86_64", 2048, 500) == 1.5
    for text in ("", "{}", '{"regions": {"here": {}}}', '{"regions": 1}', "\udcff"):
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(UsageError, match=r"prices\.json"):
            load("here", file)


# -- choosing


def test_sizes_tie_when_their_intervals_overlap() -> None:
    fast, same, slow = [1.0 + i / 100 for i in range(10)], [1.05 + i / 100 for i in range(10)], [9.0] * 10
    assert choose({128: figure(slow), 256: figure(same), 512: figure(fast)}) == {
        "memory_mb": 512,
        "ties": [256],
        "proven": True,
    }
    few = choose({128: figure([2.0]), 256: figure([1.0])})
    assert few == {"memory_mb": 256, "ties": [], "proven": False}
    assert choose({128: None}) == {"memory_mb": None, "ties": [], "proven": False}
    # Of two that are equal, the smaller one.
    assert choose({512: figure(slow), 256: figure(slow)})["memory_mb"] == 256


# -- a run


def run(
    tmp_path: Path,
    change: Callable[[FakeFunction, int, int, FakeResult], None] | None = None,
    sizes: tuple[int, ...] = (128, 512, 1769, 3008),
    **options: Any,
) -> Any:
    lab = FakeLab(change=change)
    target = Target(text="app/app.handler", code=tmp_path, handler="app.handler", label="candidate")
    plan = tune.Tune(
        target=target,
        prices=load(options.pop("region", "us-east-1")),
        architectures=ARCHITECTURES,
        memory_mb=sizes,
        **{"rounds": 10, "warm": 10, "seed": 3, **options},
    )
    made = {size: lab.function(f"tune-{size}", code=tmp_path, handler="h", memory=size) for size in sizes}
    return tune.run(plan, made)


def test_every_size_has_times_costs_and_intervals(tmp_path: Path) -> None:
    results = run(tmp_path)
    section = results["tune"]
    assert [size["memory_mb"] for size in section["sizes"]] == [128, 512, 1769, 3008]
    for size in section["sizes"]:
        assert (size["environments"], size["invocations"], size["failed"]) == (10, 110, 0)
        for name in ("cold_ms", "warm_ms", "mixed_ms", "billed_cold_ms", "billed_warm_ms"):
            assert size[name]["n"] == 10
            assert size[name]["interval"] is not None
        warm = size["cost"]["x86_64"]["warm"]["median"]
        billed = size["billed_warm_ms"]["median"]
        gb = size["memory_mb"] / 1024
        assert warm == pytest.approx(1e6 * (2e-7 + billed / 1000 * gb * 0.0000166667))
        assert size["cost"]["arm64"]["warm"]["median"] < warm
        # The init is billed.
        assert size["billed_cold_ms"]["median"] > 90
    assert {size["cost"]["x86_64"]["assumed"], section["sizes"][0]["cost"]["arm64"]["assumed"]} == {
        True,
        False,
    }
    assert section["choices"]["x86_64"]["fastest"]["memory_mb"] in {1769, 3008}
    assert exit_code(results) == 0
    assert loads(dumps(results)) == json.loads(dumps(results))
    assert "cheapest" in section["headline"]
    assert "as of 2026-09-19" in section["conclusion"][-1]


def test_the_mix_of_cold_and_warm_is_what_was_asked_for(tmp_path: Path) -> None:
    cold = run(tmp_path, cold_share=1.0)["tune"]["sizes"][0]
    warm = run(tmp_path, cold_share=0.0)["tune"]["sizes"][0]
    half = run(tmp_path, cold_share=0.5)["tune"]["sizes"][0]
    assert cold["mixed_ms"] == cold["cold_ms"]
    assert warm["mixed_ms"]["median"] == warm["warm_ms"]["median"]
    assert warm["mixed_ms"]["median"] < half["mixed_ms"]["median"] < cold["mixed_ms"]["median"]
    assert run(tmp_path, warm=0, cold_share=1.0)["tune"]["choices"]["arm64"]["cheapest"]["memory_mb"]


def test_what_is_balanced_follows_the_weight(tmp_path: Path) -> None:
    def heavy(function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
        from dataclasses import replace

        duration = result.report.duration_ms * 100
        result.report = replace(result.report, duration_ms=duration, billed_ms=int(duration) + 1)

    time = run(tmp_path, heavy, weight=0.0)["tune"]["choices"]["x86_64"]
    cost = run(tmp_path, heavy, weight=1.0)["tune"]["choices"]["x86_64"]
    assert time["balanced"] == time["fastest"]
    assert cost["balanced"] == cost["cheapest"]


def test_a_size_at_which_it_fails_is_never_chosen(tmp_path: Path) -> None:
    def fail(function: FakeFunction, _environment: int, index: int, result: FakeResult) -> None:
        if function.memory == 3008 and index == 5:
            result.status, result.error = "timeout", "Sandbox.Timedout"
        if function.memory == 128:
            result.status, result.error = "error", "Runtime.OutOfMemory"

    results = run(tmp_path, fail)
    section = results["tune"]
    small, *_, large = section["sizes"]
    assert (small["environments"], small["mixed_ms"], large["failed"]) == (0, None, 10)
    for choices in section["choices"].values():
        for choice in choices.values():
            assert choice["memory_mb"] in {512, 1769}
            assert not {128, 3008} & set(choice["ties"])
    texts = [warning["text"] for warning in results["warnings"] if warning["severity"] == "failure"]
    assert any("At 128 MB the function does not work" in text and "OutOfMemory" in text for text in texts)
    assert any("10 of 110 invocations at 3008 MB failed" in text for text in texts)
    assert exit_code(results) == 1


def test_a_function_that_works_nowhere_has_no_figure(tmp_path: Path) -> None:
    def fail(_function: FakeFunction, _environment: int, _index: int, result: FakeResult) -> None:
        result.status, result.error = "error", "Runtime.ImportModuleError"

    results = run(tmp_path, fail)
    assert "failed at every size" in results["error"]
    assert results["tune"]["headline"].startswith("No memory size was measured")
    assert exit_code(results) == 1


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), LabError("no box")])
def test_what_was_measured_until_it_ended_is_kept(tmp_path: Path, trouble: BaseException) -> None:
    def stop(_function: FakeFunction, environment: int, _index: int, _result: FakeResult) -> None:
        if environment >= 20:
            raise trouble

    results = run(tmp_path, stop)
    section = results["tune"]
    assert sum(size["environments"] for size in section["sizes"]) >= 16
    assert exit_code(results) == (130 if isinstance(trouble, KeyboardInterrupt) else 1)
    assert section["choices"]["x86_64"]["fastest"]["proven"] is False


def test_too_few_environments_show_nothing(tmp_path: Path) -> None:
    results = run(tmp_path, rounds=3)
    assert "(not proven: too few environments)" in results["tune"]["headline"]
    assert any(warning["code"] == "few" for warning in results["warnings"])


def test_an_architecture_without_a_price_has_no_cost(tmp_path: Path) -> None:
    section = run(tmp_path, region="me-central-1")["tune"]
    assert set(section["choices"]) == {"x86_64"}
    assert set(section["sizes"][0]["cost"]) == {"x86_64"}
