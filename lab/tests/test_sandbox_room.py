"""What a function sees of the file system, with mounts and without."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.errors import UsageError
from lambent_lab.function import FunctionSpec
from lambent_lab.sandbox import syscalls
from lambent_lab.sandbox.kept import KeptRoom

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK = """
import os, sys, tempfile, lambent
def refused(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.strerror
    os.unlink(path)
    return None
def handler(event, context):
    info = os.statvfs(tempfile.gettempdir())
    return {"cwd": os.getcwd(), "tmp": os.listdir("/tmp"), "tmpdir": tempfile.gettempdir(), "file": __file__,
            "size": info.f_blocks * info.f_frsize, "lambent": lambent.__file__, "opt": os.listdir("/opt"),
            "refused": [refused(p + "/new") for p in (os.getcwd(), "/var", "/opt", "/usr")],
            "prefix": sys.prefix,
            "written": refused(tempfile.gettempdir() + "/new"), "runtime": os.environ["LAMBDA_RUNTIME_DIR"]}
"""


def spec_of(code: Path, **options: Any) -> FunctionSpec:
    code.mkdir(parents=True, exist_ok=True)
    (code / "app.py").write_text(LOOK)
    return FunctionSpec(
        **{"name": "room", "code": code, "handler": "app.handler", "timeout_s": 20, **options}
    )


async def look(spec: FunctionSpec) -> tuple[Any, tuple[str, ...]]:
    async with Environment(spec) as environment:
        result = await environment.invoke(b"{}")
        assert result.status == "success", result.payload
        return json.loads(result.payload), environment.box.cannot


def host() -> tuple[str, list[Path]]:
    """The host's mounts and what lies in its /var."""
    return Path("/proc/self/mountinfo").read_text(), sorted(Path("/var").iterdir())


def need_mounts(cannot: tuple[str, ...]) -> None:
    if any(text.startswith("files: no mounts") for text in cannot):
        pytest.skip("; ".join(cannot))


def exists(path: str) -> bool:
    return Path(path).exists()


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder below /var/tmp: covered in a room, like /tmp and /opt."""
    folder = Path(tempfile.mkdtemp(prefix="lambent-test-", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


async def test_the_room_is_lambdas(tmp_path: Path) -> None:
    before = host()
    seen, cannot = await look(spec_of(tmp_path / "code"))
    need_mounts(cannot)
    assert (seen["cwd"], seen["file"], seen["runtime"]) == ("/var/task", "/var/task/app.py", "/var/runtime")
    assert seen["lambent"] == "/opt/python/lambent/__init__.py"
    assert sorted(seen["opt"]) == ["lambent", "python"]
    assert seen["prefix"] == "/var/lang"
    assert seen["tmp"] == []
    assert seen["size"] == 512 * 1024 * 1024
    assert seen["written"] is None
    assert seen["refused"] == ["Read-only file system"] * 4
    assert host() == before


KILLS = """
def handler(event, context):
    if event:
        held = bytearray(600 * 1024 * 1024)
    with open("/proc/vmstat") as file:
        return [int(line.split()[1]) for line in file if line.startswith("oom_kill ")]
"""


async def test_what_the_kernel_kills_elsewhere_is_not_the_functions_affair(tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "one")
    (tmp_path / "one" / "app.py").write_text(KILLS)
    async with Environment(spec) as environment, Environment(spec) as other:
        seen = []
        for event in (b"0", b"1", b"0", b"1", b"0"):
            result = await environment.invoke(event)
            seen.append(json.loads(result.payload))
            await other.invoke(b"1")
        need_mounts(environment.box.cannot)
        assert [each for each in seen if isinstance(each, list)] == [[0], [1], [2]]
        assert json.loads((await other.invoke(b"0")).payload) == [5]


@pytest.mark.parametrize("where", ["tmp", "var"])
async def test_an_interpreter_below_a_covered_folder_is_still_there(
    where: str, tmp_path: Path, elsewhere: Path
) -> None:
    home = (tmp_path if where == "tmp" else elsewhere) / "venv"
    (home / "bin").mkdir(parents=True)
    base = Path(getattr(sys, "_base_executable", sys.executable))
    (home / "bin" / "python").symlink_to(base)
    (home / "pyvenv.cfg").write_text(f"home = {base.parent}\nversion = {sys.version.split()[0]}\n")
    packages = home / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    seen, _ = await look(spec_of(elsewhere / "code", python=home / "bin" / "python"))
    assert seen["prefix"] == str(home)


async def test_without_mounts_the_real_folders_and_a_private_tmpdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBENT_LAB_FILES", "folders")
    spec = spec_of(tmp_path / "code")
    seen, cannot = await look(spec)
    assert any(text.startswith("files: no mounts") for text in cannot)
    assert any(text.startswith("processes: ") and "kill, the lab" in text for text in cannot)
    assert seen["cwd"] != str(spec.code)
    assert seen["file"] == seen["cwd"] + "/app.py"
    assert seen["tmpdir"] != "/tmp"
    assert not exists(seen["tmpdir"])
    assert not exists(seen["cwd"] + "/new")


async def test_a_refused_mount_degrades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_flags: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    async def refuse_that_too(*_: object, **__: object) -> KeptRoom:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(syscalls, "unshare", refuse)
    monkeypatch.setattr(KeptRoom, "make", refuse_that_too)
    seen, cannot = await look(spec_of(tmp_path / "code"))
    assert any("not allowed here: Operation not permitted" in text for text in cannot)
    assert seen["written"] is None


async def test_tmp_is_full_at_its_size(tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "code", memory_mb=1024)
    (spec.code / "app.py").write_text(
        "import os\ndef handler(event, context):\n"
        "    try:\n        with open('/tmp/big', 'wb') as file:\n"
        "            os.posix_fallocate(file.fileno(), 0, 600 * 1024 * 1024)\n"
        "    except OSError as error: return error.strerror\n"
    )
    async with Environment(spec) as environment:
        need_mounts(environment.box.cannot)
        assert json.loads((await environment.invoke(b"{}")).payload) == "No space left on device"


async def test_an_unknown_kind_of_room_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context): pass")
    monkeypatch.setenv("LAMBENT_LAB_FILES", "folder")
    spec = FunctionSpec(name="f", code=tmp_path, handler="app.handler")
    with pytest.raises(UsageError, match="LAMBENT_LAB_FILES=folder is no kind of room"):
        await Environment(spec).start()
