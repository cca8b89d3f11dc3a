"""A lab that is not root: real invocations, started by an ordinary user.

Where the tests are run by root, every lab here is a process that becomes somebody else first.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lambent
import lambent_lab
from lambent_lab.sandbox import hierarchies

UID = 65534

READABLE = Path(lambent_lab.__file__).stat().st_mode & 0o004 or os.geteuid() != 0
pytestmark = pytest.mark.skipif(not READABLE, reason="a checkout that only root may read (umask)")

BECOME = """
import os, sys
from pathlib import Path
from lambent_lab.sandbox import syscalls
uid, reachable = int(sys.argv[1]), [Path(path) for path in sys.argv[2].split(":")]
os.umask(0o022)
if "CGROUP" in os.environ:
    Path(os.environ.pop("CGROUP")).write_text("0")
if os.geteuid() == 0:
    # All of it may lie where only root can go: it is shown again, in mounts that only this process has.
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", Path("/"), flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    shut = {}
    for path in reachable:
        closed = [folder for folder in reversed(path.parents) if not folder.stat().st_mode & 1]
        if closed:
            shut[path] = closed[0], os.open(path, os.O_PATH)
    for folder in {folder for folder, _ in shut.values()}:
        syscalls.mount("tmpfs", folder, "tmpfs", 0, "mode=755")
    for path, (_, held) in shut.items():
        path.mkdir(parents=True, exist_ok=True)
        syscalls.mount(f"/proc/self/fd/{held}", path, flags=syscalls.MS_BIND | syscalls.MS_REC)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
os.execv(sys.argv[3], sys.argv[3:])
"""

LAB = """
import asyncio, json, os, sys, time
from pathlib import Path
from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec
async def main():
    wanted = json.loads(sys.argv[1])
    spec = FunctionSpec(**{"name": "u", "code": Path(wanted["code"]), "handler": "app.handler",
                           "timeout_s": 60, **wanted["spec"]})
    async with Environment(spec) as environment:
        results = []
        for event in wanted["events"]:
            if isinstance(event, dict):
                event["lab"] = os.getpid()
            result = await environment.invoke(json.dumps(event).encode())
            results.append([result.status, json.loads(result.payload), result.max_memory_mb])
            if wanted.get("frozen"):
                await environment.wait_frozen()
        print(json.dumps({"results": results, "box": environment.box.to_json(), "uid": os.getuid(),
                          "stream": environment.log_stream, "frozen": environment.frozen}), flush=True)
        if wanted.get("stay"):
            await asyncio.Event().wait()
asyncio.run(main())
"""

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the other user can read, outside root's own."""
    path = Path(tempfile.mkdtemp(prefix="lambent-test-"))
    path.chmod(0o777)
    yield path
    limit = time.monotonic() + 30
    while path.exists() and time.monotonic() < limit:  # the lab's guard may be at it as well
        shutil.rmtree(path, ignore_errors=True)


def start(folder: Path, source: str, wanted: dict[str, Any], env: dict[str, str]) -> subprocess.Popen[str]:
    code = folder / "code"
    code.mkdir(exist_ok=True)
    code.chmod(0o755)
    (code / "app.py").write_text(source)
    (code / "app.py").chmod(0o644)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    home.chmod(0o777)
    own = {"HOME": str(home), "TMPDIR": str(folder), "XDG_CACHE_HOME": str(home / "cache")}
    variables = {**os.environ, **own}
    document = json.dumps({"code": str(code), **wanted})
    # By length: what lies in another one of them is mounted after it.
    packages = [Path(str(package.__file__)).parents[1] for package in (lambent, lambent_lab)]
    reachable = sorted({str(path) for path in (sys.base_prefix, sys.prefix, folder, *packages)}, key=len)
    return subprocess.Popen(
        [sys.executable, "-c", BECOME, str(UID), ":".join(reachable), sys.executable, "-c", LAB, document],
        env=variables | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )


@pytest.fixture
def run(folder: Path) -> Run:
    """Run a lab as an ordinary user and return what it tells."""

    def work(
        source: str, *events: Any, frozen: bool = False, env: dict[str, str] | None = None, **spec: Any
    ) -> dict[str, Any]:
        wanted = {"spec": spec, "events": list(events), "frozen": frozen}
        with start(folder, source, wanted, env or {}) as lab:
            stdout, stderr = lab.communicate(timeout=300)
        assert lab.returncode == 0, stderr
        answer: dict[str, Any] = json.loads(stdout)
        assert answer["uid"] != 0
        return answer

    return work


def need_room(answer: dict[str, Any]) -> None:
    if any(text.startswith("files: no mounts") for text in answer["box"]["cannot"]):
        pytest.skip("; ".join(answer["box"]["cannot"]))


LOOK = """
import errno, os, pwd, signal
def attempt(work, *args):
    try: work(*args)
    except OSError as error: return errno.errorcode[error.errno]
    return "done"
def write(path):
    with open(path, "w"): pass
def handler(event, context):
    with open("/proc/self/status") as file:
        caps = {line.split()[1] for line in file if line.startswith("Cap")}
    return {"user": [os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name], "caps": sorted(caps),
            "cwd": os.getcwd(), "file": __file__, "tmp": os.listdir("/tmp"),
            "wrote": attempt(write, "/tmp/new"),
            "refused": [attempt(write, p + "/new") for p in event["places"]],
            "signal": attempt(os.kill, event["lab"], 0), "all": attempt(os.kill, -1, 0),
            "listed": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()), "me": os.getpid(),
            "shm": os.path.exists("/dev/shm"), "home": attempt(os.listdir, event["home"])}
"""


def test_the_room_is_lambdas_without_root_too(run: Run, folder: Path) -> None:
    (folder / "home").mkdir()
    (folder / "home" / "credentials").write_text("secret")
    places = ["/var/task", "/opt", "/usr", "/var", "/", "/dev"]
    answer = run(LOOK, {"home": str(folder / "home"), "places": places})
    need_room(answer)
    ((status, seen, _),) = answer["results"]
    assert status == "success", seen
    assert seen["user"] == [993, 990, "sbx_user1051"]
    assert seen["caps"] == ["0" * 16]
    assert (seen["cwd"], seen["file"], seen["tmp"], seen["wrote"]) == (
        "/var/task",
        "/var/task/app.py",
        [],
        "done",
    )
    assert seen["refused"] == ["EROFS"] * 6
    assert seen["signal"] == "ESRCH"  # in its PID namespace, the lab does not exist
    assert seen["listed"] == [1, seen["me"]]
    assert not seen["shm"]
    assert seen["home"] in {"ENOENT", "EACCES"}
    assert "sbx_user1051" in answer["box"]["user"]


BURN = """
import time
def handler(event, context):
    start, wall, queued = time.process_time(), time.perf_counter(), waited()
    while time.process_time() - start < event: pass
    return [time.process_time() - start, time.perf_counter() - wall, waited() - queued]
def waited():
    with open("/proc/self/schedstat") as file:
        return int(file.read().split()[1]) / 1e9
"""


@pytest.mark.parametrize("files", ["", "folders"])
@pytest.mark.parametrize("memory_mb", [256, 884])
def test_the_share_of_the_cpu_holds_over_seconds(run: Run, memory_mb: int, files: str) -> None:
    answer = run(BURN, 0.01, 0.4, frozen=True, memory_mb=memory_mb, env={"LAMBENT_LAB_FILES": files})
    assert answer["box"]["kind"] == "signal"
    cpu, wall, queued = answer["results"][1][1]
    share = memory_mb / 1769
    assert cpu / wall < share * 1.15
    # Less only if the machine has no CPU to give: the time in which it was ready to run, and was not let.
    assert cpu / (wall - queued) > share * 0.4
    assert answer["frozen"]


OOM = """
def handler(event, context):
    data = bytearray(event * 1024 * 1024)
    with open("/proc/vmstat") as file:
        return [int(line.split()[1]) for line in file if line.startswith("oom_kill ")]
"""


def test_out_of_memory_is_told_without_root(run: Run) -> None:
    answer = run(OOM, 600, 1, memory_mb=128)
    (status, error, peak), again = answer["results"]
    assert (status, error["errorType"], peak) == ("error", "Runtime.OutOfMemory", 128)
    assert again[0] == "success"
    if not any(text.startswith("kills: ") for text in answer["box"]["cannot"]):
        assert again[1] == [1], "of its own, and none of the host's"


ORPHANS = """
import os, subprocess, sys
code = "import time\\nwhile True: time.sleep(0.01)"
subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
orphan = f"env -i setsid {sys.executable} -c '{code}' lambent-orphan-%s"
subprocess.run(["sh", "-c", orphan + " >/dev/null 2>&1 &"], check=True)
def handler(event, context):
    return os.getpid()
"""


def orphans(tag: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"orphan-{tag}".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def left(folder: Path, tag: str) -> list[object]:
    """What there still is of a lab and its function, after waiting for it to go away."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        found: list[object] = [*orphans(tag), *folder.glob("lambent-*")]
        if not found:
            return []
        time.sleep(0.05)  # other processes clean up: nothing to await
    return found


def test_orphans_without_their_environment_stop_and_die(run: Run, folder: Path) -> None:
    tag = str(os.getpid())
    answer = run(ORPHANS % tag, {}, frozen=True, memory_mb=512)
    try:
        need_room(answer)
        assert answer["frozen"]
        assert "PID namespace" in answer["box"]["kill"]
        assert left(folder, tag) == []
    finally:
        for pid in orphans(tag):
            os.kill(pid, signal.SIGKILL)


def test_a_killed_lab_leaves_nothing_without_root(folder: Path) -> None:
    tag = f"k{os.getpid()}"
    wanted = {"spec": {"memory_mb": 512}, "events": [{}], "frozen": True, "stay": True}
    with start(folder, ORPHANS % tag, wanted, {}) as lab:
        assert lab.stdout is not None
        answer = json.loads(lab.stdout.readline())
        assert answer["frozen"]
        there = orphans(tag)
        lab.send_signal(signal.SIGKILL)
        lab.wait()
    try:
        need_room(answer)
        assert there
        assert left(folder, tag) == []
    finally:
        for pid in orphans(tag):
            os.kill(pid, signal.SIGKILL)


BOMB = """
import os, time
def handler(event, context):
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(5)  # the machine has others to serve
"""


def test_a_fork_bomb_is_contained_without_root(run: Run) -> None:
    answer = run(BOMB, {}, timeout_s=4, memory_mb=1769)
    assert "RLIMIT_NPROC" in answer["box"]["limits"]
    assert [status for status, *_ in answer["results"]] == ["timeout"]


@pytest.mark.usefixtures("mounts")
def test_a_private_network_needs_no_root(run: Run) -> None:
    source = "import os\ndef handler(event, context): return os.environ['AWS_LAMBDA_RUNTIME_API']\n"
    answer = run(source, {}, network="private")
    need_room(answer)
    assert answer["results"][0][:2] == ["success", "127.0.0.1:9001"]
    assert "own" in answer["box"]["network"]


@pytest.fixture
def delegated() -> Iterator[Path]:
    """A cgroup of version 2 that belongs to the other user, as systemd delegates them."""
    found = hierarchies.read()
    if os.geteuid() != 0 or found.v2 is None:
        pytest.skip("no cgroup of version 2 to delegate")
    path = found.v2 / f"lambent-test-{os.getpid()}"
    try:
        path.mkdir()
        for file in (path, path / "cgroup.procs", path / "cgroup.subtree_control"):
            os.chown(file, UID, UID)
    except OSError as error:
        pytest.skip(f"no cgroup of version 2 to delegate: {error}")
    yield path
    limit = time.monotonic() + 10
    while path.exists() and time.monotonic() < limit:
        with contextlib.suppress(OSError):
            path.rmdir()
        time.sleep(0.01)


def test_a_delegated_cgroup_is_used(folder: Path, delegated: Path) -> None:
    wanted = {"spec": {"memory_mb": 512}, "events": [{}], "frozen": True}
    source = "import os\ndef handler(event, context): return os.getuid()\n"
    with start(folder, source, wanted, {"CGROUP": str(delegated / "cgroup.procs")}) as lab:
        stdout, stderr = lab.communicate(timeout=120)
    assert lab.returncode == 0, stderr
    answer = json.loads(stdout)
    assert answer["box"]["kind"] == "cgroup-v2"
    assert answer["box"]["freeze"].startswith("cgroup v2")
    assert answer["frozen"]
    assert list(delegated.glob("lambent-*")) == []
