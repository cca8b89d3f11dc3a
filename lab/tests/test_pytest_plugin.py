"""The pytest plugin, in pytests of their own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = "pytester"

LAB = Path(__file__).resolve().parents[1]
MARKED = """
import pytest

@pytest.mark.lambda_(memory=3)
def test_lambda(request):
    assert request.node.get_closest_marker("lambda").kwargs == {"memory": 3}

@pytest.mark.benchmark
def test_time(): pass

@pytest.mark.benchmark(group="theirs")
def test_their_time(benchmark): benchmark(lambda: 1)

@pytest.mark.memory
def test_memory(): pass

@pytest.mark.load
def test_load(request):
    assert request.config.getoption("--duration") in {None, 90}

@pytest.mark.real_aws
def test_aws(): pass

def test_plain(): pass

def test_probe(memory_probe): pass
"""
TRACED = """
import os
import lambent

tracer = lambent.init()

@tracer.handler
def handler(event, context):
    with tracer.trace("inner"):
        return os.environ["A"]
"""
FUNCTIONS = r"""
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from lambent.testing import expect
from lambent_lab.errors import UsageError

pytestmark = pytest.mark.lambda_(code="src", memory=512, env={"A": "module"})

@pytest.mark.lambda_(handler="app.handler", env={"A": "test"})
def test_marker(lambda_function, traces):
    assert traces.spans == []
    cold, warm = lambda_function.invoke(), lambda_function.invoke()
    assert (cold.payload, cold.report.memory_mb, cold.cold, warm.cold) == ("test", 512, True, False)
    traces.expect(expect(..., "inner", attributes={"faas.coldstart": True}), invocation=cold)
    assert traces.one("inner", invocation=warm).parent_span_id
    assert len(traces.find("inner")) == 2
    lambda_function.stop()
    assert lambda_function.invoke().cold

@pytest.mark.lambda_("src/app.handler")
def test_call(lambda_function, lambda_memory, traces):
    assert traces.spans == []  # of the other test
    one = lambda_function("src/app.handler", env={"A": "one"})
    source = Path("src/app.py").read_text()
    two = lambda_function(source=source, handler="a.b.handler", memory=300, env={"A": "two"})
    assert (one.invoke().payload, two.invoke().payload) == ("one", "two")
    assert one.spec.memory_mb == lambda_memory
    assert two.spec.memory_mb == 300
    assert lambda_function.invoke().payload == "module"

def test_spans_that_come_later(lambda_function, traces, lab):
    env = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": lab.otlp_url,
           "LAMBENT_MODE": "async", "A": ""}
    function = lambda_function("src/app.handler", env=env)
    function.invoke()
    function.stop()  # at the latest its spans leave then
    (span,) = traces.wait("inner", timeout=60)
    traces.clear()
    assert traces.spans == []

def test_what_is_not_there_is_told(lambda_function, traces):
    lambda_function("src/app.handler", env={"A": ""}).invoke()
    with pytest.raises(AssertionError, match=r"(?s)a span 'outer' with .*0 of 1 arrived.*inner"):
        traces.wait("outer", kind="SERVER", timeout=0.05)
    with pytest.raises(AssertionError, match=r"(?s)- +outer.*\+ +inner"):
        traces.expect(expect(..., "outer"), timeout=0.05)
    with pytest.raises(AssertionError, match="0 spans are, not one"):
        traces.one("outer")

def test_over_http(lambda_function, traces):
    function = lambda_function("src/app.handler", url=True, env={"A": "hello"})
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    asked = Request(f"{function.url}a/b", headers={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"})
    with urlopen(asked, timeout=60) as response:
        assert response.read() == b"hello"
    (span,) = traces.wait("GET", kind="SERVER", timeout=60)
    assert (span.trace_id, span.parent_span_id) == (trace_id, "b7ad6b7169203331")
    assert span.attributes["url.path"] == "/a/b"

def test_no_function(lambda_function):
    with pytest.raises(UsageError, match="names no function"):
        lambda_function.invoke()
    with pytest.raises(UsageError, match="There is no .*nowhere"):
        lambda_function("nowhere/app.handler")

@pytest.fixture(scope="module")
def hello(lab, tmp_path_factory):
    code = tmp_path_factory.mktemp("hello")
    (code / "app.py").write_text("def handler(event, context): return {'got': event}")
    return lab.function("hello", code=code, handler="app.handler", memory=256, timeout=30)

def test_a_lab(hello):
    cold, warm = hello.invoke({"n": 1}), hello.invoke([2])
    assert (cold.payload, warm.payload) == ({"got": {"n": 1}}, {"got": [2]})
    assert (cold.cold, warm.cold, warm.error) == (True, False, None)
    assert warm.report.memory_mb == 256
    assert "REPORT" in warm.log
    assert warm.spans == []

def test_the_same_lab_again(hello, lab):
    assert not hello.invoke().cold
    assert lab.otlp_url.startswith("http://127.0.0.1")
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Run pytest in a process of its own, with the plugin and what is installed beside it."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def run(*arguments: str) -> pytest.RunResult:
        plugins = ("lambent_lab.pytest_plugin", "pytest_benchmark.plugin", "xdist.plugin", "no:cacheprovider")
        chosen = [each for plugin in plugins for each in ("-p", plugin)]
        return pytester.runpytest_subprocess(*chosen, "-rs", "--strict-markers", *arguments)

    return run


def written(pytester: pytest.Pytester, name: str) -> Any:
    """A file that a run has written. Nothing of the lab's reads it: pytester forgets what a test imports."""
    return json.loads((pytester.path / name).read_text())


def test_markers_options_and_pytest_benchmark(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makepyfile(MARKED)
    done = run("--duration=1.5m", "--benchmark-json=speeds.json", "--benchmark-min-rounds=1")
    done.assert_outcomes(passed=7, skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED*test_*real AWS: give --real-aws*"])
    assert '"group": "theirs"' in (pytester.path / "speeds.json").read_text()


def test_a_marker_selects(pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]) -> None:
    pytester.makepyfile(MARKED)
    done = run("-m", "lambda or real_aws", "--real-aws", "-v")
    done.assert_outcomes(passed=1, skipped=1, deselected=6)
    done.stdout.fnmatch_lines(["*::test_lambda PASSED*", "*real AWS: there are no AWS credentials*"])


def test_what_measures_refuses_company(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makepyfile(MARKED)
    done = run("-n", "2")
    # pytest-benchmark has switched its own off, and measures nothing.
    done.assert_outcomes(passed=3, skipped=1, errors=4)
    told = done.stdout.str()
    for what in ("This test is marked memory", "This test measures memory"):
        assert f"{what}: what it measures means nothing beside the tests" in told
    assert "Run it without -n" in told
    run("-n", "1", "-m", "memory").assert_outcomes(passed=1)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "5x", "inf", "nan", ""])
def test_a_duration_is_a_time(text: str) -> None:
    from argparse import ArgumentTypeError

    from lambent_lab.pytest_plugin import _seconds

    with pytest.raises(ArgumentTypeError, match="write seconds as 30"):
        _seconds(text)


def test_durations() -> None:
    from lambent_lab.pytest_plugin import _seconds

    assert [_seconds(text) for text in ("30", "0.5", "30s", "2m", "500ms", "1h")] == [
        30,
        0.5,
        30,
        120,
        0.5,
        3600,
    ]


def test_functions_of_a_test_and_their_spans(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pytester.mkdir("src").joinpath("app.py").write_text(TRACED)
    pytester.makepyfile(FUNCTIONS)
    run("--lambda-memory", "1024").assert_outcomes(passed=8)
    done = run("--lambda-memory", "256,1024", "--collect-only", "-q", "-k", "call or same_lab")
    assert [line.partition("::")[2] for line in done.outlines if "::" in line] == [
        "test_call[256MB]",
        "test_call[1024MB]",
        "test_the_same_lab_again",
    ]


def test_a_test_that_says_its_memory_is_run_with_that(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.parametrize("size, lambda_memory", [(128, 128), (300, 300)])
        def test_parametrised(lambda_memory, size):
            assert lambda_memory == size

        @pytest.mark.lambda_("src/app.handler", memory=1024)
        def test_marked(lambda_function):
            pass

        def test_neither(lambda_function):
            pass
    """)
    done = run("--lambda-memory", "256,512", "--collect-only", "-q")
    assert [line.partition("::")[2] for line in done.outlines if "::" in line] == [
        "test_parametrised[128-128]",
        "test_parametrised[300-300]",
        "test_marked",
        "test_neither[256MB]",
        "test_neither[512MB]",
    ]
    run("--lambda-memory", "256,512", "-k", "parametrised").assert_outcomes(passed=2, deselected=3)


def test_what_functions_did_is_written(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pytester.mkdir("src").joinpath("app.py").write_text(TRACED)
    pytester.makepyfile("""
        def test_a_function(lambda_function):
            function = lambda_function("src/app.handler", env={"A": "1", "API_KEY": "secret"})
            function.invoke()
            function.invoke()
            function.stop()
            assert function.invoke().cold

        def test_a_tester(lambda_tester):
            assert lambda_tester.test_cold_start_performance(2)["meets_target"] in {True, False}

        def test_that_fails(lambda_function):
            lambda_function(source="def handler(event, context): raise KeyError(1)").invoke()
            assert False
    """)
    done = run("--lambda-results", "out.json", "--lambda-memory", "512")
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["--lambda-results: wrote out.json"])
    results = written(pytester, "out.json")
    assert results["schema"].startswith("lambent.performance-results/")
    assert {sample["memory_mb"] for sample in results["samples"]} == {512}
    by_side: dict[str, list[list[str]]] = {}
    for sample in results["samples"]:
        by_side.setdefault(sample["side"], []).append([i["counted_as"] for i in sample["invocations"]])
    assert by_side == {
        "app.handler": [["cold", "warm"], ["cold"], ["failed"]],
        "cold_start_test.lambda_handler": [["cold"], ["cold"], ["cold"]],
    }
    assert results["targets"].keys() == by_side.keys()
    assert "secret" not in (pytester.path / "out.json").read_text()
    assert (results["summary"], results["counts"]["failed"]) == ([], 1)
    failed, alone = [warning["text"] for warning in results["warnings"]]
    assert failed == "1 invocations of app.handler failed, the first: KeyError: 1"
    assert "nothing is compared" in alone
    shown = pytester.run(sys.executable, "-m", "lambent_lab", "report", "out.json")
    assert shown.ret == 0
    shown.stdout.fnmatch_lines(["*1 invocations of app.handler failed*"])


def test_benchmarks_of_tests_are_written_as_one(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pytester.mkdir("src").joinpath("app.py").write_text(TRACED)
    pytester.makepyfile("""
        from pathlib import Path
        import pytest
        from lambent_lab.errors import LabError
        from lambent_lab.measure.testing import FakeLab

        @pytest.mark.parametrize("size", [256, 512])
        def test_bench(lambda_results, size):
            found = lambda_results.bench(
                FakeLab(), code=Path("src"), handler="app.handler", memory_mb=[size], pairs=8, aa=1, warm=2
            )
            assert found["summary"][0]["pairs"] == 8

        def test_another(lambda_results):
            def change(function, environment, index, result):
                raise LabError("broken")

            with pytest.raises(LabError, match="Nothing was measured"):
                lambda_results.bench(FakeLab(change=change), code=Path("src"), handler="app.other", pairs=8)
    """)
    done = run("--lambda-results", "out.json")
    done.assert_outcomes(passed=3)
    done.stdout.fnmatch_lines(["--lambda-results: wrote out.json, out-2.json"])
    both, broken = written(pytester, "out.json"), written(pytester, "out-2.json")
    assert [(cell["memory_mb"], cell["pairs"], cell["aa_pairs"]) for cell in both["summary"]] == [
        (256, 8, 1),
        (512, 8, 1),
    ]
    assert [sample["id"] for sample in both["samples"]] == list(range(2 * (2 + 18)))
    assert both["counts"]["pairs"] == 16
    assert "broken" in (broken["error"] or "")


@pytest.mark.parametrize(("workers", "name"), [(None, "out.json"), (1, "out.json"), (3, "out-gw2.json")])
def test_each_of_several_workers_writes_a_file(workers: int | None, name: str, tmp_path: Path) -> None:
    from lambent_lab import pytest_plugin
    from lambent_lab.fixtures.recorder import ObservedPlace, Recorder
    from lambent_lab.measure.testing import FakeLab

    recorder = Recorder(["pytest"])
    place = ObservedPlace(FakeLab(), recorder, "lab")
    place.function("one", code=tmp_path, handler="app.handler").invoke()
    config: Any = SimpleNamespace(
        getoption=lambda _: Path("out.json"),
        stash=pytest.Stash(),
        pluginmanager=SimpleNamespace(hasplugin=lambda _: False),
        invocation_params=SimpleNamespace(dir=tmp_path),
    )
    if workers is not None:
        config.workerinput = {"workercount": workers, "workerid": "gw2"}
    config.stash[pytest_plugin._RECORDER] = recorder
    session: Any = SimpleNamespace(config=config)
    pytest_plugin.pytest_sessionfinish(session)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert config.stash[pytest_plugin._WRITTEN] == f"wrote {name}"


def test_where_results_cannot_go(pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    done = run("--lambda-results", "nowhere/out.json")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*--lambda-results: nowhere/out.json cannot be a file*"])
    done = run("--lambda-results", "out.json")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*nothing was measured, so out.json is not written"])
    assert not (pytester.path / "out.json").exists()


def test_testers_of_this_process(pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]) -> None:
    pytester.makepyfile("""
        import lambent
        import pytest
        from lambent_lab.errors import UsageError

        def test_perf(perf):
            @lambent.trace(tracer=perf.tracer)
            def traced():
                return sum(range(100))

            found = perf.compare_performance(lambda: sum(range(100)), traced, iterations=20)
            assert found["overhead_ratio"] > 0

        def test_load(load):
            found = load.run_load_test(lambda: None, num_threads=2, duration_seconds=60, ramp_up_seconds=30)
            assert found["test_config"]["duration_seconds"] == 0.2
            assert found["test_config"]["ramp_up_seconds"] == pytest.approx(0.1)
            with pytest.raises(UsageError, match="duration_seconds is 0"):
                load.run_load_test(lambda: None, duration_seconds=0)
            assert found["results"]["total_operations"] > 0

        def test_memory(memory_probe):
            kept = []
            assert 1000 < memory_probe.bytes_per_call(lambda: kept.append(bytes(1000))) < 1300
            assert abs(memory_probe.bytes_per_call(lambda: bytes(1000))) < 50
            with memory_probe.watch() as grown:
                block = b"x" * (20 << 20)
                assert memory_probe.rss_mb() > 20
            assert 15 < grown.mb <= grown.peak_mb + 1
            assert (len(block), grown.source != "") == (20 << 20, True)

        def test_no_tracer_is_left(perf):
            assert lambent.get_tracer() is perf.tracer
    """)
    run("--duration", "200ms").assert_outcomes(passed=4)


def test_gates(pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]) -> None:
    for name in ("old", "new"):
        pytester.mkdir(name).joinpath("app.py").write_text(TRACED)
    pytester.makepyprojecttoml("[tool.lambent.gate]\nwarm = 3\npairs = [8, 12]\n")
    pytester.makepyfile("""
        import pytest
        from lambent_lab.errors import UsageError
        from lambent_lab.measure.testing import FakeLab

        @pytest.fixture
        def lab():
            return FakeLab(cost=(1.0, 1.0), spread=0.002, change=slower)

        def slower(function, environment, index, result):
            if function.env.get("SLOW"):
                result.report = type(result.report)(**{
                    name: getattr(result.report, name) for name in result.report.__slots__
                } | {"duration_ms": result.report.duration_ms * 2})

        def test_pass(gate):
            found = gate(candidate="new/app.handler", base="old/app.handler", count=False, max_regression=0.9)
            found.require()
            assert (found.verdict, found.passed) == ("PASS", True)
            assert found.results["settings"]["memory_mb"] == [256]
            assert found.results["summary"][0]["pairs"] in {8, 12}

        def test_fail(gate):
            found = gate(
                candidate="new/app.handler", base="SLOW=", env={"SLOW": "yes"}, count=False, metrics=["warm"]
            )
            assert found.verdict == "FAIL"
            with pytest.raises(AssertionError, match="FAIL: .*warm"):
                found.require()

        def test_usage(gate):
            with pytest.raises(UsageError, match="max-regression"):
                gate(candidate="new/app.handler", base="old/app.handler", max_regresion=1)
            with pytest.raises(UsageError, match="There is no .*nowhere"):
                gate(candidate="nowhere/app.handler", base="old/app.handler")

        def test_own_ratios(gate):
            assert gate.decide([1.01] * 20).verdict == "PASS"
            assert gate.decide([1.2] * 20).verdict == "FAIL"
            assert gate.decide([1.2] * 20, [1.3] * 5).verdict == "INCONCLUSIVE"
            assert gate.decide([1.2] * 7).verdict == "INCONCLUSIVE"
    """)
    done = run("--lambda-results", "gates.json")
    done.assert_outcomes(passed=4)
    done.stdout.fnmatch_lines(["--lambda-results: wrote gates.json, gates-2.json"])
    found = [written(pytester, name) for name in ("gates.json", "gates-2.json")]
    assert [(each["kind"], each["gate"]["verdict"]) for each in found] == [("gate", "PASS"), ("gate", "FAIL")]


THERE = """
import pytest
from lambent_lab import Lab
from lambent_lab.service.api.desk import Desk
from lambent_lab.service.serving import Endpoint

@pytest.fixture(scope="session", autouse=True)
def there(tmp_path_factory):
    # A function in another lab, served as AWS's emulator does, and as AWS does.
    code = tmp_path_factory.mktemp("there")
    (code / "app.py").write_text('''
import os
def handler(event, context):
    return [event, os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], os.environ.get("MODE")]
''')
    with Lab() as other:
        other.function("own", code=code, handler="app.handler", memory=512, timeout=30)
        other.listen(Endpoint(Desk(other.core), {{"function": "own"}}), "127.0.0.1", {port})
        yield
"""
ELSEWHERE = """
import pytest

@pytest.mark.lambda_(code=".", handler="app.handler"{env})
def test_there(lambda_function):
    result = lambda_function.invoke({{"n": 1}})
    assert (result.ok, result.payload) == (True, [{{"n": 1}}, "{size}", {a!r}]), result

def test_a_tester(lambda_tester):
    assert lambda_tester.test_warm_start_performance(2)["n"] == 2
"""


def test_functions_elsewhere(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    pytester.makeconftest(THERE.format(port=port))
    pytester.makepyfile(ELSEWHERE.format(env="", size=512, a=None))
    run("--lambda-target", url).assert_outcomes(passed=2)
    variables = {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in {**variables, "AWS_ENDPOINT_URL_LAMBDA": url}.items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(ELSEWHERE.format(env=", env={'MODE': 'x'}", size=1024, a="x"))
    options = ("--lambda-memory", "1024", "--lambda-results", "there.json", "-k", "there")
    run("--lambda-target", "aws:own", *options).assert_outcomes(passed=1, deselected=1)
    assert written(pytester, "there.json")["targets"]["app.handler"]["kind"] == "aws"


def test_what_is_no_target_is_refused(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    done = run("--lambda-target", "moon")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*--lambda-target: 'moon' is no place*"])


@pytest.mark.parametrize("text", ["big", "64", "256,", "99999", "", "256.5"])
def test_a_memory_size_is_one_that_lambda_has(text: str) -> None:
    from argparse import ArgumentTypeError

    from lambent_lab.pytest_plugin import _sizes

    with pytest.raises(ArgumentTypeError, match="write 128 to 10240"):
        _sizes(text)
    assert _sizes("512, 256,512") == [256, 512]


def test_the_manuals_example(pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]) -> None:
    page = (LAB.parent / "docs" / "how-to" / "test-with-pytest.md").read_text()
    pytester.makepyfile(page.partition("```text\n")[2].partition("```")[0])
    (pytester.path / "examples").symlink_to(LAB.parent / "examples")
    run().assert_outcomes(passed=3)


def test_loading_the_plugin_loads_nothing_else() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import lambent_lab.pytest_plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["lambent_lab", "lambent_lab.pytest_plugin"]


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((LAB / "pyproject.toml").read_text())["project"]
    # The same name as with `-p`: pytest does not load it twice.
    assert project["entry-points"]["pytest11"] == {"lambent_lab.pytest_plugin": "lambent_lab.pytest_plugin"}
