"""The command line's frame: help, version, exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from lambent_lab import __version__, commands
from lambent_lab.commands import cli, main
from lambent_lab.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

LIST_MODULES = """
import sys
from lambent_lab.commands import main
code = main(sys.argv[1:])
heavy = {"rich", "asyncio", "sqlite3", "google"} & sys.modules.keys()
print(code, *sorted(name for name in sys.modules if name.startswith("lambent_lab.")), *heavy)
"""


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_load_no_command(argument: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, argument], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.splitlines()[-1] == "0 lambent_lab.commands lambent_lab.errors"


def test_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"lambent, version {__version__}\n"


def test_help_names_every_command() -> None:
    output = CliRunner().invoke(cli, ["--help"]).output
    for name in cli.list_commands(click.Context(cli)):
        assert f"  {name} " in output


@pytest.mark.parametrize("name", ["invoke", "report", "trace", "bench"])
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "lambent: No such command 'nonsense'."),
        (["--nonsense"], "lambent: No such option '--nonsense'."),
        (["invoke"], "lambent invoke: Missing argument 'FOLDER/module.function'."),
        (["trace", "ls", "--limit", "0"], "lambent trace ls: Invalid value for '--limit'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(said)
    assert captured.err.count("\n") == 1


@pytest.fixture
def command_that(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    def put(work: Callable[[], Any]) -> None:
        made = click.Command("test", callback=work)
        monkeypatch.setattr(commands._LazyGroup, "get_command", lambda *_: made)

    return put


def test_errors_of_the_lab_end_with_their_code_and_one_line(
    command_that: Callable[[Callable[[], Any]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    for error, code in ((LabError("it broke:\n  try again"), 1), (UsageError("it broke: try again"), 2)):

        def work(error: LabError = error) -> None:
            raise error

        command_that(work)
        assert main(["test"]) == code
        assert capsys.readouterr().err == "lambent: it broke: try again\n"
        assert CliRunner().invoke(cli, ["test"]).exit_code == code


def test_an_interrupt_is_130(
    command_that: Callable[[Callable[[], Any]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(lambda: signal.raise_signal(signal.SIGINT))
    assert main(["test"]) == 130
    assert capsys.readouterr().err.strip() == "lambent: interrupted"


def test_an_interrupt_while_the_command_is_loaded_is_no_traceback() -> None:
    code = (
        "import sys\n"
        "class Impatience:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatience())\n"
        "from lambent_lab.__main__ import main\n"
        "sys.exit(main())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stderr.strip(), run.stdout) == (130, "lambent: interrupted", "")


def test_impatience_does_not_cut_the_cleaning_up_short(
    command_that: Callable[[Callable[[], Any]], None],
) -> None:
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            cleaned.append("first")
            signal.raise_signal(signal.SIGINT)
            cleaned.append("second")

    command_that(work)
    assert main(["test"]) == 130
    assert cleaned == ["first"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_termination_leaves_by_an_exception(command_that: Callable[[Callable[[], Any]], None]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append(True)

    command_that(work)
    with pytest.raises(SystemExit) as left:
        main(["test"])
    assert left.value.code == 128 + signal.SIGTERM
    assert cleaned
    assert signal.getsignal(signal.SIGTERM) is before


def test_ignored_signals_stay_ignored(command_that: Callable[[Callable[[], Any]], None]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command_that(lambda: signal.raise_signal(signal.SIGHUP))
        assert main(["test"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    code = "from lambent_lab.commands import main; raise SystemExit(main(['invoke', '--list-events']))"
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(
        [sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(write)
    assert (run.returncode, run.stderr) == (141, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["--help", "invoke --list-events"])
def test_an_output_that_takes_nothing_is_one_line(arguments: str, unbuffered: str) -> None:
    code = "from lambent_lab.commands import main; raise SystemExit(main())"
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device, not a path
        run = subprocess.run(
            [sys.executable, "-c", code, *arguments.split()],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr == "lambent: The operating system refused: [Errno 28] No space left on device.\n"


@pytest.mark.parametrize("arguments", [[], ["trace"]])
def test_a_command_without_its_command_shows_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"Usage: {' '.join(['lambent', *arguments])} [OPTIONS] COMMAND [ARGS]..."
    assert "Commands:" in lines


def test_every_variable_that_the_lab_reads_is_in_the_reference() -> None:
    source = Path(commands.__file__).parents[1]
    read = {
        name
        for path in source.rglob("*.py")
        for name in re.findall(r"os\.environ\.get\(\"([A-Z_]+)\"", path.read_text())
    }
    page = (Path(__file__).parents[2] / "docs" / "reference" / "commands.md").read_text()
    assert "LAMBENT_TRACES" in read
    families = tuple(re.findall(r"`([A-Z]+_)…`", page))
    assert [name for name in sorted(read) if f"`{name}" not in page and not name.startswith(families)] == []


def test_the_lab_is_the_packages_own_and_loaded_late() -> None:
    code = (
        "import sys, lambent_lab\n"
        "early = 'lambent_lab.service' in sys.modules\n"
        "from lambent_lab import Lab\n"
        "from lambent_lab.service import Lab as same\n"
        "named = set(lambent_lab.__all__) <= set(dir(lambent_lab))\n"
        "print(early, Lab is same, named, hasattr(lambent_lab, 'x'))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["False", "True", "True", "False"]


def test_a_closed_standard_output_is_no_error() -> None:
    command = [sys.executable, "-c", "from lambent_lab.commands import main; raise SystemExit(main())"]
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command, "trace", "--help"]
    run = subprocess.run(shell, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (0, "")
