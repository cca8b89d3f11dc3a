"""Every source: what it is taken for, where its context is, and that nothing in an event can break it."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.semconv import attributes as stable
from opentelemetry.semconv._incubating import attributes as incubating

import lambent
from lambent.limits import SCALARS
from lambent.testing import LambdaContext, recording_tracer
from lambent.triggers import Description, recognise, record, records
from lambent.triggers.parts import Record, headers, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

# File: source, what a message in it wraps, faas.trigger, the span's name ("" stands for the function's).
EXPECTED = {
    # events
    "activeMQEvent": ("activemq", "", "pubsub", "process testQueue"),
    "albEvent": ("alb", "", "http", "GET"),
    "albEventPathTrailingSlash": ("alb", "", "http", "GET"),
    "albMultiValueHeadersEvent": ("alb", "", "http", "GET"),
    "albMultiValueQueryStringEvent": ("alb", "", "http", "GET"),
    "apiGatewayAuthorizerRequestEvent": ("apigateway.authorizer", "", "other", "authorize /request"),
    "apiGatewayAuthorizerTokenEvent": ("apigateway.authorizer", "", "other", "authorize"),
    "apiGatewayAuthorizerV2Event": ("apigateway.authorizer", "", "other", "authorize /merchants"),
    "apiGatewayProxyEvent": ("apigateway.rest", "", "http", "GET /my/path"),
    "apiGatewayProxyEventAnotherPath": ("apigateway.rest", "", "http", "GET /my/anotherPath"),
    "apiGatewayProxyEventNoOrigin": ("apigateway.rest", "", "http", "GET /my/path"),
    "apiGatewayProxyEventPathTrailingSlash": ("apigateway.rest", "", "http", "GET /my/path"),
    "apiGatewayProxyEventPrincipalId": ("apigateway.rest", "", "http", "POST /trip"),
    "apiGatewayProxyEvent_noVersionAuth": ("apigateway.rest", "", "http", "GET /my/path"),
    "apiGatewayProxyOtherEvent": ("apigateway.rest", "", "http", "GET /other/path"),
    "apiGatewayProxyV2Event": ("apigateway.http", "", "http", "POST"),
    "apiGatewayProxyV2EventPathTrailingSlash": ("apigateway.http", "", "http", "POST"),
    "apiGatewayProxyV2Event_GET": ("apigateway.http", "", "http", "GET"),
    "apiGatewayProxyV2IamEvent": ("apigateway.http", "", "http", "GET"),
    "apiGatewayProxyV2LambdaAuthorizerEvent": ("apigateway.http", "", "http", "GET"),
    "apiGatewayProxyV2OtherGetEvent": ("apigateway.http", "", "http", "GET"),
    "apiGatewayProxyV2SchemaMiddlwareInvalidEvent": ("apigateway.http", "", "http", "POST"),
    "apiGatewayProxyV2SchemaMiddlwareValidEvent": ("apigateway.http", "", "http", "POST"),
    "apigatewayeSchemaMiddlwareInvalidEvent": ("apigateway.rest", "", "http", "POST /my/path"),
    "apigatewayeSchemaMiddlwareValidEvent": ("apigateway.rest", "", "http", "POST /my/path"),
    "appSyncAuthorizerEvent": ("appsync.authorizer", "", "other", "authorize"),
    "appSyncAuthorizerResponse": ("", "", "other", ""),
    "appSyncBatchEvent": ("appsync.batch", "", "http", "Mutation.createSomething"),
    "appSyncDirectResolver": ("appsync", "", "http", "Mutation.createSomething"),
    "appSyncResolverEvent": ("appsync", "", "http", "Merchant.locations"),
    "awsConfigRuleConfigurationChanged": ("config", "", "other", "evaluate MyRule"),
    "awsConfigRuleOversizedConfiguration": ("config", "", "other", "evaluate change-triggered-config-rule"),
    "awsConfigRuleScheduled": ("config", "", "other", "evaluate rule-ec2-test"),
    "bedrockAgentEvent": ("bedrock.agent", "", "http", "GET /claims"),
    "bedrockAgentEventWithPathParams": ("bedrock.agent", "", "http", "GET /claims/<claim_id>"),
    "bedrockAgentPostEvent": ("bedrock.agent", "", "http", "POST /send-reminders"),
    "cloudWatchAlarmEventCompositeMetric": ("cloudwatch.alarm", "", "other", "alarm ALARM"),
    "cloudWatchAlarmEventSingleMetric": ("cloudwatch.alarm", "", "other", "alarm ALARM"),
    "cloudWatchDashboardEvent": ("cloudwatch.dashboard", "", "other", "dashboard"),
    "cloudWatchLogEvent": ("cloudwatch.logs", "", "other", "logs"),
    "cloudWatchLogEventWithPolicyLevel": ("cloudwatch.logs", "", "other", "logs"),
    "cloudformationCustomResourceCreate": ("cloudformation", "", "other", "Create Custom::MyType"),
    "cloudformationCustomResourceDelete": ("cloudformation", "", "other", "Delete Custom::MyType"),
    "cloudformationCustomResourceUpdate": ("cloudformation", "", "other", "Update Custom::MyType"),
    "codeDeployLifecycleHookEvent": ("codedeploy", "", "other", "CodeDeploy hook"),
    "codePipelineEvent": ("codepipeline", "", "other", "CodePipeline job"),
    "codePipelineEventData": ("codepipeline", "", "other", "CodePipeline job"),
    "codePipelineEventEmptyUserParameters": ("codepipeline", "", "other", "CodePipeline job"),
    "codePipelineEventWithEncryptionKey": ("codepipeline", "", "other", "CodePipeline job"),
    "cognitoCreateAuthChallengeEvent": ("cognito", "", "other", "CreateAuthChallenge_Authentication"),
    "cognitoCustomEmailSenderEvent": ("cognito", "", "other", "CustomEmailSender_SignUp"),
    "cognitoCustomMessageEvent": ("cognito", "", "other", "CustomMessage_AdminCreateUser"),
    "cognitoCustomSMSSenderEvent": ("cognito", "", "other", "CustomSMSSender_SignUp"),
    "cognitoDefineAuthChallengeEvent": ("cognito", "", "other", "DefineAuthChallenge_Authentication"),
    "cognitoPostAuthenticationEvent": ("cognito", "", "other", "PostAuthentication_Authentication"),
    "cognitoPostConfirmationEvent": ("cognito", "", "other", "PostConfirmation_ConfirmSignUp"),
    "cognitoPreAuthenticationEvent": ("cognito", "", "other", "PreAuthentication_Authentication"),
    "cognitoPreSignUpEvent": ("cognito", "", "other", "PreSignUp_SignUp"),
    "cognitoPreTokenGenerationEvent": ("cognito", "", "other", "TokenGeneration_Authentication"),
    "cognitoPreTokenV2GenerationEvent": ("cognito", "", "other", "TokenGeneration_Authentication"),
    "cognitoUserMigrationEvent": ("cognito", "", "other", "UserMigration_Authentication"),
    "cognitoVerifyAuthChallengeResponseEvent": (
        "cognito",
        "",
        "other",
        "VerifyAuthChallengeResponse_Authentication",
    ),
    "connectContactFlowEventAll": ("connect", "", "other", "ContactFlowEvent"),
    "connectContactFlowEventMin": ("connect", "", "other", "ContactFlowEvent"),
    "dynamoStreamEvent": ("dynamodb", "", "datasource", "process"),
    "eventBridgeEvent": ("eventbridge", "", "pubsub", "process EC2 Instance State-change Notification"),
    "kafkaEventMsk": ("msk", "", "pubsub", "process mytopic"),
    "kafkaEventSelfManaged": ("kafka", "", "pubsub", "process mytopic"),
    "kinesisFirehoseKinesisEvent": ("firehose", "", "pubsub", "process delivery-stream-name"),
    "kinesisFirehosePutEvent": ("firehose", "", "pubsub", "process delivery-stream-name"),
    "kinesisFirehoseSQSEvent": ("firehose", "", "pubsub", "process PUT-S3-tdyyE"),
    "kinesisStreamCloudWatchLogsEvent": (
        "kinesis",
        "",
        "pubsub",
        "process pt-1488-KinesisStreamCloudWatchLogs-D8tHs0im0aJG",
    ),
    "kinesisStreamEvent": ("kinesis", "", "pubsub", "process lambda-stream"),
    "kinesisStreamEventOneRecord": ("kinesis", "", "pubsub", "process lambda-stream"),
    "lambdaFunctionUrlEvent": ("lambda.url", "", "http", "GET"),
    "lambdaFunctionUrlEventPathTrailingSlash": ("lambda.url", "", "http", "POST"),
    "lambdaFunctionUrlEventWithHeaders": ("lambda.url", "", "http", "GET"),
    "lambdaFunctionUrlIAMEvent": ("lambda.url", "", "http", "POST"),
    "rabbitMQEvent": ("rabbitmq", "", "pubsub", "process pizzaQueue"),
    "s3BatchOperationEventSchemaV1": ("s3.batch", "", "datasource", "S3 batch"),
    "s3BatchOperationEventSchemaV2": ("s3.batch", "", "datasource", "S3 batch"),
    "s3Event": ("s3", "", "datasource", "ObjectCreated:Put lambda-artifacts-deafc19498e3f2df"),
    "s3EventBridgeNotificationObjectCreatedEvent": ("eventbridge", "s3", "pubsub", "process Object Created"),
    "s3EventBridgeNotificationObjectDeletedEvent": ("eventbridge", "s3", "pubsub", "process Object Deleted"),
    "s3EventBridgeNotificationObjectExpiredEvent": ("eventbridge", "s3", "pubsub", "process Object Deleted"),
    "s3EventBridgeNotificationObjectRestoreCompletedEvent": (
        "eventbridge",
        "s3",
        "pubsub",
        "process Object Restore Completed",
    ),
    "s3EventDecodedKey": ("s3", "", "datasource", "ObjectCreated:Put sourcebucket"),
    "s3EventDeleteObject": ("s3", "", "datasource", "ObjectRemoved:Delete lambda-artifacts-deafc19498e3f2df"),
    "s3EventGlacier": ("s3", "", "datasource", "ObjectCreated:Put lambda-artifacts-deafc19498e3f2df"),
    "s3ObjectEventIAMUser": ("s3.object_lambda", "", "datasource", "GetObject"),
    "s3ObjectEventTempCredentials": ("s3.object_lambda", "", "datasource", "GetObject"),
    "s3SqsEvent": ("sqs", "s3", "pubsub", "process SQS"),
    "secretsManagerEvent": ("secretsmanager", "", "other", "createSecret"),
    "sesEvent": ("ses", "", "other", "receive"),
    "snsEvent": ("sns", "", "pubsub", "process sns-lambda"),
    "snsSqsEvent": ("sqs", "sns", "pubsub", "process powertools265"),
    "snsSqsFifoEvent": ("sqs", "sns", "pubsub", "process Test.fifo"),
    "sqsDlqTriggerEvent": ("sqs", "", "pubsub", "process sqs-redrive-SampleDLQ-Emgp9MFSLBZm"),
    "sqsEvent": ("sqs", "", "pubsub", "process my-queue"),
    "vpcLatticeEvent": ("vpclattice", "", "http", "GET"),
    "vpcLatticeEventPathTrailingSlash": ("vpclattice", "", "http", "GET"),
    "vpcLatticeEventV2PathTrailingSlash": ("vpclattice.v2", "", "http", "GET"),
    "vpcLatticeV2Event": ("vpclattice.v2", "", "http", "GET"),
    "vpcLatticeV2EventWithHeaders": ("vpclattice.v2", "", "http", "GET"),
    # more_events
    "activeMQTraceparent": ("activemq", "", "pubsub", "process testQueue"),
    "alexaSkill": ("alexa", "", "other", "IntentRequest Order"),
    "alexaSmartHome": ("alexa.smart_home", "", "other", "Alexa.PowerController TurnOn"),
    "apiGatewayHttpAuthorizerContext": ("apigateway.http", "", "http", "GET /orders/{id}"),
    "apiGatewayRestAuthorizerContext": ("apigateway.rest", "", "http", "GET /orders/{id}"),
    "apiGatewayWebSocketConnect": ("apigateway.websocket", "", "http", "CONNECT $connect"),
    "apiGatewayWebSocketDisconnect": ("apigateway.websocket", "", "http", "DISCONNECT $disconnect"),
    "apiGatewayWebSocketMessage": ("apigateway.websocket", "", "http", "MESSAGE placeOrder"),
    "appSyncEvents": ("appsync.events", "", "http", "PUBLISH channel"),
    "autoScalingTermination": ("autoscaling", "", "other", "terminate"),
    "bedrockAgentFunction": ("bedrock.agent", "", "other", "place_order"),
    "cloudFrontOriginResponse": ("cloudfront", "", "http", "GET origin-response"),
    "cloudFrontViewerRequest": ("cloudfront", "", "http", "GET viewer-request"),
    "codeCommit": ("codecommit", "", "other", "ReferenceChanges"),
    "cognitoSync": ("cognito.sync", "", "other", "sync settings"),
    "documentDb": ("documentdb", "", "datasource", "process orders"),
    "dynamoTraceparent": ("dynamodb", "", "datasource", "process orders"),
    "eventBridgeBatch": ("eventbridge", "", "pubsub", "process Batch Job State Change"),
    "eventBridgeCustom": ("eventbridge", "", "pubsub", "process Order Placed"),
    "eventBridgePartner": ("eventbridge", "", "pubsub", "process Ticket Opened"),
    "eventBridgeSchedule": ("schedule", "", "timer", "schedule nightly"),
    "eventBridgeScheduler": ("schedule", "", "timer", "schedule nightly"),
    "eventBridgeSns": ("sns", "eventbridge", "pubsub", "process orders"),
    "eventBridgeSnsSqs": ("sqs", "eventbridge", "pubsub", "process orders"),
    "eventBridgeSqs": ("sqs", "eventbridge", "pubsub", "process orders"),
    "firehosePipe": ("firehose", "", "pubsub", "process orders"),
    "iotAuthorizer": ("iot.authorizer", "", "other", "authorize"),
    "iotButton": ("iot.button", "", "other", "SINGLE"),
    "iotLifecycle": ("iot", "", "other", "connected"),
    "iotProvisioning": ("iot.provisioning", "", "other", "provision"),
    "iotRegistry": ("iot", "", "other", "THING_EVENT CREATED"),
    "kafkaTraceparent": ("msk", "", "pubsub", "process mytopic"),
    "kinesisAnalytics": ("kinesis.analytics", "", "other", "process"),
    "kinesisTraceparent": ("kinesis", "", "pubsub", "process lambda-stream"),
    "lambdaDestination": ("lambda.destination", "", "other", "RetriesExhausted"),
    "lexV1": ("lex", "", "other", "Order"),
    "lexV2": ("lex", "", "other", "Order"),
    "rabbitMQTraceparent": ("rabbitmq", "", "pubsub", "process pizzaQueue"),
    "s3EventBridgeSqs": ("sqs", "s3", "pubsub", "process orders"),
    "s3Sns": ("sns", "s3", "pubsub", "process orders"),
    "s3SnsSqs": ("sqs", "s3", "pubsub", "process orders"),
    "sageMakerLabeling": ("sagemaker", "", "other", "label"),
    "snsSqsEnveloped": ("sqs", "sns", "pubsub", "process orders"),
    "snsSqsRaw": ("sqs", "", "pubsub", "process orders"),
    "snsTraceparent": ("sns", "", "pubsub", "process orders"),
    "sqsFifo": ("sqs", "", "pubsub", "process orders.fifo"),
    "sqsJavaXRay": ("sqs", "", "pubsub", "process orders"),
    "sqsPipe": ("sqs", "", "pubsub", "process orders"),
    "sqsTraceparent": ("sqs", "", "pubsub", "process orders"),
    "sqsXRay": ("sqs", "", "pubsub", "process orders"),
    "stepFunctionsContext": ("stepfunctions", "", "other", "Charge"),
    "stepFunctionsError": ("stepfunctions.error", "", "other", "States.TaskFailed"),
    "stepFunctionsJsonata": ("stepfunctions", "", "other", "Charge"),
    "stepFunctionsPayload": ("stepfunctions", "", "other", "Charge"),
    "transferFamily": ("transfer", "", "other", "authenticate SFTP"),
    "workMail": ("workmail", "", "other", "INBOUND"),
}


def load(name: str) -> Any:
    path = FOLDER / "events" / f"{name}.json"
    path = path if path.exists() else FOLDER / "more_events" / path.name
    return json.loads(path.read_text())


def test_every_file_is_in_the_list() -> None:
    files = [*(FOLDER / "events").glob("*.json"), *(FOLDER / "more_events").glob("*.json")]
    assert {path.stem for path in files} == EXPECTED.keys()
    assert len(list((FOLDER / "events").glob("*.json"))) == 104
    # The one file that is no event at all, but an answer.
    assert [name for name, row in EXPECTED.items() if not row[0]] == ["appSyncAuthorizerResponse"]


@pytest.mark.parametrize("name", EXPECTED)
def test_what_an_event_is_taken_for(name: str) -> None:
    found = recognise(load(name))
    assert (found.source, found.origin, found.trigger, found.name) == EXPECTED[name]
    assert found.kind == (4 if found.trigger == "pubsub" else 1)
    assert found.read_response is not None or found.trigger != "http" or found.source.startswith("appsync")
    for key, value in found.attributes.items():
        assert type(value) in SCALARS or (type(value) is list and all(type(each) is str for each in value)), (
            key
        )


def names_of(module: Any) -> set[str]:
    found: set[str] = set()
    for path in Path(module.__path__[0]).glob("*_attributes.py"):
        inner = importlib.import_module(f"{module.__name__}.{path.stem}")
        found |= {value for key, value in vars(inner).items() if key.isupper() and isinstance(value, str)}
    return found


# Ours, where OpenTelemetry has no name.
OWN = {
    "db.system.name", "messaging.destination.name", "aws.apigateway.connection.id",
    "aws.sqs.message.group_id", "aws.sqs.dead_letter_source.arn", "aws.cloudfront.distribution.id",
    "aws.step_functions.execution.arn", "aws.lambda.destination.request.id", "aws.kinesis.application.arn",
    "aws.step_functions.execution.redrive_count", "aws.step_functions.state.name",
    "aws.step_functions.state.retry_count",
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_names_of_attributes_are_opentelemetrys_current_ones(name: str) -> None:
    known = names_of(stable) | names_of(incubating)
    found = recognise(load(name))
    used = set(found.attributes).union(*[each.attributes for each in found.records])
    for attribute in used - known - OWN:
        service = attribute.split(".")
        assert service[0] in {"aws", "lambent"}, attribute
        # A name of our own begins with a service of which OpenTelemetry has none.
        assert not any(each.startswith(f"aws.{service[1]}.") for each in known), attribute


def deprecated() -> set[str]:
    """Return the names that the conventions have given up, from what is said of them."""
    found: set[str] = set()
    for path in Path(incubating.__path__[0]).glob("*_attributes.py"):
        current = ""
        for line in path.read_text().splitlines():
            if ": Final = " in line:
                current = line.split('"')[1]
            # GenAI's names live on in a repository of their own.
            elif line.startswith("Deprecated: ") and "GenAI" not in line and "moved" not in line.lower():
                found.add(current)
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_no_name_is_one_that_was_given_up(name: str) -> None:
    found = recognise(load(name))
    assert deprecated().isdisjoint(found.attributes)
    for each in found.records:
        assert deprecated().isdisjoint(each.attributes)


CARRIED = [
    "apiGatewayHttpAuthorizerContext", "apiGatewayRestAuthorizerContext", "apiGatewayWebSocketConnect",
    "appSyncEvents", "cloudFrontViewerRequest", "eventBridgeBatch", "eventBridgeCustom", "eventBridgePartner",
    "stepFunctionsContext", "stepFunctionsPayload", "stepFunctionsJsonata", "lambdaDestination",
]  # fmt: skip
CARRIED_BY_RECORDS = [
    "sqsTraceparent", "snsSqsRaw", "snsSqsEnveloped", "eventBridgeSqs", "eventBridgeSnsSqs", "eventBridgeSns",
    "snsTraceparent", "sqsPipe", "kinesisTraceparent", "kafkaTraceparent", "dynamoTraceparent",
    "rabbitMQTraceparent", "activeMQTraceparent", "firehosePipe",
]  # fmt: skip


@pytest.mark.parametrize("name", CARRIED)
def test_the_context_of_the_one_caller(name: str) -> None:
    assert recognise(load(name)).carrier["traceparent"] == TRACEPARENT


@pytest.mark.parametrize("name", CARRIED_BY_RECORDS)
def test_the_context_of_each_message(name: str) -> None:
    event = load(name)
    found = records(event)
    assert found[0].carrier["traceparent"] == TRACEPARENT
    assert recognise(event).carrier == {}
    alone = record(found[0].raw)
    assert alone is not None
    assert alone.carrier == found[0].carrier
    assert alone.id == found[0].id
    assert alone.sent == found[0].sent


def test_each_message_has_its_own() -> None:
    text, binary, none = records(load("sqsTraceparent"))
    assert text.carrier == {"traceparent": TRACEPARENT, "tracestate": "a=b"}
    assert binary.carrier == {"traceparent": TRACEPARENT}
    assert none.carrier == {}
    for name in ("sqsXRay", "sqsJavaXRay"):
        (message,) = records(load(name))
        assert message.carrier["x-amzn-trace-id"].startswith("Root=1-")


def test_a_messages_own_context_comes_first() -> None:
    event = load("eventBridgeSqs")
    (message,) = event["Records"]
    message["attributes"]["AWSTraceHeader"] = "Root=1-5759e988-bd862e3fe1be46a994272793"
    (found,) = records(event)
    assert found.carrier["traceparent"] == TRACEPARENT
    assert found.carrier["x-amzn-trace-id"].startswith("Root=")
    message["messageAttributes"] = {"b3": {"stringValue": "0", "dataType": "String"}}
    (found,) = records(event)
    assert found.carrier.keys() == {"b3", "x-amzn-trace-id"}


def test_what_a_message_says_of_itself() -> None:
    (fifo,) = records(load("sqsFifo"))
    assert (fifo.id, fifo.group, fifo.sent, fifo.name) == (
        "5fea7756-0ea4-451a-a703-a558b933e274",
        "customer-7",
        1_700_000_000.0,
        "process orders.fifo",
    )
    first, _ = records(load("sqsEvent"))
    assert first.group == ""
    (kafka,) = records(load("kafkaTraceparent"))
    assert kafka.id == {"partition": "mytopic-0", "offset": 15}
    assert kafka.group == "mytopic-0"
    assert kafka.carrier["city"] == "ü"  # bytes may come with a sign
    assert kafka.attributes["messaging.kafka.offset"] == 15
    (kinesis,) = records(load("kinesisTraceparent"))
    assert kinesis.id == "49590338271490256608559692538361571095921575989136588898"
    assert kinesis.group == "shardId-000000000006"
    assert [each.id for each in records(load("dynamoTraceparent"))] == ["111", "222"]
    with pytest.raises(AttributeError):
        _ = fifo.nonsense  # wrong on purpose


def test_messages_of_several_queues() -> None:
    event = load("sqsEvent")
    event["Records"][1]["eventSourceARN"] += "-2"
    found = recognise(event)
    assert found.name == "process multiple_sources"
    assert "messaging.destination.name" not in found.attributes
    assert found.attributes["messaging.batch.message_count"] == 2


def test_what_differs_in_a_batch_of_changes_is_left_out() -> None:
    event = load("s3EventDecodedKey")
    assert recognise(event).attributes["faas.document.name"] == "Happy Face.jpg"
    del event["Records"][0]["s3"]["object"]["urlDecodedKey"]
    event["Records"][0]["s3"]["object"]["key"] = "Happy+Face%21.jpg"
    assert recognise(event).attributes["faas.document.name"] == "Happy Face!.jpg"
    event["Records"].append(copy.deepcopy(event["Records"][0]))
    event["Records"][1]["s3"]["object"]["key"] = "b"
    attributes = recognise(event).attributes
    assert attributes["aws.s3.bucket"] == "sourcebucket"
    assert "aws.s3.key" not in attributes


def root(event: object, response: object = None, context: object = None) -> Any:
    tracer = recording_tracer()
    tracer.handler(lambda event, context: response)(event, context or LambdaContext())
    (span,) = tracer.spans
    tracer.close()
    return span


@pytest.mark.parametrize(
    ("name", "response", "attribute", "value", "failed"),
    [
        ("albEvent", {"statusCode": 503}, "http.response.status_code", 503, True),
        ("vpcLatticeV2Event", {"statusCode": 404}, "http.response.status_code", 404, False),
        ("apiGatewayWebSocketMessage", {"statusCode": "500"}, "http.response.status_code", 500, True),
        ("lambdaFunctionUrlEvent", {"statusCode": 200}, "http.response.status_code", 200, False),
        ("cloudFrontViewerRequest", {"status": "302"}, "http.response.status_code", 302, False),
        ("cloudFrontViewerRequest", {"uri": "/"}, "http.response.status_code", None, False),
        ("bedrockAgentEvent", {"response": {"httpStatusCode": 502}}, "http.response.status_code", 502, True),
        ("sqsEvent", {"batchItemFailures": [{"itemIdentifier": "1"}]}, "lambent.batch.failed", 1, False),
        ("sqsEvent", {"batchItemFailures": None}, "lambent.batch.failed", None, False),
        ("dynamoStreamEvent", {"batchItemFailures": []}, "lambent.batch.failed", 0, False),
        ("kafkaEventMsk", {"batchItemFailures": [1, 2]}, "lambent.batch.failed", 2, False),
        ("kinesisFirehosePutEvent", {"records": [{"result": "Ok"}, {"result": "ProcessingFailed"}]},
         "lambent.batch.failed", 1, False),
        ("kinesisFirehosePutEvent", {"records": [{"result": "Ok"}, {"result": "Dropped"}]},
         "lambent.batch.failed", 0, False),
        ("kinesisFirehosePutEvent", {"records": [{"result": "Ok"}, {"result": "Dropped"}]},
         "lambent.batch.dropped", 1, False),
        # Firehose takes for failed what is not answered, or not with one of its three words.
        ("kinesisFirehosePutEvent", {"records": [{"result": "ok"}]}, "lambent.batch.failed", 2, False),
        ("kinesisFirehosePutEvent", {"records": [0, {"result": ["Ok"]}]}, "lambent.batch.failed", 2, False),
        ("kinesisFirehosePutEvent", None, "lambent.batch.failed", 2, False),
        ("kinesisFirehosePutEvent", {"records": {"result": "Ok"}}, "lambent.batch.failed", 2, False),
        ("s3BatchOperationEventSchemaV1", {"results": [{"resultCode": "PermanentFailure"}]},
         "lambent.batch.failed", 1, False),
        ("cognitoPreSignUpEvent", {"statusCode": 500}, "http.response.status_code", None, False),
    ],
)  # fmt: skip
def test_what_a_response_says(
    name: str, response: object, attribute: str, value: object, failed: bool
) -> None:
    span = root(load(name), response)
    assert span.attributes.get(attribute) == value
    assert (span.status.status_code == 2) is failed
    assert span.attributes["lambent.trigger"] == EXPECTED[name][0]


def test_a_job_of_aws_batch() -> None:
    event = load("eventBridgeBatch")
    attributes = recognise(event).attributes
    place = "arn:aws:batch:eu-west-1:123456789012"
    assert {name: value for name, value in attributes.items() if name.startswith("aws.batch.")} == {
        "aws.batch.job.id": "4c7599ae-0a82-49aa-ba5a-4727fcce14a8",
        "aws.batch.job.name": "nightly-report",
        "aws.batch.job.status": "FAILED",
        "aws.batch.job.queue.arn": f"{place}:job-queue/reports",
        "aws.batch.job.definition.arn": f"{place}:job-definition/report:3",
        "aws.batch.job.attempts": 1,
    }
    span = root(event, {"statusCode": 500})
    assert span.status.status_code == 0, "that the job failed is no failure of the invocation"
    event["detail"]["traceparent"] = other = TRACEPARENT.replace("b7ad", "aaaa")
    assert recognise(event).carrier["traceparent"] == other, "what the event itself says comes first"
    for detail in (None, 7, {}, {"container": 1}, {"container": {"environment": [1, {"name": []}]}}):
        found = recognise({**event, "detail": detail})
        assert (found.source, found.carrier) == ("eventbridge", {})


def test_a_direct_invocation() -> None:
    class Client:
        def __init__(self, custom: object) -> None:
            self.custom = custom
            self.env = self.client = None

    custom = {"TraceParent": TRACEPARENT}
    for client in (Client(custom), {"custom": custom}):
        span = root({"order": 7}, None, LambdaContext(client_context=client))
        assert f"{span.context.trace_id:032x}" == TRACEPARENT[3:35]
        assert span.name == "test-function"
        assert span.attributes["faas.trigger"] == "other"
        assert span.attributes["lambent.trigger"] == "direct"
    assert "lambent.trigger" not in root({"order": 7}).attributes
    for event in (
        {"headers": {"TRACEPARENT": TRACEPARENT}},
        {"order": 7, "traceparent": TRACEPARENT},
        {"metadata": {"Traceparent": TRACEPARENT}},
    ):
        assert recognise(event).carrier["traceparent"] == TRACEPARENT
    broken = LambdaContext(client_context=Client([1]))
    assert recognise({"order": 7}, broken).carrier == {}


@pytest.mark.parametrize(
    "name",
    [name for name, row in EXPECTED.items() if row[2] == "http" and "{" not in row[3] and "/" in row[3]],
)
def test_a_name_is_a_route_never_a_path(name: str) -> None:
    event = load(name)
    route = event.get("resource") or event.get("apiPath")
    assert route
    assert EXPECTED[name][3].endswith(route)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_700_000_000, 1.7e9), (1_700_000_000_000, 1.7e9), ("1700000000000000", 1.7e9), (1.7e9, 1.7e9),
        ("2023-11-14T22:13:20Z", 1.7e9), ("2023-11-14T22:13:20.000+0000", 1.7e9),
        ("2023-11-14T23:13:20+01:00", 1.7e9),
        (0, 0.0), (-1, 0.0), (None, 0.0), ("", 0.0), ("soon", 0.0), ([], 0.0), (float("nan"), 0.0),
        (float("inf"), 0.0), ("9" * 400, 0.0), (10**400, 0.0), (True, 1.0),
    ],
)  # fmt: skip
def test_times(value: object, expected: float) -> None:
    assert seconds(value) == pytest.approx(expected)


def test_appsyncs_authorizer_hands_its_context_on() -> None:
    event = load("appSyncDirectResolver")
    assert "traceparent" not in recognise(event).carrier
    event["identity"]["resolverContext"] = {"traceparent": TRACEPARENT, "tier": "gold"}
    for each in (event, [event, event]):
        carrier = recognise(each).carrier
        assert carrier["traceparent"] == TRACEPARENT
        assert "tier" not in carrier


def test_what_signs_a_query_is_left_out() -> None:
    event = load("apiGatewayProxyV2Event")
    event["rawQueryString"] = "a=1&X-Amz-Signature=abc&sig=d&Signature&design=x&AWSAccessKeyId=AKIA"
    expected = "a=1&X-Amz-Signature=REDACTED&sig=REDACTED&Signature&design=x&AWSAccessKeyId=REDACTED"
    assert recognise(event).attributes["url.query"] == expected
    rest = load("apiGatewayProxyEvent")
    rest["multiValueQueryStringParameters"] = {"x-amz-security-token": ["t"], "b": ["2"]}
    assert recognise(rest).attributes["url.query"] == "x-amz-security-token=REDACTED&b=2"


def test_pipes_hand_records_on_as_they_are() -> None:
    kinesis = load("kinesisTraceparent")["Records"][0]
    flat = {**kinesis.pop("kinesis"), **kinesis}
    (record_of_stream,) = records([flat])
    assert record_of_stream.id == flat["sequenceNumber"]
    assert record_of_stream.carrier["traceparent"] == TRACEPARENT
    kafka = {**load("kafkaTraceparent")["records"]["mytopic-0"][0], "eventSource": "aws:kafka"}
    found = recognise([kafka, kafka])
    assert (found.source, found.name) == ("msk", "process mytopic")
    assert [each["traceparent"] for each in found.carriers] == [TRACEPARENT] * 2


def test_a_request_without_its_context() -> None:
    event = {**load("apiGatewayProxyEvent"), "requestContext": None, "multiValueHeaders": None}
    event["headers"] = {"TraceParent": TRACEPARENT, "x": None}
    found = recognise(event)
    assert (found.source, found.name) == ("apigateway.rest", "GET /my/path")
    assert found.carrier["traceparent"] == TRACEPARENT
    by_hand = recognise({"httpMethod": "GET", "path": "/users/7"})
    assert (by_hand.trigger, by_hand.name) == ("http", "GET")


def test_an_authorizer_hands_its_trace_on() -> None:
    tracer = recording_tracer()

    @tracer.handler
    def authorizer(event: object, context: object) -> dict[str, Any]:
        return {"principalId": "me", "context": lambent.inject({"tier": "gold"})}

    @tracer.handler
    def function(event: object, context: object) -> None: ...

    answer = authorizer(load("apiGatewayAuthorizerRequestEvent"), LambdaContext())
    rest, http = load("apiGatewayProxyEvent"), load("apiGatewayProxyV2Event")
    rest["requestContext"]["authorizer"] = {"principalId": "me", **answer["context"]}
    http["requestContext"]["authorizer"] = {"lambda": answer["context"]}
    for event in (rest, http):
        event["headers"]["traceparent"] = f"00-{1:032x}-{1:016x}-01"  # what the authorizer had as well
        function(event, LambdaContext())
    first, *behind = tracer.spans
    for span in behind:
        assert span.parent is not None
        assert span.parent.span_id == first.context.span_id
        assert span.context.trace_id == first.context.trace_id
    tracer.close()


# Nothing in an event can break it.

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["Records", "requestContext", "eventSource", "EventSource", "records", "http", "method", "headers", "cf",
     "Sns", "s3", "detail-type", "source", "detail", "awslogs", "data", "Execution", "Id", "State", "context",
     "messageAttributes", "attributes", "kinesis", "dynamodb", "info", "bot", "request", "Details", "tasks"]
) | st.text(max_size=4)  # fmt: skip
SOURCES = st.sampled_from(
    ["aws:sqs", "aws:sns", "aws:kafka", "aws:rmq", "aws:amq", "aws:s3", "aws:docdb", "aws.events"]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | SOURCES | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def read_all(found: Description) -> None:
    assert found.trigger in {"http", "pubsub", "datasource", "timer", "other"}
    assert type(found.name) is str
    seconds(found.sent)
    for carrier in (found.carrier, *[each.carrier for each in found.records]):
        assert all(type(key) is str and type(value) is str for key, value in carrier.items())
        assert all(key == key.lower() for key in carrier)
    for each in found.records:
        assert isinstance(each, Record)
        assert all(type(value) in SCALARS or type(value) is list for value in each.attributes.values())
        assert type(each.name) is str
        assert type(each.sent) is float
        record(each.raw)
    for value in found.attributes.values():
        assert type(value) in SCALARS or type(value) is list


@given(event=ANY, response=ANY)
@example(event={"Records": [{"eventSource": []}]}, response=None)
@example(event={"Records": [{"cf": {"request": {"headers": {"a": [None, {"value": 1}]}}}}]}, response=None)
@example(event=[{"info": None}], response=None)
@settings(max_examples=300)
def test_any_json_value_is_an_event(event: Any, response: Any) -> None:
    before = copy.deepcopy(event)
    found = recognise(event)
    read_all(found)
    record(event)
    if found.read_response is not None:
        found.read_response(response)
    assert repr(event) == repr(before)


def mutate(event: Any, draw: Callable[[Any], Any]) -> Any:
    """Return the event with one of its values, at any depth, replaced, nulled, removed or renamed."""
    if isinstance(event, dict) and event:
        key = draw(st.sampled_from(sorted(event)))
        action = draw(st.sampled_from(["deeper"] * 4 + ["replace", "null", "remove", "upper"]))
        if action == "deeper":
            return {**event, key: mutate(event[key], draw)}
        if action == "null":
            return {**event, key: None}
        rest = {name: value for name, value in event.items() if name != key}
        if action == "remove":
            return rest
        return {**rest, key.upper(): event[key]} if action == "upper" else {**event, key: draw(JUNK)}
    if isinstance(event, list) and event:
        return [mutate(event[0], draw), *event[1:]]
    if isinstance(event, str) and event[:1] == "{":
        try:
            return json.dumps(mutate(json.loads(event), draw), default=repr)
        except ValueError:
            return draw(JUNK)
    return draw(JUNK)


@given(data=st.data())
@settings(max_examples=400)
def test_any_mutation_of_an_event(data: st.DataObject) -> None:
    event = load(data.draw(st.sampled_from(sorted(EXPECTED))))
    for _ in range(data.draw(st.integers(1, 4))):
        event = mutate(event, data.draw)
    before = repr(event)
    read_all(recognise(event))
    assert repr(event) == before


@given(data=st.data())
def test_a_handler_gets_what_was_sent(data: st.DataObject) -> None:
    event = mutate(load(data.draw(st.sampled_from(sorted(EXPECTED)))), data.draw)
    before = repr(event)
    seen: list[Any] = []
    tracer = recording_tracer(semconv="http/dup", upstream=True, capture="both")
    tracer.handler(lambda event, context: seen.append(event))(event, LambdaContext())
    assert seen[0] is event
    assert repr(event) == before
    assert tracer.spans[-1].attributes["faas.trigger"]
    tracer.close()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_work_for_an_event_is_bounded(name: str) -> None:
    """Counted, not timed: how many calls of Python it takes, modules loaded before."""
    event = load(name)
    recognise(event)
    calls = 0

    def count(frame: object, kind: str, argument: object) -> None:
        nonlocal calls
        calls += kind == "call"

    sys.setprofile(count)
    try:
        recognise(event)
    finally:
        sys.setprofile(None)
    assert calls <= 120


@pytest.mark.parametrize(
    ("sample", "source", "described"),
    [
        ("kafkaEventSelfManaged.json", "SelfManagedKafka", "kafka"),
        ("activeMQEvent.json", "aws:mq", "activemq"),
        ("rabbitMQEvent.json", "aws:mq", "rabbitmq"),
    ],
)
def test_the_names_of_brokers_in_the_examples_of_aws(
    sample: str, source: str, described: str, load_event: Callable[[str], Any]
) -> None:
    event = load_event(sample)
    found = recognise({**event, "eventSource": source})
    assert found.source == described
    assert len(found.records) == len(recognise(event).records) > 0


@pytest.mark.parametrize("operation", ["GetObject", "HeadObject", "ListObjects", "ListObjectsV2"])
def test_every_request_of_s3_object_lambda(operation: str) -> None:
    found = recognise(
        {
            f"{operation[0].lower()}{operation[1:]}Context": {"inputS3Url": "https://example"},
            "configuration": {"accessPointArn": "arn:aws:s3-object-lambda:us-east-1:1:accesspoint/a"},
            "userRequest": {"url": "https://example", "headers": {"TraceParent": TRACEPARENT}},
        }
    )
    assert (found.source, found.name) == ("s3.object_lambda", operation)
    assert found.carrier["traceparent"] == TRACEPARENT


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_logs_whatever_way_their_json_is_written(separators: tuple[str, str]) -> None:
    import base64
    import gzip

    data = {"messageType": "DATA_MESSAGE", "logGroup": "/aws/lambda/a", "logStream": "s", "logEvents": []}
    packed = base64.b64encode(gzip.compress(json.dumps(data, separators=separators).encode())).decode()
    assert recognise({"awslogs": {"data": packed}}).attributes == {
        "aws.log.group.names": ["/aws/lambda/a"],
        "aws.log.stream.names": ["s"],
    }


def test_an_event_of_eventbridge_in_a_stream(load_event: Callable[[str], Any]) -> None:
    import base64

    event = load_event("kinesisStreamEvent.json")
    data = {"detail-type": "Order Placed", "source": "shop", "detail": {"traceparent": TRACEPARENT}}
    event["Records"][0]["kinesis"]["data"] = base64.b64encode(json.dumps(data).encode()).decode()
    assert records(event)[0].carrier == {"traceparent": TRACEPARENT}


@pytest.mark.parametrize(("partition", "suffix"), [("aws", ""), ("aws-cn", ".cn"), ("aws-us-gov", "")])
def test_the_url_of_a_queue(load_event: Callable[[str], Any], partition: str, suffix: str) -> None:
    """China's regions have a domain of their own."""
    event = load_event("sqsEvent.json")
    event["Records"] = event["Records"][:1]
    event["Records"][0]["eventSourceARN"] = f"arn:{partition}:sqs:some-where-1:123456789012:orders"
    url = f"https://sqs.some-where-1.amazonaws.com{suffix}/123456789012/orders"
    assert recognise(event).attributes["aws.sqs.queue.url"] == url


@pytest.mark.parametrize(("filling", "looked_into"), [(100, True), (80_000, False)])
def test_long_data_is_not_looked_into(
    load_event: Callable[[str], Any], filling: int, looked_into: bool
) -> None:
    import base64

    event = load_event("kinesisStreamEvent.json")
    data = json.dumps({"traceparent": TRACEPARENT, "filling": "x" * filling})
    event["Records"][0]["kinesis"]["data"] = base64.b64encode(data.encode()).decode()
    assert records(event)[0].carrier == ({"traceparent": TRACEPARENT} if looked_into else {})


@pytest.mark.parametrize(("body", "size"), [("", 0), ("abc", 3), ("für", 4), ("\ud800", 1)])
def test_the_size_of_a_messages_body_is_in_bytes(
    load_event: Callable[[str], Any], body: str, size: int
) -> None:
    event = load_event("sqsEvent.json")
    event["Records"] = [{**event["Records"][0], "body": body}]
    assert recognise(event).attributes["messaging.message.body.size"] == size


def test_several_values_of_a_header() -> None:
    """The last one counts, as in Lambda's own `headers`; context is for the propagators to judge."""
    given = {"Accept": ["a", "b"], "TraceParent": ["x", "y"], "X-None": []}
    assert headers(given) == {"accept": "b", "traceparent": "x,y"}
