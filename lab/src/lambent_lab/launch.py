"""How a function's runtime is started: the command, and what stands in its way.

Rules
- Python and Node.js start from /var/runtime, as on Lambda: `python bootstrap.py`, `node index.mjs`.
- `AWS_LAMBDA_EXEC_WRAPPER` names a script that is given this command as its arguments and is to run it. One
  that is missing or not executable ends the runtime with status 127 or 126 after a line in the log, as the
  shell script does that starts the runtimes on Lambda.
- The provided runtimes run `bootstrap`, of the code or else of the layers, and know no wrapper. What cannot
  be run is `Runtime.InvalidEntrypoint`, told in the words of RIE.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.runtime import NotStarted
from lambent_lab.staging import BOOTSTRAP, scripts
from lambent_lab.staging.client import START

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambent_lab.function import FunctionSpec
    from lambent_lab.sandbox.furnish import Places
    from lambent_lab.staging import Stage

_WRAP = (
    'if [ ! -f "$0" ]; then echo "$0: does not exist"; exit 127; fi; '
    'if [ ! -x "$0" ]; then echo "$0: is not an executable"; exit 126; fi; '
    'exec "$0" "$@"'
)
_NODE_SHARE = 10
"""Lambda gives Node.js nine tenths of the memory for old objects, and half of the rest for a semi-space."""

_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}


def command(spec: FunctionSpec, stage: Stage, places: Places) -> list[str]:
    """Return the command that starts the runtime, as its process sees the files."""
    program = str(places.python)
    if stage.runtime.family == "provided":
        folder = places.task_root if _lies(stage.code / BOOTSTRAP) else places.layer
        return [str(folder / BOOTSTRAP)]
    if stage.runtime.family == "nodejs":
        young = spec.memory_mb // _NODE_SHARE
        sizes = [f"--max-semi-space-size={young // 2}", f"--max-old-space-size={spec.memory_mb - young}"]
        return _wrapped(spec, places, [program, *sizes, str(places.runtime / "index.mjs")])
    flags = ["-s"]
    if places.tmpdir is not None:
        flags.append("-B")  # without mounts, this is what keeps .pyc files out of the folders
    return _wrapped(spec, places, [program, *flags, str(places.runtime / START)])


def obstacle(stage: Stage) -> NotStarted | None:
    """Return why the runtime cannot be started, None when it can be tried."""
    if stage.runtime.family != "provided":
        return None
    for folder, name in ((stage.code, "/var/task"), (stage.layer, "/opt")):
        if folder is not None and _lies(folder / BOOTSTRAP):
            why = _refusal(folder / BOOTSTRAP, stage)
            return _invalid(f"fork/exec {name}/{BOOTSTRAP}: {why}") if why else None
    return _invalid("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")


def _wrapped(spec: FunctionSpec, places: Places, runtime: Sequence[str]) -> list[str]:
    wrapper = spec.env.get("AWS_LAMBDA_EXEC_WRAPPER")
    if not wrapper:
        return list(runtime)
    for name, folder in (("/var/task/", places.task_root), ("/opt/", places.layer)):
        if wrapper.startswith(name):  # without mounts, the folders have other names
            return ["/bin/sh", "-c", _WRAP, str(folder / wrapper.removeprefix(name)), *runtime]
    return ["/bin/sh", "-c", _WRAP, wrapper, *runtime]


def _invalid(how: str) -> NotStarted:
    return NotStarted("Runtime.InvalidEntrypoint", how)


def _lies(path: Path) -> bool:
    return path.exists() and not path.is_dir()


def _refusal(path: Path, stage: Stage) -> str | None:
    """Return how the kernel would refuse to run a file, None if it would not.

    A shell, which starts the file, would run what the kernel refuses as a script of its own.
    """
    if not path.stat().st_mode & 0o111:
        return "permission denied"
    head = scripts.head_of(path)
    interpreter = scripts.interpreter_of(head)
    if interpreter:
        return None if _is_there(interpreter, stage) else "no such file or directory"
    if head.startswith(b"\x7fELF") and len(head) >= 20:
        wanted = _ELF_MACHINES.get(platform.machine())
        machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
        return None if wanted in {None, machine} else "exec format error"
    return "exec format error"


def _is_there(path: str, stage: Stage) -> bool:
    """Tell whether an interpreter exists for the function: on the machine, in its code or in a layer."""
    for name, folder in (("/var/task/", stage.code), ("/opt/", stage.layer)):
        if path.startswith(name) and folder is not None and (folder / path.removeprefix(name)).exists():
            return True
    return Path(path).exists()
