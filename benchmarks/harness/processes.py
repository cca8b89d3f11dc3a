"""Runs one worker process and brings home what it measured: fresh, bounded in time, and ended here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import counting, plan
from benchmarks.harness.runtime_api import FunctionFailedError, RuntimeApi, trace_header

if TYPE_CHECKING:
    from benchmarks.harness.collector import Collector
    from benchmarks.harness.peers_file import Peer
    from benchmarks.harness.plan import Probe
    from benchmarks.harness.share import CpuShare
    from benchmarks.harness.venvs import Installed

HERE = Path(__file__).resolve().parents[1]
PATIENCE_S = 120.0  # for one step of one process; the slowest init at a small share takes about ten seconds


def make_bundle(peer: Peer, python: Path, folder: Path) -> Path:
    """The function's code as it would be deployed: the handler, the loops, the tool's worker as `peer.py`."""
    shutil.rmtree(folder, ignore_errors=True)
    package = folder / "benchmarks"
    (package / "worker").mkdir(parents=True)
    (package / "__init__.py").touch()  # a regular package: nothing installed under this name can come first
    for name in ("app.py", "loops.py"):
        shutil.copy(HERE / "worker" / name, folder / name)
    for name in ("work.py", "otel_work.py"):
        shutil.copy(HERE / "worker" / name, package / "worker" / name)
    shutil.copy(HERE / "peers" / peer.module, package / "worker" / "peer.py")
    subprocess.run([str(python), "-m", "compileall", "-q", str(folder)], check=True, capture_output=True)
    return folder


def environment(
    probe: Probe, collector: Collector, version: str, bundle: Path, api: str | None
) -> dict[str, str]:
    """The process's whole environment: nothing of the caller's leaks in."""
    minor = ".".join(version.split(".")[:2])
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "BENCH_DELIVERY": probe.delivery,
        "BENCH_ENDPOINT": collector.url,
        "DD_TRACE_AGENT_URL": collector.url,
    }
    if not probe.bytecode:
        env["PYTHONDONTWRITEBYTECODE"] = "1"
    if not probe.recorder:
        env |= {"LAMBENT_RECORDER": "off", "LAMBENT_WATCHDOG": "off"}
    if probe.host == plan.BARE:
        return env
    env |= {
        "_HANDLER": "app.handler",
        "LAMBDA_TASK_ROOT": str(bundle),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{minor}",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/bench",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123456789abcdef",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{collector.datagram_port}",
        "PYTHONUNBUFFERED": "1",
    }
    if api is not None:
        env["AWS_LAMBDA_RUNTIME_API"] = api
    else:
        env["_X_AMZN_TRACE_ID"] = trace_header(1)
    if probe.delivery == "async":
        env["LAMBDA_EXTENSION_SPAN_PROCESSOR_MODE"] = "async"
    return env


def run(
    probe: Probe, installed: Installed, bundle: Path, collector: Collector, share: CpuShare | None
) -> dict[str, Any]:
    """One process of `probe` with one tool. Raises FunctionFailedError with the end of its output."""
    python = installed.python if probe.bytecode else installed.python_nopyc
    # An environment's /tmp is its own: what one process leaves there is not the next one's.
    with (
        tempfile.TemporaryFile("w+", errors="replace") as output,
        tempfile.TemporaryDirectory(prefix="lambent-bench-") as folder,
    ):
        try:
            if probe.host == plan.LAMBDA:
                outcome = _in_lambda(probe, python, bundle, collector, share, output, folder)
            else:
                outcome = _bare(probe, python, bundle, collector, share, output, folder)
        except FunctionFailedError as failure:
            raise FunctionFailedError(f"{failure} | {_tail(output)}") from None
        output.seek(0)
        printed = counting.stdout(output.read())
    outcome["stdout_spans"] = counting.tally(printed)
    return outcome


def _in_lambda(
    probe: Probe,
    python: Path,
    bundle: Path,
    collector: Collector,
    share: CpuShare | None,
    output: Any,
    folder: str,
) -> dict[str, Any]:
    api = RuntimeApi()
    env = environment(probe, collector, _version(python), bundle, api.address) | {"TMPDIR": folder}
    command = [str(python), "-m", "awslambdaric", "app.handler"]
    throttled = share.throttled() if share else 0
    started = time.perf_counter_ns()
    process = _start(share.wrap(command) if share else command, bundle, env, output)

    def alive() -> bool:
        return process.poll() is None

    try:
        api.wait_ready(PATIENCE_S, alive)
        for number in range(probe.invocations):
            api.invoke({"invocation": number}, PATIENCE_S, alive)
        api.settle(PATIENCE_S, alive)
        reported = api.invoke({"report": True}, PATIENCE_S, alive)
    finally:
        _end(process)
        api.close()
    assert isinstance(reported, dict)
    assert api.first_next_ns is not None
    outcome: dict[str, Any] = dict(reported)
    outcome["ready_ns"] = api.first_next_ns - started
    outcome["invocations"] = probe.invocations
    if share:
        outcome["periods_throttled"] = share.throttled() - throttled
    return outcome


def _bare(
    probe: Probe,
    python: Path,
    bundle: Path,
    collector: Collector,
    share: CpuShare | None,
    output: Any,
    folder: str,
) -> dict[str, Any]:
    env = environment(probe, collector, _version(python), bundle, None) | {"TMPDIR": folder}
    command = [str(python), "loops.py", "init" if probe.host == plan.BARE else probe.host]
    process = _start(share.wrap(command) if share else command, bundle, env, output)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise FunctionFailedError(f"the process took longer than {PATIENCE_S:.0f} s") from None
    finally:
        _end(process)
    if process.returncode != 0:
        raise FunctionFailedError(f"the process ended with status {process.returncode}")
    output.seek(0)
    last = [line for line in output.read().splitlines() if line.startswith("{")][-1:]
    if not last:
        raise FunctionFailedError("the process printed no result")
    outcome: dict[str, Any] = json.loads(last[0])
    return outcome


def _start(command: list[str], bundle: Path, env: dict[str, str], output: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=bundle,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # its own group: ended as a whole, and Ctrl-C does not reach it half-way
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children, as Lambda ends an environment without extensions."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)


def _version(python: Path) -> str:
    return (
        python.parent.parent.joinpath("lib").glob("python3.*").__next__().name.removeprefix("python") + ".0"
    )


def _tail(output: Any) -> str:
    output.seek(0)
    lines = [line.strip() for line in output.read().splitlines() if line.strip()]
    return " / ".join(lines[-6:])[-900:]
