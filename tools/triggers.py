"""The page docs/reference/triggers.md: what each event source gives, as its samples are really described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lambent.triggers import Description, recognise
from lambent.triggers.services import RECORDS, ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DEFINED", "table"]

SAMPLES = Path(__file__).resolve().parent.parent / "sdk" / "tests"

# In the order of the page: title, and what defines the source where no table of the code says it.
DEFINED: dict[str, tuple[str, str]] = {
    "apigateway.rest": ("API Gateway REST API, and payload 1.0", "`requestContext`, `httpMethod`"),
    "apigateway.http": ("API Gateway HTTP API, payload 2.0", "`requestContext.http.method`"),
    "apigateway.websocket": (
        "API Gateway WebSocket",
        "`requestContext.connectionId`, `requestContext.eventType`",
    ),
    "apigateway.authorizer": ("API Gateway authorizer, TOKEN and REQUEST", "`methodArn` or `routeArn`"),
    "lambda.url": ("Lambda function URL", "payload 2.0 with `.lambda-url.` in `requestContext.domainName`"),
    "alb": ("Application Load Balancer", "`requestContext.elb`"),
    "vpclattice": ("VPC Lattice, version 1", "`raw_path`, `method`"),
    "vpclattice.v2": (
        "VPC Lattice, version 2",
        "`requestContext.serviceNetworkArn` or `requestContext.targetGroupArn`",
    ),
    "cloudfront": ("CloudFront (Lambda@Edge)", "`Records[0].cf`"),
    "appsync": (
        "AppSync resolver",
        "`info.parentTypeName` and `info.fieldName`, or `typeName` and `fieldName`",
    ),
    "appsync.batch": ("AppSync batch resolver", "a list of the same"),
    "appsync.events": ("AppSync Events", "`info.channelNamespace`"),
    "appsync.authorizer": ("AppSync authorizer", "`authorizationToken`, `requestContext.apiId`"),
    "bedrock.agent": ("Bedrock agent", "`actionGroup`, `agent`"),
    "sqs": ("SQS, standard and FIFO", "`eventSource` is `aws:sqs`"),
    "sns": ("SNS", "`EventSource` is `aws:sns`"),
    "kinesis": ("Kinesis", "`eventSource` is `aws:kinesis`"),
    "firehose": ("Firehose transformation", "`records`, `invocationId`"),
    "msk": ("Kafka, MSK", "`eventSource` is `aws:kafka`"),
    "kafka": ("Kafka, self-managed", "`eventSource` is `aws:SelfManagedKafka` or `SelfManagedKafka`"),
    "activemq": ("ActiveMQ", "`eventSource` is `aws:amq` or `aws:mq`"),
    "rabbitmq": ("RabbitMQ", "`eventSource` is `aws:rmq`"),
    "eventbridge": ("EventBridge: AWS's, custom and partner events", "`detail-type`, `source`"),
    "schedule": (
        "EventBridge schedule: rules and Scheduler",
        "`detail-type` is `Scheduled Event`, `source` is `aws.events` or `aws.scheduler`",
    ),
    "s3": ("S3", "`eventSource` is `aws:s3`"),
    "s3.batch": ("S3 batch operation", "`tasks`, `invocationSchemaVersion`"),
    "s3.object_lambda": (
        "S3 Object Lambda",
        "`getObjectContext`, `headObjectContext`, `listObjectsContext` or `listObjectsV2Context`",
    ),
    "dynamodb": ("DynamoDB Streams", "`eventSource` is `aws:dynamodb`"),
    "documentdb": ("DocumentDB", "`eventSource` is `aws:docdb`"),
    "stepfunctions": (
        "Step Functions",
        "the context object, whole or in part (`Execution.Id` with `State` or `StateMachine`), at the top, "
        "under a key, or in `context` there",
    ),
    "stepfunctions.error": ("Step Functions, a caught error", ""),
    "cognito": ("Cognito user pool", ""),
    "cognito.sync": ("Cognito Sync", ""),
    "cloudwatch.logs": ("CloudWatch Logs", "`awslogs`"),
    "cloudwatch.alarm": ("CloudWatch alarm", ""),
    "cloudwatch.dashboard": ("CloudWatch dashboard widget", ""),
    "cloudformation": ("CloudFormation custom resource", ""),
    "codepipeline": ("CodePipeline", ""),
    "codedeploy": ("CodeDeploy hook", ""),
    "codecommit": ("CodeCommit", "`eventSource` is `aws:codecommit`"),
    "config": ("Config rule", ""),
    "secretsmanager": ("Secrets Manager rotation", ""),
    "ses": ("SES", "`eventSource` is `aws:ses`"),
    "iot": ("IoT lifecycle and registry events", ""),
    "iot.authorizer": ("IoT authorizer", ""),
    "iot.provisioning": ("IoT provisioning hook", ""),
    "iot.button": ("IoT button", ""),
    "lex": ("Lex, V1 and V2", ""),
    "connect": ("Connect", ""),
    "alexa": ("Alexa skill", ""),
    "alexa.smart_home": ("Alexa Smart Home", ""),
    "workmail": ("WorkMail", ""),
    "sagemaker": ("SageMaker Ground Truth", ""),
    "kinesis.analytics": ("Kinesis Data Analytics", ""),
    "transfer": ("Transfer Family identity provider", ""),
    "autoscaling": ("EC2 Auto Scaling termination policy", ""),
    "lambda.destination": ("Lambda destination", ""),
}


def described() -> dict[str, list[Description]]:
    """Return how the samples of each source are described."""
    found: dict[str, list[Description]] = {}
    for path in sorted([*SAMPLES.glob("events/*.json"), *SAMPLES.glob("more_events/*.json")]):
        description = recognise(json.loads(path.read_text()))
        if description.source:
            found.setdefault(description.source, []).append(description)
    return found


def code(names: Iterable[str]) -> str:
    """Return names as code."""
    return ", ".join(f"`{name}`" for name in names)


def keys_of(source: str) -> str:
    """Return the keys that the code's own table gives."""
    return " or ".join(code(row[1]) for row in (*ROWS, *RECORDS.values()) if row[0] == source and row[1])


def row(source: str, samples: list[Description]) -> str:
    """Return one row of the table."""
    title, defined = DEFINED[source]
    kinds = {1: "SERVER", 4: "CONSUMER"}
    first = samples[0]
    attributes = list(dict.fromkeys(name for each in samples for name in each.attributes))
    inner = dict.fromkeys(n for each in samples for r in each.records for n in r.attributes)
    own = [name for name in inner if name not in attributes]
    triggers = sorted({each.trigger for each in samples})
    reader = next((each.read_response for each in samples if each.read_response is not None), None)
    reads = {
        "status": "`statusCode`",
        "_edge_status": "`status`",
        "_agent_status": "`response.httpStatusCode`",
        "failures": "`batchItemFailures`",
        "transformed": "`records[].result`",
        "_task_failures": "`results[].resultCode`",
    }
    more = f"<br>each record: {code(own)}" if own else ""
    cells = [
        f"**{title}**<br>`{source}`",
        defined or keys_of(source),
        f"{code(triggers)}<br>{kinds[first.kind]}",
        f"`{min((each.name for each in samples), key=lambda name: ('{' not in name, len(name)))}`",
        (code(attributes) + more) or "none",
        "each record" if first.records else "the event" if any(each.carrier for each in samples) else "",
        reads[getattr(reader, "__name__", "")] if reader is not None else "",
    ]
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """Return the table of all sources."""
    found = described()
    if found.keys() != DEFINED.keys():
        raise SystemExit(
            "tools/triggers.py: each source has a title and a sample, and nothing else has: "
            f"{sorted(found.keys() ^ DEFINED.keys())}"
        )
    return "\n".join(
        [
            "| source, `lambent.trigger` | recognised by | `faas.trigger`, kind | name, for example "
            "| attributes | context from | response |",
            "|---|---|---|---|---|---|---|",
            *(row(source, found[source]) for source in DEFINED),
        ]
    )
