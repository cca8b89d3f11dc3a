from __future__ import annotations

import io
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.progress import Progress as Bar

from lambent_lab.commands import bench, report
from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import read
from lambent_lab.measure.testing import FakeFunction, FakeLab, FakeResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

STORED = Path(__file__).parent / "data" / "performance-results.json"


class Bench:
    """The command with a lab that runs nothing."""

    def __init__(self, lab: FakeLab) -> None:
        self.lab = lab
        self.open = 0

    @contextmanager
    def make(self) -> Iterator[FakeLab]:
        self.open += 1
        try:
            yield self.lab
        finally:
            self.open -= 1

    def __call__(self, *arguments: str) -> Result:
        result = CliRunner().invoke(bench.command, arguments)
        assert self.open == 0, "the lab was left open"
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "app.py").touch()
    monkeypatch.chdir(tmp_path)
    made = Bench(FakeLab())
    monkeypatch.setattr(bench, "make_lab", made.make)
    return made


def test_it_measures_and_writes_both_files(run: Bench) -> None:
    result = run("hello/app.handler", "--cold", "9", "--warm", "3", "--memory", "512,128,512", "--seed", "5")
    assert result.exit_code == 0
    results = read(Path("performance-results.json"))
    assert results["seed"] == 5
    assert results["settings"]["memory_mb"] == [128, 512]
    assert results["settings"]["aa_pairs"] == 3
    assert results["counts"]["pairs"] == 18
    assert [size["memory_mb"] for size in results["summary"]] == [128, 512]
    assert "cold start" in result.stdout
    assert "512 MB" in result.stdout
    assert Path("performance-report.html").read_text().startswith("<!DOCTYPE html>")
    assert "Wrote performance-results.json and performance-report.html." in result.stderr


def test_json_is_the_only_thing_on_standard_output(run: Bench) -> None:
    result = run(
        "hello/app.handler", "--cold", "2", "--warm", "1", "--json", "--no-html", "--output", "r.json"
    )
    assert result.exit_code == 0
    assert result.stdout == Path("r.json").read_text()
    assert json.loads(result.stdout)["schema"] == "lambent.performance-results/2"
    assert not Path("performance-report.html").exists()


def test_what_it_is_told_reaches_the_function(run: Bench, tmp_path: Path) -> None:
    Path("event.json").write_text('{"id": 7}')
    python = tmp_path / "python"
    python.touch()
    told = (
        "--event",
        "event.json",
        "--env",
        "A=1",
        "--timeout",
        "9",
        "--python",
        str(python),
        "--no-bytecode",
        "--init-cpu",
        "share",
    )
    run(
        "hello/app.handler",
        *told,
        "--no-imports",
        "--otlp",
        "--cold",
        "1",
        "--warm",
        "0",
        "--baseline",
        "LAMBENT_DISABLED=true",
    )
    baseline, candidate = run.lab.functions
    assert candidate.env == {
        "LAMBENT_COUNT_SPANS": "true",
        "A": "1",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": run.lab.otlp_url,
    }
    assert baseline.env == {**candidate.env, "LAMBENT_DISABLED": "true"}
    assert (candidate.timeout, candidate.python, candidate.bytecode) == (9, python, False)
    assert candidate.init_cpu == baseline.init_cpu == "share"
    assert set(map(str, candidate.events)) == {"{'id': 7}"}


def test_a_sample_event_by_name(run: Bench) -> None:
    run("hello/app.handler", "--event", "apigw-v2", "--cold", "1", "--warm", "0")
    event = run.lab.functions[0].events[0]
    assert isinstance(event, dict)
    assert event["version"] == "2.0"


def test_no_spans_end_with_1_and_a_loud_word(run: Bench) -> None:
    run.lab.spans = 0
    result = run("hello/app.handler", "--cold", "8", "--warm", "1")
    assert result.exit_code == 1
    assert "0 of 16 invocations delivered a trace" in result.stdout
    assert "cost (99% interval)" not in result.stdout


def test_a_failing_function_ends_with_1_and_no_speed(run: Bench) -> None:
    def change(_f: FakeFunction, _e: int, _i: int, result: FakeResult) -> None:
        result.status, result.error = "error", "ImportError"
        result.payload = {"errorType": "ImportError", "errorMessage": "no module"}

    run.lab.change = change
    result = run("hello/app.handler")
    assert result.exit_code == 1
    assert "ImportError: no module" in " ".join(result.stdout.split())
    assert "cold start" not in result.stdout
    error = read(Path("performance-results.json"))["error"]
    assert error is not None
    assert "ImportError" in error


def test_ctrl_c_ends_with_130_and_writes_what_there_is(run: Bench) -> None:
    def change(_f: FakeFunction, environment: int, _i: int, _r: FakeResult) -> None:
        if environment == 8:
            raise KeyboardInterrupt

    run.lab.change = change
    result = run("hello/app.handler", "--warm", "1", "--aa", "0", "--no-imports")
    assert result.exit_code == 130
    assert "Interrupted after 3 of 10 pairs." in result.stdout
    assert read(Path("performance-results.json"))["interrupted"]
    assert Path("performance-report.html").exists()


def test_a_lab_that_does_not_end_costs_no_results(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def broken() -> Iterator[FakeLab]:
        yield run.lab
        raise LabError("The environments did not end.")

    monkeypatch.setattr(bench, "make_lab", broken)
    with pytest.raises(LabError, match="did not end"):
        run("hello/app.handler", "--cold", "1")
    assert read(Path("performance-results.json"))["counts"]["pairs"] == 1


def test_secrets_given_as_variables_are_in_no_file(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["hello/app.handler", "--cold", "1", "--warm", "0", "--env", "HH_API_KEY=sesame"]
    monkeypatch.setattr("sys.argv", ["lambent", "bench", *arguments])
    result = run(*arguments)
    assert run.lab.functions[0].env["HH_API_KEY"] == "sesame"
    written = [path.read_text() for path in Path().glob("performance-*")]
    assert len(written) == 2
    assert not any("sesame" in text for text in [*written, result.output])
    assert read(Path("performance-results.json"))["command"][-1] == "HH_API_KEY=***"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("hello/app.handler", "--memory", "64"),
        ("hello/app.handler", "--memory", "128,many"),
        ("hello/app.handler", "--cold", "0"),
        ("hello/app.handler", "--timeout", "0"),
        ("hello/app.handler", "--timeout", "nan"),
        ("hello/app.handler", "--python", "missing"),
        ("hello/app.handler", "--unknown"),
    ],
)
def test_bad_usage_ends_with_2(run: Bench, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
    assert run.lab.functions == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hello/nothing.handler",), "There is no module"),
        (("hello/app.handler", "--env", "A"), "NAME=VALUE"),
        (("hello/app.handler", "--event", "apigw-v3"), "apigw-v2"),
        (("hello/app.handler", "--event", "missing.json"), "cannot be read"),
        (("hello/app.handler", "--event", "hello/app.py"), "not JSON"),
        (("hello/app.handler", "--baseline", "nowhere/app.handler"), "does not exist"),
        (("hello/app.handler", "--output", "none/r.json"), "Cannot write"),
        (("hello/app.handler", "--html", "none/r.html"), "Cannot write"),
    ],
)
def test_what_cannot_be_measured_is_said_before_measuring(
    run: Bench, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        run(*arguments)
    assert caught.value.exit_code == 2
    assert run.lab.functions == []


def test_a_log_gets_a_line_now_and_then_with_an_estimate() -> None:
    now, lines = [0.0], list[str]()
    log = bench.LogProgress(clock=lambda: now[0], say=lines.append)
    log.begin(40, 100)
    for _ in range(25):
        now[0] += 1
        log.environment("traced", 128)
        log.invocation()
    log.skip(5)
    assert lines == [
        "bench: 40 environments, 100 invocations",
        "bench: environment 1 of 40 (traced, 128 MB), time left unknown",
        "bench: environment 11 of 40 (traced, 128 MB), about 2 min left",
        "bench: environment 21 of 40 (traced, 128 MB), about 84 s left",
    ]


def test_a_terminal_gets_a_bar() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    with Bar(console=console, auto_refresh=False) as bar:
        progress = bench.BarProgress(bar)
        progress.begin(4, 10)
        progress.environment("traced", 512)
        progress.invocation()
        progress.skip(4)
        assert bar.tasks[0].completed == 5
        assert bar.tasks[0].total == 10
        assert bar.tasks[0].description == "traced 512 MB"
        bar.refresh()
    assert "traced 512 MB" in file.getvalue()


@pytest.mark.parametrize(("form", "beginning"), [("terminal", "hello"), ("html", "<!DOCTYPE"), ("json", "{")])
def test_report_shows_a_file_again(form: str, beginning: str, tmp_path: Path) -> None:
    printed = CliRunner().invoke(report.command, [str(STORED), "--format", form])
    assert printed.exit_code == 0
    assert printed.stdout.startswith(beginning)
    written = CliRunner().invoke(report.command, [str(STORED), "--format", form, "-o", str(tmp_path / "out")])
    assert written.stdout == ""
    assert (tmp_path / "out").read_text() == printed.stdout


def test_report_refuses_another_file(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    result = CliRunner().invoke(report.command, [str(tmp_path / "other.json")])
    assert isinstance(result.exception, UsageError)
    assert "not a lambent.performance-results file" in str(result.exception)
