"""AWS's API as boto3 sees it: every operation, and every refusal as botocore's exception."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import requests
from botocore.exceptions import ClientError
from lab.tests.clients import client_of

from lambent_lab.service import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lambent_lab.service.serving import Server
    from lambent_lab.service.testing import FakeInvocation, World

ARN = "arn:aws:lambda:us-east-1:123456789012:function:hello"
ROLE = "arn:aws:iam::123456789012:role/any"


def package(source: str = "def handler(event, context): return event", name: str = "app.py") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # A date of its own: the same source is the same package, whenever it is made.
        archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), source)
    return buffer.getvalue()


@pytest.fixture
def lab(world: World) -> Iterator[Lab]:
    with Lab(environment=world) as opened:
        yield opened


@pytest.fixture
def server(lab: Lab) -> Server:
    return lab.serve()


@pytest.fixture
def client(server: Server) -> Any:
    return client_of(server.url)


@pytest.fixture
def hello(client: Any) -> Any:
    """A function that was made over the API."""
    return client.create_function(
        FunctionName="hello",
        Runtime="python3.11",
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": package()},
    )


def refused(code: str, status: int, call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response: Any = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert response["ResponseMetadata"]["RequestId"]
    return str(response["Error"]["Message"])


# -- invocations


@pytest.mark.usefixtures("hello")
def test_invoke(client: Any, world: World) -> None:
    r = client.invoke(FunctionName="hello", Payload=b'{"a": 1}')
    assert (r["StatusCode"], r["ExecutedVersion"], "FunctionError" in r) == (200, "$LATEST", False)
    assert json.load(r["Payload"]) == {"ok": True}
    client.invoke(FunctionName=ARN)
    assert world.payloads == [b'{"a": 1}', b"{}"]
    calls = world.environments[0].calls
    assert calls[0]["request_id"] == r["ResponseMetadata"]["RequestId"]
    assert r["ResponseMetadata"]["HTTPHeaders"]["x-amzn-trace-id"] == calls[0]["trace_header"]


@pytest.mark.usefixtures("hello")
def test_a_slash_at_the_end_changes_nothing(server: Server) -> None:
    invoked = requests.post(f"{server.url}/2015-03-31/functions/hello/invocations/", data="1", timeout=60)
    assert (invoked.status_code, invoked.json()) == (200, {"ok": True})
    url = f"{server.url}/2021-11-15/functions/hello/response-streaming-invocations/"
    streamed = requests.post(url, data="1", timeout=60)
    assert (streamed.status_code, streamed.headers["x-amz-executed-version"]) == (200, "$LATEST")
    told = requests.get(f"{server.url}/2015-03-31/functions/hello/configuration/", timeout=60)
    assert told.json()["FunctionName"] == "hello"


@pytest.mark.usefixtures("hello")
def test_invoke_with_a_log_and_a_context(client: Any, world: World) -> None:
    async def work(invocation: FakeInvocation) -> None:
        invocation.log = ("x" * 5000, "END ü")

    world.work = work
    context = base64.b64encode(b'{"custom": {"a": "b"}}').decode()
    r = client.invoke(FunctionName="hello", LogType="Tail", ClientContext=context)
    log = base64.b64decode(r["LogResult"])
    assert len(log) == 4096
    assert log.endswith("x\nEND ü\n".encode())
    assert world.environments[0].calls[0]["client_context"] == '{"custom": {"a": "b"}}'


@pytest.mark.usefixtures("hello")
def test_a_tenant_is_handed_on(client: Any, world: World) -> None:
    client.invoke(FunctionName="hello", TenantId="blue")
    client.invoke(FunctionName="hello")
    assert [call.get("tenant_id") for call in world.environments[0].calls] == ["blue", None]


@pytest.mark.usefixtures("hello")
def test_a_function_error(client: Any, world: World) -> None:
    async def fail(invocation: FakeInvocation) -> None:
        invocation.function_error = "Unhandled"
        invocation.payload = b'{"errorType": "KeyError", "errorMessage": "a"}'

    world.work = fail
    r = client.invoke(FunctionName="hello")
    assert (r["StatusCode"], r["FunctionError"]) == (200, "Unhandled")
    assert json.load(r["Payload"])["errorType"] == "KeyError"
    *chunks, last = client.invoke_with_response_stream(FunctionName="hello")["EventStream"]
    assert chunks == []
    assert last["InvokeComplete"]["ErrorCode"] == "KeyError"
    assert json.loads(last["InvokeComplete"]["ErrorDetails"])["errorMessage"] == "a"


@pytest.mark.usefixtures("hello")
def test_a_dry_run_runs_nothing(client: Any, world: World) -> None:
    assert client.invoke(FunctionName="hello", InvocationType="DryRun")["StatusCode"] == 204
    refused("ResourceNotFoundException", 404, client.invoke, FunctionName="none", InvocationType="DryRun")
    assert world.environments == []


@pytest.mark.usefixtures("hello")
def test_a_response_stream(client: Any, world: World) -> None:
    r = client.invoke_with_response_stream(FunctionName="hello", LogType="Tail", Payload=b"[1]")
    assert (r["StatusCode"], r["ExecutedVersion"]) == (200, "$LATEST")
    events = list(r["EventStream"])
    assert b"".join(event["PayloadChunk"]["Payload"] for event in events[:-1]) == b'{"ok": true}'
    assert base64.b64decode(events[-1]["InvokeComplete"]["LogResult"]) == b"START\nEND\n"


@pytest.mark.usefixtures("hello")
def test_what_is_not_invoked(client: Any, server: Server, world: World) -> None:
    arn = f"{ARN}:nine"
    call = client.invoke
    assert refused("ResourceNotFoundException", 404, call, FunctionName="none").endswith("function:none")
    assert refused("ResourceNotFoundException", 404, call, FunctionName="hello", Qualifier="nine") == (
        f"Function not found: {arn}"
    )
    for payload in (b"{a", b"NaN", b"[-Infinity]", "{}".encode("utf-16"), b'"\xff"', b"[" * 100_000):
        assert "parse request body into json" in refused(
            "InvalidRequestContentException", 400, call, FunctionName="hello", Payload=payload
        )
    for context in ("%%%", base64.b64encode(b"[]").decode(), base64.b64encode(b"x").decode(), "A" * 4000):
        refused("InvalidRequestContentException", 400, call, FunctionName="hello", ClientContext=context)
    refused("ValidationException", 400, call, FunctionName="hello", InvocationType="Later")
    refused("ValidationException", 400, call, FunctionName="hello", LogType="Head")
    large = json.dumps("x" * 6_291_456).encode()
    assert refused("RequestTooLargeException", 413, call, FunctionName="hello", Payload=large) == (
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    )
    url = f"{server.url}/2015-03-31/functions/hello/invocations"
    picture = requests.post(url, data=b"{}", headers={"content-type": "image/png"}, timeout=10)
    assert (picture.status_code, picture.headers["x-amzn-errortype"]) == (
        415,
        "UnsupportedMediaTypeException",
    )
    plain = requests.post(
        url, data="{}", headers={"content-type": "application/x-www-form-urlencoded"}, timeout=10
    )
    assert (plain.status_code, len(world.payloads)) == (200, 1)


@pytest.mark.usefixtures("hello")
def test_reserved_concurrency_is_enforced(client: Any, server: Server, world: World) -> None:
    going = threading.Event()

    async def wait(_invocation: FakeInvocation) -> None:
        await asyncio.to_thread(going.wait, 60)

    world.work = wait
    r = client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=1)
    assert r["ReservedConcurrentExecutions"] == 1
    assert client.get_function_concurrency(FunctionName="hello")["ReservedConcurrentExecutions"] == 1
    assert client.get_function(FunctionName="hello")["Concurrency"] == {"ReservedConcurrentExecutions": 1}
    account = client.get_account_settings()
    assert account["AccountLimit"]["ConcurrentExecutions"] == 1000
    assert account["AccountLimit"]["UnreservedConcurrentExecutions"] == 999
    assert account["AccountUsage"]["FunctionCount"] == 1
    first = threading.Thread(target=client.invoke, kwargs={"FunctionName": "hello"})
    first.start()
    assert world.entered.wait(30)
    answer = requests.post(f"{server.url}/2015-03-31/functions/hello/invocations", data=b"{}", timeout=10)
    assert answer.status_code == 429
    assert answer.content == (
        b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User",'
        b'"message":"Rate Exceeded."}'
    )
    refused("TooManyRequestsException", 429, client.invoke, FunctionName="hello")
    client.delete_function_concurrency(FunctionName="hello")
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName="hello")
    second = threading.Thread(target=client.invoke, kwargs={"FunctionName": "hello"})
    second.start()
    going.set()
    first.join(30)
    second.join(30)
    assert world.count == 2
    put = client.put_function_concurrency
    assert "minimum value of [100]" in refused(
        "InvalidParameterValueException", 400, put, FunctionName="hello", ReservedConcurrentExecutions=901
    )


# -- functions


def test_a_function_is_made_and_told_of(client: Any, hello: Any, world: World) -> None:
    digest = base64.b64encode(hashlib.sha256(package()).digest()).decode()
    assert hello["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (hello["FunctionArn"], hello["Version"]) == (ARN, "$LATEST")
    assert (hello["CodeSize"], hello["MemorySize"], hello["Timeout"]) == (len(package()), 128, 3)
    assert (hello["State"], hello["LastUpdateStatus"]) == ("Active", "Successful")
    assert hello["EphemeralStorage"] == {"Size": 512}
    client.get_waiter("function_active_v2").wait(FunctionName="hello")
    client.get_waiter("function_updated_v2").wait(FunctionName="hello")
    client.get_waiter("function_active").wait(FunctionName="hello")
    client.get_waiter("function_exists").wait(FunctionName="hello")
    found = client.get_function(FunctionName="hello")
    assert found["Code"]["RepositoryType"] == "S3"
    code = requests.get(found["Code"]["Location"], timeout=10).content
    assert code == package()
    assert found["Configuration"]["CodeSha256"] == digest
    configuration = client.get_function_configuration(FunctionName="hello", Qualifier="$LATEST")
    assert configuration["FunctionArn"] == f"{ARN}:$LATEST"
    client.invoke(FunctionName="hello")
    spec = world.environments[0].spec
    assert (spec.handler, spec.memory_mb, spec.timeout_s) == ("app.handler", 128, 3.0)


def test_everything_that_a_function_can_be_made_with(client: Any, tmp_path: Path, world: World) -> None:
    (tmp_path / "app.py").write_text("")
    layer = tmp_path / "layer"
    layer.mkdir()
    r = client.create_function(
        FunctionName="hello",
        Runtime="python3.11",
        Role=ROLE,
        Handler="app.handler",
        Code={"S3Bucket": "local", "S3Key": str(tmp_path)},
        Description="says hello",
        Timeout=10,
        MemorySize=512,
        Environment={"Variables": {"COLOUR": "green"}},
        Tags={"team": "a"},
        TracingConfig={"Mode": "Active"},
        SnapStart={"ApplyOn": "PublishedVersions"},
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "LogGroup": "/my/group"},
        Architectures=["arm64"],
        EphemeralStorage={"Size": 1024},
        Layers=[str(layer)],
        PackageType="Zip",
        Publish=True,
    )
    assert (r["Version"], r["Description"], r["Timeout"], r["MemorySize"]) == ("1", "says hello", 10, 512)
    assert r["Environment"] == {"Variables": {"COLOUR": "green"}}
    assert r["TracingConfig"] == {"Mode": "Active"}
    assert r["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert r["LoggingConfig"] == {
        "LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "INFO",
        "LogGroup": "/my/group",
    }  # fmt: skip
    assert (r["Architectures"], r["EphemeralStorage"], r["Layers"][0]["Arn"]) == (
        ["arm64"], {"Size": 1024}, str(layer),
    )  # fmt: skip
    assert client.list_tags(Resource=ARN)["Tags"] == {"team": "a"}
    client.invoke(FunctionName="hello", Qualifier="1")
    environment = world.environments[0]
    assert (environment.spec.env, environment.spec.log_format) == ({"COLOUR": "green"}, "JSON")
    assert (environment.spec.layers, environment.spec.tmp_mb, environment.spec.runtime) == (
        (layer,), 1024, "python3.11",
    )  # fmt: skip
    assert (environment.spec.version, environment.spec.initialization) == ("1", "snap-start")
    assert environment.calls[0]["trace_header"].endswith("Sampled=1")
    location = client.get_function(FunctionName="hello", Qualifier="1")["Code"]["Location"]
    with zipfile.ZipFile(io.BytesIO(requests.get(location, timeout=10).content)) as archive:
        assert archive.namelist() == ["app.py"]


BASE: dict[str, Any] = {
    "FunctionName": "other", "Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler",
    "Code": {"ZipFile": package()},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"MemorySize": 99_999}, "ValidationException", "'memorySize' failed to satisfy constraint"),
        ({"MemorySize": 20_000}, "InvalidParameterValueException", "choose 128 to 10240"),
        ({"Timeout": 5000}, "InvalidParameterValueException", "up to 900 seconds"),
        ({"Role": "me"}, "ValidationException", "Value 'me' at 'role'"),
        ({"Runtime": "cobol"}, "ValidationException", "enum value set: [nodejs"),
        ({"FunctionName": "a b"}, "ValidationException", "regular expression pattern"),
        ({"FunctionName": "hello"}, "ResourceConflictException", "Function already exist: hello"),
        ({"FunctionName": "x" * 65}, "ValidationException", "length less than or equal to 64"),
        ({"Code": {}}, "InvalidParameterValueException", "Please provide a source for function code."),
        ({"Code": {"ZipFile": b""}}, "InvalidParameterValueException", "non-empty zip"),
        ({"Code": {"ZipFile": b"PK\x05\x06" + bytes(18)}}, "InvalidParameterValueException", "non-empty zip"),
        ({"Code": {"ZipFile": b"nothing"}}, "InvalidParameterValueException", "Could not unzip"),
        ({"Code": {"ZipFile": package(name="../a")}}, "InvalidParameterValueException", "Could not unzip"),
        ({"Code": {"S3Bucket": "mine", "S3Key": "a.zip"}}, "InvalidParameterValueException", "bucket mine"),
        ({"Code": {"S3Bucket": "local", "S3Key": "a"}}, "InvalidParameterValueException", "no existing"),
        ({"PackageType": "Image"}, "InvalidParameterValueException", "no container images"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException", "AWS_REGION"),
        ({"Environment": {"Variables": {"LONG": "x" * 4096}}}, "InvalidParameterValueException", "4KB limit"),
        ({"Environment": {"Variables": {"1": "x"}}}, "ValidationException", "environment.variables"),
        ({"Handler": None}, "InvalidParameterValueException", "Runtime and Handler are mandatory"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("hello")
def test_functions_that_are_not_made(client: Any, changes: dict[str, Any], code: str, message: str) -> None:
    arguments = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    status = 409 if code == "ResourceConflictException" else 400
    assert message in refused(code, status, client.create_function, **arguments)
    assert [one["FunctionName"] for one in client.list_functions()["Functions"]] == ["hello"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"FunctionName": 5}', "SerializationException"),
        (b"[]", "SerializationException"),
        (b'{"Timeout": "3"}', "SerializationException"),
        (b'{"Timeout": true}', "SerializationException"),
        (b"{", "InvalidRequestContentException"),
        (b"\xff", "InvalidRequestContentException"),
        (b"[" * 100_000, "InvalidRequestContentException"),
        (b"{}", "ValidationException"),
    ],
)
def test_bodies_that_no_client_sends(server: Server, body: bytes, code: str) -> None:
    answer = requests.post(f"{server.url}/2015-03-31/functions", data=body, timeout=10)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, code)
    assert answer.json()["Type"] == "User"


def test_code_is_updated(client: Any, hello: Any, world: World) -> None:
    client.invoke(FunctionName="hello")
    new = package("x = 2")
    r = client.update_function_code(FunctionName="hello", ZipFile=new, DryRun=True)
    assert r["CodeSha256"] == hello["CodeSha256"]
    r = client.update_function_code(
        FunctionName="hello", ZipFile=new, RevisionId=hello["RevisionId"], Publish=True
    )
    assert r["CodeSha256"] != hello["CodeSha256"]
    assert (r["Version"], r["FunctionArn"]) == ("1", f"{ARN}:1")
    client.get_waiter("function_updated").wait(FunctionName="hello")
    client.invoke(FunctionName="hello")
    assert len(world.environments) == 2
    assert world.environments[1].spec.code.read_bytes() == new
    update = client.update_function_code
    assert refused(
        "PreconditionFailedException", 412, update, FunctionName="hello", ZipFile=new, RevisionId="old"
    ).startswith("The Revision Id provided does not match")
    refused("InvalidParameterValueException", 400, update, FunctionName="hello")
    refused("InvalidParameterValueException", 400, update, FunctionName="hello", ZipFile=b"PK")
    refused("ResourceNotFoundException", 404, update, FunctionName="none", ZipFile=new)


def test_configuration_is_updated(client: Any, hello: Any, world: World) -> None:
    client.invoke(FunctionName="hello")
    r = client.update_function_configuration(
        FunctionName="hello", MemorySize=1024, Environment={"Variables": {"AB": "c"}}, Description="more"
    )
    assert (r["MemorySize"], r["Timeout"], r["Environment"]["Variables"]) == (1024, 3, {"AB": "c"})
    assert r["RevisionId"] != hello["RevisionId"]
    r = client.update_function_configuration(FunctionName="hello", Timeout=9, Environment={"Variables": {}})
    assert (r["MemorySize"], r["Timeout"], "Environment" in r, r["Description"]) == (1024, 9, False, "more")
    client.invoke(FunctionName="hello")
    assert [environment.spec.memory_mb for environment in world.environments] == [128, 1024]
    update = client.update_function_configuration
    layer = "arn:aws:lambda:us-east-1:123456789012:layer:tools:1"
    assert "does not exist" in refused(
        "InvalidParameterValueException", 400, update, FunctionName="hello", Layers=[layer]
    )


@pytest.mark.usefixtures("hello")
def test_functions_are_listed_in_pages(client: Any) -> None:
    for name in ("b", "a", "c"):
        client.create_function(**{**BASE, "FunctionName": name})
    client.publish_version(FunctionName="b")
    first = client.list_functions(MaxItems=3)
    assert [one["FunctionName"] for one in first["Functions"]] == ["a", "b", "c"]
    assert "State" not in first["Functions"][0]
    second = client.list_functions(MaxItems=3, Marker=first["NextMarker"])
    assert [one["FunctionName"] for one in second["Functions"]] == ["hello"]
    assert "NextMarker" not in second
    assert "NextMarker" not in client.list_functions(MaxItems=4), "as many as there are"
    pages = client.get_paginator("list_functions").paginate(
        FunctionVersion="ALL", PaginationConfig={"PageSize": 2}
    )
    listed = [(one["FunctionName"], one["Version"]) for page in pages for one in page["Functions"]]
    assert listed == [("a", "$LATEST"), ("b", "$LATEST"), ("b", "1"), ("c", "$LATEST"), ("hello", "$LATEST")]
    refused("InvalidParameterValueException", 400, client.list_functions, Marker="x")
    refused("ValidationException", 400, client.list_functions, MaxItems=100_000)


@pytest.mark.usefixtures("hello")
def test_functions_and_versions_are_deleted(client: Any, world: World) -> None:
    client.publish_version(FunctionName="hello")
    client.invoke(FunctionName="hello", Qualifier="1")
    client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1")
    delete = client.delete_function
    refused("ResourceConflictException", 409, delete, FunctionName="hello", Qualifier="1")
    refused("InvalidParameterValueException", 400, delete, FunctionName="hello", Qualifier="$LATEST")
    refused("InvalidParameterValueException", 400, delete, FunctionName="hello", Qualifier="live")
    client.delete_alias(FunctionName="hello", Name="live")
    assert delete(FunctionName="hello", Qualifier="1")["ResponseMetadata"]["HTTPStatusCode"] == 204
    refused("ResourceNotFoundException", 404, client.invoke, FunctionName="hello", Qualifier="1")
    delete(FunctionName="hello")
    refused("ResourceNotFoundException", 404, client.get_function, FunctionName="hello")
    refused("ResourceNotFoundException", 404, delete, FunctionName="hello")


def test_tags(client: Any, hello: Any) -> None:
    client.tag_resource(Resource=hello["FunctionArn"], Tags={"a": "1", "b": "2"})
    client.untag_resource(Resource=hello["FunctionArn"], TagKeys=["a", "c"])
    assert client.list_tags(Resource=hello["FunctionArn"])["Tags"] == {"b": "2"}
    assert client.get_function(FunctionName="hello")["Tags"] == {"b": "2"}
    refused("ResourceNotFoundException", 404, client.list_tags, Resource=f"{ARN}x")
    refused("InvalidParameterValueException", 400, client.list_tags, Resource=f"{ARN}:live")


# -- versions and aliases


def test_versions(client: Any, hello: Any) -> None:
    r = client.publish_version(FunctionName="hello", Description="one", CodeSha256=hello["CodeSha256"])
    assert (r["Version"], r["FunctionArn"], r["Description"]) == ("1", f"{ARN}:1", "one")
    assert client.publish_version(FunctionName="hello")["Version"] == "1"
    client.update_function_code(FunctionName="hello", ZipFile=package("y = 1"))
    publish = client.publish_version
    assert refused(
        "InvalidParameterValueException", 400, publish, FunctionName="hello", CodeSha256=hello["CodeSha256"]
    ).startswith("CodeSHA256 (")
    refused("PreconditionFailedException", 412, publish, FunctionName="hello", RevisionId="x")
    assert publish(FunctionName="hello")["Version"] == "2"
    client.get_waiter("published_version_active").wait(FunctionName="hello", Qualifier="2")
    versions = client.list_versions_by_function(FunctionName="hello")["Versions"]
    assert [one["FunctionArn"] for one in versions] == [f"{ARN}:$LATEST", f"{ARN}:1", f"{ARN}:2"]
    assert versions[1]["CodeSha256"] == hello["CodeSha256"]


@pytest.mark.usefixtures("hello")
def test_aliases(client: Any, world: World) -> None:
    client.publish_version(FunctionName="hello")
    client.update_function_configuration(FunctionName="hello", MemorySize=256)
    client.publish_version(FunctionName="hello")
    made = client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1", Description="d")
    assert (made["AliasArn"], made["FunctionVersion"], made["Description"]) == (f"{ARN}:live", "1", "d")
    assert client.invoke(FunctionName="hello:live")["ExecutedVersion"] == "1"
    assert world.environments[0].calls[0]["function_arn"] == f"{ARN}:live"
    routing = {"AdditionalVersionWeights": {"2": 1.0}}
    changed = client.update_alias(
        FunctionName="hello", Name="live", RoutingConfig=routing, RevisionId=made["RevisionId"]
    )
    assert changed["RoutingConfig"] == routing
    assert client.invoke(FunctionName="hello", Qualifier="live")["ExecutedVersion"] == "2"
    assert client.get_alias(FunctionName="hello", Name="live")["RevisionId"] == changed["RevisionId"]
    client.create_alias(FunctionName="hello", Name="dev", FunctionVersion="$LATEST")
    listed = client.list_aliases(FunctionName="hello")["Aliases"]
    assert [one["Name"] for one in listed] == ["dev", "live"]
    listed = client.list_aliases(FunctionName="hello", FunctionVersion="1", MaxItems=1)
    assert [one["Name"] for one in listed["Aliases"]] == ["live"]
    configuration = client.get_function_configuration(FunctionName="hello", Qualifier="live")
    assert (configuration["FunctionArn"], configuration["Version"]) == (f"{ARN}:live", "1")

    create, update = client.create_alias, client.update_alias
    refused("ResourceConflictException", 409, create, FunctionName="hello", Name="live", FunctionVersion="1")
    refused("ResourceNotFoundException", 404, create, FunctionName="hello", Name="new", FunctionVersion="9")
    refused("ValidationException", 400, create, FunctionName="hello", Name="12", FunctionVersion="1")
    refused("PreconditionFailedException", 412, update, FunctionName="hello", Name="live", RevisionId="x")
    message = refused("ResourceNotFoundException", 404, client.get_alias, FunctionName="hello", Name="none")
    assert message == f"Cannot find alias arn: {ARN}:none"
    client.delete_alias(FunctionName="hello", Name="live")
    refused("ResourceNotFoundException", 404, client.invoke, FunctionName="hello:live")


@pytest.mark.usefixtures("hello")
def test_provisioned_concurrency(client: Any, world: World) -> None:
    client.publish_version(FunctionName="hello")
    client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1")
    get, put = client.get_provisioned_concurrency_config, client.put_provisioned_concurrency_config
    missing = "ProvisionedConcurrencyConfigNotFoundException"
    refused(missing, 404, get, FunctionName="hello", Qualifier="live")
    r = put(FunctionName="hello", Qualifier="live", ProvisionedConcurrentExecutions=2)
    assert r["RequestedProvisionedConcurrentExecutions"] == 2
    for _ in range(3000):
        found = get(FunctionName="hello", Qualifier="live")
        if found["Status"] == "READY":
            break
    assert (found["Status"], found["AvailableProvisionedConcurrentExecutions"]) == ("READY", 2)
    assert len(world.environments) == 2
    listed = client.list_provisioned_concurrency_configs(FunctionName="hello")[
        "ProvisionedConcurrencyConfigs"
    ]
    assert [one["FunctionArn"] for one in listed] == [f"{ARN}:1"]
    client.delete_provisioned_concurrency_config(FunctionName="hello", Qualifier="live")
    refused(missing, 404, get, FunctionName="hello", Qualifier="live")
    arguments = {"FunctionName": "hello", "ProvisionedConcurrentExecutions": 1}
    refused("InvalidParameterValueException", 400, put, Qualifier="$LATEST", **arguments)


# -- the rest


def test_what_the_lab_does_not_have(client: Any, server: Server) -> None:
    message = refused("NotImplementedException", 501, client.list_code_signing_configs)
    assert message == "The lab does not have AWS's operation ListCodeSigningConfigs."
    assert refused("NotImplementedException", 501, client.list_layers).endswith("operation ListLayers.")
    assert requests.get(f"{server.url}/", timeout=10).status_code == 404
    wrong = requests.patch(f"{server.url}/2015-03-31/functions", timeout=10)
    assert (wrong.status_code, wrong.headers["x-amzn-errortype"]) == (405, "MethodNotAllowedException")
    assert requests.get(f"{server.url}/lambent/code/none/latest", timeout=10).status_code == 404


@pytest.mark.usefixtures("hello")
def test_a_failure_of_the_lab_is_aws_s_service_exception(client: Any, world: World) -> None:
    world.broken = True
    assert refused("ServiceException", 500, client.invoke, FunctionName="hello") == "no box can be made"
    stream = client.invoke_with_response_stream
    assert refused("ServiceException", 500, stream, FunctionName="hello") == "no box can be made"


def test_functions_of_the_python_interface_are_served_too(lab: Lab, client: Any, tmp_path: Path) -> None:
    function = lab.function("mine", code=tmp_path, handler="app.handler", memory=256, timeout=2.5)
    assert json.load(client.invoke(FunctionName=function.arn)["Payload"]) == {"ok": True}
    found = client.get_function_configuration(FunctionName="mine")
    assert (found["MemorySize"], found["Timeout"], found["CodeSize"]) == (256, 3, 0)
    (tmp_path / "app.py").write_text("x = 1")
    assert client.get_function_configuration(FunctionName="mine")["CodeSize"] == 5
    assert function.publish() == "1"
    assert client.get_function(FunctionName="mine", Qualifier="1")["Configuration"]["Version"] == "1"


def test_a_server_ends_before_its_lab_or_with_it(world: World) -> None:
    with Lab(environment=world) as lab:
        with lab.serve() as first:
            assert requests.get(f"{first.url}/2016-08-19/account-settings", timeout=10).ok
        with pytest.raises(requests.ConnectionError):
            requests.get(first.url, timeout=10)
        second = lab.serve(port=0)
    with pytest.raises(requests.ConnectionError):
        requests.get(second.url, timeout=10)
