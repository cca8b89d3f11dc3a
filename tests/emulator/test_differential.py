"""RIE and the lab, given the same bootstrap scripts: same statuses, bodies and order, or a listed difference.

AWS's emulator is built from the code that runs in Lambda itself, so where nothing else is known it is right.
What differs on purpose stands in `DIFFERENCES` with the reason, and in the reference. A difference that is
gone fails as well: the list says what is, not what was.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from benchmarks.harness.rie import PATH, Rie, RieUnavailableError, binary
from tests.emulator.scenarios import DIFFERENCES, SCENARIOS, Scenario

from lambent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "reference" / "rie.md"
PATIENCE_S = 10
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(scope="module", autouse=True)
def emulator() -> None:
    try:
        binary()
    except RieUnavailableError as reason:
        pytest.skip(f"RIE: {reason}")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab.serve()
        yield lab


@pytest.fixture
def folder(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("code")
    shutil.copy(HERE / "bootstrap", folder)
    # A worker's folder is in that of the run: between them they are the only ones of this name.
    marker = "-".join(["lambent", *folder.parts[-3:]])
    behaviour: dict[str, Any] = {"init": scenario.init, "invocations": scenario.invocations, "marker": marker}
    if scenario.again is not None:
        behaviour["again"] = scenario.again
    (folder / "scenario.json").write_text(json.dumps(behaviour))
    yield folder
    Path("/tmp", marker).unlink(missing_ok=True)  # RIE's /tmp is this machine's


def post(port: int, path: str, payload: str) -> dict[str, Any]:
    """Invoke, and return what the caller sees."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, payload.encode())
        answer = connection.getresponse()
        body = answer.read()
        return {"status": answer.status, "body": plain(body.decode("utf-8", "replace"))}
    finally:
        connection.close()


def plain(body: str) -> Any:
    """Return a body as what it means, without the numbers that every run has its own of."""
    body = UUID.sub("<id>", body)
    try:
        found = json.loads(body)
    except ValueError:
        return body if len(body) < 1000 else f"{body[:20]}… {len(body)} characters"
    if isinstance(found, dict) and found.get("errorType") == "InvalidStateTransition":
        del found["errorMessage"]  # names the states, which each calls its own way
    return found


def transcript(log: str) -> list[Any]:
    """Return what the runtime saw and printed, in order."""
    seen: list[Any] = []
    for line in log.splitlines():
        if line.startswith("T "):
            name, *rest = json.loads(line[2:])
            if name == "deadline ahead":
                rest[1] = [field for field in rest[1] if field.startswith("lambda-") and "trace" not in field]
            else:
                status, body, fields = rest
                rest = [status, plain(body), fields if body else {}]
            seen.append([name, *rest])
        elif line in {"during init", "one", "two"}:
            seen.append(line)
    return seen


def complete(scenario: Scenario, log: Callable[[], str]) -> str:
    """Return the log when the runtime has come as far as it can: it prints after its caller is answered."""
    until = time.monotonic() + PATIENCE_S
    while log().split("\n").count("waiting") < scenario.waits and time.monotonic() < until:
        time.sleep(0.005)  # a file and a callback: neither can be waited for
    return log()


def by_rie(scenario: Scenario, folder: Path) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    with Rie([str(folder / "bootstrap")], folder, timeout_s=scenario.timeout_s) as rie:
        for number, payload in enumerate(scenario.payloads, 1):
            seen[f"caller {number}"] = post(rie.port, PATH, payload)
        return seen | {"log": transcript(complete(scenario, rie.log))}


def by_the_lab(scenario: Scenario, folder: Path, lab: Lab, url: str) -> dict[str, Any]:
    lines: list[str] = []
    name = re.sub(r"\W", "-", scenario.name)
    function = lab.function(
        name,
        code=folder,
        handler="app.handler",
        runtime="provided.al2023",
        memory=1769,
        timeout=scenario.timeout_s,
        on_line=lines.append,
    )
    seen: dict[str, Any] = {}
    port = urlsplit(url).port
    assert port is not None
    for number, payload in enumerate(scenario.payloads, 1):
        seen[f"caller {number}"] = post(port, f"/2015-03-31/functions/{name}/invocations", payload)
    log = complete(scenario, lambda: "\n".join(lines))
    function.stop()
    return seen | {"log": transcript(log)}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_the_lab_does_as_rie_does(scenario: Scenario, folder: Path, lab: Lab) -> None:
    theirs = by_rie(scenario, folder)
    Path("/tmp", json.loads((folder / "scenario.json").read_text())["marker"]).unlink(missing_ok=True)
    ours = by_the_lab(scenario, folder, lab, lab.serve().url)
    for what, value in ours.items():
        if (scenario.name, what) in DIFFERENCES:
            assert value != theirs[what], f"{what} no longer differs: take it out of the list"
        else:
            assert value == theirs[what], what


def test_every_difference_is_in_the_reference() -> None:
    page = " ".join(PAGE.read_text().split())
    for (scenario, _), reason in DIFFERENCES.items():
        assert scenario in page
        assert reason in page
