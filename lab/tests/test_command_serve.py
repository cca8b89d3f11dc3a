"""`lambent serve` as a user starts it: its lines, its events, its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from lambent_lab.commands import main
from lambent_lab.traces import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ECHO = "import os\ndef handler(event, context):\n    print('says', event)\n    return {'v': %d, 'e': event}\n"
CONFIGURATION = """
functions:
  one: {code: code, handler: app.handler, memory: 256, timeout: 30}
  two: {code: code, handler: app.handler, memory: 256, timeout: 30, env: {A: b}}
"""


class Serving:
    """A running `lambent serve`; its output is in a file, so that it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self.output = output

    def wait_for(self, part: str, seconds: float = 60) -> str:
        until = time.monotonic() + seconds
        while part not in (text := self.output.read_text()):
            assert time.monotonic() < until, f"{part!r} did not come:\n{text}"
            assert self.process.poll() is None, f"it ended with {self.process.poll()}:\n{text}"
            time.sleep(0.02)
        return text

    def events(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        until = time.monotonic() + 60
        while True:
            lines = [
                line for line in self.output.read_text().splitlines(keepends=True) if line.endswith("\n")
            ]
            found = [event for event in map(json.loads, lines) if event["event"] == kind]
            if len(found) >= count:
                return found
            assert time.monotonic() < until, lines
            assert self.process.poll() is None, lines
            time.sleep(0.02)

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Serving]:
    output = folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "lambent_lab", "serve", "--port", "0", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1"},
        )
    try:
        yield Serving(process, output)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            finally:
                process.kill()
                process.wait(10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text(ECHO % 1)
    (tmp_path / "lambent.yaml").write_text(CONFIGURATION)
    return tmp_path


def invoke(url: str, name: str, payload: Any = None) -> Any:
    answer = requests.post(f"{url}/2015-03-31/functions/{name}/invocations", json=payload, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_events_for_programs(folder: Path) -> None:
    with serving(folder, "--json", "--rie", "two", "--rie-port", "0") as run:
        (ready,) = run.events("ready")
        assert ready["functions"] == ["one", "two"]
        assert invoke(ready["url"], "one", {"n": 1}) == {"v": 1, "e": {"n": 1}}
        assert invoke(ready["rie_url"], "function", [2]) == {"v": 1, "e": [2]}
        first, second = run.events("invocation", 2)
        assert (first["function"], second["function"]) == ("one", "two")
        assert (first["version"], first["status"], first["cold"]) == ("$LATEST", "success", True)
        assert "says {'n': 1}" in first["log"]
        assert run.end() == 0
        assert run.output.read_text().splitlines()[-1] == '{"event": "ended"}'


def test_lines_for_people_and_an_end_by_sigterm(folder: Path) -> None:
    with serving(folder) as run:
        text = run.wait_for("Ctrl-C ends it.")
        url = text.split(" at ", 1)[1].split()[0]
        assert text.startswith("Serving one, two at http://127.0.0.1:")
        invoke(url, "two", 5)
        text = run.wait_for("two | REPORT RequestId: ")
        assert "two | says 5\n" in text
        environments = [line for line in text.splitlines() if "INIT_START" in line]
        assert len(environments) == 1
        assert run.end(signal.SIGTERM) == 0
        assert run.output.read_text().endswith("Ended: no environment is left.\n")


def test_events_that_nobody_waits_for(folder: Path) -> None:
    (folder / "code" / "app.py").write_text(
        "def handler(event, context):\n    print('has', event, context.aws_request_id)\n"
        "    raise KeyError(event)\n"
    )
    with serving(folder, "--event-retry-wait", "0.1") as run:
        url = run.wait_for("Ctrl-C ends it.").split(" at ", 1)[1].split()[0]
        path = f"{url}/2015-03-31/functions/one/invocations"
        asynchronous = {"X-Amz-Invocation-Type": "Event"}
        answer = requests.post(path, json="sent", headers=asynchronous, timeout=60)
        assert (answer.status_code, answer.content) == (202, b"")
        request_id = answer.headers["x-amzn-requestid"]
        given_up = f"one: the event {request_id} was given up after 3 attempts (RetriesExhausted)."
        text = run.wait_for(given_up)
        assert text.count(f"one | has sent {request_id}\n") == text.count("one | REPORT ") == 3
        answer = requests.put(
            f"{url}/2019-09-25/functions/one/event-invoke-config",
            json={
                "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:dead"}}
            },
            timeout=60,
        )
        assert answer.status_code == 200
        requests.post(path, json="again", headers=asynchronous, timeout=60)
        run.wait_for("was not delivered to arn:aws:sqs:us-east-1:123456789012:dead: no endpoint is named")
        assert run.end() == 0
    with serving(folder, "--json") as run:
        (ready,) = run.events("ready")
        path = f"{ready['url']}/2015-03-31/functions/two/invocations"
        requests.post(path, json="sent", headers=asynchronous, timeout=60)
        (invocation,) = run.events("invocation")
        assert invocation["function_error"] == "Unhandled"
        assert run.end() == 0  # long before a minute is over
        *_, lost, ended = run.output.read_text().splitlines()
        assert (lost, ended) == ('{"event": "lost", "events": 1}', '{"event": "ended"}')


def test_changed_code_runs_next(folder: Path) -> None:
    with serving(folder, "--json", "--watch") as run:
        (ready,) = run.events("ready")
        assert invoke(ready["url"], "one")["v"] == 1
        (folder / "code" / "app.py").write_text(ECHO % 22)
        run.events("changed", 2)
        assert invoke(ready["url"], "one")["v"] == 22
        assert [event["cold"] for event in run.events("invocation", 2)] == [True, True]


def test_idle_environments_are_ended_and_limits_hold(folder: Path) -> None:
    (folder / "code" / "app.py").write_text(
        "import time\ndef handler(event, context):\n    time.sleep(event)\n"
    )
    with serving(folder, "--json", "--idle-timeout", "0.2", "--max-environments", "1", "--no-freeze") as run:
        (ready,) = run.events("ready")
        invoke(ready["url"], "one", 0)
        for number in range(30):  # the first that comes late enough is cold again
            invoke(ready["url"], "two", 0)
            cold = [event["cold"] for event in run.events("invocation", number + 2)]
            assert cold[:2] == [True, True]
            if cold[2:].count(True):
                break
            time.sleep(0.1 * number)
        assert cold[-1]


def test_spans_are_received_and_kept(folder: Path) -> None:
    shutil.copytree(Path(__file__).parents[2] / "examples" / "hello", folder / "hello")
    with serving(folder, "hello/app.handler", "--otlp", "--url", "--store", "traces.db", "--json") as run:
        (ready,) = run.events("ready")
        assert (ready["functions"], list(ready["function_urls"])) == (["hello"], ["hello"])
        own = ready["function_urls"]["hello"]
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        caller = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        assert requests.get(own, headers=caller, timeout=60).json() == {"message": "Hello, world!"}
        invoke(ready["url"], "hello", {"name": "you"})
        run.events("invocation", 2)
        path = f"{ready['url']}/2021-10-31/functions/hello/url"
        assert requests.delete(path, timeout=60).status_code == 204
        made = requests.post(path, json={"AuthType": "NONE"}, timeout=60).json()
        (opened,) = run.events("url")
        assert opened == {"event": "url", "function": "hello", "url": made["FunctionUrl"]}
        assert run.end() == 0
    with Store(folder / "traces.db") as store:
        assert store.trace("last")
        assert "b7ad6b7169203331" in {span.parent_span_id for span in store.trace(trace_id)}


TEMPLATE = """
Parameters: {Word: {Type: String}}
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub "${Word}-hello"
      Handler: index.handler
      InlineCode: |
        import os
        def handler(event, context):
            return [os.environ["WORD"], os.environ["MORE"], context.function_name]
      Environment: {Variables: {WORD: !Ref Word}}
"""


def test_a_template_with_a_parameter(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    arguments = ("--parameter", "Word=good", "--env", "MORE=than", "--json", "--rie", "--rie-port", "0")
    with serving(tmp_path, *arguments) as run:
        (ready,) = run.events("ready")
        for url, name in (
            (ready["url"], "good-hello"),
            (ready["url"], "Hello"),
            (ready["rie_url"], "function"),
        ):
            assert invoke(url, name) == ["good", "than", "good-hello"]


def test_an_empty_lab_takes_functions_over_the_api(tmp_path: Path) -> None:
    with serving(tmp_path, "--empty", "--json") as run:
        (ready,) = run.events("ready")
        answer = requests.get(f"{ready['url']}/2015-03-31/functions", timeout=10)
        assert answer.json() == {"Functions": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "There is no lambent.yaml, lambent.toml or template.yaml here"),
        (["none.yaml"], "none.yaml cannot be read: No such file"),
        (["lambent.yaml", "--rie"], "--rie needs a name where there is not one function: one, two."),
        (["lambent.yaml", "--rie", "three"], "--rie names three, which is none of one, two."),
        (["lambent.yaml", "--empty"], "--empty starts without functions"),
        (["lambent.yaml", "--parameter", "A=b"], "is no template"),
        (["lambent.yaml", "--layer", "A"], "--layer 'A' has no '='"),
        (["lambent.yaml", "--idle-timeout", "0"], "Invalid value for '--idle-timeout'"),
        (["code"], "There is no lambent.yaml, lambent.toml or template.yaml in code"),
        (["code/app.handler", "--env", "A"], "An --env without '='"),
        (["code/none.handler"], "There is no module code/none.py"),
        (["bad.yaml"], "one: 5 MB of memory is not possible"),
    ],
)
def test_wrong_usage(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (folder / "bad.yaml").write_text("functions: {one: {code: code, handler: app.handler, memory: 5}}")
    monkeypatch.chdir(folder)
    if not arguments:
        (folder / "lambent.yaml").unlink()
    assert main(["serve", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_port_that_is_taken(folder: Path) -> None:
    with serving(folder, "--json") as run:
        (ready,) = run.events("ready")
        port = ready["url"].rpartition(":")[2]
        done = subprocess.run(
            [sys.executable, "-m", "lambent_lab", "serve", "--port", port],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert f"Port {port} of 127.0.0.1 cannot be listened on (Address already in use)" in done.stderr


def test_a_store_that_cannot_be_made_is_said_before_anything_is_served(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["serve", "lambent.yaml", "--port", "0", "--store", "lambent.yaml/traces.db"]) == 1
    said = capsys.readouterr()
    assert "The trace store lambent.yaml/traces.db cannot be used" in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


def rewrite(file: Path, text: str) -> None:
    """Replace a file at once: whoever follows it would read an empty one in between."""
    file.with_suffix(".new").write_text(text)
    file.with_suffix(".new").replace(file)


def test_the_file_itself_is_followed(folder: Path) -> None:
    file = folder / "lambent.yaml"
    (folder / "more").mkdir()
    (folder / "more" / "app.py").write_text(ECHO % 3)
    with serving(folder, "--json", "--watch") as run:
        (ready,) = run.events("ready")
        url = ready["url"]
        assert invoke(url, "two")["v"] == 1
        three = "  three: {code: more, handler: app.handler, memory: 256, timeout: 30}\n"
        rewrite(file, CONFIGURATION.replace("env: {A: b}", "env: {A: c}") + three)
        assert [event["function"] for event in run.events("added")] == ["three"]
        assert [event["function"] for event in run.events("altered")] == ["two"]
        assert invoke(url, "three")["v"] == 3
        assert invoke(url, "two")["v"] == 1
        assert [event["cold"] for event in run.events("invocation", 3)] == [True] * 3

        (folder / "more" / "app.py").write_text(ECHO % 33)  # what came with the file is watched as well
        assert run.events("changed")[-1]["function"] == "three"
        assert invoke(url, "three")["v"] == 33

        rewrite(file, "functions:\n  three: {code: more, handler: app.handler, memory: 1}\n")
        assert "three" in run.events("problem")[0]["message"]
        rewrite(file, "functions: [")
        assert "lambent.yaml" in run.events("problem", 2)[1]["message"]
        assert invoke(url, "one")["v"] == 1, "a mistake changes nothing"

        rewrite(file, f"functions:\n{three}")
        assert {event["function"] for event in run.events("removed", 2)} == {"one", "two"}
        answer = requests.post(f"{url}/2015-03-31/functions/one/invocations", data="{}", timeout=60)
        assert answer.status_code == 404
        assert invoke(url, "three")["v"] == 33
        assert run.end() == 0


def test_a_template_that_is_followed_says_so_to_people(folder: Path) -> None:
    with serving(folder, "--watch") as run:
        run.wait_for("Ctrl-C ends it.")
        rewrite(folder / "lambent.yaml", CONFIGURATION.partition("  two")[0])
        run.wait_for("two is served no more.\n")
        (folder / "lambent.yaml").unlink()
        run.wait_for("The file cannot be followed: ")
        assert run.end() == 0


def test_where_no_traces_can_be_kept_they_are_kept_elsewhere(folder: Path) -> None:
    shutil.copytree(Path(__file__).parents[2] / "examples" / "hello", folder / "hello")
    (folder / ".lambent").write_text("in the way, as a folder that cannot be written would be")
    with serving(folder, "hello/app.handler", "--otlp") as run:
        text = run.wait_for("Ctrl-C ends it.")
        said = text.splitlines()[0]
        assert "traces.db cannot be written, so traces are kept in " in said
        url = text.split(" at ", 1)[1].split()[0]
        invoke(url, "hello", {"name": "you"})
        run.wait_for("REPORT RequestId: ")
        assert run.end() == 0
    kept = Path(said.partition("LAMBENT_TRACES=")[2].split()[0])
    with Store(kept) as store:
        assert store.trace("last")
    shutil.rmtree(kept.parent)


def test_queues_that_are_polled(folder: Path, aws: Callable[[str], Any], aws_endpoint: str) -> None:
    name, arn = f"q-{uuid.uuid4().hex}", "arn:aws:sqs:us-east-1:123456789012:"
    url = aws("sqs").create_queue(QueueName=name)["QueueUrl"]
    (folder / "code" / "app.py").write_text("def handler(event, context): raise ValueError\n")
    sources = f"[{{queue: {name}}}, {{queue: nowhere}}]"
    (folder / "lambent.yaml").write_text(
        f"functions: {{one: {{code: code, handler: app.handler, timeout: 20, sources: {sources}}}}}"
    )
    with serving(folder, "--json", "--aws-endpoint-url", aws_endpoint) as run:

        def told(**wanted: Any) -> dict[str, Any]:
            count = 1
            while True:
                for event in run.events("source", count):
                    if wanted.items() <= event.items():
                        return event
                count += 1

        polled = told(source=arn + name, polled=True)
        assert (polled["function"], polled["state"], polled["problem"]) == ("one", "Enabled", None)
        said = "AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist"
        told(source=f"{arn}nowhere", polled=False, problem=said)
        aws("sqs").send_message(QueueUrl=url, MessageBody="a")
        (batch,) = run.events("batch")
        assert (batch["source"], batch["records"], batch["failed"]) == (arn + name, 1, 1)
        (invocation,) = run.events("invocation")
        assert (invocation["request_id"], invocation["status"]) == (batch["request_id"], "error")
    aws("sqs").send_message(QueueUrl=url, MessageBody="b")
    with serving(folder, "--aws-endpoint-url", aws_endpoint) as run:
        run.wait_for(f"one gets what comes to {arn}{name}.\n")
        run.wait_for(f"one gets nothing of {arn}nowhere: {said}.\n")
        text = run.wait_for(f"one: 1 of 1 record of {arn}{name} will come again.\n")
        assert text.count("one gets what comes to") == 1
