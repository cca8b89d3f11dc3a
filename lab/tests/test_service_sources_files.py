"""Queues in files and in Python, and the way of a trace through one: a producer, a queue, a consumer."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from lab.tests.waiting import LIMIT_S, until

from lambent_lab import Lab
from lambent_lab.errors import LabError, UsageError
from lambent_lab.fixtures.functions import Functions
from lambent_lab.service import setup
from lambent_lab.service.files import Configuration, Definition, load
from lambent_lab.service.revise import revise
from lambent_lab.service.sources.settings import Settings, stated
from lambent_lab.service.testing import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lambent_lab.traces import SpanRecord

ARN = "arn:aws:sqs:us-east-1:123456789012:"


def one(tmp_path: Path, name: str, text: str) -> Definition:
    path = tmp_path / name
    path.write_text(text)
    return load(path).definitions[0]


# -- files


YAML = f"""
functions:
  hello:
    code: .
    handler: app.handler
    alias: live
    sources:
      - {{queue: orders, batch_size: 100, window: 5, report_failures: true, max_concurrency: 3,
         filters: [{{body: {{code: [BBBB]}}}}, '{{"body": ["x"]}}'], enabled: false}}
      - queue: {ARN}other.fifo
"""
TOML = f"""
[functions.hello]
code = "."
handler = "app.handler"
alias = "live"
[[functions.hello.sources]]
queue = "orders"
batch_size = 100
window = 5
report_failures = true
max_concurrency = 3
enabled = false
filters = [{{body = {{code = ["BBBB"]}}}}, '{{"body": ["x"]}}']
[[functions.hello.sources]]
queue = "{ARN}other.fifo"
"""
SAM = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Size: {Type: Number, Default: 100}
  Polled: {Type: String, Default: "false"}
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: hello
      CodeUri: .
      Handler: app.handler
      AutoPublishAlias: live
      Events:
        Api: {Type: Api, Properties: {Path: /, Method: get}}
        Table: {Type: DynamoDB, Properties: {Stream: !GetAtt Table.StreamArn, StartingPosition: LATEST}}
        Known:
          Type: SQS
          Properties:
            Queue: !GetAtt Orders.Arn
            BatchSize: !Ref Size
            MaximumBatchingWindowInSeconds: 5
            Enabled: !Ref Polled
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: {MaximumConcurrency: 3}
            FilterCriteria:
              Filters: [{Pattern: '{"body": {"code": ["BBBB"]}}'}, {Pattern: '{"body": ["x"]}'}]
        Unknown: {Type: SQS, Properties: {Queue: !ImportValue elsewhere}}
  Plain:
    Type: AWS::Lambda::Function
    Properties: {Handler: app.handler, Code: .}
  Orders: {Type: AWS::SQS::Queue, Properties: {QueueName: orders}}
  Fifo: {Type: AWS::SQS::Queue, Properties: {QueueName: other.fifo, FifoQueue: true}}
  Stream: {Type: AWS::Kinesis::Stream, Properties: {Name: clicks}}
  Table: {Type: AWS::DynamoDB::Table}
  OfPlain:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {EventSourceArn: !GetAtt Fifo.Arn, FunctionName: !Ref Plain}
  OfHello:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {EventSourceArn: !GetAtt Fifo.Arn, FunctionName: !Sub "${Hello.Arn}:live"}
  OfStream:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {EventSourceArn: !GetAtt Stream.Arn, FunctionName: !Ref Plain, StartingPosition: LATEST}
"""
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/clicks"
STREAMS = f"""
functions:
  hello:
    code: .
    handler: app.handler
    sources:
      - {{stream: "{STREAM}", start: TRIM_HORIZON, retries: 3, max_age: 60, bisect: true, parallel: 2,
         on_failure: "{ARN}dead"}}
"""
ORDERS = {
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 5,
    "Enabled": False,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "ScalingConfig": {"MaximumConcurrency": 3},
    "FilterCriteria": {
        "Filters": [{"Pattern": '{"body": {"code": ["BBBB"]}}'}, {"Pattern": '{"body": ["x"]}'}]
    },
}


@pytest.mark.parametrize(
    ("name", "text"), [("lambent.yaml", YAML), ("lambent.toml", TOML), ("template.yaml", SAM)]
)
def test_files_say_which_queues_a_function_is_fed_from(tmp_path: Path, name: str, text: str) -> None:
    found = one(tmp_path, name, text).sources
    assert found == (
        stated("orders", "hello", "live", ORDERS, ""),
        stated(f"{ARN}other.fifo", "hello", "live", {}, ""),
    )
    if name == "template.yaml":
        other, stream = load(tmp_path / name).definitions[1].sources
        assert other == stated("other.fifo", "Plain", None, {}, "")
        assert stream == stated(STREAM, "Plain", None, {"StartingPosition": "LATEST"}, "")


def test_a_stream_in_a_file(tmp_path: Path) -> None:
    (found,) = one(tmp_path, "lambent.yaml", STREAMS).sources
    expected = {
        "EventSourceArn": STREAM,
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:hello",
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
        "StartingPosition": "TRIM_HORIZON",
        "ParallelizationFactor": 2,
        "BisectBatchOnFunctionError": True,
        "MaximumRecordAgeInSeconds": 60,
        "MaximumRetryAttempts": 3,
        "TumblingWindowInSeconds": 0,
        "DestinationConfig": {"OnFailure": {"Destination": f"{ARN}dead"}},
    }
    assert found.document() == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{queue: q, batchsize: 5}", "sources.1 has the unknown key 'batchsize': did you mean 'batch_size'?"),
        ("{batch_size: 5}", "functions.a.sources.1 needs a queue or a stream"),
        ("{queue: q, batch_size: 11}", "functions.a.sources.1: Maximum batch window in seconds"),
        ("{queue: q, window: soon}", "functions.a.sources.1.window must be a whole number"),
        ("{queue: q, filters: [{a: 1}]}", "Invalid filter pattern definition"),
        ("{stream: 'arn:aws:kinesis:us-east-1:1:stream/s'}", "choose TRIM_HORIZON or LATEST"),
        ("{stream: 'arn:aws:kafka:us-east-1:1:s'}", "SQS queues, Kinesis streams"),
        ("{queue: q}, {queue: q}", "has a queue twice among its sources"),
    ],
)  # fmt: skip
def test_mistakes_are_said(tmp_path: Path, source: str, message: str) -> None:
    text = f"functions: {{a: {{code: ., handler: app.handler, sources: [{source}]}}}}"
    with pytest.raises(UsageError) as caught:
        one(tmp_path, "lambent.yaml", text)
    assert message in str(caught.value)


def test_a_changed_file_changes_its_mappings(tmp_path: Path) -> None:
    def defined(*sources: Settings) -> Definition:
        options = {"name": "hello", "code": tmp_path, "handler": "app.handler"}
        return Definition(options=options, sources=sources)

    def source(name: str, **request: Any) -> Settings:
        return stated(name, "hello", None, {"Enabled": False, **request}, "")

    with Lab(environment=World()) as lab:

        def follow(before: Definition, *after: Definition) -> list[tuple[str, str]]:
            old, new = Configuration(definitions=(before,)), Configuration(definitions=after)
            return list(lab.run(revise(lab.core, old, new, lambda _: lambda _: None)))

        def queues() -> dict[str, int]:
            mappings = lab.core.sources.mappings.values()
            return {each.settings.source.resource: each.settings.batch_size for each in mappings}

        first = defined(source("a"), source("b"))
        setup.deploy(lab, first)
        assert queues() == {"a": 10, "b": 10}
        kept = next(iter(lab.core.sources.mappings))
        second = defined(source("a", BatchSize=5), source("c"))
        assert follow(first, second) == [("altered", "hello")]
        until(lambda: queues() == {"a": 5, "c": 10})
        assert kept in lab.core.sources.mappings, "the one that is changed stays"
        assert follow(second) == [("removed", "hello")]
        until(lambda: queues() == {})


# -- Python


def test_a_function_is_fed_from_python(tmp_path: Path, aws: Callable[[str], Any], aws_endpoint: str) -> None:
    name, world = f"q-{uuid.uuid4().hex}", World()
    with Lab(environment=world) as lab:
        hello = lab.function("hello", code=tmp_path, handler="app.handler")
        lab.aws_endpoint_url = aws_endpoint
        with pytest.raises(LabError, match="NonExistentQueue"):
            hello.add_source(name)
        with pytest.raises(UsageError, match="Maximum batch window"):
            hello.add_source(name, batch_size=11)
        sqs = aws("sqs")
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        source = hello.add_source(name, batch_size=5, filters=[{"body": ["a"]}])
        assert (source.state, source.arn, source.problem) == ("Enabled", ARN + name, None)
        lab.function("hello", code=tmp_path, handler="app.handler", env={"ANOTHER": "of this name"})
        sqs.send_message(QueueUrl=url, MessageBody="a")
        assert world.entered.wait(LIMIT_S)
        assert world.environments[0].spec.env == {}, "it is the function's own"
        source.disable()
        assert source.state == "Disabled"
        source.enable()
        assert [each.uuid for each in hello.sources] == [source.uuid]
        source.delete()
        assert source.uuid not in lab.core.sources.mappings


def test_the_fixtures_functions_are_fed_as_long_as_their_test_lasts(
    tmp_path: Path, aws: Callable[[str], Any], aws_endpoint: str
) -> None:
    name = f"q-{uuid.uuid4().hex}"
    aws("sqs").create_queue(QueueName=name)
    with Lab(environment=World(), aws_endpoint_url=aws_endpoint) as lab:
        functions = Functions(lab, test="t", roots=[tmp_path], memory_mb=128, scratch=lambda: tmp_path)
        functions(code=".", handler="app.handler", timeout=3).add_source(name)
        assert len(lab.core.sources.mappings) == 1
        functions.close()
        assert lab.core.sources.mappings == {}


# -- a trace


PRODUCER = """
import os, boto3, lambent
from lambent import carriers
tracer = lambent.init(service_name="producer")
sqs = boto3.client("sqs", endpoint_url=os.environ["ENDPOINT"])

@tracer.handler
def handler(event, context):
    for number in range(2):
        with tracer.trace(f"order {number}"):
            attributes = carriers.message_attributes({})
            sqs.send_message(
                QueueUrl=os.environ["QUEUE"], MessageBody=str(number), MessageAttributes=attributes
            )
"""
CONSUMER = """
import lambent
tracer = lambent.init(service_name="consumer")

@tracer.batch_handler
def handler(record):
    if record["body"] == "1" and record["attributes"]["ApproximateReceiveCount"] == "1":
        raise ValueError("not the first time")
    lambent.current_span().set_attribute("order", record["body"])
"""


def test_a_trace_goes_through_a_queue(tmp_path: Path, aws: Callable[[str], Any], aws_endpoint: str) -> None:
    name = f"q-{uuid.uuid4().hex}"
    url = aws("sqs").create_queue(QueueName=name, Attributes={"VisibilityTimeout": "21"})["QueueUrl"]
    for role, code in (("producer", PRODUCER), ("consumer", CONSUMER)):
        (tmp_path / role).mkdir()
        (tmp_path / role / "app.py").write_text(code)
    with Lab(aws_endpoint_url=aws_endpoint) as lab:
        env = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": lab.otlp_url}
        more = {"ENDPOINT": aws_endpoint, "QUEUE": url, "AWS_EC2_METADATA_DISABLED": "true"}

        def function(role: str, **variables: str) -> Any:
            code = tmp_path / role
            variables = {**env, **variables}
            return lab.function(
                role,
                code=code,
                handler="app.handler",
                memory=1024,
                timeout=20,
                env=variables,
                python=sys.executable,  # which has boto3
            )

        result = function("producer", **more).invoke()
        assert result.error is None, result.log
        sent = [span for span in result.spans if span.name.startswith("order ")]
        assert len(sent) == 2
        consumer = function("consumer")
        consumer.add_source(name, report_failures=True, batch_size=2)
        (trace,) = {span.trace_id for span in sent}

        def consumed() -> list[SpanRecord]:
            spans = [span for span in lab.store.trace(trace) if span.kind == "CONSUMER"]
            return spans if len(spans) == 2 else []

        good, bad = sorted(until(consumed), key=lambda span: span.status == "ERROR")
        assert (good.attributes["order"], bad.status) == ("0", "ERROR")
        parents = [good.parent_span_id, bad.parent_span_id]
        assert parents == [span.span_id for span in sent], "in their senders' trace"
        (link,) = good.links

        def invoked() -> list[SpanRecord]:
            batch = lab.store.trace(link["trace_id"])
            return [span for span in batch if span.span_id == link["span_id"]]

        (invocation,) = until(invoked)
        assert invocation.trace_id != trace
        assert (trace, good.parent_span_id) in {
            (each["trace_id"], each["span_id"]) for each in invocation.links
        }
        assert good.attributes["messaging.system"] == "aws_sqs"
