"""/tmp: its size, how long it stays, and that it is a disk rather than memory."""

from __future__ import annotations

import errno
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.sandbox import disks, workspace
from lambent_lab.service import Lab

Make = Callable[..., FunctionSpec]


@pytest.fixture(params=["disk", "tmpfs"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of making /tmp, where the machine has them."""
    if request.param == "disk":
        try:
            disks.make(512).close()
        except OSError as error:
            pytest.skip(f"no disk for /tmp here: {error}")
    else:

        def refuse(_size_mb: int) -> disks.Disk:
            raise OSError(errno.ENODEV, "no loop devices")

        monkeypatch.setattr(disks, "make", refuse)
    return str(request.param)


@pytest.fixture
def make(write_function: Make) -> Make:
    return functools.partial(write_function, name="tmp", timeout_s=60, memory_mb=512)


def need_mounts(environment: Environment) -> None:
    if any(text.startswith("files: no mounts") for text in environment.box.cannot):
        pytest.skip("; ".join(environment.box.cannot))


FILL = """
import errno, os, time
def handler(event, context):
    if event.get("sleep"):
        time.sleep(60)
    if event.get("exit"):
        os._exit(1)
    written = 0
    with open("/tmp/file", "ab", buffering=0) as file:
        block = b"x" * (1 << 20)
        try:
            while written < event.get("write", 0):
                written += file.write(block[: (event["write"] - written)])
            outcome = "done"
        except OSError as error:
            outcome = errno.errorcode[error.errno]
    size = os.path.getsize("/tmp/file")
    if event.get("remove"):
        os.unlink("/tmp/file")
    about = os.statvfs("/tmp")
    return {"outcome": outcome, "size": size, "free": about.f_bavail * about.f_frsize,
            "list": os.listdir("/tmp"), "all": about.f_blocks * about.f_frsize}
"""

MB = 1 << 20


async def call(environment: Environment, **event: Any) -> Any:
    result = await environment.invoke(json.dumps(event).encode())
    assert result.status == "success", (result.payload, result.log)
    return json.loads(result.payload)


@pytest.mark.parametrize("size", [512, 600])
async def test_tmp_has_the_size_that_was_asked_for(make: Make, kind: str, size: int) -> None:
    async with Environment(make(FILL, tmp_mb=size, memory_mb=1024)) as environment:
        need_mounts(environment)
        empty = await call(environment)
        assert (empty["all"], empty["list"]) == (size * MB, ["file"])
        assert size * MB - empty["free"] < MB
        full = await call(environment, write=(size + 50) * MB, remove=True)
        assert full["outcome"] == "ENOSPC"
        assert (size - 2) * MB < full["size"] <= size * MB
        again = await call(environment, write=MB)
        assert again["outcome"] == "done"
        assert f"{size} MB" in environment.box.tmp


async def test_what_lies_in_tmp_is_not_the_functions_memory(make: Make) -> None:
    async with Environment(make(FILL, memory_mb=128)) as environment:
        need_mounts(environment)
        if not environment.box.tmp.startswith("disk"):
            pytest.skip("; ".join(environment.box.cannot))
        before = await environment.invoke(b"{}")
        seen = await environment.invoke(json.dumps({"write": 300 * MB}).encode())
        again = await call(environment)
    assert seen.status == "success", seen.payload
    assert again["size"] == 300 * MB
    assert before.max_memory_mb is not None
    assert seen.max_memory_mb is not None
    assert seen.max_memory_mb - before.max_memory_mb < 20


async def test_tmp_stays_over_a_reset_and_goes_with_the_environment(make: Make, kind: str) -> None:
    spec = make(FILL, timeout_s=1)
    async with Environment(spec) as environment:
        need_mounts(environment)
        await call(environment, write=3 * MB)
        for event, status in (({"sleep": True}, "timeout"), ({"exit": True}, "error")):
            assert (await environment.invoke(json.dumps(event).encode())).status == status
            left = await call(environment)
            assert (left["list"], left["size"]) == (["file"], 3 * MB)
    async with Environment(spec) as environment:
        assert (await call(environment))["size"] == 0


async def test_no_device_and_no_image_are_left(make: Make) -> None:
    others = set(images(workspace().folder))  # a lab of the whole session may have some
    async with Environment(make(FILL)) as environment:
        await call(environment, write=MB)
        tmp = environment.box.tmp
    if not tmp.startswith("disk"):
        pytest.skip(f"/tmp is a {tmp}")
    assert not set(images(workspace().folder)) - others


def images(folder: Path) -> list[str]:
    """The images of a lab that a device or a name still holds."""
    backing = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [name for name in backing if folder.name in name] + [str(path) for path in folder.glob("*.disk")]


def test_a_disk_that_is_not_wanted_any_more_goes_away() -> None:
    order = disks.Order(512)
    order.cancel()
    order.cancel()
    with pytest.raises(OSError):  # noqa: PT011 - "taken before", or that there are none here
        order.take()


@pytest.mark.parametrize("size", [0, 511, 10_241])
def test_a_size_that_lambda_does_not_have_is_refused(make: Make, size: int) -> None:
    with pytest.raises(UsageError, match="512 to 10240"):
        make(FILL, tmp_mb=size)


def test_the_lab_offers_it_and_results_tell_of_the_box(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FILL)
    with Lab() as lab:
        function = lab.function("tmp", code=tmp_path, handler="app.handler", tmp_mb=700, timeout=60)
        result = function.invoke({})
        assert result.box == function.box
    assert result.box is not None
    document = result.to_json()["box"]
    assert isinstance(document, dict)
    assert document["tmp"] == result.box.tmp
    assert set(document) >= {"kind", "freeze", "memory", "cpu", "kill", "tmp", "user", "network", "limits"}
    if "MB" in result.box.tmp:
        assert "700 MB" in result.box.tmp
    json.dumps(document)
