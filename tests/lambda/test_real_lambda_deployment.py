"""Measure a function that is deployed, in one region or several; and the tests of that, against the lab.

    python test_real_lambda_deployment.py --function-name NAME --iterations 10 \\
        --test-cold-start --test-warm-start

Cold starts are forced by a change of the function's configuration, which is put back at the end. Exit code 0:
the specification's targets are met; 1: they are not, or an invocation failed; 2: it cannot be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambent_lab.errors import LabError
from lambent_lab.measure import LambdaPerformanceTester

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lambent_lab import Lab
    from lambent_lab.service.serving import Server

REGIONS = ["us-east-1", "us-west-2", "eu-west-1"]


# The script.


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the arguments say, tell it, and return the exit code."""
    asked = _parser().parse_args(arguments)
    both = not asked.test_cold_start and not asked.test_warm_start
    kinds = [
        kind
        for kind in ("cold", "warm")
        if both or (asked.test_cold_start if kind == "cold" else asked.test_warm_start)
    ]
    results: dict[str, dict[str, Any]] = {}
    try:
        for region in asked.region or [None]:
            place = f"{asked.function_name} in {region or 'the default region'}"
            results[region or "default"] = found = {}
            with LambdaPerformanceTester(
                target=f"aws:{asked.function_name}",
                region=region,
                endpoint_url=asked.endpoint_url,
                event=asked.event,
            ) as tester:
                for kind in kinds:
                    measure = getattr(tester, f"test_{kind}_start_performance")
                    found[kind] = measure(iterations=asked.iterations)
                    print(f"{place}: {tell(kind, found[kind])}")
    except LabError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    finally:
        if asked.output is not None and results:
            asked.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    met = all(each["meets_target"] for found in results.values() for each in found.values())
    return 0 if met else 1


def tell(kind: str, found: dict[str, Any]) -> str:
    """Return a result in one line: no time of what failed."""
    average, target = found[f"avg_{kind}_start_ms"], found["target_ms"]
    count = f"{found['n']} of {found['iterations']} {kind} starts"
    errors = f"; {found['failed']} failed: {found['errors'][0]['error']}" if found["failed"] else ""
    others = f"; {found[f'not_{kind}']} were not {kind}" if found[f"not_{kind}"] else ""
    if average is None:
        return f"{count}, no time{errors}{others}"
    p95 = found[f"p95_{kind}_start_ms"]
    tail = "" if p95 is None else f", p95 {p95:.1f} ms"
    verdict = "meets" if found["meets_target"] else "misses"
    return (
        f"{count}, {average:.1f} ms on average{tail}: {verdict} the target of {target:.0f} ms{errors}{others}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure a deployed function's cold and warm starts.")
    parser.add_argument(
        "--function-name", required=True, help="its name, with :QUALIFIER if it has one, or its ARN"
    )
    parser.add_argument(
        "--iterations", type=_count, default=10, metavar="N", help="of each kind (default: 10)"
    )
    parser.add_argument("--test-cold-start", action="store_true", help="cold starts; without both, both")
    parser.add_argument("--test-warm-start", action="store_true", help="warm starts")
    parser.add_argument(
        "--region", action="append", help="may be repeated (default: that of the configuration)"
    )
    parser.add_argument(
        "--endpoint-url", help="something else that speaks AWS's API, such as `lambent serve`"
    )
    parser.add_argument("--event", type=json.loads, metavar="JSON", help="what it is invoked with")
    parser.add_argument("--output", type=Path, metavar="FILE", help="every value, as JSON")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of iterations: 1 or more")
    return int(text)


# Its tests. The lab is the AWS that they need.

pytestmark = pytest.mark.lambda_


@pytest.fixture(scope="module")
def aws(lab: Lab) -> Iterator[str]:
    """The URL of the lab's AWS."""
    server: Server = lab.serve()
    yield server.url
    server.close()


def client(url: str) -> Any:
    """A client for the region of the environment."""
    import boto3

    return boto3.client("lambda", endpoint_url=url, aws_access_key_id="any", aws_secret_access_key="any")


def deploy(url: str, package: Path, name: str, module: str = "cold_start_test") -> Any:
    """Make the function, or give it new code when it is there; return the client."""
    api = client(url)
    code = package.read_bytes()
    with suppress(api.exceptions.ResourceNotFoundException):
        api.update_function_code(FunctionName=name, ZipFile=code)
        api.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        return api
    version = os.environ.get("LAMBDA_PYTHON") or "{}.{}".format(*sys.version_info[:2])
    api.create_function(
        FunctionName=name,
        Runtime=f"python{version}",
        Role="arn:aws:iam::123456789012:role/any",
        Handler=f"{module}.lambda_handler",
        Code={"ZipFile": code},
        Timeout=30,
        MemorySize=256,
        Environment={"Variables": {"OWNER": "tests"}},
    )
    api.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return api


def test_lambda_deployment_in_each_region(
    aws: str, package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for region in REGIONS:
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
        api = deploy(aws, package, f"deployed-to-{region}", "working_sdk_test")
        answer = api.invoke(FunctionName=f"deployed-to-{region}", Payload=json.dumps({"test": region}))
        assert "FunctionError" not in answer
        payload = json.load(answer["Payload"])
        assert (payload["statusCode"], json.loads(payload["body"])["test"]) == (200, region)


def test_the_script_measures_and_gives_the_function_back(
    aws: str,
    package: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    api = deploy(aws, package, "honeyhive-sdk-test")
    output = tmp_path / "results.json"
    chosen = ["--test-cold-start", "--test-warm-start", "--output", str(output), "--region", "us-west-2"]
    code = main(
        ["--function-name", "honeyhive-sdk-test", "--iterations", "3", "--endpoint-url", aws, *chosen]
    )
    told = capsys.readouterr().out.splitlines()
    found = json.loads(output.read_text())["us-west-2"]
    assert [line.partition(", ")[0] for line in told] == [
        "honeyhive-sdk-test in us-west-2: 3 of 3 cold starts",
        "honeyhive-sdk-test in us-west-2: 3 of 3 warm starts",
    ]
    assert code == (0 if found["cold"]["meets_target"] and found["warm"]["meets_target"] else 1)
    assert (found["cold"]["not_cold"], found["warm"]["not_warm"]) == (0, 0)
    assert all(each["init_ms"] > 0 for each in found["cold"]["raw_measurements"])
    about = api.get_function_configuration(FunctionName="honeyhive-sdk-test")
    assert (about["MemorySize"], about["Environment"]["Variables"]) == (256, {"OWNER": "tests"})


def test_the_script_prints_no_speed_of_what_fails(
    aws: str, package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    deploy(aws, package, "broken", "no_such_module")
    assert main(["--function-name", "broken", "--endpoint-url", aws, "--test-warm-start"]) == 1
    told = capsys.readouterr().out
    assert "0 of 10 warm starts, no time; 3 failed: Runtime.ImportModuleError" in told
    assert main(["--function-name", "missing", "--endpoint-url", aws]) == 2
    assert "Function not found" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--function-name", "a", "--iterations", "0"]])
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2


def test_the_deployment_script_of_the_specification(
    aws: str, package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    api = deploy(aws, package, "by-command-line", "working_sdk_test")
    before = api.get_function_configuration(FunctionName="by-command-line")["RevisionId"]
    command = [sys.executable, "-m", "awscli", "lambda", "update-function-code", "--endpoint-url", aws]
    done = subprocess.run(
        [*command, "--function-name", "by-command-line", "--zip-file", f"fileb://{package}"],
        env={**os.environ, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["RevisionId"] != before
    script = [sys.executable, __file__, "--function-name", "by-command-line", "--endpoint-url", aws]
    done = subprocess.run(
        [*script, "--iterations", "1", "--test-warm-start"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "1 of 1 warm starts" in done.stdout, done.stderr
    main([*script[2:], "--iterations", "1", "--test-warm-start", "--event", '{"test": "own"}'])
    assert "1 of 1 warm starts" in capsys.readouterr().out


@pytest.mark.real_aws
def test_in_aws(request: pytest.FixtureRequest) -> None:
    target: str = request.config.getoption("--lambda-target")
    name = (
        target.removeprefix("aws:") if target.startswith("aws:") else os.environ.get("LAMBDA_FUNCTION_NAME")
    )
    if not name:
        pytest.skip("real AWS: which function? Give --lambda-target aws:NAME, or LAMBDA_FUNCTION_NAME")
    assert main(["--function-name", name, "--iterations", "10"]) == 0


if __name__ == "__main__":
    sys.exit(main())
