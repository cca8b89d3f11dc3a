"""Run the box's tests where cgroup version 2 has its controllers: in a virtual machine, emulated.

A machine that boots with the controllers on version 1 cannot give them to version 2 without a restart. This
puts what the tests need of this machine (an interpreter, its packages, the repository) into an initial RAM
disk, boots a Debian kernel on it with nothing but cgroup2 mounted, and runs pytest there. By hand, as root:

    apt-get install --no-install-recommends qemu-system-x86
    apt-get download linux-image-6.1.0-…-cloud-amd64 && dpkg-deb -x linux-image-*.deb kernel
    python tools/cgroup2_vm.py kernel/boot/vmlinuz-* lab/tests/test_sandbox_box.py -k cgroup-v2

Emulated, it is some twenty times slower than the machine itself: tests about CPU time mean little there.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

_TOOLS = ("sh", "mount", "mkdir", "cat", "ls", "env", "sleep", "setsid", "poweroff", "stty", "chmod")
_HEAVY = {
    "botocore", "awscli", "boto3", "mypy", "grpc", "ruff", "sphinx", "docutils", "moto", "pygments", "pip",
    "setuptools", "s3transfer", "cryptography", "opentelemetry", "google",
}  # fmt: skip
_LEFT_OUT = shutil.ignore_patterns(
    "test", "tests", "idlelib", "config-*", "*.a", "ensurepip", "lib2to3", "tkinter"
)
_INIT = """#!/bin/sh
export PATH=/bin:/usr/bin HOME=/root PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
mkdir -p /dev/shm /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/lab
echo "+cpu +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
echo "+cpu +memory +pids" >/sys/fs/cgroup/lab/cgroup.subtree_control
mkdir /sys/fs/cgroup/lab/own
echo $$ >/sys/fs/cgroup/lab/own/cgroup.procs
cat /sys/fs/cgroup/lab/cgroup.subtree_control
cd {repository}
export PYTHONPATH=sdk/src:lab/src:{packages}
{python} -c "from lambent_lab.sandbox import syscalls; syscalls.raise_loopback()"
{python} -m pytest -p no:cacheprovider -q {arguments}
echo "pytest ended with $?"
echo o >/proc/sysrq-trigger
sleep 60
"""


def main() -> int:
    """Build, boot, run."""
    kernel, *arguments = sys.argv[1:]
    repository = Path(__file__).resolve().parent.parent
    packages = Path(sysconfig.get_path("purelib"))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        for folder in ("proc", "sys", "dev", "tmp", "root", "etc", "var", "opt", "usr/bin"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        programs = [Path(found) for tool in _TOOLS if (found := shutil.which(tool))]
        base = Path(sys.base_prefix)
        shutil.copytree(base, _in(root, base), symlinks=True, ignore=_LEFT_OUT)
        for entry in packages.iterdir():
            if entry.name.split("-")[0].split(".")[0].lower() not in _HEAVY:
                copy = shutil.copytree if entry.is_dir() else shutil.copy2
                _in(root, entry.parent).mkdir(parents=True, exist_ok=True)
                copy(entry, _in(root, entry))
        for part in ("sdk/src", "lab/src", "lab/tests"):
            shutil.copytree(repository / part, _in(root, repository / part))
        shutil.copy2(repository / "pyproject.toml", _in(root, repository))
        binaries = [
            *programs,
            *base.glob("bin/python3.*"),
            *_in(root, base).rglob("*.so"),
            *root.rglob("*.so"),
        ]
        for program in programs:
            shutil.copy2(program, root / "usr/bin" / program.name)
        (root / "bin").symlink_to("usr/bin")
        for library in _libraries(binaries):
            _in(root, library.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy2(library, _in(root, library))
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        (root / "etc/group").write_text("root:x:0:\n")
        init = root / "init"
        init.write_text(
            _INIT.format(
                repository=repository,
                packages=packages,
                python=base / "bin" / f"python3.{sys.version_info[1]}",
                arguments=" ".join(f"'{argument}'" for argument in arguments),
            )
        )
        init.chmod(0o755)
        image = Path(name) / "image.cpio"
        with image.open("wb") as output:
            for number, path in enumerate([root, *sorted(root.rglob("*"))], 1):
                _archive(output, number, path, str(path.relative_to(root)))
            _entry(output, 0, 0, "TRAILER!!!", b"")
        done = subprocess.run(
            [
                "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "3072", "-nographic",
                "-no-reboot", "-kernel", kernel, "-initrd", str(image),
                "-append", "console=ttyS0 quiet panic=-1 rdinit=/init",
            ],
            check=False,
        )  # fmt: skip
        return done.returncode


def _archive(output: BinaryIO, number: int, path: Path, name: str) -> None:
    """Write one file of an initial RAM disk, in the "newc" format of cpio."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        _entry(output, number, mode, name, os.fsencode(path.readlink()))
    else:
        _entry(output, number, mode, name, path.read_bytes() if path.is_file() else b"")


def _entry(output: BinaryIO, number: int, mode: int, name: str, data: bytes) -> None:
    coded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(coded), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + coded
    output.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))


def _in(root: Path, path: Path) -> Path:
    return root / str(path).lstrip("/")


def _libraries(binaries: list[Path]) -> set[Path]:
    """Return the shared libraries of programs, and the loader."""
    found: set[Path] = set()
    for binary in binaries:
        done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
        for word in done.stdout.split():
            if word.startswith("/") and Path(word).is_file():
                found.add(Path(word))
    return found


if __name__ == "__main__":
    sys.exit(main())
