"""What several of the lab's tests need."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from lambent_lab.commands import main
from lambent_lab.errors import LabError
from lambent_lab.function import FunctionSpec
from lambent_lab.service.testing import World
from lambent_lab.staging import node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# As the SDK's: a machine that is busy with other tests is no failure.
settings.register_profile("lab", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.load_profile("lab")

# A shell without job control starts what runs in the background with Ctrl-C ignored, and that is inherited:
# the processes whose reaction to it is tested would never hear of it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_MOUNTS = """
import os
from lambent_lab.sandbox import syscalls
syscalls.unshare(syscalls.CLONE_NEWNS | (syscalls.CLONE_NEWUSER if os.geteuid() else 0))
"""


@pytest.fixture(scope="session")
def mounts() -> None:
    """Skip where functions cannot have mounts of their own, and so neither Lambda's paths nor its /tmp."""
    done = subprocess.run(
        [sys.executable, "-c", _MOUNTS], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        pytest.skip(f"no mounts: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="session")
def node_runtime() -> str:
    """The runtime that this machine's Node.js is, its client installed; npm may not be reached from here."""
    found = node.find(0)
    try:
        node.client_folder(found)
    except LabError as error:
        if not re.search("EAI_AGAIN|ENOTFOUND|ETIMEDOUT|ECONNREFUSED|ENETUNREACH|EADDRNOTAVAIL", str(error)):
            raise
        pytest.skip(str(error))
    return f"nodejs{found.version[0]}.x"


@pytest.fixture
def write_function(tmp_path: Path) -> Callable[..., FunctionSpec]:
    """Return what writes a module into a folder and describes it as a function."""

    def build(source: str, **options: Any) -> FunctionSpec:
        code = tmp_path / "code"
        code.mkdir(exist_ok=True)
        (code / "app.py").write_text(source)
        return FunctionSpec(**{"code": code, "handler": "app.handler", **options})

    return build


@pytest.fixture
def world() -> World:
    """Environments that answer what a test says, for a lab without processes."""
    return World()


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return what runs a command that is used in a wrong way, and returns the one line that says so.

    There is a function, code/app.handler, which does nothing.
    """
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("def handler(event, context): return None\n")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        return err

    return run


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    """The address of what stands for AWS, moto's server: whoever uses it gives things names of their own."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line on standard error for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="session")
def aws(aws_endpoint: str) -> Callable[[str], Any]:
    """Return boto3's client of a service there."""
    import boto3

    @cache
    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=aws_endpoint,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )

    return client
