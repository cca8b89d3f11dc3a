"""The Lambda function: import + init inside the official runtime client, then invocations.

The bundle puts `peer.py` (the tool's worker) beside it. Measured values travel back as the response to the
event `{"report": true}`, so no file or pipe has to be shared with the runtime client.
"""

from __future__ import annotations

import sys
import time

from benchmarks.worker import peer
from benchmarks.worker.work import EVENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_before = len(sys.modules)


def _function(event: object, context: object) -> object:  # noqa: ARG001 - Lambda's signature
    peer.children()
    return {"statusCode": 200}


_cpu = time.process_time_ns()
_begin = time.perf_counter_ns()
_traced: Callable[[object, object], object] = peer.start(_function)
_init_ns = time.perf_counter_ns() - _begin
_init_cpu_ns = time.process_time_ns() - _cpu
_modules = len(sys.modules) - _before
_calls: list[int] = []
_rss: list[int] = []


def _rss_kb() -> int:
    """Resident memory in kB, from the kernel's own account."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib is not loaded here
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def _bytecode() -> dict[str, object]:
    """Of the modules loaded from site-packages: how many have a .pyc. The proof of the no-.pyc measure."""
    runtime = {
        "__main__",
        "__mp_main__",
        "awslambdaric",
        "snapshot_restore_py",
        "simplejson",
        "runtime_client",
    }
    seen = 0
    with_pyc = []
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        cached = getattr(spec, "cached", None)
        if not cached or "site-packages" not in cached or name.partition(".")[0] in runtime:
            continue
        seen += 1
        try:
            with open(cached, "rb"):  # noqa: PTH123 - pathlib is not loaded here
                with_pyc.append(name)
        except OSError:
            pass
    return {"modules": seen, "with_pyc": len(with_pyc), "first": with_pyc[:3]}


def handler(event: dict[str, object], context: object) -> object:
    """Run one invocation and keep its time, or answer with everything that was measured."""
    if "report" in event:
        return {
            "init_ns": _init_ns,
            "init_cpu_ns": _init_cpu_ns,
            "modules_added": _modules,
            "calls_ns": _calls,
            "rss_kb": _rss,
            "bytecode": _bytecode(),
            "python": sys.version.split()[0],
        }
    begin = time.perf_counter_ns()
    _traced(EVENT, context)
    _calls.append(time.perf_counter_ns() - begin)
    if len(_rss) < 1:
        _rss.append(_rss_kb())
    return {"statusCode": 200}
