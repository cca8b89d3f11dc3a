"""Premises made ahead: whose they become, and that nothing is left of those that nobody takes."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab import premises
from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec
from lambent_lab.premises import Ahead, Kind, Premises
from lambent_lab.sandbox import Order, workspace
from lambent_lab.staging import stage

if TYPE_CHECKING:
    from pathlib import Path

Make = Callable[..., FunctionSpec]

CODE = """
import os, pathlib
def handler(event, context):
    found = os.listdir("/tmp")
    pathlib.Path("/tmp/mine").write_text("x")
    return [event, found, os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]]
"""


@pytest.fixture
def make(write_function: Make) -> Make:
    return functools.partial(write_function, name="ahead", timeout_s=30, memory_mb=512)


@pytest.fixture
async def ahead() -> AsyncIterator[Ahead]:
    made = Ahead()
    yield made
    await made.close()


async def prepared(ahead: Ahead, spec: FunctionSpec) -> Premises:
    """Have premises made, and wait until they are."""
    ahead.prepare(spec)
    assert ahead._preparing is not None
    await ahead._preparing
    return next(reversed(ahead._ready.values()))[0]


def traces(one: Premises) -> list[Path]:
    """What of premises can be seen in the file system."""
    assert one.box is not None
    assert one._scratch is not None
    return [path for path in (*one.box._folders, one._scratch) if path.exists()]


@pytest.mark.usefixtures("mounts")
async def test_an_environment_begins_in_what_was_made_ahead(make: Make, ahead: Ahead) -> None:
    spec = make(CODE)
    ready = await prepared(ahead, spec)
    for number, expected in enumerate((ready, None)):
        # Names, variables and limits of time are not what premises are made for.
        other = dataclasses.replace(spec, name=f"other-{number}", env={"A": "B"}, timeout_s=20)
        async with Environment(other, ahead=ahead) as environment:
            assert (environment._premises is ready) == (expected is ready)
            answer = json.loads((await environment.invoke(b"7")).payload)
            assert answer[0] == 7
            assert "mine" not in answer[1]
            assert answer[2] == environment.log_stream
            assert environment.box.kind
    assert traces(ready) == []


@pytest.mark.parametrize("changes", [{"memory_mb": 513}, {"tmp_mb": 513}, {"env": {"PYTHONPATH": "/srv"}}])
async def test_another_kind_is_made_anew(make: Make, ahead: Ahead, changes: dict[str, Any]) -> None:
    spec = make(CODE)
    ready = await prepared(ahead, spec)
    async with Environment(dataclasses.replace(spec, **changes), ahead=ahead) as environment:
        assert environment._premises is not ready
        assert (await environment.invoke(b"1")).status == "success"


async def test_code_that_has_changed_is_what_runs(make: Make, ahead: Ahead) -> None:
    spec = make("def handler(event, context):\n    return 'before'\n")
    await prepared(ahead, spec)
    (spec.code / "app.py").write_text("def handler(event, context):\n    return 'after, and longer'\n")
    async with Environment(spec, ahead=ahead) as environment:
        assert json.loads((await environment.invoke(b"1")).payload) == "after, and longer"


async def test_nothing_is_left_of_what_nobody_took(make: Make, ahead: Ahead) -> None:
    ready = await prepared(ahead, make(CODE))
    assert traces(ready)
    await ahead.close()
    assert traces(ready) == []
    ahead.prepare(make(CODE))  # it is over
    assert ahead._ready == {}


async def test_closing_waits_for_what_is_being_made(make: Make, ahead: Ahead) -> None:
    before = sorted(workspace().folder.glob("env-*"))
    ahead.prepare(make(CODE))
    await ahead.close()
    assert ahead._ready == {}
    assert sorted(workspace().folder.glob("env-*")) == before


async def test_the_oldest_go_when_there_are_too_many(make: Make, ahead: Ahead) -> None:
    spec = make(CODE)
    made = [
        await prepared(ahead, dataclasses.replace(spec, memory_mb=512 + number))
        for number in range(premises.MAX_AHEAD + 1)
    ]
    assert len(ahead._ready) == premises.MAX_AHEAD
    assert traces(made[0]) == []
    assert all(traces(one) for one in made[1:])


async def test_premises_that_are_given_up_while_they_are_made_leave_nothing(make: Make) -> None:
    spec = make(CODE)
    staged = stage(spec)
    try:
        one = Premises(Order(spec.tmp_mb))
        making = asyncio.create_task(one.make(spec, staged, "mark"))
        await asyncio.sleep(0)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        await one.close()
        assert one.box is None or traces(one) == []
        assert Kind.of(spec, staged) == Kind.of(spec, staged)
    finally:
        staged.release()
