"""What a function is: its code, its handler and the resources it is given."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from lambent_lab.errors import UsageError
from lambent_lab.identifiers import RUNTIMES, family_of
from lambent_lab.protocol.extensions import MAX_EXTENSIONS
from lambent_lab.reserved import check_variables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LogFormat = Literal["Text", "JSON"]
ApplicationLogLevel = Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
SystemLogLevel = Literal["DEBUG", "INFO", "WARN"]
Initialization = Literal["on-demand", "provisioned-concurrency", "snap-start"]

MEMORY_MB = range(128, 10_241)
"""The sizes that Lambda accepts, in MB."""

TMP_MB = range(512, 10_241)
"""The sizes of /tmp that Lambda accepts, in MB."""

MAX_CONCURRENCY = 1600
"""What Lambda accepts as the number of invocations that one environment serves at once."""

MAX_LAYERS = 5
"""How many layers a function may have."""

_VERSION = re.compile(r"\$LATEST|[1-9]\d*")


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """One function: everything that an execution environment needs to know of it.

    `code` is a folder, a zip file or a wheel and stays untouched; wheels at its top are unpacked. `timeout_s`
    counts seconds of one invocation; `python` is the interpreter to run exactly as given (default: the base
    interpreter of the one running the lab); `init_cpu` says whether the init phase has up to two vCPUs
    ("boost", as Lambda is reported to do) or the share of `memory_mb`; `bytecode` says whether `.pyc` files
    lie beside code, layer and runtime; `extensions` are the executable files to run from /opt/extensions, 10
    at most, those of the layers included.

    `runtime` is Lambda's name of it, as in python3.12, nodejs20.x or provided.al2023 (default: Python, of the
    version of `python`); `layers` are folders and zip files that the function finds in /opt, 5 at most, a
    later one before an earlier one.

    `version` is $LATEST or a number; `log_format` is that of the log's lines, and the two levels (INFO where
    they are not given) say which records a log in JSON has; `initialization` says when the init phase runs;
    `max_concurrency` makes it a function on managed instances, whose environments serve that many invocations
    at once and log in JSON; `freeze=False` lets an environment run between invocations.
    `tmp_mb` is the size of /tmp; `network` is the host's, or one of its own with nothing but a loopback.
    Raises UsageError for values that Lambda would refuse.
    """

    name: str
    code: Path
    handler: str
    memory_mb: int = 128
    timeout_s: float = 3.0
    env: Mapping[str, str] = field(default_factory=dict)
    python: Path | None = None
    init_cpu: Literal["boost", "share"] = "boost"
    bytecode: bool = True
    extensions: tuple[Path, ...] = ()
    runtime: str | None = None
    layers: tuple[Path, ...] = ()
    version: str = "$LATEST"
    log_format: LogFormat = "Text"
    application_log_level: ApplicationLogLevel | None = None
    system_log_level: SystemLogLevel | None = None
    initialization: Initialization = "on-demand"
    max_concurrency: int | None = None
    freeze: bool = True
    tmp_mb: int = 512
    network: Literal["host", "private"] = "host"

    def __post_init__(self) -> None:
        if not self.code.is_dir() and not self.code.is_file():
            raise UsageError(
                f"{self.code} is not a folder, nor a zip file or wheel: give what holds the function's code."
            )
        if isinstance(self.memory_mb, bool) or not isinstance(self.memory_mb, int):
            raise UsageError(f"The memory must be a whole number of MB, not {self.memory_mb!r}.")
        if self.memory_mb not in MEMORY_MB:
            raise UsageError(f"{self.memory_mb} MB of memory is not possible: choose 128 to 10240.")
        if self.network not in {"host", "private"}:
            raise UsageError(f"The network cannot be {self.network!r}: choose 'host' or 'private'.")
        if self.tmp_mb not in TMP_MB:
            raise UsageError(f"A /tmp of {self.tmp_mb} MB is not possible: choose 512 to 10240.")
        if isinstance(self.timeout_s, bool) or not isinstance(self.timeout_s, (int, float)):
            raise UsageError(f"The timeout must be a number of seconds, not {self.timeout_s!r}.")
        if not 0 < self.timeout_s <= 900:
            raise UsageError(f"A timeout of {self.timeout_s} s is not possible: choose up to 900 seconds.")
        self._check_runtime()
        if self.init_cpu not in {"boost", "share"}:
            raise UsageError(f"init_cpu cannot be {self.init_cpu!r}: choose 'boost' or 'share'.")
        for key, value in self.env.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise UsageError(f"The environment variable {key!r} must be text, not {value!r}.")
            if not key or "=" in key or "\0" in key or "\0" in value:
                raise UsageError(
                    f"The environment variable {key!r} cannot be set: no '=' or NUL in it, please."
                )
        check_variables(self.env)
        self._check_extensions()
        self._check_life()

    def _check_runtime(self) -> None:
        if self.runtime is not None and self.runtime not in RUNTIMES:
            raise UsageError(f"The runtime cannot be {self.runtime!r}: choose {', '.join(RUNTIMES)}.")
        family = family_of(self.runtime or "python")
        if family != "python" and self.python is not None:
            raise UsageError(f"The runtime {self.runtime} takes no Python: leave python out.")
        if family != "provided" and "." not in self.handler:
            raise UsageError(
                f"The handler {self.handler!r} names no function: write module.function, as in app.handler."
            )
        if len(self.layers) > MAX_LAYERS:
            raise UsageError(f"{len(self.layers)} layers are too many: {MAX_LAYERS} at most.")
        for path in self.layers:
            if not path.is_dir() and not path.is_file():
                raise UsageError(f"The layer {path} is not a folder, nor a zip file: check the path.")

    def _check_life(self) -> None:
        if _VERSION.fullmatch(self.version) is None:
            raise UsageError(f"The version cannot be {self.version!r}: it is $LATEST or a number from 1.")
        if self.log_format not in get_args(LogFormat):
            raise UsageError(f"log_format cannot be {self.log_format!r}: choose 'Text' or 'JSON'.")
        if self.initialization not in get_args(Initialization):
            raise UsageError(
                f"initialization cannot be {self.initialization!r}: "
                f"choose {' or '.join(map(repr, get_args(Initialization)))}."
            )
        self._check_levels()
        if self.max_concurrency is None:
            return
        if not 1 <= self.max_concurrency <= MAX_CONCURRENCY:
            raise UsageError(
                f"A concurrency of {self.max_concurrency} is not possible: choose 1 to {MAX_CONCURRENCY}."
            )
        if self.initialization != "on-demand":
            raise UsageError(
                f"A function on managed instances has no {self.initialization}: leave out initialization "
                "or max_concurrency."
            )

    def _check_levels(self) -> None:
        levels = (
            ("application_log_level", self.application_log_level, get_args(ApplicationLogLevel)),
            ("system_log_level", self.system_log_level, get_args(SystemLogLevel)),
        )
        for name, level, known in levels:
            if level is None:
                continue
            if level not in known:
                raise UsageError(f"{name} cannot be {level!r}: choose {', '.join(known)}.")
            if not self.logs_json:
                raise UsageError(f"{name} needs the log format JSON: set log_format='JSON' as well.")

    @property
    def logs_json(self) -> bool:
        """Whether the log is in JSON: asked for, or because managed instances know nothing else."""
        return self.log_format == "JSON" or self.max_concurrency is not None

    def _check_extensions(self) -> None:
        if len(self.extensions) > MAX_EXTENSIONS:
            raise UsageError(f"{len(self.extensions)} extensions are too many: {MAX_EXTENSIONS} at most.")
        names = [path.name for path in self.extensions]
        if len(set(names)) < len(names):
            raise UsageError("Two extensions have the same file name: give each its own.")
        for path in self.extensions:
            if not path.is_file() or not os.access(path, os.X_OK):
                raise UsageError(
                    f"The extension {path} is no executable file: check the path, or chmod +x it."
                )
