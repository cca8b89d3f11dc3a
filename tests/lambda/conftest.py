"""What the Lambda suite's tests share: the package as it is deployed, functions of it, failures.

The Makefile says what is tested: LAMBDA_PACKAGE is the package that it built (without it one is built for the
run), LAMBDA_PYTHON the function's Python. The memory is pytest's --lambda-memory, the place --lambda-target.
With HH_API_KEY and HH_TEST_MODE=false spans go to HoneyHive, and are not looked for here.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.staging import pythons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from lambent_lab.fixtures.functions import Functions

collect_ignore = ["lambda_functions"]  # functions, whose names look like tests'

HERE = Path(__file__).parent
REAL_API = bool(os.environ.get("HH_API_KEY")) and os.environ.get("HH_TEST_MODE", "true").lower() == "false"
"""Whether spans go to HoneyHive itself."""


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The functions and the SDK in a zip file, as they are deployed."""
    built = os.environ.get("LAMBDA_PACKAGE")
    if built:
        return Path(built).absolute()
    folder = tmp_path_factory.mktemp("package")
    places = {"BUILD": str(folder / "bundle"), "PACKAGE": str(folder / "package.zip")}
    done = subprocess.run(
        [HERE / "build-deployment-package.sh", sys.executable],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "package.zip"


@pytest.fixture(scope="session")
def options() -> dict[str, Any]:
    """What functions are made with, besides their code."""
    env = {"LAMBENT_COUNT_SPANS": "true"}
    env |= {name: value for name, value in os.environ.items() if name.startswith("HH_") and REAL_API}
    python = os.environ.get("LAMBDA_PYTHON")
    if python:
        pythons.find(python)  # one that is not there is said once, in one line
    return {"env": env, **({"runtime": f"python{python}"} if python else {})}


@pytest.fixture
def deploy(lambda_function: Functions, package: Path, options: dict[str, Any]) -> Callable[..., Any]:
    """Make a function of a module of the package."""

    def deploy(module: str, *, env: dict[str, str] | None = None, **more: Any) -> Any:
        chosen = {**options, **more, "env": {**options["env"], **(env or {})}}
        return lambda_function(code=package, handler=f"{module}.lambda_handler", **chosen)

    return deploy


@pytest.fixture
def inject_failure(deploy: Callable[..., Any]) -> Callable[[str], AbstractContextManager[Any]]:
    """Have a function meet a failure: its collector hangs or is gone, its memory or its disk is full."""

    @contextmanager
    def inject_failure(error_type: str) -> Iterator[Any]:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
            collector = {
                "network_timeout": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "api_unavailable": "http://127.0.0.1:9",  # nobody listens there
            }.get(error_type)
            env = {} if collector is None else {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
            yield deploy("error_injection", memory=128, env=env)

    return inject_failure


@pytest.fixture(scope="session")
def body() -> Callable[[Any], Any]:
    """Read the body of a response that must be a success."""

    def read(result: Any) -> Any:
        assert result.ok, result.log
        assert result.payload["statusCode"] == 200, result.payload
        return json.loads(result.payload["body"])

    return read
