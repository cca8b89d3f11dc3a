"""The SDK in Lambda: it is found in the package, traces, flushes, survives failures, and the callers' answers
stay what they were.
"""

from __future__ import annotations

import concurrent.futures
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent.testing import expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from lambent_lab.fixtures.spans import Traces

pytestmark = pytest.mark.lambda_

REAL_API = bool(os.environ.get("HH_API_KEY")) and os.environ.get("HH_TEST_MODE", "true").lower() == "false"
spans_are_here = pytest.mark.skipif(REAL_API, reason="HH_TEST_MODE=false: the spans go to HoneyHive")

INNER = {
    "working_sdk_test": "lambda_execution",
    "cold_start_test": "cold_start_test",
    "basic_tracing": "basic_operation",
}
"""The functions, and the span within each."""


def test_the_package_has_the_functions_and_the_sdk_at_its_top(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
    assert {f"{module}.py" for module in INNER} <= names
    assert "lambent/__init__.py" in names
    assert [name for name in names if "__pycache__" in name or "/tests/" in name] == []


def test_every_function_can_be_served() -> None:
    from lambent_lab.service.files import find, load

    here = Path(__file__).parent
    path = find(here)
    assert path is not None
    served = {definition.options["handler"] for definition in load(path).definitions}
    functions = (here / "lambda_functions").glob("*.py")
    assert served == {f"{function.stem}.lambda_handler" for function in functions}


@pytest.mark.parametrize("module", INNER)
def test_a_function_answers_cold_and_warm(
    module: str, deploy: Callable[..., Any], body: Callable[[Any], Any], traces: Traces
) -> None:
    function = deploy(module)
    cold, warm = function.invoke({"test": module}), function.invoke({"test": module})
    assert body(cold)
    assert body(warm)
    assert (cold.cold, warm.cold) == (True, False)
    if REAL_API:
        return
    for result in (cold, warm):
        root = {"faas.coldstart": result.cold, "faas.invocation_id": result.request_id}
        traces.expect(expect(..., INNER[module], kind="SERVER", attributes=root), invocation=result)
        assert result.spans_made == 2


def test_what_lambda_says_of_the_function(
    deploy: Callable[..., Any], body: Callable[[Any], Any], lambda_memory: int, traces: Traces
) -> None:
    answer = body(deploy("basic_tracing", name="compatibility").invoke({"order": 7}))
    assert answer["flush_success"] is True
    assert answer["result"] == {
        "processed_data": {"order": 7},
        "lambda_context": {
            "function_name": "compatibility",
            "function_version": "$LATEST",
            "memory_limit": str(lambda_memory),
        },
    }
    if not REAL_API:
        resource = traces.one("basic_operation").resource
        assert (resource["faas.name"], resource["faas.max_memory"]) == ("compatibility", lambda_memory << 20)


@spans_are_here
def test_a_failure_is_on_its_span(deploy: Callable[..., Any], traces: Traces) -> None:
    result = deploy("basic_tracing").invoke({"fail": True})
    assert result.ok
    assert result.payload["statusCode"] == 500
    traces.expect(
        expect(
            ...,
            expect(
                "basic_operation",
                status=("ERROR", ...),
                events=[("exception", {"exception.type": "ValueError", "exception.message": "told to fail"})],
            ),
        )
    )


def test_the_function_tells_how_long_its_parts_took(
    deploy: Callable[..., Any], body: Callable[[Any], Any]
) -> None:
    function = deploy("cold_start_test")
    cold, warm = body(function.invoke()), body(function.invoke())
    assert (cold["cold_start"], warm["cold_start"]) == (True, False)
    assert (cold["flush_success"], warm["flush_success"]) == (True, True)
    timings = {"sdk_import_ms", "tracer_init_ms", "handler_total_ms", "work_time_ms", "flush_time_ms"}
    for answer in (cold, warm):
        assert answer["timings"].keys() == timings
        assert all(time > 0 for time in answer["timings"].values())
        assert answer["timings"]["handler_total_ms"] >= answer["timings"]["work_time_ms"]
    started = cold["timings"]["sdk_import_ms"] + cold["timings"]["tracer_init_ms"]
    assert cold["performance_impact"]["init_overhead_ms"] == started
    assert warm["performance_impact"]["init_overhead_ms"] == 0


def test_concurrent_lambda_invocations(
    deploy: Callable[..., Any], body: Callable[[Any], Any], traces: Traces
) -> None:
    function = deploy("working_sdk_test")
    with concurrent.futures.ThreadPoolExecutor(max_workers=10) as executor:
        futures = [executor.submit(function.invoke, {"test": f"concurrent_{i}"}) for i in range(50)]
        results = [future.result() for future in futures]
    assert [body(result)["test"] for result in results] == [f"concurrent_{i}" for i in range(50)]
    assert len({result.request_id for result in results}) == 50
    # Each of them began an environment, or took over one that was idle.
    assert 1 <= sum(result.cold for result in results) <= 10
    if not REAL_API:
        inner = [span.attributes["lambda.request_id"] for span in traces.find("lambda_execution")]
        assert sorted(map(str, inner)) == sorted(result.request_id for result in results)


@pytest.mark.parametrize(
    ("error_type", "delivered", "problem"),
    [
        ("network_timeout", False, ""),
        ("api_unavailable", False, ""),
        ("memory_pressure", True, ""),
        ("disk_full", True, "[Errno 28] No space left on device"),
    ],
)
def test_lambda_error_resilience(
    error_type: str,
    delivered: bool,
    problem: str,
    inject_failure: Callable[[str], AbstractContextManager[Any]],
    body: Callable[[Any], Any],
    traces: Traces,
) -> None:
    with inject_failure(error_type) as function:
        result = function.invoke({"test": error_type})
        # The caller has its answer; the function says itself what became of its spans.
        assert body(result) == {"delivered": delivered, "problem": problem}
        if not REAL_API:
            assert len(traces.of(result)) == (2 if delivered else 0)
            assert ("lambent:" in result.log) is not delivered  # it is said when spans stay behind
        if error_type == "memory_pressure":
            assert 80 < result.report.max_memory_mb <= 128
        if error_type != "network_timeout":  # it would be waited for once more
            again = function.invoke({"test": "nothing"})
            assert (again.cold, body(again)["problem"]) == (False, "")


@spans_are_here
def test_an_environment_without_memory_is_replaced_and_its_spans_are_recovered(
    inject_failure: Callable[[str], AbstractContextManager[Any]], body: Callable[[Any], Any], traces: Traces
) -> None:
    with inject_failure("out_of_memory") as function:
        killed = function.invoke({"test": "out_of_memory"})
        assert (killed.error, killed.status) == ("Runtime.OutOfMemory", "error")
        after = function.invoke({"test": "nothing"})
    assert after.cold
    assert body(after) == {"delivered": True, "problem": ""}
    lost = traces.wait(attributes={"lambent.recovered": True}, count=2)
    assert {span.attributes["lambent.termination.reason"] for span in lost} == {"out_of_memory"}
    assert "work" in {span.name for span in lost}
