"""Services that call a function for a purpose of their own: a table of what defines each, and Step Functions.

A row is taken when an event has all of its keys. In a name, `$a.b` stands for a text in the event; only
what has few values is named. OpenTelemetry's names where it has them, else `aws.<service>`.
"""

from __future__ import annotations

from lambent.triggers import Description
from lambent.triggers.parts import carrier_in, put, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Raw = Mapping[str, object]
    Row = tuple[str, tuple[str, ...], str, dict[str, str]]

__all__ = ["RECORDS", "ROWS", "describe", "describe_record", "job_of"]

ROWS: tuple[Row, ...] = (
    ("cognito", ("triggerSource", "userPoolId"), "$triggerSource",
     {"aws.cognito.user_pool.id": "userPoolId", "aws.cognito.client.id": "callerContext.clientId"}),
    ("cognito.sync", ("identityPoolId", "datasetName"), "sync $datasetName",
     {"aws.cognito.identity_pool.id": "identityPoolId"}),
    ("cloudwatch.alarm", ("alarmArn", "alarmData"), "alarm $alarmData.state.value",
     {"aws.cloudwatch.alarm.arn": "alarmArn", "aws.cloudwatch.alarm.name": "alarmData.alarmName",
      "aws.cloudwatch.alarm.state": "alarmData.state.value",
      "aws.cloudwatch.alarm.previous_state": "alarmData.previousState.value"}),
    ("cloudwatch.dashboard", ("widgetContext",), "dashboard",
     {"aws.cloudwatch.dashboard.name": "widgetContext.dashboardName",
      "aws.cloudwatch.widget.id": "widgetContext.widgetId"}),
    ("cloudformation", ("RequestType", "StackId", "LogicalResourceId"), "$RequestType $ResourceType",
     {"aws.cloudformation.stack.arn": "StackId", "aws.cloudformation.request.id": "RequestId",
      "aws.cloudformation.resource.logical_id": "LogicalResourceId"}),
    ("codepipeline", ("CodePipeline.job",), "CodePipeline job", {}),
    ("codedeploy", ("DeploymentId", "LifecycleEventHookExecutionId"), "CodeDeploy hook",
     {"aws.codedeploy.deployment.id": "DeploymentId"}),
    ("config", ("invokingEvent", "resultToken"), "evaluate $configRuleName",
     {"aws.config.rule.arn": "configRuleArn", "aws.config.rule.name": "configRuleName"}),
    ("secretsmanager", ("SecretId", "ClientRequestToken", "Step"), "$Step",
     {"aws.secretsmanager.secret.arn": "SecretId"}),
    ("lex", ("sessionState", "bot"), "$sessionState.intent.name",
     {"aws.lex.bot.name": "bot.name", "aws.lex.intent.name": "sessionState.intent.name",
      "session.id": "sessionId"}),
    ("lex", ("currentIntent", "bot"), "$currentIntent.name",
     {"aws.lex.bot.name": "bot.name", "aws.lex.intent.name": "currentIntent.name"}),
    ("connect", ("Name", "Details"), "$Name",
     {"aws.connect.contact.id": "Details.ContactData.ContactId",
      "aws.connect.channel": "Details.ContactData.Channel",
      "aws.connect.instance.arn": "Details.ContactData.InstanceARN"}),
    ("alexa", ("request", "version", "context"), "$request.type $request.intent.name",
     {"aws.alexa.application.id": "context.System.application.applicationId",
      "aws.alexa.request.id": "request.requestId"}),
    ("alexa", ("request", "version", "session"), "$request.type $request.intent.name",
     {"aws.alexa.application.id": "session.application.applicationId",
      "aws.alexa.request.id": "request.requestId"}),
    ("alexa.smart_home", ("directive",), "$directive.header.namespace $directive.header.name",
     {"aws.alexa.request.id": "directive.header.messageId"}),
    ("alexa.smart_home", ("header", "payload"), "$header.namespace $header.name",
     {"aws.alexa.request.id": "header.messageId"}),
    ("iot.authorizer", ("protocolData", "protocols"), "authorize",
     {"aws.iot.client.id": "protocolData.mqtt.clientId"}),
    ("iot.provisioning", ("templateArn", "certificateId"), "provision", {"aws.iot.client.id": "clientId"}),
    ("iot", ("clientId", "eventType", "timestamp"), "$eventType", {"aws.iot.client.id": "clientId"}),
    ("iot", ("eventType", "eventId", "operation"), "$eventType $operation",
     {"aws.iot.thing.name": "thingName"}),
    ("iot.button", ("serialNumber", "clickType"), "$clickType", {"aws.iot.thing.name": "serialNumber"}),
    ("iot.button", ("deviceEvent", "deviceInfo"), "$deviceEvent.buttonClicked.clickType",
     {"aws.iot.thing.name": "deviceInfo.deviceId"}),
    ("workmail", ("flowDirection", "envelope"), "$flowDirection",
     {"aws.workmail.message.id": "messageId"}),
    ("sagemaker", ("labelingJobArn",), "label", {"aws.sagemaker.labeling_job.arn": "labelingJobArn"}),
    ("kinesis.analytics", ("applicationArn", "records"), "process",
     {"aws.kinesis.application.arn": "applicationArn"}),
    ("transfer", ("username", "serverId", "protocol"), "authenticate $protocol",
     {"aws.transfer.server.id": "serverId"}),
    ("autoscaling", ("AutoScalingGroupARN", "CapacityToTerminate"), "terminate",
     {"aws.autoscaling.group.arn": "AutoScalingGroupARN"}),
    ("lambda.destination", ("requestPayload", "requestContext"), "$requestContext.condition",
     {"faas.invoked_name": "requestContext.functionArn",
      "aws.lambda.destination.request.id": "requestContext.requestId"}),
    ("stepfunctions.error", ("Error", "Cause"), "$Error", {}),
)  # fmt: skip
"""Source, the keys that define it, the span's name, and its attributes by their places in the event."""

RECORDS: dict[str, Row] = {
    "aws:ses": ("ses", (), "receive", {"aws.ses.message.id": "ses.mail.messageId"}),
    "aws:codecommit": ("codecommit", (), "$eventName",
                       {"aws.codecommit.repository.arn": "eventSourceARN",
                        "aws.codecommit.trigger.name": "eventTriggerName"}),
}  # fmt: skip
"""Those that come as `Records`, by their `eventSource`; the places are those of the first record."""

_JOB = {
    "aws.batch.job.id": "detail.jobId",
    "aws.batch.job.name": "detail.jobName",
    "aws.batch.job.status": "detail.status",
    "aws.batch.job.queue.arn": "detail.jobQueue",
    "aws.batch.job.definition.arn": "detail.jobDefinition",
}
_EXECUTION = {
    "aws.step_functions.state_machine.arn": "StateMachine.Id",
    "aws.step_functions.execution.arn": "Execution.Id",
    "aws.step_functions.execution.redrive_count": "Execution.RedriveCount",
    "aws.step_functions.state.name": "State.Name",
    "aws.step_functions.state.retry_count": "State.RetryCount",
}


def describe(event: Raw) -> Description | None:
    """Describe an event by what defines it; None for one that nothing here knows."""
    if isinstance(event.get("awslogs"), dict):
        return _logs(event["awslogs"])  # type: ignore[arg-type]  # a dict
    for row in ROWS:
        if all(key in event for key in row[1]) and (row[0] not in _CHECKS or _place(event, _CHECKS[row[0]])):
            found = _filled(row, event)
            if row[0] == "lambda.destination":
                found.carrier = carrier_in(event.get("requestPayload"))
            return found
    return _steps(event)


# What else must be a text in the event, where the keys alone are anybody's.
_CHECKS = {
    "connect": "Details.ContactData.ContactId",
    "alexa": "request.type",
    "lex": "bot.name",
    "lambda.destination": "requestContext.functionArn",
    "codepipeline": "CodePipeline.job.id",
    "iot": "eventType",
}


def describe_record(row: Row, record: Raw) -> Description:
    """Describe an event by its first record."""
    found = _filled(row, record)
    mail = _walk(record, "ses.mail.headers")
    if isinstance(mail, list):
        pairs = [each for each in mail if isinstance(each, dict) and isinstance(each.get("name"), str)]
        found.carrier = carrier_in({each["name"]: each.get("value") for each in pairs})
    found.sent = record.get("eventTime") or _walk(record, "ses.mail.timestamp")
    return found


def job_of(event: Raw) -> tuple[dict[str, object], dict[str, str]]:
    """Return what an event of AWS Batch says of its job, and the context in the job's environment."""
    attributes: dict[str, object] = {}
    for name, place in _JOB.items():
        put(attributes, name, _walk(event, place))
    attempts, variables = _walk(event, "detail.attempts"), _walk(event, "detail.container.environment")
    if isinstance(attempts, list):
        attributes["aws.batch.job.attempts"] = len(attempts)
    given = [each for each in variables if isinstance(each, dict)] if isinstance(variables, list) else []
    return attributes, carrier_in({text(each.get("name")): each.get("value") for each in given})


def _filled(row: Row, event: Raw) -> Description:
    source, _, pattern, places = row
    words = [_place(event, word[1:]) if word[0] == "$" else word for word in pattern.split()]
    attributes: dict[str, object] = {}
    for name, place in places.items():
        put(attributes, name, _walk(event, place))
    return Description(
        "other", " ".join(filter(None, words)), attributes, source=source, sent=event.get("time")
    )


def _walk(event: object, place: str) -> object:
    # A key may hold a dot itself (`CodePipeline.job`): the longest that is there counts.
    if isinstance(event, dict):
        if place in event:
            return event[place]
        head, dot, rest = place.partition(".")
        while dot:
            if head in event:
                return _walk(event[head], rest)
            more, dot, rest = rest.partition(".")
            head = f"{head}.{more}"
    return None


def _place(event: object, place: str) -> str:
    return text(_walk(event, place))


def _logs(given: Raw) -> Description:
    """Describe a subscription of CloudWatch Logs: its head is read, never all of it."""
    attributes: dict[str, object] = {}
    data = text(given.get("data"))[:2048]
    from binascii import a2b_base64

    try:
        from zlib import decompressobj
        from zlib import error as zlib_error

        head = (
            decompressobj(47).decompress(a2b_base64(data[: len(data) & ~3]), 1024).decode("utf-8", "replace")
        )
    except (ValueError, ImportError, zlib_error):
        head = ""
    for key, name in (("logGroup", "aws.log.group.names"), ("logStream", "aws.log.stream.names")):
        value = head.partition(f'"{key}"')[2].lstrip(" :")[1:].partition('"')
        if value[1] and value[0]:
            attributes[name] = [value[0]]
    return Description("other", "logs", attributes, source="cloudwatch.logs")


def _steps(event: Raw) -> Description | None:
    """Describe a task of Step Functions, where its payload holds the context object or a part of it.

    `$$` in JSONPath and `$states.context` in JSONata give the same object: at the top of the payload, or
    under a key of it. Context comes from the payload, or from the execution's input.
    """
    held = [event, *[value for value in event.values() if isinstance(value, dict)]]
    held += [each["context"] for each in held if isinstance(each.get("context"), dict)]
    for found in held:
        if ":states:" in _place(found, "Execution.Id") and ("State" in found or "StateMachine" in found):
            break
    else:
        return None
    attributes: dict[str, object] = {}
    for name, place in _EXECUTION.items():
        put(attributes, name, _walk(found, place))
    state = _place(found, "State.Name")
    carriers = [carrier_in(each) for each in (*held, _walk(found, "Execution.Input"))]
    return Description(
        "other",
        state,
        attributes,
        next(filter(None, carriers), None),
        source="stepfunctions",
        sent=_walk(found, "State.EnteredTime"),
    )
