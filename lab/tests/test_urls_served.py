"""Function URLs over HTTP: AWS's API for them, requests of every kind, streams, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection, IncompleteRead
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from lab.tests.clients import client_of

from lambent_lab.environ import ACCESS_KEY, SECRET_KEY
from lambent_lab.errors import LabError, UsageError
from lambent_lab.service import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lambent_lab.response import ResponseSink
    from lambent_lab.service import Function
    from lambent_lab.service.testing import FakeInvocation, World

ARN = "arn:aws:lambda:us-east-1:123456789012:function:hello"
ORIGIN = {"Origin": "https://www.example.com"}
PRELUDE = "application/vnd.awslambda.http-integration-response"


@pytest.fixture
def lab(world: World) -> Iterator[Lab]:
    with Lab(environment=world) as opened:
        yield opened


@pytest.fixture
def client(lab: Lab) -> Any:
    return client_of(lab.serve().url)


@pytest.fixture
def hello(lab: Lab, tmp_path: Path) -> Function:
    return lab.function("hello", code=tmp_path, handler="app.handler", url=True)


@pytest.fixture
def url(hello: Function) -> str:
    assert hello.url is not None
    return hello.url


def answers(world: World, payload: object, error: str | None = None) -> None:
    async def work(invocation: FakeInvocation) -> None:
        invocation.payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        invocation.function_error = error

    world.work = work


def refused(code: str, status: int, call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response: Any = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    return str(response["Error"]["Message"])


def told(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "ResponseMetadata"}


def exchange(url: str, message: bytes, *, end: bool = False) -> bytes:
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as raw:
        raw.sendall(message)
        if end:
            raw.shutdown(socket.SHUT_WR)
        answer = b""
        while part := raw.recv(65536):
            answer += part
    return answer


# -- AWS's API


def test_the_life_of_a_url(client: Any, lab: Lab, tmp_path: Path, world: World) -> None:
    lab.function("hello", code=tmp_path, handler="app.handler")
    cors = {"AllowOrigins": ["*"], "AllowMethods": ["GET", "PUT"], "AllowCredentials": False, "MaxAge": 5}
    made = client.create_function_url_config(FunctionName="hello", AuthType="NONE", Cors=cors)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    made = told(made)
    assert made.keys() == {"FunctionUrl", "FunctionArn", "AuthType", "Cors", "CreationTime", "InvokeMode"}
    assert (made["FunctionArn"], made["AuthType"], made["InvokeMode"]) == (ARN, "NONE", "BUFFERED")
    assert made["Cors"] == cors
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", made["FunctionUrl"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", made["CreationTime"])
    assert requests.get(made["FunctionUrl"], timeout=60).json() == {"ok": True}

    got = told(client.get_function_url_config(FunctionName="hello"))
    assert got == {**made, "LastModifiedTime": made["CreationTime"]}
    changed = told(client.update_function_url_config(FunctionName="hello", AuthType="AWS_IAM"))
    assert changed["LastModifiedTime"] > got["LastModifiedTime"]
    assert changed == {**got, "AuthType": "AWS_IAM", "LastModifiedTime": changed["LastModifiedTime"]}
    assert requests.get(made["FunctionUrl"], timeout=60).status_code == 403
    ended = client.update_function_url_config(FunctionName=ARN, InvokeMode="RESPONSE_STREAM", Cors={})
    assert (ended["InvokeMode"], ended["AuthType"], "Cors" in ended) == ("RESPONSE_STREAM", "AWS_IAM", False)

    deleted = client.delete_function_url_config(FunctionName="hello")
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(requests.ConnectionError):
        requests.get(made["FunctionUrl"], timeout=60)
    assert client.list_function_url_configs(FunctionName="hello")["FunctionUrlConfigs"] == []
    assert len(world.payloads) == 1


def test_urls_of_aliases(client: Any, lab: Lab, tmp_path: Path, world: World) -> None:
    function = lab.function("hello", code=tmp_path, handler="app.handler")
    (tmp_path / "app.py").write_text("")
    version = function.publish()
    for name in ("live", "test"):
        function.alias(name, version)
        client.create_function_url_config(FunctionName=f"hello:{name}", AuthType="NONE")
    client.create_function_url_config(FunctionName="hello", AuthType="NONE")
    live = client.get_function_url_config(FunctionName="hello", Qualifier="live")
    assert live["FunctionArn"] == f"{ARN}:live"
    first = client.list_function_url_configs(FunctionName="hello", MaxItems=2)
    rest = client.list_function_url_configs(FunctionName="hello", Marker=first["NextMarker"])
    listed = [*first["FunctionUrlConfigs"], *rest["FunctionUrlConfigs"]]
    assert [each["FunctionArn"] for each in listed] == [ARN, f"{ARN}:live", f"{ARN}:test"]
    assert len({each["FunctionUrl"] for each in listed}) == 3
    assert "NextMarker" not in rest

    requests.get(live["FunctionUrl"], timeout=60)
    assert world.environments[0].calls[0]["function_arn"] == f"{ARN}:live"
    assert world.environments[0].spec.version == version
    client.delete_alias(FunctionName="hello", Name="live")
    gone = requests.get(live["FunctionUrl"], timeout=60)
    assert (gone.status_code, gone.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
    client.delete_function(FunctionName="hello")
    with suppress(requests.ConnectionError):
        while requests.get(listed[2]["FunctionUrl"], timeout=60):  # it closes beside the answer
            pass


@pytest.mark.usefixtures("hello")
def test_what_is_refused(client: Any) -> None:
    create, name = client.create_function_url_config, {"FunctionName": "hello"}
    message = refused("ResourceConflictException", 409, create, **name, AuthType="NONE")
    assert message == (
        f"Failed to create function url config for [functionArn = {ARN}]. "
        "Error message:  FunctionUrlConfig exists for this Lambda function"
    )
    missing = "ResourceNotFoundException"
    assert refused(missing, 404, create, FunctionName="no", AuthType="NONE") == "Function does not exist"
    assert refused(missing, 404, create, **name, Qualifier="no", AuthType="NONE") == "Function does not exist"
    assert refused(missing, 404, client.list_function_url_configs, FunctionName="no")
    for call in (client.get_function_url_config, client.delete_function_url_config):
        assert refused(missing, 404, call, FunctionName="no") == "The resource you requested does not exist."
        assert refused(missing, 404, call, **name, Qualifier="no")
    assert refused(missing, 404, client.update_function_url_config, **name, Qualifier="no", AuthType="NONE")
    for qualifier in ("$LATEST", "1"):
        assert "'qualifier' failed to satisfy" in refused(
            "ValidationException", 400, create, **name, Qualifier=qualifier, AuthType="NONE"
        )
    assert "'authType'" in refused("ValidationException", 400, create, **name, AuthType="SOME")
    assert "'invokeMode'" in refused(
        "ValidationException", 400, create, **name, AuthType="NONE", InvokeMode="UNKNOWN"
    )
    assert "'cors.maxAge'" in refused(
        "ValidationException", 400, create, **name, AuthType="NONE", Cors={"MaxAge": 86_401}
    )
    assert "derived qualifier" in refused(
        "InvalidParameterValueException", 400, create, FunctionName="hello:a", Qualifier="b", AuthType="NONE"
    )


def test_from_python(lab: Lab, tmp_path: Path) -> None:
    function = lab.function("hello", code=tmp_path, handler="app.handler")
    urls = [function.url]
    made = function.add_url(cors=True)
    urls.append(function.url)
    assert function.add_url(mode="RESPONSE_STREAM") == made
    assert "Access-Control-Allow-Origin" not in requests.get(made, headers=ORIGIN, timeout=60).headers
    function.remove_url()
    function.remove_url()
    urls.append(function.url)
    assert urls == [None, made, None]
    with pytest.raises(UsageError, match=r"add_url\.auth cannot be 'no': choose NONE or AWS_IAM"):
        function.add_url(auth="no")
    with pytest.raises(UsageError, match="unknown key 'moed': did you mean 'mode'"):
        lab.function("other", code=tmp_path, handler="app.handler", url={"moed": 1})
    with pytest.raises(LabError, match="Cannot find alias"):
        function.add_url("no")


def test_a_port_of_ones_own(lab: Lab, tmp_path: Path, hello: Function) -> None:
    assert hello.url is not None
    port = urlsplit(hello.url).port
    with pytest.raises(LabError, match=rf"Port {port} of 127\.0\.0\.1 cannot be had for the URL of other"):
        lab.function("other", code=tmp_path, handler="app.handler", url={"port": port})
    hello.remove_url()
    other = lab.function("other", code=tmp_path, handler="app.handler", url={"port": port})
    assert other.url == f"http://127.0.0.1:{port}/"
    assert requests.get(other.url, timeout=60).ok


def test_permissions_are_kept_and_told(client: Any, hello: Function) -> None:
    leave = {
        "FunctionName": "hello", "StatementId": "public", "Action": "lambda:InvokeFunctionUrl",
        "Principal": "*", "FunctionUrlAuthType": "NONE",
    }  # fmt: skip
    public = {
        "Sid": "public",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "lambda:InvokeFunctionUrl",
        "Resource": ARN,
        "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
    }
    missing = "ResourceNotFoundException"
    assert refused(missing, 404, client.get_policy, FunctionName="hello")
    made = client.add_permission(**leave)
    assert (made["ResponseMetadata"]["HTTPStatusCode"], json.loads(made["Statement"])) == (201, public)
    assert "already exists" in refused("ResourceConflictException", 409, client.add_permission, **leave)
    bucket = "arn:aws:s3:::bucket"
    client.add_permission(
        FunctionName=ARN, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn=bucket, SourceAccount="123456789012",
    )  # fmt: skip
    told = client.get_policy(FunctionName="hello")
    policy = json.loads(told["Policy"])
    assert (policy["Version"], policy["Id"], policy["Statement"][0]) == ("2012-10-17", "default", public)
    assert policy["Statement"][1]["Principal"] == {"Service": "s3.amazonaws.com"}
    assert policy["Statement"][1]["Condition"] == {
        "StringEquals": {"AWS:SourceAccount": "123456789012"},
        "ArnLike": {"AWS:SourceArn": bucket},
    }
    remove = client.remove_permission
    assert refused(
        "PreconditionFailedException", 412, remove, FunctionName="hello", StatementId="s3", RevisionId="x"
    )
    remove(FunctionName="hello", StatementId="s3", RevisionId=told["RevisionId"])
    assert "Statement s3 is not" in refused(missing, 404, remove, FunctionName="hello", StatementId="s3")
    remove(FunctionName="hello", StatementId="public")
    assert "No policy" in refused(missing, 404, remove, FunctionName="hello", StatementId="public")

    account = {**leave, "StatementId": "account", "Principal": "111122223333"}
    assert json.loads(client.add_permission(**account)["Statement"])["Principal"] == {
        "AWS": "arn:aws:iam::111122223333:root"
    }
    wrong = {**leave, "Principal": "somebody"}
    assert "principal was invalid" in refused(
        "InvalidParameterValueException", 400, client.add_permission, **wrong
    )
    latest = {**leave, "Qualifier": "$LATEST"}
    assert "$LATEST" in refused("InvalidParameterValueException", 400, client.add_permission, **latest)
    assert refused(missing, 404, client.add_permission, **leave, Qualifier="no")
    assert hello.url is not None


# -- requests and responses


def test_an_exchange(url: str, world: World) -> None:
    answers(world, {"statusCode": 201, "headers": {"x-a": "b"}, "cookies": ["a=1", "b=2"], "body": "made"})
    sent = "Root=1-6b02aba1-00e92ea3ffd2d4574b05f8f1;Parent=58573d1090f3d031;Sampled=1"
    response = requests.put(
        f"{url}a%20b?x=1&x=%C3%A9", data="é".encode(), timeout=60,
        headers={"Content-Type": "text/plain", "X-Amzn-Trace-Id": sent},
    )  # fmt: skip
    assert (response.status_code, response.text) == (201, "made")
    assert response.raw.headers.getlist("set-cookie") == ["a=1", "b=2"]
    assert (response.headers["x-a"], response.headers["content-type"]) == ("b", "application/json")
    assert response.headers["Date"].endswith("GMT")
    event = json.loads(world.payloads[0])
    call = world.environments[0].calls[0]
    assert response.headers["x-amzn-RequestId"] == event["requestContext"]["requestId"] == call["request_id"]
    assert response.headers["X-Amzn-Trace-Id"] == call["trace_header"] == sent
    assert event["rawPath"] == "/a%20b"
    assert event["queryStringParameters"] == {"x": "1,é"}
    assert (event["body"], event["isBase64Encoded"]) == ("é", False)
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert event["headers"]["x-forwarded-port"] == str(urlsplit(url).port)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "PROPFIND", "TRACE"])
def test_methods(url: str, world: World, method: str) -> None:
    response = requests.request(method, url, timeout=60)
    assert (response.status_code, response.content) == (200, b"" if method == "HEAD" else b'{"ok":true}')
    assert json.loads(world.payloads[0])["requestContext"]["http"]["method"] == method


def test_what_clients_send_otherwise(url: str, world: World) -> None:
    old = exchange(url, b"GET /old HTTP/1.0\r\n\r\n")
    assert old.startswith(b"HTTP/1.1 200 OK\r\n")
    assert old.endswith(b'\r\n\r\n{"ok":true}')
    head = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    chunks = b"Transfer-Encoding: chunked\r\nContent-Type: text/a\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    assert b" 200 " in exchange(url, b"POST /chunks" + head + chunks)
    many = b"A: 1\r\na: 2\r\nCookie: a=1\r\nCookie: b=2, c\r\n\r\n"
    assert b" 200 " in exchange(url, b"GET /many?a=1&b&a=%zz" + head + many)
    upgrade = b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nContent-Length: 2\r\n\r\nok"
    offer = b"POST /h2c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n" + upgrade
    offered = exchange(url, offer + b"GET /next" + head + b"\r\n")
    assert offered.count(b"HTTP/1.1 200 OK") == 2
    events = [json.loads(payload) for payload in world.payloads]
    assert [event["rawPath"] for event in events] == ["/old", "/chunks", "/many", "/h2c", "/next"]
    assert events[0]["requestContext"]["http"]["protocol"] == "HTTP/1.0"
    assert (events[1]["body"], events[1]["headers"]["content-length"]) == ("abcde", "5")
    assert "transfer-encoding" not in events[1]["headers"]
    assert (events[2]["headers"]["a"], events[2]["cookies"]) == ("1,2", ["a=1", "b=2, c"])
    assert events[2]["queryStringParameters"] == {"a": "1,%zz", "b": ""}
    assert events[3]["body"] == "b2s="
    assert not {"upgrade", "connection", "http2-settings"} & events[3]["headers"].keys()


def test_a_body_that_waits_to_be_asked_for(url: str, world: World) -> None:
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert raw.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"ok")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert "expect" not in json.loads(world.payloads[0])["headers"]


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nshort",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    ],
)
def test_what_is_no_request_is_400_and_the_url_lives(url: str, world: World, message: bytes) -> None:
    assert exchange(url, message, end=True).startswith(b"HTTP/1.1 400 ")
    assert world.payloads == []
    assert requests.get(url, timeout=60).ok


def test_no_more_than_six_megabytes(url: str, world: World) -> None:
    limit = 6_291_456
    texts = {"Content-Type": "text/plain"}
    assert requests.post(url, data=b"x" * (limit - 4096), headers=texts, timeout=60).ok
    for data, headers in ((b"x" * limit, texts), (b"x" * (limit // 4 * 3), {}), (b"x" * (limit + 1), texts)):
        response = requests.post(url, data=data, headers=headers, timeout=60)
        assert (response.status_code, response.headers["x-amzn-ErrorType"]) == (
            413,
            "RequestTooLargeException",
        )
    assert len(world.payloads) == 1


@pytest.mark.parametrize("mode", ["BUFFERED", "RESPONSE_STREAM"])
def test_failures(lab: Lab, hello: Function, world: World, mode: str) -> None:
    url = hello.add_url(mode=mode, cors={"origins": ["*"]})
    failed = 502, "Internal Server Error", "application/json", "*"

    def get() -> tuple[int, str, str, str]:
        response = requests.get(url, headers=ORIGIN, timeout=60)
        fields = response.headers
        assert fields["x-amzn-RequestId"]
        return (
            response.status_code,
            response.text,
            fields["content-type"],
            fields["access-control-allow-origin"],
        )

    answers(world, {"errorType": "ValueError", "errorMessage": "no"}, "Unhandled")
    assert get() == failed
    answers(world, {"errorType": "Sandbox.Timedout", "errorMessage": "no"}, "Unhandled")
    assert get() == failed
    answers(world, b'{"ok": true}')
    hello.reserve(0)
    status, text, _, origin = get()
    assert (status, json.loads(text)["message"], origin) == (429, "Rate Exceeded.", "*")
    hello.reserve(None)
    world.broken = True
    hello.stop()
    status, text, _, _ = get()
    assert (status, json.loads(text)["Message"]) == (500, "no box can be made")
    world.broken = False
    assert get()[0] == 200


def test_a_response_that_is_none(url: str, world: World, caplog: pytest.LogCaptureFixture) -> None:
    answers(world, {"statusCode": "many"})
    response = requests.get(url, timeout=60)
    assert (response.status_code, response.text) == (502, "Internal Server Error")
    request_id = response.headers["x-amzn-RequestId"]
    (said,) = caplog.messages
    assert said.startswith(f"hello answered request {request_id} with what is no response: statusCode is no")


def test_a_caller_that_goes_away_ends_nothing(url: str, world: World) -> None:
    go, done = threading.Event(), threading.Event()

    async def work(_invocation: FakeInvocation) -> None:
        await asyncio.to_thread(go.wait, 60)
        done.set()

    world.work = work
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert world.entered.wait(60)
    go.set()
    assert done.wait(60)
    assert requests.get(url, timeout=60).ok


# -- CORS and AWS_IAM


def test_cors(hello: Function, world: World) -> None:
    url = hello.add_url(
        cors={"origins": [ORIGIN["Origin"]], "methods": ["GET", "PUT"], "max_age": 9, "expose": ["X-A"]}
    )
    asks = {**ORIGIN, "Access-Control-Request-Method": "PUT"}
    leave = requests.options(f"{url}any/path", headers=asks, timeout=60)
    assert (leave.status_code, leave.content, world.payloads) == (200, b"", [])
    assert leave.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    assert leave.headers["Access-Control-Allow-Methods"] == "GET,PUT"
    assert leave.headers["Access-Control-Max-Age"] == "9"
    answers(world, {"statusCode": 200, "headers": {"access-control-allow-origin": "*"}})
    response = requests.get(url, headers=ORIGIN, timeout=60)
    assert response.raw.headers.getlist("access-control-allow-origin") == [ORIGIN["Origin"]]
    assert response.headers["Access-Control-Expose-Headers"] == "X-A"
    elsewhere = requests.options(url, headers={**asks, "Origin": "https://b.example"}, timeout=60)
    assert (elsewhere.status_code, "Access-Control-Allow-Origin" in elsewhere.headers) == (200, False)
    assert requests.options(url, timeout=60).ok
    assert len(world.payloads) == 2


def test_aws_iam(hello: Function, world: World) -> None:
    url = hello.add_url(auth="AWS_IAM", cors=True)
    bare = requests.post(url, data="{}", timeout=60)
    assert bare.status_code == 403
    assert bare.json()["Message"].startswith("Forbidden")
    assert bare.headers["x-amzn-ErrorType"] == "AccessDeniedException"

    def send(secret: str, body: bytes = b"{}", sent: bytes = b"{}") -> requests.Response:
        asked = AWSRequest("POST", f"{url}a?b=c", data=body, headers={"Content-Type": "application/json"})
        SigV4Auth(Credentials(ACCESS_KEY, secret), "lambda", "us-east-1").add_auth(asked)
        return requests.post(f"{url}a?b=c", data=sent, headers=dict(asked.headers), timeout=60)

    assert send(SECRET_KEY).ok
    event = json.loads(world.payloads[0])
    assert event["requestContext"]["accountId"] == "123456789012"
    assert event["requestContext"]["authorizer"]["iam"]["accessKey"] == ACCESS_KEY
    for wrong in (send("another"), send(SECRET_KEY, sent=b"[]")):
        assert (wrong.status_code, wrong.headers["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")
        assert wrong.json()["message"].startswith("The request signature we calculated does not match")
    assert len(world.payloads) == 1
    leave = requests.options(url, headers={**ORIGIN, "Access-Control-Request-Method": "GET"}, timeout=60)
    assert leave.headers["Access-Control-Allow-Origin"] == "*"


# -- streams


class Streaming:
    """A function that streams what the test says, and its URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.stream: Callable[[ResponseSink], Any]
        self.going_on = threading.Event()
        self.gone = threading.Event()


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch, hello: Function) -> Streaming:
    made = Streaming(hello.add_url(mode="RESPONSE_STREAM"))
    monkeypatch.setattr("lambent_lab.service.testing.hand_on", lambda _, sink: made.stream(sink))
    return made


def test_pieces_come_as_they_are_made(streaming: Streaming) -> None:
    async def stream(sink: ResponseSink) -> None:
        sink.begin(PRELUDE, streaming=True)
        await sink.write(b'{"statusCode": 207, "headers": {"Content-Type": "text/plain", "Co')
        await sink.write(b'nnection": "x"}, "cookies": ["a=1", "b=2"]}' + bytes(8) + b"first")
        await asyncio.to_thread(streaming.going_on.wait, 60)
        await sink.write(b" second")
        await sink.end(None, b"")

    streaming.stream = stream
    with requests.get(streaming.url, stream=True, timeout=60) as response:
        assert (response.status_code, response.headers["content-type"]) == (207, "text/plain")
        assert response.raw.headers.getlist("set-cookie") == ["a=1", "b=2"]
        assert response.headers["x-amzn-Remapped-Connection"] == "x"
        assert response.headers["x-amzn-RequestId"]
        pieces = response.iter_content(None)
        assert next(pieces) == b"first"
        streaming.going_on.set()
        assert b"".join(pieces) == b" second"


def test_without_a_prelude_all_is_body(streaming: Streaming) -> None:
    async def stream(sink: ResponseSink) -> None:
        sink.begin("text/event-stream", streaming=True)
        await sink.write(b'{"statusCode": 404}')
        await sink.end(None, b"")

    streaming.stream = stream
    response = requests.get(streaming.url, timeout=60)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")
    assert response.content == b'{"statusCode": 404}'
    old = exchange(streaming.url, b"GET / HTTP/1.0\r\n\r\n")
    assert old.endswith(b'\r\n\r\n{"statusCode": 404}')
    head = requests.head(streaming.url, timeout=60)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("kind", "pieces", "error"),
    [
        (PRELUDE, [b'{"statusCode": 200}'], None),
        (PRELUDE, [b"no JSON" + bytes(8)], None),
        (PRELUDE, [b'{"statusCode": 101}' + bytes(8)], None),
        (PRELUDE, [b"{" * 20_000], None),
        (PRELUDE, [b'{"statusCode"'], "Function.Failed"),
        (PRELUDE, [], None),
        ("text/plain", [], "Function.Failed"),
    ],
)
def test_what_goes_wrong_before_the_body(
    streaming: Streaming, kind: str, pieces: list[bytes], error: str | None
) -> None:
    async def stream(sink: ResponseSink) -> None:
        sink.begin(kind, streaming=True)
        for piece in pieces:
            await sink.write(piece)
        await sink.end(error, b"{}")

    streaming.stream = stream
    response = requests.get(streaming.url, timeout=60)
    assert (response.status_code, response.text) == (502, "Internal Server Error")


def test_a_failure_in_the_middle_is_seen(streaming: Streaming, caplog: pytest.LogCaptureFixture) -> None:
    async def stream(sink: ResponseSink) -> None:
        sink.begin("text/plain", streaming=True)
        await sink.write(b"a part")
        await sink.end("Function.Failed", b"{}")

    streaming.stream = stream
    place = urlsplit(streaming.url)
    connection = HTTPConnection(str(place.hostname), place.port, timeout=60)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.status == 200
    with pytest.raises(IncompleteRead) as caught:
        response.read()
    assert caught.value.partial == b"a part"
    connection.close()
    assert not caplog.records


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(streaming: Streaming, status: int) -> None:
    async def stream(sink: ResponseSink) -> None:
        sink.begin(PRELUDE, streaming=True)
        await sink.write(json.dumps({"statusCode": status}).encode() + bytes(8) + b"not allowed")
        await sink.end(None, b"")

    streaming.stream = stream
    with requests.Session() as session:  # one connection: what follows would be out of step
        for _ in range(2):
            response = session.get(streaming.url, timeout=60)
            assert (response.status_code, response.content) == (status, b"")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_function_is_told_when_its_caller_has_gone(streaming: Streaming, method: bytes) -> None:
    async def stream(sink: ResponseSink) -> None:
        sink.begin("text/plain", streaming=True)
        try:
            while True:
                await sink.write(b"x" * 65536)
        except ConnectionError:
            streaming.gone.set()

    streaming.stream = stream
    place = urlsplit(streaming.url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as raw:
        raw.sendall(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.recv(12) == b"HTTP/1.1 200"
    assert streaming.gone.wait(60)
