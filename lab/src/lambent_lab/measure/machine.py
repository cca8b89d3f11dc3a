"""The machine a measurement ran on and how it held functions, as far as it may explain a number.

No host or user name is recorded.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from lambent_lab.measure.results import Box, Machine


def describe(python: Path | None = None) -> Machine:
    """The facts that do not change during a run. `python`: the interpreter of the function, if not ours."""
    return {
        "cpu_model": _cpu_model(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "cores_usable": _usable(),
        "memory_mb": psutil.virtual_memory().total // (1024 * 1024),
        "governor": _governor(),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "function_python": _function_python(python),
    }


def load_average() -> list[float] | None:
    """The load averages of 1, 5 and 15 minutes; absent where the system has none."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except (OSError, AttributeError):
        return None


def box_info(box: object) -> Box | None:
    """What a box says of itself, as texts; None when there is none."""
    if box is None:
        return None

    def text(name: str) -> str | None:
        value = getattr(box, name, None)
        return None if value is None else str(value)

    return {
        "kind": text("kind") or "unknown",
        "freeze": text("freeze"),
        "memory": text("memory"),
        "cpu": text("cpu"),
        "kill": text("kill"),
        "tmp": text("tmp"),
        "user": text("user"),
        "network": text("network"),
        "limits": text("limits"),
        "cannot": [str(each) for each in getattr(box, "cannot", ())],
    }


def _usable() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS: functions of a program are measured there as well
        return os.cpu_count() or 1


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model", "cpu model"} and value.strip():
            return value.strip()
    return platform.processor() or None


def _governor() -> str | None:
    try:
        path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
        return path.read_text(encoding="ascii").strip() or None
    except OSError:
        return None


def _function_python(python: Path | None) -> str | None:
    if python is None or str(python) == sys.executable:
        return platform.python_version()
    ask = "import platform; print(platform.python_version())"
    try:
        # The interpreter is the one the user named on the command line.
        done = subprocess.run(  # noqa: S603
            [str(python), "-I", "-c", ask], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
