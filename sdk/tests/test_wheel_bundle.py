"""The bundles in the wheel: the same modules as in the repository, in fewer files, each once."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

SDK = Path(__file__).parents[1]
LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "orders",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
    "AWS_REGION": "eu-west-1",
}
PYTHONS = [
    sys.executable,
    *map(str, sorted(Path("~/.pyenv/versions").expanduser().glob("3.1[23].*/bin/python"))),
]


@pytest.fixture(scope="module")
def bundle() -> Any:
    spec = importlib.util.spec_from_file_location("wheel_bundle", SDK / "wheel_bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip installs it, without .pyc files."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "tree")
    return folder / "tree"


@pytest.fixture(scope="module")
def installed(unpacked: Path) -> Path:
    """The same with .pyc files, of each Python that there is."""
    tree = unpacked.with_name("installed")
    shutil.copytree(unpacked, tree)
    env = {"PATH": os.environ["PATH"]}
    for python in PYTHONS:
        subprocess.run([python, "-m", "compileall", "-q", str(tree)], env=env, check=True)
    return tree


def run(python: str, tree: Path, program: str, env: dict[str, str] | None = None) -> str:
    temporary = tempfile.mkdtemp(dir=tree.parent)  # the flight recorder's
    done = subprocess.run(
        [python, "-S", "-B", "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), "TMPDIR": temporary, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "lambent" not in done.stderr, done.stderr
    return done.stdout


INVOKE = """
import sys
OPENED = []
def hook(event, arguments):
    name = str(arguments[0]) if event == "open" else ""
    if "lambent" in name and name.endswith((".py", ".pyc")):
        OPENED.append(name.rpartition("/lambent/")[2].replace("__pycache__/", "").partition(".")[0])
sys.addaudithook(hook)

def serve():
    import _socket, _thread, os
    server = _socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
    def answer():
        fd, _ = server._accept()
        client = _socket.socket(fileno=fd)
        received = b""
        while b"\\r\\n\\r\\n" not in received:
            received += client.recv(65536)
        head, _, body = received.partition(b"\\r\\n\\r\\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(body) < length:
            body += client.recv(65536)
        client.send(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
    _thread.start_new_thread(answer, ())
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:%d" % server.getsockname()[1]

class Context:
    aws_request_id = "r"
    function_name = "orders"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:orders"
    def get_remaining_time_in_millis(self):
        return 30000

def start():
    import lambent
    global tracer
    tracer = lambent.init()
    return tracer.handler(lambda event, context: None)

def invoke():
    start()({}, Context())
    assert tracer.delivery.lanes[0].exported == 1
"""


@pytest.mark.parametrize("exporter", ["otlp", "stdout"])
def test_a_cold_start_loads_what_is_bundled(run_python: Any, bundle: Any, exporter: str) -> None:
    program = f"""{INVOKE}
def ours(): return {{name[8:] for name in sys.modules if name.startswith("lambent.")}}
{"serve()" if exporter == "otlp" else ""}
handler = start()
print(*ours())
handler({{}}, Context())
print(*ours())
"""
    lines = run_python(program, LAMBDA).stdout.splitlines()
    started = {*bundle.BUNDLES["_bundled"], *bundle.BUNDLES["_hot"]}
    assert set(lines[0].split()) == started
    last = bundle.BUNDLES[f"_{exporter}"]
    assert set(lines[-1].split()) == {*started, *bundle.BUNDLES["_first"], *last}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("exporter", ["otlp", "stdout"])
def test_that_takes_five_files(installed: Path, exporter: str, python: str) -> None:
    program = f"{INVOKE}\n{'serve()' if exporter == 'otlp' else ''}\ninvoke()\nprint(*OPENED)"
    opened = run(python, installed, program, LAMBDA).splitlines()[-1].split()
    assert opened == ["__init__", "_bundled", "_hot", "_first", f"_{exporter}"]


def test_what_is_not_used_is_not_executed(installed: Path, bundle: Any) -> None:
    program = f"{INVOKE}\ninvoke()\nprint(*[name[8:] for name in sys.modules if name.startswith('lambent.')])"
    env = {**LAMBDA, "LAMBENT_RECORDER": "off", "LAMBENT_WATCHDOG": "off"}
    loaded = set(run(sys.executable, installed, program, env).splitlines()[-1].split())
    assert loaded.isdisjoint({"delivery.recorder", "delivery.watchdog", *bundle.BUNDLES["_otlp"]})
    program = f"{INVOKE}\nstart()\nprint(*OPENED)"
    opened = run(sys.executable, installed, program, {**LAMBDA, "OTEL_SDK_DISABLED": "true"}).split()
    assert opened == ["__init__", "_bundled", "disabled"]


def test_without_pyc_files_no_bundle_is_compiled(unpacked: Path, bundle: Any) -> None:
    opened = run(sys.executable, unpacked, f"{INVOKE}\nserve()\ninvoke()\nprint(*OPENED)", LAMBDA).split()
    assert set(bundle.BUNDLES).isdisjoint(opened)


@pytest.mark.parametrize("name", ["_bundled", "_hot", "_first"])
def test_a_broken_bundle_is_not_missed(installed: Path, tmp_path: Path, name: str) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(installed, tree)
    for file in tree.glob(f"lambent/**/{name}.*"):
        file.unlink()
    (tree / "lambent" / f"{name}.py").write_text("raise RuntimeError('broken')\n")
    run(sys.executable, tree, f"{INVOKE}\nserve()\ninvoke()", LAMBDA)


CHECK = """
import os, threading, types
EXPECTED = {expected}

def check():
    import gc
    seen = {{}}
    for each in gc.get_objects():
        if isinstance(each, type) and (each.__module__ or "").split(".")[0] == "lambent":
            assert seen.setdefault((each.__module__, each.__qualname__), each) is each, each
        if isinstance(each, types.ModuleType) and each.__name__.startswith("lambent."):
            assert seen.setdefault(each.__name__, each) is each, each
    for name in EXPECTED:
        module = sys.modules["lambent." + name]
        parent, _, last = module.__name__.rpartition(".")
        assert getattr(sys.modules[parent], last) is module
        assert module.__spec__.name == module.__name__ and module.__spec__.origin == module.__file__
        assert os.path.exists(module.__file__)
        assert module.__package__ == module.__spec__.parent
        assert hasattr(module, "__path__") == (module.__package__ == module.__name__)
        for value in vars(module).values():
            if isinstance(value, (type, types.FunctionType)) and value.__module__ == module.__name__:
                found = module
                for part in value.__qualname__.split("."):
                    found = getattr(found, part)
                if isinstance(value, types.FunctionType) and value.__name__ not in ("__getattr__",):
                    assert value.__globals__ is vars(module)

def in_child(work):
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            serve()
            invoke()
            check()
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, work

def importing(name):
    def work():
        found = __import__("lambent." + name, fromlist=["x"])
        assert found.__name__ == "lambent." + name
        import lambent._bundled
    return work

def at_once():
    import lambent
    sys.setswitchinterval(1e-6)
    barrier = threading.Barrier(len(EXPECTED))
    def work(name):
        barrier.wait()
        __import__("lambent." + name)
        lambent._fill(name)
    threads = [threading.Thread(target=work, args=(name,)) for name in EXPECTED]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
        assert not each.is_alive()
    sys.setswitchinterval(0.005)
"""


@pytest.mark.parametrize("python", PYTHONS)
def test_there_is_one_of_each_whatever_is_imported_first(installed: Path, bundle: Any, python: str) -> None:
    expected = [name for file in bundle.BUNDLES if file != "_stdout" for name in bundle.BUNDLES[file]]
    rare = ["delivery.recovery", "exporters.stdout", "otel", "testing", "wire.json", "exporters._gzip"]
    program = f"""{INVOKE}{CHECK.format(expected=expected)}
for name in EXPECTED + {rare!r}:
    in_child(importing(name))
for _ in range(3):
    in_child(at_once)
"""
    run(python, installed, program, LAMBDA)


def test_a_bundled_module_is_found_as_any_other(installed: Path) -> None:
    program = """
import importlib.util, inspect, pickle, pkgutil, sys
import lambent
spec = importlib.util.find_spec("lambent.config")
assert spec.origin.endswith("config.py") and "lambent.config" not in sys.modules
assert {"config", "tracer", "span"} <= {each.name for each in pkgutil.iter_modules(lambent.__path__)}
tracer = lambent.init()
assert importlib.util.find_spec("lambent.config") is sys.modules["lambent.config"].__spec__
assert "def start_span(" in inspect.getsource(lambent.Tracer.start_span)
assert pickle.loads(pickle.dumps(lambent.Tracer)) is lambent.Tracer
assert lambent.Tracer.__doc__ and sys.modules["lambent.tracer"].__doc__
del sys.modules["lambent.ids"]
from lambent.ids import KernelIds
assert KernelIds(1).span_id() and KernelIds is not type(tracer._ids)
"""
    run(sys.executable, installed, program, LAMBDA)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_source_of_a_bundled_class_is_found(installed: Path, python: str) -> None:
    """As debuggers and documentation ask for it: the lines of the module's own file."""
    program = f"""{INVOKE}
import inspect
serve()
invoke()
found = [
    value
    for name, module in list(sys.modules.items()) if name.startswith("lambent.")
    for value in vars(module).values()
    if isinstance(value, type) and value.__module__ == name and value.__qualname__.isidentifier()
]
assert len(found) > 20, found
for value in found:
    head = inspect.getsource(value).lstrip()
    assert head.startswith(("class " + value.__name__, "@")), (value, head[:60])
"""
    run(python, installed, program, LAMBDA)


def test_what_cannot_be_bundled_stops_the_build(bundle: Any) -> None:
    with pytest.raises(SystemExit, match="does not end with"):
        bundle.bundled({"__init__.py": "pass\n"}, lambda _path, source: source)
    with pytest.raises(SystemExit, match=r"lambent\.stats is in no bundle"):
        bundle.filled("def f():\n    from lambent.stats import Stats  # bundled\n")


def test_the_sdks_own_tests_pass_with_it(installed: Path) -> None:
    names = (
        "span tracer handler context limits ids delivery_sync propagation_tracecontext propagation_baggage"
    )
    program = (
        "import sys, pytest, lambent; tracer = lambent.init(); tracer.close(); "
        "assert 'lambent._hot' in sys.modules and lambent.__file__.startswith(sys.argv[1]); "
        "sys.exit(pytest.main(['-q', '-x', '-p', 'no:cacheprovider', *sys.argv[2:]]))"
    )
    tests = [str(SDK / "tests" / f"test_{file}.py") for file in names.split()]
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, str(installed), *tests],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed)},
        cwd=SDK.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
