"""What automates the suite: the workflow's commands exist, and the Makefile does the same with Docker."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lambent_lab.commands import cli

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
TARGETS = ["build", "test", "test-lambda", "test-cold-start", "test-performance", "debug-shell", "clean"]

DOCKER = """#!/bin/sh
echo "$@" >> "$DOCKER_LOG"
case "$1" in
create) echo container-7 ;;
cp) case "$3" in *.zip) : > "$3" ;; *) mkdir -p "$3" ;; esac ;;
esac
"""
"""Stands for Docker's command line: says yes to everything, and keeps what it was asked."""


@pytest.fixture(scope="module")
def workflow() -> Any:
    text = (ROOT / ".github" / "workflows" / "lambda-tests.yml").read_text()
    assert "secrets." not in text
    document = yaml.safe_load(text)
    return {**document, "on": document[True]}  # YAML 1.1 takes `on` for a boolean


def steps(workflow: Any) -> list[tuple[str, Any]]:
    return [(name, step) for name, job in workflow["jobs"].items() for step in job["steps"]]


def make(target: str, *variables: str, dry: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    # Without the variables of a make that runs the tests.
    ours = ("MAKE", "MFLAGS", "PYTHON_VERSION", "MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "LAMBDA_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    arguments = ["make", *(["-n"] if dry else []), "-C", str(HERE), target, *variables]
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=60, env={**clean, **env}, check=False
    )


def test_the_workflow_runs_the_matrix_daily_and_for_every_change(workflow: Any) -> None:
    assert {"push", "pull_request", "schedule"} <= workflow["on"].keys()
    assert workflow["on"]["schedule"] == [{"cron": "0 6 * * *"}]
    assert workflow["jobs"]["lambda"]["strategy"]["matrix"] == {
        "python-version": ["3.11", "3.12", "3.13"],
        "memory-size": [256, 512, 1024],
    }
    assert workflow["permissions"] == {"contents": "read"}
    for _, step in steps(workflow):
        assert ("run" in step) != ("uses" in step)
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/none@v1"))
    uploads = [step["with"] for _, step in steps(workflow) if "upload-artifact" in step.get("uses", "")]
    assert uploads[0]["path"] == "tests/lambda/performance-results.json"
    assert {"${{ matrix.python-version }}", "${{ matrix.memory-size }}"} <= set(
        re.findall(r"\$\{\{.*?\}\}", uploads[0]["name"])
    )


def test_every_expression_names_something(workflow: Any) -> None:
    known = {"github.ref", "github.base_ref"}
    for job in workflow["jobs"].values():
        matrix = {f"matrix.{name}" for name in job.get("strategy", {}).get("matrix", {})}
        used = set(re.findall(r"\$\{\{\s*(.*?)\s*\}\}", yaml.safe_dump(job, width=10_000)))
        assert used <= known | matrix
        # What a stranger may have named never stands in a command.
        assert not [step for step in job["steps"] if "${{" in step.get("run", "")]


def test_every_command_of_a_step_exists(workflow: Any) -> None:
    seen = []
    for _, step in steps(workflow):
        for line in step.get("run", "").replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words[:1] == ["make"]:
                folder = Path(words[2]) if words[1] == "-C" else Path(step["working-directory"])
                assert folder == Path("tests/lambda")
                assert words[-1] in TARGETS
            elif words[:1] == [".venv/bin/lambent"]:
                _check_command(words[1:])
            elif words and words[0].endswith(".sh"):
                assert (ROOT / words[0].removeprefix(".bench/base/")).is_file()
            else:
                assert words[:2] == ["git", "worktree"] or re.match(r"code=0|if \[|exit ", line.strip()), line
                continue
            seen.append(words[0])
    assert seen.count("make") == 4
    assert ".venv/bin/lambent" in seen


def _check_command(words: list[str]) -> None:
    """Read the words as the command line would, up to what the shell reads."""
    from click import Context

    words = words[: words.index("||")] if "||" in words else words
    command = cli.get_command(Context(cli), words[0])
    assert command is not None
    parsed = command.make_context(words[0], words[1:], resilient_parsing=True)
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= known
    assert parsed.params["base"].endswith(".zip/cold_start_test.lambda_handler")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("docker", ["yes", "no"])
def test_every_target_exists(target: str, docker: str) -> None:
    # As if the package were there: what needs it would be built first, and say "docker" too.
    done = make(target, f"DOCKER={docker}", "--old-file=deployment-package.zip")
    assert done.returncode == 0, done.stderr
    assert ("docker" in done.stdout) == (docker == "yes" and target in {"build", "debug-shell", "clean"})


def test_size_and_version_reach_the_tests() -> None:
    given = make("test-lambda", "DOCKER=no", MEMORY_SIZE="512", PYTHON_VERSION="3.12").stdout
    assert "--lambda-memory 512" in given
    assert "LAMBDA_PYTHON=3.12" in given
    assert "--lambda-memory 1024" in make("test", AWS_LAMBDA_FUNCTION_MEMORY_SIZE="1024").stdout
    assert "--lambda-memory 256" in make("test").stdout


def test_a_version_that_is_not_there_is_said_in_a_line(tmp_path: Path) -> None:
    suite = tmp_path / "tests" / "lambda"
    suite.mkdir(parents=True)
    (suite / "Makefile").write_text((HERE / "Makefile").read_text())
    done = subprocess.run(
        ["make", "build", f"VENV_PYTHON={sys.executable}", "PYTHON_VERSION=3.2", "DOCKER=no"],
        cwd=suite,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert [line.split(" was found")[0] for line in done.stderr.splitlines()][:1] == ["No Python 3.2"]
    assert "Traceback" not in done.stderr


def test_with_docker_the_bundle_is_built_in_an_image_and_taken_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    suite = tmp_path / "tests" / "lambda"
    suite.mkdir(parents=True)
    (suite / "Makefile").write_text((HERE / "Makefile").read_text())
    done = subprocess.run(
        ["make", "build", "VENV_PYTHON=python3", "PYTHON_VERSION=3.12"],
        cwd=suite,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKER_LOG": str(log)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    image = "honeyhive-lambda:bundle-native"
    assert log.read_text().splitlines() == [
        "info",
        "build --file Dockerfile.bundle-builder --build-arg PYTHON_VERSION=3.12 "
        f"--tag {image} {tmp_path.resolve()}",
        f"create {image}",
        "cp container-7:/var/task .build/bundle",
        "cp container-7:/opt/deployment-package.zip deployment-package.zip",
        "rm container-7",
    ]
    assert (suite / ".build" / "python-version").read_text() == "3.12\n"


def test_the_image_builds_what_the_script_builds() -> None:
    recipe = (HERE / "Dockerfile.bundle-builder").read_text()
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", recipe, re.MULTILINE)
    assert copied
    assert [path for path in copied if not (ROOT / path).exists()] == []
    assert "build-deployment-package.sh" in recipe
    # Bash 4.2, in the image of Python 3.11, takes an empty array for one that is not set.
    script = (HERE / "build-deployment-package.sh").read_text()
    assert "set -euo pipefail" in script
    assert "[@]" not in script
    assert recipe.count("public.ecr.aws/lambda/python:${PYTHON_VERSION}") == 2
    allowed = (HERE / "Dockerfile.bundle-builder.dockerignore").read_text().splitlines()
    assert allowed[0] == "*"
    assert {f"!{path.rstrip('/')}" for path in copied} <= set(allowed)
