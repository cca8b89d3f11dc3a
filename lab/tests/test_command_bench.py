from __future__ import annotations

import io
import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.progress import Progress as Bar

from lambent_lab.commands import bench, matrix, report
from lambent_lab.errors import LabError, UsageError
from lambent_lab.measure import read
from lambent_lab.measure.testing import FakeFunction, FakeLab, FakeResult
from lambent_lab.report.words import signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click
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

    def __call__(self, *arguments: str, command: click.Command = bench.command) -> Result:
        result = CliRunner().invoke(command, arguments)
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
        (("hello/app.handler", "--output", "-"), "--json prints"),
    ],
)
def test_what_cannot_be_measured_is_said_before_measuring(
    run: Bench, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        run(*arguments)
    assert caught.value.exit_code == 2
    assert run.lab.functions == []


def test_a_folder_that_cannot_be_written_is_said_before_measuring(
    run: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(UsageError, match=r"Cannot write performance-results\.json: .* is not writable\."):
        run("hello/app.handler")
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


def test_variants_interpreters_and_sizes_make_a_matrix(run: Bench) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    result = run(
        "hello/app.handler", "--variants", "off,sync", "--variants", "async,A=1,2", "--python",
        f"{version},{sys.executable}", "--memory", "256,128", "--cold", "2", "--warm", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    results = read(Path("performance-results.json"))
    assert list(results["targets"]) == ["baseline", "sync", "async", "A=1,2"]
    assert results["targets"]["sync"]["mode"] == "sync"
    full = ".".join(map(str, sys.version_info[:3]))
    assert results["settings"]["python"] == f"{version},{full}"
    assert results["machine"]["function_python"] == f"{version}, {full}"
    cells = [(cell["memory_mb"], cell["python"], cell["variant"]) for cell in results["summary"]]
    assert cells == [
        (memory, python, variant)
        for memory in (128, 256)
        for python in (version, full)
        for variant in ("sync", "async", "A=1,2")
    ]
    assert results["counts"]["pairs"] == 2 * len(cells)
    by_runtime = {function.runtime: function.python for function in run.lab.functions}
    assert by_runtime == {f"python{version}": None, None: Path(sys.executable)}
    assert "imports-" in str([function.name for function in run.lab.functions])


def test_the_other_baselines(run: Bench) -> None:
    (Path("hello") / "other.py").touch()
    for baseline, label in (("async", "async"), ("hello/other.handler", "baseline"), ("A=1", "baseline")):
        run("hello/app.handler", "--baseline", baseline, "--cold", "1", "--warm", "0", "--no-html")
        targets = read(Path("performance-results.json"))["targets"]
        assert [info["label"] for info in targets.values()] == [label, "candidate"]


def test_an_interrupted_run_is_gone_on_with_by_its_file_alone(
    run: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(_f: FakeFunction, environment: int, _i: int, _r: FakeResult) -> None:
        if environment == 9:
            raise KeyboardInterrupt

    arguments = ["hello/app.handler", "--cold", "4", "--warm", "1", "--no-imports", "--no-html"]
    arguments += ["--memory", "128,512", "--output", "mine.json", "--aa", "0"]
    monkeypatch.setattr("sys.argv", ["lambent", "bench", *arguments])
    run.lab.change = change
    stopped = run(*arguments)
    assert stopped.exit_code == 130
    assert "Go on with it: lambent bench --resume mine.json\n" in stopped.stderr
    before = read(Path("mine.json"))
    run.lab.change = None
    monkeypatch.setattr("sys.argv", ["lambent", "bench", "--resume", "mine.json"])
    finished = run("--resume", "mine.json")
    assert finished.exit_code == 0, finished.output
    results = read(Path("mine.json"))
    assert results["counts"]["pairs"] == 8
    assert results["seed"] == before["seed"]
    assert results["command"] == ["lambent", "bench", *arguments]
    assert len(results["resumed"]) == 1
    assert not results["interrupted"]
    assert not Path("performance-report.html").exists()


def test_another_configuration_is_not_gone_on_with(run: Bench) -> None:
    run("hello/app.handler", "--cold", "2", "--warm", "1", "--no-html")
    made = len(run.lab.functions)
    with pytest.raises(UsageError, match="differs in the memory sizes: 128 there, 512 now"):
        run("hello/app.handler", "--memory", "512", "--warm", "1", "--cold", "2",
            "--resume", "performance-results.json")  # fmt: skip
    assert len(run.lab.functions) == made
    results = json.loads(Path("performance-results.json").read_text())
    results["command"] = ["lambent", "bench", "hello/app.handler", "--env", "API_KEY=***"]
    Path("secret.json").write_text(json.dumps(results))
    with pytest.raises(UsageError, match="keeps no secrets"):
        run("--resume", "secret.json")
    results["command"] = ["lambent", "matrix"]
    Path("matrix.json").write_text(json.dumps(results))
    with pytest.raises(UsageError, match="does not say how it was begun"):
        run("--resume", "matrix.json")


def test_versions_that_are_not_there_are_bad_usage(run: Bench) -> None:
    result = run("hello/app.handler", "--python", "3.99")
    assert result.exit_code == 2
    assert "No Python 3.99 was found" in result.stderr
    assert run("hello/app.handler", "--python", ",").exit_code == 2


def test_the_matrix_is_a_table_of_all_cells(run: Bench) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"

    def change(function: FakeFunction, _e: int, _i: int, result: FakeResult) -> None:
        if function.memory == 512:
            result.payload = {"statusCode": 500, "body": "no"}

    run.lab.change = change
    arguments = ("hello/app.handler", "--python", version, "--cold", "8", "--warm", "1")
    result = run(*arguments, command=matrix.command)
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines() if line]
    assert [line[:1] + line[-1:] for line in lines if line[-1] in {"ok", "failed"}] == [
        ["256", "ok"],
        ["512", "failed"],
        ["1,024", "ok"],
    ]
    text = " ".join(result.stdout.split())
    assert f"failed at 512 MB on Python {version} and was not measured there" in text
    assert "statusCode 500" in text
    results = read(Path("performance-results.json"))
    assert "2 cells, 16 pairs" in text
    assert "Spans: 96 of 96 arrived." in text
    first = results["summary"][0]["metrics"]["cold_ms"]["difference"]
    assert first is not None
    assert first["interval"] is not None
    low, high = (signed(first["interval"][end]) for end in ("low", "high"))
    assert f"{low} to {high}" in text
    assert [cell["memory_mb"] for cell in results["summary"]] == [256, 1024]
    assert results["settings"]["memory_mb"] == [256, 512, 1024]
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_a_cell_over_a_limit_fails_and_a_slow_one_warns(run: Bench) -> None:
    def change(function: FakeFunction, _e: int, _i: int, result: FakeResult) -> None:
        init = (1200.0 if function.memory == 256 else 80.0) if result.cold else None
        duration = 150.0 if function.memory == 512 else 2.0
        result.report = replace(result.report, init_ms=init, duration_ms=duration)

    run.lab.change = change
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    arguments = ("hello/app.handler", "--python", version, "--warm", "1", "--no-html")
    result = run(*arguments, command=matrix.command)
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines() if line]
    states = {line[0]: line[-1] for line in lines if line[-1] in {"ok", "over", "warn"}}
    assert states == {"256": "over", "512": "warn", "1,024": "ok"}
    text = " ".join(result.stdout.split())
    assert "above the 1,000 ms that are allowed" in text
    assert "above the 100 ms at which a warning is due" in text
    assert run(*arguments, "--memory", "512,1024", command=matrix.command).exit_code == 0


def test_the_matrix_has_a_function_of_its_own_and_says_which_pythons_are_missing(
    run: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    monkeypatch.setattr(matrix, "PYTHONS", ("3.99", version))
    result = run("--cold", "1", "--warm", "0", "--memory", "128", command=matrix.command)
    assert result.exit_code == 0
    assert "matrix: without Python 3.99." in result.stderr
    assert read(Path("performance-results.json"))["settings"]["python"] == version
    assert run.lab.functions[0].handler == "cold_start_test.lambda_handler"
