"""A function in a container image with AWS's runtime interface emulator in it, as AWS's base images have.

Rules
- A sample is a new container; the emulator starts the function with its first invocation, so that one is
  cold, and its time has the init in it (see `remote.rie`).
- It gets the memory, and the share of the CPUs that Lambda would give with that memory, where the engine
  has them to give. CPU time and peak memory are what the engine counts for the container, where it does.
- Containers are removed when their sample ends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure.remote.rie import PATH, Address, Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent_lab.measure.remote.answer import Answer

_MB_PER_VCPU = 1769
_PORT = "8080/tcp"
_KNOCK_S = 10.0


class Engine:
    """The Docker engine that the environment names (DOCKER_HOST, or the usual socket)."""

    def __init__(self, text: str) -> None:
        self._image = text.removeprefix("docker:")
        try:
            import docker
        except ImportError as error:
            raise UsageError(
                f"{text} needs the Docker SDK: install it with `pip install 'lambent-lab[docker]'`."
            ) from error
        self._engine_error: type[Exception] = docker.errors.DockerException
        try:
            _knock()
            self._client: Any = docker.from_env(timeout=120)
            self._client.ping()
        except (self._engine_error, OSError) as error:
            raise LabError(
                f"No Docker engine answers, which {text} needs: start one, set DOCKER_HOST, or measure "
                f"FOLDER/module.function in the lab, which needs none ({_short(error)})."
            ) from error

    @property
    def runtime(self) -> str | None:
        """An image has any."""
        return None

    def function(self, *, memory: int, timeout: float, env: Mapping[str, str]) -> Contained:
        """The function with these variables, in a container of this memory."""
        variables = {
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(max(1, round(timeout))),
            **env,
        }
        share = min(memory / _MB_PER_VCPU, float(os.cpu_count() or 1))
        options: dict[str, Any] = {
            "image": self._image,
            "environment": variables,
            "mem_limit": f"{memory}m",
            "nano_cpus": int(share * 1e9),
            "ports": {_PORT: ("127.0.0.1", None)},
            "detach": True,
        }
        return Contained(self._client, self._engine_error, options, timeout)

    def close(self) -> None:
        """Forget the engine."""
        with contextlib.suppress(self._engine_error, OSError):
            self._client.close()


class Contained:
    """One function in containers, one at a time."""

    def __init__(
        self,
        client: Any,
        engine_error: type[Exception],
        options: dict[str, Any],
        timeout_s: float,
    ) -> None:
        self._client = client
        self._engine_error = engine_error
        self._options = options
        self._timeout_s = timeout_s
        self._container: Any = None
        self._caller: Caller | None = None
        self._cpu_ns: int | None = None
        self._starting = threading.Lock()

    @property
    def box(self) -> object:
        """A container of an engine elsewhere: how it holds is the engine's affair."""
        return None

    def stop(self) -> None:
        """Remove the container: the next invocation is cold. Raises LabError."""
        container, self._container = self._container, None
        if self._caller is not None:
            self._caller.disconnect()
            self._caller = None
        if container is not None:
            try:
                container.remove(force=True)
            except (self._engine_error, OSError) as error:
                raise LabError(f"A container could not be removed: {_short(error)}.") from error

    def invoke(self, event: object = None) -> Answer:
        """Post the event to the container, a new one if there is none. Raises LabError."""
        with self._starting:
            cold = self._container is None
            if cold:
                self._start()
        assert self._caller is not None
        answer = self._caller.post(event, cold=cold)
        cpu_ns, peak = self._usage()
        cpu_ms = None
        if cpu_ns is not None:
            cpu_ms = (cpu_ns - (self._cpu_ns or 0)) / 1e6
        self._cpu_ns = cpu_ns
        return replace(answer, report=replace(answer.report, cpu_ms=cpu_ms, peak_with_cache=peak))

    def _start(self) -> None:
        self._cpu_ns = None
        try:
            self._container = self._client.containers.run(**self._options)
            self._container.reload()
            bound = (self._container.ports or {}).get(_PORT) or []
            port = int(bound[0]["HostPort"])
        except (self._engine_error, OSError, IndexError, KeyError, ValueError) as error:
            with contextlib.suppress(LabError):
                self.stop()
            raise LabError(
                f"A container of {self._options['image']} could not be started: {_short(error)}."
            ) from error
        self._caller = Caller(Address(False, "127.0.0.1", port, PATH), self._timeout_s)
        self._caller.wait_ready()
        # What the emulator used before the first event is no part of the function's cold start.
        self._cpu_ns, _ = self._usage()

    def _usage(self) -> tuple[int | None, int | None]:
        """The CPU time in ns and the highest memory in bytes, as the engine counts them; None where not."""
        try:
            counted: Any = self._container.stats(stream=False, one_shot=True)
        except (self._engine_error, OSError, TypeError, ValueError):
            return None, None
        cpu = ((counted.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
        peak = (counted.get("memory_stats") or {}).get("max_usage")  # version 1 of cgroups has it
        return cpu if isinstance(cpu, int) else None, peak if isinstance(peak, int) else None


def _knock() -> None:
    """Connect to the engine's socket once. Raises OSError: the SDK would leave a socket open behind it."""
    place = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if place.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(_KNOCK_S)
            knocking.connect(place.removeprefix("unix://"))


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return (text if len(text) <= 160 else f"{text[:159]}…").rstrip(".") or type(error).__name__
