"""botocore against moto's server, which answers as S3, SQS, SNS and DynamoDB do."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of AWS, as far as these tests need it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def aws(server: str) -> str:
    """The same, with nothing in it."""
    urllib.request.urlopen(f"{server}/moto-api/reset", data=b"", timeout=60).close()
    return server


ENV = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
PROGRAM = """
import json
{first}
import lambent
tracer = lambent.init()
{second}

def client(service):
    return boto3.client(service, endpoint_url="{aws}")

@tracer.handler
def handler(event, context):
    with tracer.trace("store"):
        s3 = client("s3")
        s3.create_bucket(Bucket="orders", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_object(Bucket="orders", Key="7", Body=b"text")
        return s3.get_object(Bucket="orders", Key="7")["Body"].read().decode()

print(json.dumps(handler({}, None)))
"""


@pytest.mark.parametrize("order", ["library first", "lambent first"])
@pytest.mark.parametrize("instrument", ["botocore", "boto3, urllib3", "auto"])
def test_calls_are_children(program: Callable[..., Any], aws: str, instrument: str, order: str) -> None:
    first, second = ("import boto3", "") if order == "library first" else ("", "import boto3")
    source = PROGRAM.replace("{aws}", aws).replace("{first}", first).replace("{second}", second)
    run = program(
        source, instrument, **ENV, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="logging,threading,asyncio"
    )
    assert run.output == "text"
    assert run.outline == [
        "lambent: shop SERVER",
        "  lambent: store INTERNAL",
        "    botocore: S3.CreateBucket CLIENT",
        "    botocore: S3.PutObject CLIENT",
        "    botocore: S3.GetObject CLIENT",
    ]
    put = run.one("S3.PutObject").attributes
    assert (put["rpc.service"], put["rpc.method"], put["cloud.region"]) == ("S3", "PutObject", "eu-west-1")


def test_a_failed_call(program: Callable[..., Any], aws: str) -> None:
    source = (
        PROGRAM.replace("{aws}", aws).replace("{first}", "").replace("{second}", "import boto3, botocore")
    )
    source = source.replace("        s3.create_bucket", "        #").replace(
        'Bucket="orders"', 'Bucket="nowhere"'
    )
    source = source.replace(
        "print(json.dumps(handler({}, None)))",
        "try:\n    handler({}, None)\nexcept botocore.exceptions.ClientError as error:\n    print('[]')",
    )
    run = program(source, "botocore", **ENV)
    assert run.outline == [
        "lambent: shop SERVER failed",
        "  lambent: store INTERNAL failed",
        "    botocore: S3.PutObject CLIENT failed",
    ]


MESSAGES = """
import json, lambent
tracer = lambent.init()
import boto3

def client(service):
    return boto3.client(service, endpoint_url="{aws}")

sqs, sns, dynamodb = client("sqs"), client("sns"), client("dynamodb")
url = sqs.create_queue(QueueName="orders")["QueueUrl"]
topic = sns.create_topic(Name="orders")["TopicArn"]
queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})

@tracer.handler
def handler(event, context):
    sns.publish(TopicArn=topic, Message="7")
    dynamodb.create_table(
        TableName="orders", BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    dynamodb.put_item(TableName="orders", Item={"id": {"S": "7"}})

handler({}, None)
got = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"][0]
print(json.dumps(got["MessageAttributes"]["traceparent"]["StringValue"]))
"""


def test_a_message_carries_the_span_that_sent_it(program: Callable[..., Any], aws: str) -> None:
    run = program(MESSAGES.replace("{aws}", aws), "botocore", **ENV)
    (root,) = [each for each in run.roots if each.scope == "lambent"]
    assert root.outline() == [
        "lambent: shop SERVER",
        "  botocore.sns: orders send PRODUCER",
        "  botocore.dynamodb: DynamoDB.CreateTable CLIENT",
        "  botocore.dynamodb: DynamoDB.PutItem CLIENT",
    ]
    sent = root.children[0]
    assert run.output == f"00-{sent.trace_id}-{sent.span_id}-01"
    assert root.children[2].attributes["aws.dynamodb.table_names"] == ["orders"]
