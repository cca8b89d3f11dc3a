"""Who the function is, what it may do, and that nothing of the lab's own comes with it."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec
from lambent_lab.sandbox import users

Make = Callable[..., FunctionSpec]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run functions as somebody else")


@pytest.fixture
def make(write_function: Make) -> Make:
    return functools.partial(write_function, name="user", timeout_s=30, memory_mb=512)


async def ask(spec: FunctionSpec, event: object = None) -> Any:
    """Invoke a function once, with everything that the box promises, and return its answer."""
    async with Environment(spec) as environment:
        if any(text.startswith(("files: no mounts", "user:")) for text in environment.box.cannot):
            pytest.skip("; ".join(environment.box.cannot))
        result = await environment.invoke(json.dumps(event).encode())
        assert result.status == "success", (result.payload, result.log)
        return json.loads(result.payload)


WHO = """
import grp, os, pwd, stat
def status(key):
    with open("/proc/self/status") as file:
        return next(line.split(":")[1].split() for line in file if line.startswith(key + ":"))
tmp = os.stat("/tmp")
def handler(event, context):
    return {"uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
            "caps": {key: status(key) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
            "nnp": status("NoNewPrivs"), "name": pwd.getpwuid(os.getuid()).pw_name,
            "group": grp.getgrgid(os.getgid()).gr_name, "home": os.path.expanduser("~"),
            "tmp": [tmp.st_uid, tmp.st_gid, stat.S_IMODE(tmp.st_mode)]}
"""


async def test_the_function_is_an_ordinary_user_without_rights(make: Make) -> None:
    seen = await ask(make(WHO))
    assert seen["uid"][0] != 0
    assert len({*seen["uid"], *seen["gid"]}) == 1
    assert seen["groups"] in ([], [seen["gid"][0]])
    assert {text for texts in seen["caps"].values() for text in texts} == {"0" * 16}
    assert seen["nnp"] == ["1"]
    assert (seen["name"], seen["group"], seen["home"]) == (users.NAME, users.NAME, str(users.HOME))
    assert seen["tmp"] == [seen["uid"][0], seen["gid"][0], 0o700]


async def test_no_two_environments_share_a_user(make: Make) -> None:
    spec = make("import os\ndef handler(event, context): return os.getuid()\n")
    assert await ask(spec) != await ask(spec)


TOUCH = """
import errno, os, signal
def attempt(work, *args):
    try:
        work(*args)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
def write(path):
    with open(path, "a"): pass
def handler(event, context):
    lab = event["lab"]
    return {
        "signal": attempt(os.kill, lab, 0), "stop": attempt(os.kill, lab, signal.SIGSTOP),
        "environ": attempt(open, f"/proc/{lab}/environ"), "memory": attempt(open, f"/proc/{lab}/mem"),
        "listed": sorted({os.stat(f"/proc/{n}").st_uid for n in os.listdir("/proc") if n.isdigit()}),
        "me": os.getuid(), "secret": attempt(open, event["secret"]), "host": attempt(open, event["host"]),
        "shadow": attempt(open, "/etc/shadow"), "tmp": attempt(write, "/tmp/mine"),
        "writes": [attempt(write, path + "/new") for path in event["places"]],
        "own": [attempt(write, path) for path in (__file__, "/etc/passwd", os.environ["LAMBDA_RUNTIME_DIR"] +
                "/awslambdaric/__init__.py")],
        "mkdir": attempt(os.makedirs, os.path.expanduser("~/.cache")),
        "remount": attempt(os.mkdir, "/var/task/new"), "chmod": attempt(os.chmod, "/var/task", 0o777),
    }
"""


async def test_neither_the_lab_nor_the_host_can_be_touched(make: Make, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("for root")
    (tmp_path / "secret").chmod(0o600)
    places = [
        "/var/task",
        "/var/runtime",
        "/opt",
        "/var",
        "/usr",
        "/etc",
        "/",
        "/dev",
        "/var/lang",
        "/sys",
        "/home",
    ]
    seen = await ask(
        make(TOUCH),
        {
            "lab": os.getpid(),
            "secret": f"/proc/{os.getpid()}/root{tmp_path}/secret",
            "host": str(tmp_path / "secret"),
            "places": places,
        },
    )
    assert (seen["signal"], seen["stop"]) == ("EPERM", "EPERM")
    assert seen["environ"] in {"EACCES", "ENOENT"}
    assert seen["memory"] in {"EACCES", "ENOENT"}
    assert seen["listed"] == [seen["me"]]
    assert seen["secret"] in {"EACCES", "ENOENT"}
    assert (seen["host"], seen["shadow"], seen["tmp"]) == ("ENOENT", "EACCES", "done")
    assert dict(zip(places, seen["writes"], strict=True)) == dict.fromkeys(places, "EROFS")
    assert set(seen["own"]) <= {"EROFS", "EACCES"}  # who may not write is told so first
    assert (seen["mkdir"], seen["remount"], seen["chmod"]) == ("EROFS", "EROFS", "EROFS")


async def test_a_function_without_a_user_cannot_write_either(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "ordinary", lambda: None)
    source = TOUCH.replace(
        '"signal": attempt(os.kill, lab, 0), "stop": attempt(os.kill, lab, signal.SIGSTOP),', ""
    )
    places = ["/var/task", "/var/runtime", "/opt", "/var", "/usr", "/etc", "/", "/dev", "/var/lang"]
    event = {"lab": os.getpid(), "secret": "/none", "host": "/none", "places": places}
    async with Environment(make(source)) as environment:
        if any(text.startswith("files: no mounts") for text in environment.box.cannot):
            pytest.skip("; ".join(environment.box.cannot))
        assert "user: the function runs as root: no other user is possible here" in environment.box.cannot
        seen = json.loads((await environment.invoke(json.dumps(event).encode())).payload)
    assert seen["me"] == 0
    assert seen["writes"] == ["EROFS"] * len(places)
    assert (seen["remount"], seen["chmod"], seen["tmp"]) == ("EROFS", "EROFS", "done")


INSIDE = """
import os, signal, sys
def handler(event, context):
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try: fds[name] = os.readlink("/proc/self/fd/" + name)
        except OSError: pass
    with open("/proc/self/status") as file:
        masks = {l.split(":")[0]: int(l.split()[1], 16) for l in file if l.startswith(("SigBlk", "SigIgn"))}
    try: os.open("/dev/tty", os.O_RDWR); tty = True
    except OSError: tty = False
    umask = os.umask(0)
    return {"fds": fds, "env": dict(os.environ), "cwd": os.getcwd(), "umask": umask, "tty": tty, **masks,
            "sid": os.getsid(0), "pid": os.getpid(), "pgid": os.getpgid(0), "stdin": sys.stdin.read()}
"""

LAB = """
import asyncio, json, os, signal, socket, sys
from pathlib import Path
from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD])
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)
os.umask(0o077)
kept = os.open(sys.argv[1] + "/kept", os.O_RDWR | os.O_CREAT)
os.set_inheritable(kept, True)
os.dup2(kept, 77, inheritable=True)
os.dup2(kept, 200, inheritable=True)
async def main():
    spec = FunctionSpec(name="inside", code=Path(sys.argv[1]), handler="app.handler", timeout_s=30)
    async with Environment(spec) as environment:
        result = await environment.invoke(b"{}")
        print(result.payload.decode())
        print(*result.log, sep="\\n", file=sys.stderr)
asyncio.run(main())
"""


def run_lab(folder: Path, **env: str) -> dict[str, Any]:
    """Run a lab whose own process is as unlike a function's as can be; return the answer."""
    done = subprocess.run(
        [sys.executable, "-c", LAB, str(folder)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert "sid" in answer, (answer, done.stderr)
    return answer


@pytest.mark.parametrize("files", ["", "folders"])
@pytest.mark.parametrize("kind", ["", "signal"])
def test_nothing_of_the_lab_comes_with_the_function(tmp_path: Path, files: str, kind: str) -> None:
    (tmp_path / "app.py").write_text(INSIDE)
    seen = run_lab(tmp_path, HOST_SECRET="x" * 20, LAMBENT_LAB_FILES=files, LAMBENT_LAB_BOX=kind)
    kept = {int(number): target for number, target in seen["fds"].items()}
    assert kept.pop(0) == "/dev/null"
    assert kept.pop(1).startswith("pipe:")
    assert kept.pop(2).startswith("pipe:")
    # The rest is the runtime client's own: its connection to the Runtime API, its wake-up descriptors.
    assert all(
        target.startswith(("socket:", "anon_inode:", "pipe:", "/proc/")) for target in kept.values()
    ), kept
    assert not {77, 200} & kept.keys()
    assert len(kept) <= 5
    assert not [
        key for key in seen["env"] if key in {"HOST_SECRET", "HOME", "USER", "PWD", "OLDPWD", "SHLVL", "_"}
    ]
    assert "x" * 20 not in str(seen["env"])
    assert (seen["sid"], seen["pgid"]) == (seen["pid"], seen["pid"])
    assert not seen["tty"]
    assert (seen["umask"], seen["stdin"], seen["SigBlk"]) == (0o022, "", 0)
    ignored = {number for number in signal.valid_signals() if seen["SigIgn"] >> (number - 1) & 1}
    assert ignored <= {signal.SIGPIPE, signal.SIGXFSZ}  # what Python itself ignores
    if files == "":
        assert seen["cwd"] == "/var/task"


CLOSED = """
import json, sys
def handler(event, context):
    return {"prefix": sys.base_prefix, "json": json.__file__, "executable": sys.executable}
"""


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that only root may enter, and not below /tmp, which the room covers anyway."""
    with tempfile.TemporaryDirectory(
        prefix="lambent-test-", dir="/srv" if Path("/srv").is_dir() else "/"
    ) as name:
        yield Path(name)  # mode 0700


async def test_an_interpreter_that_only_root_can_reach_works(make: Make, closed: Path) -> None:
    home = closed / "deep" / "venv"
    (home / "bin").mkdir(parents=True)
    base = Path(getattr(sys, "_base_executable", sys.executable))
    (home / "bin" / "python").symlink_to(base)
    (home / "pyvenv.cfg").write_text(f"home = {base.parent}\nversion = {sys.version.split()[0]}\n")
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = home / "lib" / minor / "site-packages"
    packages.mkdir(parents=True)
    (packages / "only_there.py").write_text("HERE = __file__\n")
    source = "import os, sys, only_there\n"
    source += "def handler(event, context): return [sys.prefix, only_there.HERE, os.getuid()]\n"
    prefix, here, uid = await ask(make(source, python=home / "bin" / "python"))
    assert (prefix, here) == (str(home), str(packages / "only_there.py"))
    assert uid != 0


async def test_what_only_root_can_read_is_run_by_root_and_said(make: Make, closed: Path) -> None:
    home = closed / "venv"
    (home / "bin").mkdir(parents=True)
    base = Path(getattr(sys, "_base_executable", sys.executable))
    (home / "bin" / "python").symlink_to(base)
    (home / "pyvenv.cfg").write_text(f"home = {base.parent}\nversion = {sys.version.split()[0]}\n")
    home.chmod(0o700)
    async with Environment(make(WHO, python=home / "bin" / "python")) as environment:
        result = await environment.invoke(b"{}")
        assert any(text.startswith("user: ") and str(home) in text for text in environment.box.cannot)
        assert environment.box.user.startswith("the function runs as root")
    assert json.loads(result.payload)["uid"] == [0, 0, 0]


DEVICES = """
import errno, multiprocessing, os
def handler(event, context):
    try: multiprocessing.Queue(); queue = "done"
    except OSError as error: queue = errno.errorcode[error.errno]
    with open("/dev/null", "w") as null: null.write("x")
    with open("/dev/urandom", "rb") as source: count = len(source.read(8))
    a, b = multiprocessing.Pipe()
    a.send(1)
    return {"queue": queue, "devices": sorted(os.listdir("/dev")), "random": count,
            "shm": os.path.exists("/dev/shm"),
            "pipe": b.recv()}
"""


async def test_there_is_no_shared_memory_between_processes_as_on_lambda(make: Make) -> None:
    seen = await ask(make(DEVICES))
    assert seen["queue"] in {"ENOSYS", "ENOENT"}  # an older glibc says the first, a newer one the second
    assert not seen["shm"]
    assert set(seen["devices"]) == {
        "fd",
        "full",
        "null",
        "random",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    }
    assert (seen["random"], seen["pipe"]) == (8, 1)


def test_a_user_is_chosen_only_where_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    def ranges(*inside: range) -> None:
        monkeypatch.setattr(users, "_mapped", lambda _: inside)

    ranges(range(2**32 - 1))
    one, two = users.ordinary(), users.ordinary()
    assert one is not None
    assert two is not None
    assert all(each.uid in range(users.FIRST, users.FIRST + users.COUNT) for each in (one, two))
    assert one != two
    ranges(range(1), range(1, 65_536))
    small = users.ordinary()
    assert small is not None
    assert 61_184 <= small.uid < 65_520
    ranges(range(1))
    assert users.ordinary() is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert users.ordinary() is None
    assert "1000" in users.why_not()
