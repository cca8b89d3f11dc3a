"""Who the spans say that they come from."""

from __future__ import annotations

import pytest

import lambent
from lambent.config import read
from lambent.resource import detect
from lambent.testing import recording_tracer

LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "orders",
    "AWS_LAMBDA_FUNCTION_VERSION": "7",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2024/01/01/[7]abc",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    "AWS_REGION": "eu-west-1",
}
SDK = {
    "telemetry.sdk.language": "python",
    "telemetry.sdk.name": "lambent",
    "telemetry.sdk.version": "1",
}


def test_in_lambda() -> None:
    assert detect(read({}, LAMBDA), "1").attributes == {
        **SDK,
        "cloud.provider": "aws",
        "cloud.platform": "aws_lambda",
        "cloud.region": "eu-west-1",
        "faas.name": "orders",
        "faas.version": "7",
        "faas.instance": "2024/01/01/[7]abc",
        "faas.max_memory": 512 * 1024 * 1024,
        "service.name": "orders",
    }


def test_elsewhere() -> None:
    assert detect(read({}, {"AWS_REGION": "eu-west-1"}), "1").attributes == {
        **SDK,
        "service.name": "unknown_service:python",
    }


def test_a_lambda_that_says_little() -> None:
    attributes = detect(read({}, {"AWS_LAMBDA_FUNCTION_NAME": "f"}), "1").attributes
    assert {"cloud.region", "faas.version", "faas.instance", "faas.max_memory"}.isdisjoint(attributes)


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ({"service_name": "arg"}, {"OTEL_SERVICE_NAME": "env"}, "arg"),
        ({}, {"OTEL_SERVICE_NAME": "env", "OTEL_RESOURCE_ATTRIBUTES": "service.name=attr"}, "env"),
        ({"resource": {"service.name": "arg"}}, {"OTEL_SERVICE_NAME": "env"}, "env"),
        ({"resource": {"service.name": "arg"}}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=attr"}, "arg"),
        ({}, {**LAMBDA, "OTEL_RESOURCE_ATTRIBUTES": "service.name=my%20service"}, "my service"),
        ({}, LAMBDA, "orders"),
    ],
)
def test_the_service_name(arguments: dict[str, object], environ: dict[str, str], expected: str) -> None:
    assert detect(read(arguments, environ), "1").attributes["service.name"] == expected


def test_given_attributes_win_over_detected_ones() -> None:
    config = read(
        {"resource": {"cloud.region": "mine"}}, {**LAMBDA, "OTEL_RESOURCE_ATTRIBUTES": "faas.name=other"}
    )
    attributes = detect(config, "1").attributes
    assert (attributes["cloud.region"], attributes["faas.name"]) == ("mine", "other")


def test_project_source_and_session() -> None:
    environ = {"HH_PROJECT": "p", "HH_SOURCE": "s", "HH_SESSION_NAME": "n"}
    attributes = detect(read({}, environ), "1").attributes
    assert attributes["lambent.project"] == "p"
    assert attributes["lambent.source"] == "s"
    assert attributes["lambent.session_name"] == "n"


def test_a_tracer_has_one_resource_and_one_scope() -> None:
    tracer = recording_tracer(environ=LAMBDA)
    with tracer.trace("a"), tracer.trace("b"):
        pass
    first, second = tracer.spans
    assert first.resource is second.resource is tracer.resource
    assert first.instrumentation_scope is tracer.scope
    assert tracer.scope.version == lambent.__version__ == tracer.resource.attributes["telemetry.sdk.version"]
