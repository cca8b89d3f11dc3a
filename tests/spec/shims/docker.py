"""Stands for the `docker` package where the specifications' blocks use it: a container is the lab's function.

`containers.run` serves the function that the image's command names, from the folder LAMBENT_SPEC_CODE, at the
URL of AWS's interface emulator on the port that is asked for; the container is ready when it returns.
"""

from __future__ import annotations

import os
from typing import Any

from lab_exit import at_exit  # type: ignore[import-not-found]  # from this folder

from lambent_lab import Lab
from lambent_lab.service.api.desk import Desk
from lambent_lab.service.serving import Endpoint

COMMAND = "cold_start_test.lambda_handler"
"""What the image `honeyhive-lambda:bundle-native` runs when it is told nothing else."""


class Container:
    """One function, served until it is stopped."""

    def __init__(self, handler: str, port: int, environment: dict[str, str]) -> None:
        self._lab = Lab()
        self._lab.__enter__()
        at_exit(self._lab.close)
        own = {name: value for name, value in environment.items() if not name.startswith("AWS_LAMBDA_")}
        function = self._lab.function(
            environment.get("AWS_LAMBDA_FUNCTION_NAME", "function"),
            code=os.environ["LAMBENT_SPEC_CODE"],
            handler=handler,
            memory=int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")),
            timeout=30,
            env={"PYTHONPATH": os.environ["LAMBENT_SPEC_PATH"], **own},
        )
        endpoint = Endpoint(Desk(self._lab.core), {"function": function.name})
        self._lab.listen(endpoint, "127.0.0.1", port)

    def stop(self, **_: object) -> None:
        """End it, and its environments."""
        self._lab.close()


class Containers:
    """`client.containers`."""

    def run(self, image: str, command: str | None = None, **options: Any) -> Container:
        """Start the function."""
        assert image == "honeyhive-lambda:bundle-native"
        assert options["detach"]
        return Container(command or COMMAND, options["ports"]["8080/tcp"], options["environment"])


class Client:
    """What `from_env` returns."""

    containers = Containers()


def from_env() -> Client:
    """Return a client."""
    return Client()
