"""The pytest plugin: a local Lambda for tests, functions in it, the spans they send, and what is measured.

Rules
- pytest loads this module in every run, so it imports nothing but pytest until a test asks for something.
- A test that measures has the machine to itself: with several workers of pytest-xdist it ends in an error
  before it begins, and says how to run it.
- What costs money or needs credentials (`real_aws`) is run when the command line says so, and else skipped
  with the reason.
- A marker cannot be written as `pytest.mark.lambda`, which is no Python: `pytest.mark.lambda_` is the same
  marker, and `-m lambda` selects both.
"""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent import Tracer
    from lambent_lab import Lab
    from lambent_lab.fixtures.functions import Functions
    from lambent_lab.fixtures.gates import Gates
    from lambent_lab.fixtures.probes import Probe, TimedLoad
    from lambent_lab.fixtures.recorder import Recorder
    from lambent_lab.fixtures.spans import Traces
    from lambent_lab.measure import LambdaPerformanceTester, PerformanceTester

IDLE_S = 60.0
"""An environment that no test has used for so long is ended, so that a long run does not collect them."""

MEASURING = ("benchmark", "memory", "load")
"""The markers of tests that measure."""

_MARKERS = (
    "benchmark: measures time; not run beside other tests (pytest-benchmark's marker too, and its options).",
    "memory: measures memory; not run beside other tests.",
    "load: puts load on something; not run beside other tests. --duration says for how long.",
    "lambda(code=…, handler=…, memory=…, env=…): runs a function as Lambda does; the arguments are those of "
    "the function that the fixture lambda_function is. In Python: pytest.mark.lambda_(…).",
    "lambda_(…): the marker lambda, under a name that Python can write.",
    "real_aws: needs AWS itself; skipped without --real-aws, and without credentials.",
)

_ELSEWHERE = ("docker:", "http://", "https://", "aws:")
_RECORDER: pytest.StashKey[Recorder] = pytest.StashKey()
_WRITTEN: pytest.StashKey[str] = pytest.StashKey()
_AWS: pytest.StashKey[str] = pytest.StashKey()
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("lambent", "Lambda functions, traced and measured (lambent-lab)")
    group.addoption(
        "--duration",
        type=_seconds,
        metavar="SECONDS",
        help="How long each load test runs: 30, 30s, 2m. Default: what the test says.",
    )
    group.addoption(
        "--lambda-target",
        default="lab",
        metavar="TARGET",
        help="Where lambda_function and lambda_tester run: lab (the default), docker:IMAGE, http://… in the "
        "form of AWS's interface emulator, aws:NAME[:QUALIFIER]. Outside the lab there is one function with "
        "code of its own.",
    )
    group.addoption(
        "--lambda-memory",
        type=_sizes,
        metavar="MB,…",
        help="Memory of functions whose test does not say it (default: 256). With several sizes, what uses "
        "lambda_memory or lambda_function runs once with each, unless it says its memory.",
    )
    group.addoption(
        "--lambda-results",
        type=Path,
        metavar="FILE",
        help="Write what was measured to this file, as `lambent bench` does: see `lambent report`.",
    )
    group.addoption(
        "--real-aws",
        action="store_true",
        help="Run the tests marked real_aws. They need credentials, and may cost money.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    target: str = config.getoption("--lambda-target")
    if target != "lab" and not target.startswith(_ELSEWHERE):
        raise pytest.UsageError(
            f"--lambda-target: {target!r} is no place: choose lab, docker:IMAGE, http://… or aws:NAME."
        )
    wanted: Path | None = config.getoption("--lambda-results")
    if wanted is not None and (wanted.is_dir() or not wanted.absolute().parent.is_dir()):
        raise pytest.UsageError(f"--lambda-results: {wanted} cannot be a file: there is no such folder.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is given a memory size with each that was asked for."""
    sizes: list[int] = metafunc.config.getoption("--lambda-memory") or []
    if len(sizes) > 1 and "lambda_memory" in metafunc.fixturenames and not _own_memory(metafunc):
        metafunc.parametrize("lambda_memory", sizes, ids=[f"{size}MB" for size in sizes])


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let `lambda_` be `lambda`, before -m selects; skip what needs AWS."""
    for mark in item.iter_markers("lambda_"):
        item.add_marker(getattr(pytest.mark, "lambda")(*mark.args, **mark.kwargs))
    if item.get_closest_marker("real_aws") is not None:
        why = _no_aws(item.config)
        if why:
            item.add_marker(pytest.mark.skip(reason=f"real AWS: {why}"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse to measure beside other tests."""
    # With pytest-benchmark's fixture the marker is that plugin's, which measures nothing under xdist.
    theirs = "benchmark" in getattr(item, "fixturenames", ())
    for name in MEASURING:
        if item.get_closest_marker(name) is not None and not (name == "benchmark" and theirs):
            _refuse_company(item.config, f"This test is marked {name}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was measured, whatever became of the tests; each of several workers a file of its own."""
    config = session.config
    wanted: Path | None = config.getoption("--lambda-results")
    if wanted is None:
        return
    worker = getattr(config, "workerinput", {})
    if worker.get("workercount", 1) > 1:
        wanted = wanted.with_name(f"{wanted.stem}-{worker['workerid']}{wanted.suffix}")
    recorder = config.stash.get(_RECORDER, None)
    if recorder is None or recorder.empty:
        alone = not config.pluginmanager.hasplugin("dsession")  # it is there where xdist hands out the tests
        told = f"nothing was measured, so {wanted} is not written"
        others = f"written by the workers: {wanted}, or {wanted.stem}-gw0{wanted.suffix} and so on"
        config.stash[_WRITTEN] = told if alone else others
        return
    from lambent_lab.errors import LabError

    try:
        written = recorder.write(config.invocation_params.dir / wanted)
    except LabError as error:
        config.stash[_WRITTEN] = str(error)
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
    else:
        config.stash[_WRITTEN] = f"wrote {', '.join(str(wanted.with_name(path.name)) for path in written)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was written."""
    written = config.stash.get(_WRITTEN, None)
    if written:
        terminalreporter.write_line(f"--lambda-results: {written}")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A local Lambda, the same as `with lambent_lab.Lab() as lab`.

    It lives as long as the test session. A function belongs to whoever makes it: two tests that make one of
    the same name do not share environments. Make it in a fixture of a wider scope to share warm ones.
    """
    from lambent_lab import Lab

    with Lab(idle_timeout=IDLE_S) as opened:
        yield opened


@pytest.fixture
def lambda_memory(request: pytest.FixtureRequest) -> int:
    """The memory of functions that do not say their own, in MB: --lambda-memory."""
    from lambent_lab.fixtures.functions import MEMORY_MB

    sizes: list[int] = request.config.getoption("--lambda-memory")
    return sizes[0] if sizes else MEMORY_MB


@pytest.fixture
def lambda_function(
    request: pytest.FixtureRequest, lambda_memory: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Functions]:
    """Functions of this test: `lambda_function(code=…, handler=…)` makes one, and returns it.

    With the marker `lambda` it is the function that the marker's arguments say: `lambda_function.invoke()`.
    They are in the lab, unless --lambda-target says where.
    """
    from lambent_lab.fixtures.functions import Functions

    with _place(request) as place:
        made = Functions(
            place,
            test=request.node.name,
            roots=_roots(request),
            memory_mb=lambda_memory,
            scratch=lambda: tmp_path_factory.mktemp("lambda"),
            marked=[(mark.args, mark.kwargs) for mark in request.node.iter_markers("lambda")],
        )
        yield made
        made.close()


@pytest.fixture(scope="session")
def lambda_results(request: pytest.FixtureRequest) -> Recorder:
    """What this run measures, for the file of --lambda-results: `bench(lab, code=…, handler=…)`, `add`."""
    return _recorder(request.config)


@pytest.fixture
def lambda_tester(request: pytest.FixtureRequest, lambda_memory: int) -> Iterator[LambdaPerformanceTester]:
    """A LambdaPerformanceTester: of the lab's own function, or the one of --lambda-target."""
    from lambent_lab.measure import LambdaPerformanceTester

    _refuse_company(request.config, "This test measures a function's starts")
    target: str = request.config.getoption("--lambda-target")
    lab = _watched(request.config, request.getfixturevalue("lab")) if target == "lab" else None
    with LambdaPerformanceTester(target=target, lab=lab) as made:
        if lab is not None or request.config.getoption("--lambda-memory"):
            made.memory_mb = lambda_memory
        yield made


@pytest.fixture
def perf(request: pytest.FixtureRequest) -> Iterator[PerformanceTester]:
    """A PerformanceTester. `perf.tracer` is a tracer of its own, which sends nothing."""
    from lambent_lab.measure import PerformanceTester

    _refuse_company(request.config, "This test measures time")
    with _tracer() as tracer:
        yield PerformanceTester(tracer)


@pytest.fixture
def load(request: pytest.FixtureRequest) -> Iterator[TimedLoad]:
    """A LoadTester, whose tests last as long as --duration says. `load.tracer` is a tracer of its own."""
    from lambent_lab.fixtures.probes import TimedLoad

    _refuse_company(request.config, "This test puts load on something")
    with _tracer() as tracer:
        yield TimedLoad(tracer, request.config.getoption("--duration"))


@pytest.fixture
def memory_probe(request: pytest.FixtureRequest) -> Probe:
    """The memory of this process: `rss_mb()`, `with memory_probe.watch() as grown`, `bytes_per_call(f)`."""
    from lambent_lab.fixtures.probes import Probe

    _refuse_company(request.config, "This test measures memory")
    return Probe()


@pytest.fixture
def gate(request: pytest.FixtureRequest, lab: Lab, lambda_memory: int, lambda_results: Recorder) -> Gates:
    """A candidate against its base: `gate(candidate="new/app.handler", base="old/app.handler").require()`."""
    from lambent_lab.fixtures.functions import find
    from lambent_lab.fixtures.gates import Gates

    _refuse_company(request.config, "This test is a gate")
    roots = _roots(request)
    return Gates(
        lab,
        find=lambda folder: find(folder, roots),
        root=request.config.rootpath,
        memory_mb=lambda_memory,
        keep=lambda_results.add,
    )


@pytest.fixture
def traces(lab: Lab) -> Iterator[Traces]:
    """The spans that reach the lab during this test: `find`, `one`, `wait`, `expect`, `of(result)`."""
    from lambent_lab.fixtures.spans import Traces

    listening = Traces(lab)
    yield listening
    listening.close()


@contextmanager
def _tracer() -> Iterator[Tracer]:
    """A tracer that sends nothing, and is nobody's default when the test has ended."""
    import lambent
    from lambent.testing import isolated

    with isolated():
        tracer = lambent.init(test_mode=True)
        try:
            yield tracer
        finally:
            tracer.close()


def _roots(request: pytest.FixtureRequest) -> tuple[Path, Path]:
    return request.path.parent, request.config.rootpath


def _recorder(config: pytest.Config) -> Recorder:
    if _RECORDER not in config.stash:
        from lambent_lab.fixtures.recorder import Recorder

        config.stash[_RECORDER] = Recorder()
    return config.stash[_RECORDER]


@contextmanager
def _place(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Where functions are made: the lab, or what --lambda-target says."""
    target: str = request.config.getoption("--lambda-target")
    if target == "lab":
        yield _watched(request.config, request.getfixturevalue("lab"))
        return
    from lambent_lab.fixtures.places import Elsewhere

    sizes: list[int] = request.config.getoption("--lambda-memory")
    with Elsewhere(target, own_memory=not sizes) as place:
        yield _watched(request.config, place)


def _watched(config: pytest.Config, lab: Any) -> Any:
    """The lab (or another place), or one like it that records what functions do, when it is to be written."""
    if config.getoption("--lambda-results") is None:
        return lab
    from lambent_lab.fixtures.recorder import ObservedPlace
    from lambent_lab.measure.remote import kind_of

    return ObservedPlace(lab, _recorder(config), kind_of(config.getoption("--lambda-target")))


def _own_memory(metafunc: pytest.Metafunc) -> bool:
    """Whether a test says its memory itself: with `parametrize`, or for the function of its marker."""
    test = metafunc.definition
    for mark in test.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        listed = names.split(",") if isinstance(names, str) else names
        if "lambda_memory" in {each.strip() for each in listed}:
            return True
    if "lambda_memory" in signature(metafunc.function).parameters:
        return False  # it asks what the memory is
    marks = [mark for name in ("lambda", "lambda_") for mark in test.iter_markers(name)]
    return any("memory" in mark.kwargs for mark in marks)


def _sizes(text: str) -> list[int]:
    """Memory sizes of a text as 256 or 256,512. Raises ArgumentTypeError."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 128 <= int(part) <= 10_240 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no memory size: write 128 to 10240 (MB), as 256,512.")
    return sorted({int(part) for part in parts})


def _seconds(text: str) -> float:
    """Seconds of a text as 30, 0.5, 30s, 2m. Raises ArgumentTypeError."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        seconds = float(number) * _UNITS[text[len(number) :] or "s"]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write seconds as 30, or 30s, 2m, 1h.")
    return seconds


def _refuse_company(config: pytest.Config, what: str) -> None:
    """End a test that measures when others run at the same time."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        pytest.fail(
            f"{what}: what it measures means nothing beside the tests of {workers - 1} more pytest-xdist "
            "worker(s). Run it without -n (or with -n 0). Here it is left out by "
            '-m "not (benchmark or memory or load)" when it is marked as one of these.',
            pytrace=False,
        )


def _no_aws(config: pytest.Config) -> str:
    """Why AWS cannot be used, or nothing."""
    if not config.getoption("--real-aws"):
        return "give --real-aws to run this test (it needs credentials, and may cost money)"
    if _AWS not in config.stash:
        config.stash[_AWS] = _no_credentials()
    return config.stash[_AWS]


def _no_credentials() -> str:
    from botocore.session import Session

    try:
        found = Session().get_credentials()
    except Exception as error:  # noqa: BLE001 - a profile that is wrong is no credentials, whatever is raised
        return f"AWS credentials cannot be read ({error})"
    return "" if found else "there are no AWS credentials (see `aws configure`, or AWS_ACCESS_KEY_ID)"
