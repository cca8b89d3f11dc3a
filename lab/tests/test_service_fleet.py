"""Scaling: who serves what, who makes room, who is ended when. With environments that run nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.errors import LabError
from lambent_lab.function import FunctionSpec
from lambent_lab.service.core import Call, Core
from lambent_lab.service.problems import ServiceError
from lambent_lab.service.testing import FakeInvocation, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lambent_lab.service.core import Deployed

CALL = Call(payload=b"{}")
PATIENCE_S = 30


class Scene:
    """A core with one function, whose invocations wait for `go`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.world = World()
        self.core = Core(self.world)
        self.go = asyncio.Event()
        self.entered = 0
        self.world.work = self._wait
        self.deployed = self.deploy("f")

    def deploy(self, name: str, **options: Any) -> Deployed:
        return self.core.deploy(FunctionSpec(name=name, code=self.path, handler="app.handler", **options))

    async def _wait(self, _invocation: FakeInvocation) -> None:
        self.entered += 1
        await self.go.wait()

    async def begin(self, count: int, deployed: Deployed | None = None) -> list[asyncio.Task[Any]]:
        until = self.entered + count
        tasks = [asyncio.create_task(self.core.invoke(deployed or self.deployed, CALL)) for _ in range(count)]
        await self.until(lambda: self.entered >= until)
        return tasks

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.001)

    @property
    def closed(self) -> int:
        return sum(environment.closed > 0 for environment in self.world.environments)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.go.set()
    await made.core.close()
    assert made.core.fleet.alive == 0
    assert made.closed == len(made.world.environments)


async def test_each_has_its_own_environment_and_the_last_used_one_is_next(scene: Scene) -> None:
    tasks = await scene.begin(3)
    assert len(scene.world.environments) == 3
    scene.go.set()
    await asyncio.gather(*tasks)
    for _ in range(5):
        await scene.core.invoke(scene.deployed, CALL)
    assert sorted(environment.invocations for environment in scene.world.environments) == [1, 1, 6]


async def test_only_a_few_begin_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.core.fleet._gate = asyncio.Semaphore(3)
    scene.world.init_seconds = 0.01
    scene.go.set()
    await asyncio.gather(*(scene.core.invoke(scene.deployed, CALL) for _ in range(12)))
    assert scene.world.most_starting <= 3
    await scene.core.close()


async def test_reserved_concurrency_is_a_limit_and_a_share(scene: Scene) -> None:
    scene.core.reserve(scene.deployed, 2)
    tasks = await scene.begin(2)
    with pytest.raises(ServiceError) as caught:
        await scene.core.invoke(scene.deployed, CALL)
    assert (caught.value.status, caught.value.reason) == (
        429, "ReservedFunctionConcurrentInvocationLimitExceeded",
    )  # fmt: skip
    assert scene.core.unreserved == 998
    scene.go.set()
    await asyncio.gather(*tasks)
    await scene.core.invoke(scene.deployed, CALL)
    scene.core.reserve(scene.deployed, 0)
    with pytest.raises(ServiceError, match="Rate Exceeded"):
        await scene.core.invoke(scene.deployed, CALL)
    with pytest.raises(ServiceError, match=r"minimum value of \[100\]"):
        scene.core.reserve(scene.deployed, 901)


async def test_the_accounts_limit_counts_for_all_without_a_reservation(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.core.fleet.limit = 3
    other = scene.deploy("g")
    scene.core.reserve(other, 1)
    tasks = await scene.begin(2)
    with pytest.raises(ServiceError) as caught:
        await scene.core.invoke(scene.deployed, CALL)
    assert caught.value.reason == "ConcurrentInvocationLimitExceeded"
    tasks += await scene.begin(1, other)
    scene.go.set()
    await asyncio.gather(*tasks)
    await scene.core.close()


async def test_the_one_idle_for_longest_makes_room(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.core.fleet.limit = 2
    scene.go.set()
    first, second, third = scene.deployed, scene.deploy("g"), scene.deploy("h")
    for deployed in (first, second, third):
        await scene.core.invoke(deployed, CALL)
    assert [environment.closed for environment in scene.world.environments] == [1, 0, 0]
    await scene.core.invoke(second, CALL)
    assert scene.world.environments[1].invocations == 2
    await scene.core.close()


async def test_one_that_is_ending_makes_room_as_well(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.core.fleet.limit = 1
    scene.go.set()
    other = scene.deploy("g")
    await scene.core.invoke(scene.deployed, CALL)
    scene.world.close_seconds = 0.05
    scene.core.fleet.reap(float("inf"))
    await scene.core.invoke(other, CALL)
    assert [environment.closed for environment in scene.world.environments] == [1, 0]
    await scene.core.close()


async def test_idle_ones_are_ended_and_busy_ones_are_not(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    now = [0.0]
    scene.core.fleet.clock = lambda: now[0]
    task = (await scene.begin(1))[0]
    scene.go.set()
    await task
    scene.go.clear()
    await scene.begin(1)  # in the first environment
    other = await scene.begin(1)
    scene.go.set()
    await asyncio.gather(*other)
    now[0] = 100.0
    scene.go.clear()
    busy = await scene.begin(1)
    scene.core.fleet.reap(50.0)
    await scene.until(lambda: scene.closed == 1)
    assert scene.core.fleet.alive == 1
    scene.go.set()
    await asyncio.gather(*busy)
    await scene.core.close()


async def test_the_lab_looks_for_idle_ones_itself(tmp_path: Path) -> None:
    world = World()
    core = Core(world, idle_s=0.05)
    core.fleet.watch_idle()
    deployed = core.deploy(FunctionSpec(name="f", code=tmp_path, handler="app.handler"))
    await core.invoke(deployed, CALL)
    async with asyncio.timeout(PATIENCE_S):
        while core.fleet.alive:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert world.environments[0].closed == 1
    await core.close()


async def test_a_change_retires_what_runs(scene: Scene) -> None:
    tasks = await scene.begin(1)
    scene.core.change(scene.deployed, about={"Description": "only words"})
    assert len(scene.deployed.pools()) == 1
    from dataclasses import replace

    scene.core.change(scene.deployed, spec=replace(scene.deployed.record.latest.spec, memory_mb=512))
    assert scene.closed == 0
    tasks += await scene.begin(1)
    assert [environment.spec.memory_mb for environment in scene.world.environments] == [128, 512]
    scene.go.set()
    await asyncio.gather(*tasks)
    await scene.until(lambda: scene.closed == 1)
    assert scene.world.environments[0].closed == 1


async def test_the_same_code_put_there_again_is_loaded_again(scene: Scene) -> None:
    scene.go.set()
    await scene.core.invoke(scene.deployed, CALL)
    scene.core.change(scene.deployed, code=scene.deployed.record.latest.code)
    await scene.core.invoke(scene.deployed, CALL)
    assert [environment.invocations for environment in scene.world.environments] == [1, 1]


async def test_published_versions_keep_their_environments(scene: Scene) -> None:
    scene.go.set()
    (scene.path / "app.py").write_text("one = 1")
    version = await scene.core.publish(scene.deployed)
    assert version.spec.version == "1"
    await scene.core.invoke(scene.deployed, Call(payload=b"{}", qualifier="1"))
    await scene.core.invoke(scene.deployed, CALL)
    (scene.path / "app.py").write_text("two = 2")
    scene.core.reload(scene.deployed)
    await scene.core.invoke(scene.deployed, Call(payload=b"{}", qualifier="1"))
    assert scene.world.environments[0].invocations == 2
    assert scene.world.environments[0].calls[0]["function_arn"].endswith(":function:f:1")
    assert (version.spec.code / "app.py").read_text() == "one = 1"
    assert (await scene.core.publish(scene.deployed)).number == "2"
    assert (await scene.core.publish(scene.deployed)).number == "2"


async def test_provisioned_ones_are_there_before_and_come_back(scene: Scene) -> None:
    scene.go.set()
    await scene.core.publish(scene.deployed)
    pool = scene.core.provision(scene.deployed, "1", 2)
    await scene.until(lambda: pool.available == 2)
    spec = scene.world.environments[0].spec
    assert (spec.initialization, spec.version) == ("provisioned-concurrency", "1")
    scene.core.fleet.reap(float("inf"))
    assert pool.available == 2
    for _ in range(3):
        await scene.core.invoke(scene.deployed, Call(payload=b"{}", qualifier="1"))
    assert len(scene.world.environments) == 2
    member = next(iter(pool.members))
    pool.take_out(member)
    member.retired = True
    await scene.core.fleet.end(member)
    await scene.until(lambda: pool.available == 2)
    scene.core.provision(scene.deployed, "1", 0)
    scene.core.fleet.reap(float("inf"))
    await scene.until(lambda: scene.core.fleet.alive == 0)


async def test_a_provisioned_one_comes_before_the_one_used_last(scene: Scene) -> None:
    await scene.core.publish(scene.deployed)
    pool = scene.core.provision(scene.deployed, "1", 1)
    await scene.until(lambda: pool.available == 1)
    call = Call(payload=b"{}", qualifier="1")
    tasks = []
    for number in (1, 2):
        tasks.append(asyncio.create_task(scene.core.invoke(scene.deployed, call)))
        await scene.until(lambda number=number: scene.entered == number)
    scene.go.set()
    await asyncio.gather(*tasks)
    await scene.core.invoke(scene.deployed, call)
    ahead, on_demand = scene.world.environments
    assert (ahead.spec.initialization, ahead.invocations) == ("provisioned-concurrency", 2)
    assert on_demand.invocations == 1


async def test_provisioning_that_fails_is_told_and_not_tried_for_ever(scene: Scene) -> None:
    scene.world.broken = True
    await scene.core.publish(scene.deployed)
    pool = scene.core.provision(scene.deployed, "1", 1)
    await scene.until(lambda: pool.failure is not None)
    assert pool.failure == "no box can be made"
    await asyncio.sleep(0)
    assert len(scene.world.environments) == 1


async def test_managed_instances_share_an_environment(scene: Scene) -> None:
    shared = scene.deploy("shared", max_concurrency=3)
    tasks = await scene.begin(7, shared)
    assert len(scene.world.environments) == 3
    scene.go.set()
    await asyncio.gather(*tasks)
    await asyncio.gather(*await scene.begin(3, shared))
    assert len(scene.world.environments) == 3


async def test_an_environment_that_fails_serves_nobody_else(scene: Scene) -> None:
    async def fail(_invocation: FakeInvocation) -> None:
        raise LabError("it broke")

    scene.world.work = fail
    with pytest.raises(LabError, match="it broke"):
        await scene.core.invoke(scene.deployed, CALL)
    assert scene.closed == 1
    assert (scene.core.fleet.alive, scene.deployed.active) == (0, 0)


async def test_the_answer_comes_before_the_end(scene: Scene) -> None:
    done = asyncio.Event()
    scene.go.set()
    scene.world.after = done.wait
    answers: list[tuple[bytes, str | None]] = []
    task = asyncio.create_task(
        scene.core.invoke(scene.deployed, CALL, lambda *answer: answers.append(answer))
    )
    await scene.until(lambda: answers)
    assert answers == [(b'{"ok": true}', None)]
    assert not task.done()
    assert scene.deployed.active == 1
    done.set()
    await task
    assert scene.deployed.active == 0


async def test_who_has_an_answer_finds_the_same_environment_again(scene: Scene) -> None:
    scene.core.reserve(scene.deployed, 1)
    scene.core.fleet.limit = 900
    scene.go.set()
    written_up = asyncio.Event()
    scene.world.after = written_up.wait
    answered = asyncio.Event()
    first = asyncio.create_task(scene.core.invoke(scene.deployed, CALL, lambda *_: answered.set()))
    await answered.wait()
    second = asyncio.create_task(scene.core.invoke(scene.deployed, CALL))
    await asyncio.sleep(0)
    assert not second.done()
    written_up.set()
    await asyncio.gather(first, second)
    assert [environment.invocations for environment in scene.world.environments] == [2]


async def test_extensions_are_not_waited_for(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    agent = tmp_path / "agent"
    agent.touch(0o755)
    deployed = scene.deploy("extended", extensions=(agent,))
    scene.core.reserve(deployed, 1)
    scene.go.set()
    done, answered = asyncio.Event(), asyncio.Event()
    scene.world.after = done.wait
    first = asyncio.create_task(scene.core.invoke(deployed, CALL, lambda *_: answered.set()))
    await answered.wait()
    with pytest.raises(ServiceError, match="Rate Exceeded"):
        await scene.core.invoke(deployed, CALL)
    done.set()
    await first
    await scene.core.close()


async def test_a_function_that_is_removed_leaves_nothing(scene: Scene) -> None:
    tasks = await scene.begin(2)
    scene.core.remove(scene.deployed)
    scene.go.set()
    await asyncio.gather(*tasks)
    await scene.until(lambda: scene.core.fleet.alive == 0)
    assert scene.core.functions == {}
    assert scene.core.fleet.pools == set()


async def test_a_new_function_of_a_name_replaces_only_when_told(scene: Scene) -> None:
    with pytest.raises(ServiceError, match="Function already exist: f"):
        scene.deploy("f")
    spec = scene.deployed.record.latest.spec
    assert scene.core.deploy(spec, replaces=True) is scene.core.functions["f"]
