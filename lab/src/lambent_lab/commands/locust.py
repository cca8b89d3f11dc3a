"""`lambent locust`: load from many processes or machines, with Locust's own master and workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lambent_lab.commands import options, run_output
from lambent_lab.commands.output import writable
from lambent_lab.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent_lab.commands.axes import Chosen
    from lambent_lab.measure.results import TargetInfo, TargetKind

FILE = Path(__file__).parent.parent / "measure" / "locustfiles" / "lambda_user.py"

_PATIENCE_S = 60.0
"""How much longer than the test its processes may take to begin and to end."""


@click.command(name="locust", short_help="Put a function under load from many processes or machines.")
@click.argument("target", metavar="TARGET")
@click.argument("locust_options", metavar="[-- LOCUST'S OPTIONS]", nargs=-1)
@options.event
@click.option(
    "--users", metavar="N", type=click.IntRange(1), default=10, show_default=True, help="Users in all."
)
@click.option(
    "--duration",
    metavar="S",
    type=options.Seconds(1),
    default=60.0,
    show_default=True,
    help="Seconds, the ramp-up among them.",
)
@click.option(
    "--ramp-up",
    metavar="S",
    type=options.Seconds(0),
    help="Seconds until all users are there (default: 10, or a sixth of the duration if that is less).",
)
@options.pause
@click.option(
    "--workers", metavar="N", type=click.IntRange(1, 64), help="A master and N workers on this machine."
)
@click.option("--master", "role", flag_value="master", help="Be the master of workers on other machines.")
@click.option("--worker", "role", flag_value="worker", help="Be a worker.")
@click.option(
    "--expect-workers", metavar="N", type=click.IntRange(1), default=1, help="A master begins with so many."
)
@click.option("--master-host", metavar="HOST", help="Where the master listens (default: 127.0.0.1).")
@click.option(
    "--master-port", metavar="PORT", type=click.IntRange(1, 65535), help="Its port (default: Locust's, 5557)."
)
@options.memory
@options.max_error_rate
@options.timeout
@options.env
@options.one_python
@options.aws_place
@run_output.output("load-results.json")
@click.pass_context
def command(
    context: click.Context,
    target: str,
    locust_options: tuple[str, ...],
    event: str | None,
    users: int,
    duration: float,
    ramp_up: float | None,
    pause: float,
    workers: int | None,
    role: str | None,
    expect_workers: int,
    master_host: str | None,
    master_port: int | None,
    memory_mb: int,
    max_error_rate: float,
    timeout: float,
    env: tuple[str, ...],
    python: Chosen | None,
    region: str | None,
    endpoint_url: str | None,
    output: Path,
    page: Path | None,
    as_json: bool,
) -> None:
    """Put TARGET under load with Locust: aws:FUNCTION[:QUALIFIER], a URL in the form of AWS's interface
    emulator, or FOLDER/module.function in a lab that is opened for it. A function there has --memory,
    --timeout, --env and --python; without --timeout a user waits up to 930 s for one that is elsewhere.

    In one process, in a master and --workers here, or on many machines: `--master --expect-workers N` on one
    of them, `--worker --master-host HOST` with the same options on the others. Needs
    `pip install 'lambent-lab[load]'`. Exit codes and result file are those of `lambent load`.
    """
    from lambent_lab.commands.inputs import load_event
    from lambent_lab.commands.load import is_remote, ramp_up_s

    if find_spec("locust") is None:
        raise UsageError("Locust is not installed: pip install 'lambent-lab[load]'.")
    ramp_up = ramp_up_s(ramp_up, duration)
    if workers is not None and role is not None:
        raise UsageError("--workers starts a master and its workers here: leave out --master and --worker.")
    remote = is_remote(target)
    if remote and (env or python):
        raise UsageError(f"{target} is not in the lab: --env and --python cannot be set there.")
    patient = context.get_parameter_source("timeout") is ParameterSource.DEFAULT
    payload = load_event(event)
    if role != "worker":
        writable(output, page)
    with ExitStack() as stack:
        given = {"memory": memory_mb, "timeout": timeout, **({} if python is None else python.given)}
        reached = _reachable(target, endpoint_url, payload, env, given)
        url, endpoint, info = stack.enter_context(reached)
        plan = {
            "url": url, "event": payload, "event_name": event, "region": region, "endpoint_url": endpoint,
            "wait_s": 930.0 if patient else timeout + 30, "pause_s": pause, "users": users,
            "duration_s": duration, "ramp_up_s": ramp_up, "max_error_rate": max_error_rate, "target": info,
            "memory_mb": None if remote else memory_mb, "timeout_s": timeout,
            "python": None if python is None else str(python.path),
            "command": ["lambent", *sys.argv[1:]],
            "output": None if role == "worker" else str(output.absolute()),
        }  # fmt: skip
        if role == "worker":
            arguments = ["--worker", "--master-host", master_host or "127.0.0.1"]
            arguments += ["--master-port", str(master_port or 5557)]
            context.exit(_wait(stack.enter_context(_started(plan, [*arguments, *locust_options])), None))
        rate = users / ramp_up if ramp_up else float(users)
        arguments = ["--headless", "--only-summary", "--users", str(users), "--spawn-rate", f"{rate:.6f}"]
        arguments += ["--run-time", f"{max(1, round(duration))}s", "--stop-timeout", "10"]
        arguments += ["--exit-code-on-error", "0", "--loglevel", "WARNING", *locust_options]
        if role == "master" or workers is not None:
            host = master_host or ("127.0.0.1" if workers is not None else "*")
            port = master_port or (5557 if workers is None else _free_port())
            arguments += ["--master", "--master-bind-host", host, "--master-bind-port", str(port)]
            arguments += ["--expect-workers", str(workers or expect_workers)]
            if workers is not None:
                arguments += ["--expect-workers-max-wait", str(int(_PATIENCE_S))]
            for _ in range(workers or 0):
                near = [
                    "--worker",
                    "--master-host",
                    host,
                    "--master-port",
                    str(port),
                    "--loglevel",
                    "WARNING",
                ]
                stack.enter_context(_started(plan, near))
        before = output.stat().st_mtime_ns if output.exists() else None
        limit = None if role == "master" else duration + 2 * _PATIENCE_S
        code = _wait(stack.enter_context(_started(plan, arguments)), limit)
    if not output.exists() or output.stat().st_mtime_ns == before:
        raise LabError(f"Locust ended with {code} and wrote no result: what it said stands above.")
    context.exit(_show(output, page, as_json=as_json))


def _show(output: Path, page: Path | None, *, as_json: bool) -> int:
    from lambent_lab.measure import read

    return run_output.finish(read(output), output, page, as_json=as_json)


@contextmanager
def _reachable(
    target: str, endpoint_url: str | None, event: object, env: tuple[str, ...], given: dict[str, Any]
) -> Iterator[tuple[str, str | None, TargetInfo]]:
    """What users invoke, where AWS's API is (for a folder, a lab's that is opened for it), and what the file
    says of it. `given`: the options of a function in the lab.
    """
    from lambent_lab.commands.inputs import locate, parse_env
    from lambent_lab.commands.load import is_remote, make_lab, must_work
    from lambent_lab.measure.remarks import target_info
    from lambent_lab.measure.remote import aws
    from lambent_lab.measure.target import Target

    kind: TargetKind = "aws" if target.startswith("aws:") else "http"
    if kind == "aws":
        aws.split(target.removeprefix("aws:"))
    if is_remote(target):
        yield target, endpoint_url, target_info(Target(text=target, label=target, kind=kind))
        return
    if endpoint_url is not None:
        raise UsageError(f"{target} runs in the lab: --endpoint-url is for aws:FUNCTION.")
    place = locate(target)
    variables = parse_env(env)
    about = Target(text=target, code=place.code, handler=place.handler, label=target, env=variables)
    with make_lab(None) as lab:
        function = lab.function("load", code=place.code, handler=place.handler, env=variables, **given)
        must_work(function, event, target)
        yield "aws:load", lab.serve().url, target_info(about)


@contextmanager
def _started(plan: dict[str, Any], arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Locust's, which is ended when it is not needed any more."""
    environment = {**os.environ, "LAMBENT_LOAD_PLAN": json.dumps(plan), "LOCUST_SKIP_UPDATE_CHECK": "1"}
    # Our own file and options; of the user's, those after `--`. Its output goes to our standard error.
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "locust", "-f", str(FILE), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], limit_s: float | None) -> int:
    """Wait for the end; Ctrl-C is handed on, so that Locust writes what it has."""
    until = None if limit_s is None else time.monotonic() + limit_s
    while True:
        try:
            return process.wait(1.0)
        except subprocess.TimeoutExpired:
            if until is not None and time.monotonic() > until:
                raise LabError(
                    f"Locust had not ended {2 * _PATIENCE_S:.0f} s after it should have."
                ) from None
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            until = time.monotonic() + 30


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)  # a worker ends when its master does
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)


def _free_port() -> int:
    """A port that nobody has now. Locust takes a number only."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
