"""The `lambent` command. Sub-commands are loaded when they are used, so that help and version are instant."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

import click

from lambent_lab import __version__
from lambent_lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

__all__ = ["cli", "main"]

_COMMANDS = {
    "bench": "Measure what tracing costs, cold and warm.",
    "compare": "Show what changed between result files.",
    "gate": "Let a candidate through, or not, by what it costs.",
    "invoke": "Run a function in a local Lambda environment.",
    "load": "Put a function under load.",
    "locust": "Put a function under load from many processes or machines.",
    "matrix": "Measure at every memory size and with every Python.",
    "quick": "Say in a few seconds whether tracing's overhead is acceptable.",
    "report": "Show a result file in the terminal or as a page.",
    "serve": "Serve AWS's Lambda API for the functions of a file.",
    "soak": "Watch memory, CPU and time over very many invocations.",
    "trace": "List and draw the traces that were received.",
    "tune": "Find the memory size that is cheapest, or fastest.",
}
"""The commands and what they do; each lives in the module of its name, as `command`."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"{__name__}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        # click would load every command for its help text.
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LabError as error:
            _say(str(error))
            ctx.exit(error.exit_code)
        except BrokenPipeError as error:  # click would make an exit code of 1 of it
            ctx.exit(_refused(error))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lambent")
def cli() -> None:
    """Run, trace and measure AWS Lambda functions on this machine, as Lambda would run them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 well, 1 failed, 2 wrong usage, 130 interrupted."""
    # Python leaves out the streams that were closed when it started.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - as above
    for stream in (sys.stdout, sys.stderr):
        # Whatever a function logs can be printed on any terminal.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _Interrupts() if number == signal.SIGINT else _terminate)
    try:
        return _run(arguments)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arguments is None:  # the process ends now: impatience must not cut that short
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name="lambent", standalone_mode=False)
        sys.stdout.flush()
    except OSError as error:
        return _refused(error)
    except click.exceptions.NoArgsIsHelpError as error:
        with suppress(OSError):
            click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "lambent"
        _say(f"{error.format_message()} See `{path} --help`.", prefix=path)
        return error.exit_code
    except click.ClickException as error:
        _say(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return 130
    return code if isinstance(code, int) else 0


def _refused(error: OSError) -> int:
    """Say what the machine refused (a full disk, a folder that may not be read), and return the exit code.

    A reader that has seen enough (`head`, say) is no error to talk about. What standard output still holds
    is dropped where it cannot be written: Python would try again at its end, and complain once more.
    """
    if isinstance(error, BrokenPipeError):
        code = 141
    else:
        _say(f"The operating system refused: {error}.")
        code = 1
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


class _Interrupts:
    """Ctrl-C: the first interrupts, the next two are impatience with the cleaning up, more insist."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count not in {2, 3}:
            raise KeyboardInterrupt


def _terminate(number: int, _frame: FrameType | None) -> Never:
    """Leave by an exception, so that environments are ended on the way out."""
    raise SystemExit(128 + number)


def _say(message: str, *, prefix: str = "lambent") -> None:
    with suppress(OSError):
        click.echo(f"{prefix}: {' '.join(message.split())}", err=True)
