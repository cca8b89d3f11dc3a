"""`lambent tune` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lambent_lab.service import Lab
from lambent_lab.service.testing import FakeInvocation, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def tune(folder: Path, *options: str, target: str = "code/app.handler") -> subprocess.CompletedProcess[str]:
    (folder / "code").mkdir()
    (folder / "code" / "app.py").write_text(
        "def handler(event, context):\n    return sum(i * i for i in range(150000))\n"
    )
    return subprocess.run(
        [
            sys.executable, "-c", "import sys; from lambent_lab.commands import main; sys.exit(main())",
            "tune", target, *options,
        ],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_more_memory_is_faster_and_the_table_says_so(tmp_path: Path) -> None:
    done = tune(tmp_path, "--memory", "128,1769", "--cold", "2", "--warm", "3", "--timeout", "30")
    assert done.returncode == 0, done.stderr
    section = json.loads((tmp_path / "tune-results.json").read_text())["tune"]
    small, large = section["sizes"]
    # 128 MB come with a fourteenth of the CPU time; much of that is left to a busy machine.
    assert small["warm_ms"]["median"] > 1.5 * large["warm_ms"]["median"]
    assert section["choices"]["x86_64"]["fastest"]["memory_mb"] == 1769
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:2] == ["1,769", "MB"] and "fastest" in line for line in lines)
    assert "There are no intervals" in " ".join(done.stdout.split())


def test_a_function_in_aws_is_tuned_and_given_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    world = World()

    async def work(invocation: FakeInvocation) -> None:
        environment = world.environments[-1]
        memory = environment.spec.memory_mb
        duration = 100 * 1024 / memory
        init = "\tInit Duration: 100.00 ms" if invocation.cold else ""
        invocation.log = (
            f"REPORT RequestId: {environment.calls[-1]['request_id']}\tDuration: {duration:.2f} ms"
            f"\tBilled Duration: {int(duration + (100 if init else 0))} ms\tMemory Size: {memory} MB"
            f"\tMax Memory Used: 40 MB{init}\t",
        )

    world.work = work
    with Lab(environment=world) as lab:
        function = lab.function("hello", code=tmp_path, handler="app.handler", memory=256, env={"OWN": "1"})
        done = tune(
            tmp_path, "--endpoint-url", lab.serve().url, "--memory", "128,1024", "--cold", "8", "--warm", "2",
            target="aws:hello",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (function.spec.memory_mb, function.spec.env) == (256, {"OWN": "1"})
    assert {each.spec.memory_mb for each in world.environments} == {128, 1024}
    section = json.loads((tmp_path / "tune-results.json").read_text())["tune"]
    assert section["architecture"] == "x86_64"
    small, large = section["sizes"]
    assert (small["warm_ms"]["median"], large["warm_ms"]["median"]) == (800, 100)
    assert small["billed_cold_ms"]["median"] == 900
    # As fast as it is large: the cost is the same but for the init, which is billed at its size.
    assert small["cost"]["x86_64"]["warm"] == large["cost"]["x86_64"]["warm"]
    assert section["choices"]["x86_64"]["cheapest"]["memory_mb"] == 128
    assert section["choices"]["x86_64"]["fastest"] == {"memory_mb": 1024, "ties": [], "proven": True}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--region", "mars-1"], "No prices are known of 'mars-1'"),
        (["--memory", "64"], "memory sizes from 128 to 10240"),
        (["--warm", "0"], "--warm 0 measures cold starts only"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    refused: Callable[..., str], options: list[str], message: str
) -> None:
    assert message in refused("tune", "code/app.handler", *options)
