"""Function URLs without a socket: requests to events, responses to HTTP, CORS, signatures."""

from __future__ import annotations

import base64
import datetime as dt
import json
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent_lab.environ import ACCESS_KEY, SECRET_KEY
from lambent_lab.http import Request
from lambent_lab.protocol.prelude import Prelude
from lambent_lab.service.problems import ServiceError
from lambent_lab.service.urls import Cors, answer, cors, event, signature
from lambent_lab.service.urls.settings import domain_name, url_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOW = dt.datetime(2026, 11, 22, 8, 30, 5, 250_000, dt.UTC)
ROOT = "1-6b02aba1-00e92ea3ffd2d4574b05f8f1"
ID = url_id("hello", "$LATEST")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=10)


def request(
    method: str = "GET",
    path: str = "/",
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    repeated: Mapping[str, tuple[str, ...]] | None = None,
) -> Request:
    return Request(
        method, path, query, {"host": "127.0.0.1:1", **(headers or {})}, body,
        repeated=MappingProxyType(dict(repeated or {})), peer="127.0.0.1",
    )  # fmt: skip


def made(asked: Request, **options: Any) -> dict[str, Any]:
    found = event.make(asked, ID, request_id="r-1", root=ROOT, now=NOW, port=1234, **options)
    assert json.loads(json.dumps(found)) == found
    return found


# -- events


def test_an_event_is_that_of_the_documentation() -> None:
    found = made(
        request(
            "POST",
            "/my/path",
            "parameter1=value1&parameter1=value2&parameter2=value",
            {
                "header1": "value1",
                "content-type": "text/plain",
                "cookie": "cookie1; cookie2",
                "user-agent": "agent",
            },
            b"Hello from client!",
            {"header2": ("value1", "value2")},
        )
    )
    context = found.pop("requestContext")
    assert found.pop("headers")["header1"] == "value1"
    assert found == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/my/path",
        "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=value",
        "cookies": ["cookie1", "cookie2"],
        "queryStringParameters": {"parameter1": "value1,value2", "parameter2": "value"},
        "body": "Hello from client!",
        "isBase64Encoded": False,
    }
    assert context == {
        "accountId": "anonymous",
        "apiId": ID,
        "domainName": f"{ID}.lambda-url.us-east-1.on.aws",
        "domainPrefix": ID,
        "http": {
            "method": "POST",
            "path": "/my/path",
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": "agent",
        },
        "requestId": "r-1",
        "routeKey": "$default",
        "stage": "$default",
        "time": "22/Nov/2026:08:30:05 +0000",
        "timeEpoch": 1795336205250,
    }


def test_what_was_not_sent_is_not_there() -> None:
    assert made(request()).keys() == {
        "version", "routeKey", "rawPath", "rawQueryString", "headers", "requestContext", "isBase64Encoded",
    }  # fmt: skip


def test_header_fields() -> None:
    asked = request(
        headers={
            "a": "1, 2",
            "b": "x, y",
            "connection": "keep-alive, x-mine",
            "x-mine": "hop",
            "expect": "100-continue",
            "transfer-encoding": "chunked",
            "te": "trailers",
            "x-forwarded-for": "10.0.0.1",
            "x-forwarded-proto": "https",
            "x-amzn-trace-id": "Self=1-a",
        },
        body=b"12345",
        repeated={"b": ("x", "y")},
    )
    assert made(asked)["headers"] == {
        "host": "127.0.0.1:1",
        "a": "1, 2",  # came so
        "b": "x,y",
        "content-length": "5",
        "x-forwarded-for": "10.0.0.1, 127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-port": "1234",
        "x-amzn-trace-id": f"Self=1-a;Root={ROOT}",
    }
    assert made(request())["headers"]["x-amzn-trace-id"] == f"Root={ROOT}"
    given_root = request(headers={"x-amzn-trace-id": "Root=1-b;Parent=c;Sampled=1"})
    assert made(given_root)["headers"]["x-amzn-trace-id"] == "Root=1-b;Parent=c;Sampled=1"
    assert event.make(Request("GET", "/"), ID, request_id="", root=ROOT, now=NOW, port=1)["headers"][
        "host"
    ] == domain_name(ID)


def test_cookies_of_several_fields() -> None:
    asked = request(headers={"cookie": "a=1; b=2, c=3"}, repeated={"cookie": ("a=1; b=2", "c=3;")})
    assert made(asked)["cookies"] == ["a=1", "b=2", "c=3"]
    assert made(asked)["headers"]["cookie"] == "a=1; b=2,c=3;"


@pytest.mark.parametrize(
    ("sent", "raw"),
    [
        ("/pa2%Fth/1", "/pa2%Fth/1"),
        ("/a%20b%2Fc", "/a%20b%2Fc"),
        ("//a/../b", "//a/../b"),
        ("http://example.com/x/y", "/x/y"),
        ("http://example.com", "/"),
        ("*", "/"),
        ("/\xc3\xa9", "/%C3%A9"),
    ],
)
def test_paths_stay_as_they_were_sent(sent: str, raw: str) -> None:
    found = made(request(path=sent))
    assert (found["rawPath"], found["requestContext"]["http"]["path"]) == (raw, raw)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=6))
def test_any_query(pairs: list[tuple[str, str]]) -> None:
    query = urlencode(pairs)
    found = made(request(query=query))
    assert found["rawQueryString"] == query
    expected: dict[str, list[str]] = {}
    for name, value in pairs:
        expected.setdefault(name, []).append(value)
    assert found.get("queryStringParameters", {}) == {k: ",".join(v) for k, v in expected.items()}


@given(
    st.text(st.characters(max_codepoint=255), max_size=40),
    st.text(st.characters(max_codepoint=255), max_size=40),
)
def test_no_target_fails(path: str, query: str) -> None:
    found = made(request(path=path, query=query))
    assert found["rawPath"].startswith("/")
    assert (found["rawPath"] + found["rawQueryString"]).isascii()


@given(
    st.binary(max_size=60), st.sampled_from(["", "text/plain", "application/json; charset=x", "image/png"])
)
def test_any_body_arrives(data: bytes, kind: str) -> None:
    found = made(request("POST", headers={"content-type": kind}, body=data))
    text = found.get("body", "")
    assert (base64.b64decode(text) if found["isBase64Encoded"] else text.encode()) == data


@pytest.mark.parametrize(
    ("kind", "encoded"),
    [
        ("text/html; charset=utf-8", False),
        ("application/json", False),
        ("APPLICATION/JSON", False),
        ("application/xml", False),
        ("application/javascript", False),
        ("application/vnd.api+json", False),
        ("application/x-www-form-urlencoded", True),
        ("multipart/form-data; boundary=x", True),
        ("application/octet-stream", True),
        ("", True),
    ],
)
def test_the_content_type_says_whether_a_body_is_text(kind: str, encoded: bool) -> None:
    assert event.body(b"a=1", kind)[1] is encoded


def test_ids_are_as_aws_makes_them() -> None:
    assert len(ID) == 32
    assert ID.isalnum()
    assert url_id("hello", "$LATEST") == ID
    assert len({ID, url_id("hello", "prod"), url_id("other", "$LATEST")}) == 3


# -- responses


def read(value: object) -> tuple[int, dict[str, str], bytes]:
    found = answer.read(json.dumps(value).encode())
    return found.status, dict(found.headers), found.body


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"hello": "world"}, b'{"hello":"world"}'),
        (["hello", 3, True], b'["hello",3,true]'),
        ("hello", b"hello"),
        (3, b"3"),
        (3.1, b"3.1"),
        (True, b"true"),
        (None, b"null"),
        ({"body": "x", "headers": {"a": "b"}}, b'{"body":"x","headers":{"a":"b"}}'),
        ({"statusCode": None}, b'{"statusCode":null}'),
    ],
)
def test_what_has_no_status_is_a_body(value: object, body: bytes) -> None:
    # As recorded from AWS; white space is dropped there, and a text is not quoted.
    assert read(value) == (200, {"Content-Type": "application/json"}, body)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
                    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8),
       st.sampled_from([None, 2]))  # fmt: skip
def test_no_value_is_changed(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert json.loads(answer.compact(text)) == value
    if not isinstance(value, str) and not (isinstance(value, dict) and value.get("statusCode") is not None):
        assert json.loads(answer.read(text.encode()).body) == value


def test_a_response() -> None:
    value = {
        "statusCode": "201",
        "headers": {"content-type": "text/plain", "X-Number": 3, "X-Flag": True, "X-None": None},
        "multiValueHeaders": {"x-many": ["a", "b"]},
        "cookies": ["a=1; Path=/", "b=2"],
        "body": "ÿ",
    }
    found = answer.read(json.dumps(value).encode())
    assert found.status == 201
    assert found.headers == (
        ("content-type", "text/plain"), ("X-Number", "3"), ("X-Flag", "true"),
        ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"),
    )  # fmt: skip
    assert found.body == "ÿ".encode()


def test_bodies() -> None:
    encoded = base64.b64encode(bytes(range(256))).decode()
    assert read({"statusCode": 200, "body": encoded, "isBase64Encoded": True})[2] == bytes(range(256))
    assert read({"statusCode": 200, "body": encoded})[2] == encoded.encode()
    assert read({"statusCode": 302, "headers": {"Location": "/"}})[2] == b""
    assert read({"statusCode": 200, "body": {"a": [1]}})[2] == b'{"a":[1]}'
    assert read({"statusCode": 204, "body": "not with 204"})[2] == b""


def test_fields_that_are_not_the_functions_have_another_name() -> None:
    headers = {"Content-Length": "9", "connection": "x", "Date": "d", "WWW-Authenticate": "Basic"}
    found = read({"statusCode": 401, "headers": headers})[1]
    assert found == {"Content-Type": "application/json"} | {
        f"x-amzn-Remapped-{name}": value for name, value in headers.items()
    }


@pytest.mark.parametrize(
    "payload",
    [
        b"not json", b"\xff", b"NaN", b'{"statusCode": NaN}', b"[" * 100_000,
        *(json.dumps(value).encode() for value in (
            {"statusCode": "abc"}, {"statusCode": 99}, {"statusCode": 101}, {"statusCode": 600},
            {"statusCode": True},
            {"statusCode": 200.5}, {"statusCode": [200]}, {"statusCode": 200, "headers": []},
            {"statusCode": 200, "headers": {"a b": "c"}}, {"statusCode": 200, "headers": {"": "c"}},
            {"statusCode": 200, "headers": {"a": "b\r\nc: d"}}, {"statusCode": 200, "headers": {"a": ["b"]}},
            {"statusCode": 200, "cookies": "a=1"}, {"statusCode": 200, "cookies": ["a\n"]},
            {"statusCode": 200, "body": "%%", "isBase64Encoded": True},
        )),
    ],
)  # fmt: skip
def test_what_http_cannot_carry(payload: bytes) -> None:
    with pytest.raises(answer.AnswerError):
        answer.read(payload)


@given(st.binary(max_size=80))
def test_any_payload_is_an_answer_or_an_error(payload: bytes) -> None:
    with suppress(answer.AnswerError):
        assert answer.read(payload).status >= 200


def test_a_prelude() -> None:
    status, fields = answer.begun(Prelude(201, (("X-A", "b"),), ("a=1", "b=2")))
    assert (status, fields) == (
        201,
        (("Content-Type", answer.STREAM_TYPE), ("X-A", "b"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")),
    )
    with pytest.raises(answer.AnswerError):
        answer.begun(Prelude(101, (), ()))


# -- CORS

SITE = "https://www.example.com"
ASKS = {
    "origin": SITE,
    "access-control-request-method": "PUT",
    "access-control-request-headers": "x-a,x-b",
}


@pytest.mark.parametrize(
    ("configured", "fields"),
    [
        (
            Cors(origins=("*",), methods=("*",), headers=("*",), max_age_s=300),
            {"Origin": "*", "Methods": "*", "Headers": "*", "Age": "300"},
        ),
        (
            Cors(origins=("https://other.example", SITE), methods=("GET", "PUT"), headers=("x-a", "x-b")),
            {"Origin": SITE, "Methods": "GET,PUT", "Headers": "x-a,x-b", "Vary": "Origin"},
        ),
        (
            Cors(origins=("*",), methods=("*",), headers=("*",), credentials=True),
            {"Origin": SITE, "Methods": "PUT", "Headers": "x-a,x-b", "Vary": "Origin", "Credentials": "true"},
        ),
        (Cors(origins=("https://other.example",), methods=("*",)), {}),
        (Cors(methods=("*",)), {}),
    ],
)
def test_preflights(configured: Cors, fields: dict[str, str]) -> None:
    found = {name.removeprefix("Access-Control-").removeprefix("Allow-").removeprefix("Max-"): value
             for name, value in cors.preflight(configured, ASKS)}  # fmt: skip
    assert found == fields


def test_what_a_preflight_is() -> None:
    assert cors.is_preflight("OPTIONS", ASKS)
    assert not cors.is_preflight("GET", ASKS)
    assert not cors.is_preflight("OPTIONS", {"origin": SITE})


def test_configured_fields_take_precedence() -> None:
    own = (("access-control-allow-origin", "http://own.example"), ("Vary", "Accept"), ("X-A", "b"))
    configured = Cors(origins=(SITE,), expose=("Date", "X-A"), credentials=True)
    assert cors.applied(None, SITE, own) == own
    assert cors.applied(configured, "https://other.example", own) == own
    assert cors.applied(configured, SITE, own) == (
        ("Vary", "Accept"), ("X-A", "b"), ("Access-Control-Allow-Origin", SITE), ("Vary", "Origin"),
        ("Access-Control-Allow-Credentials", "true"), ("Access-Control-Expose-Headers", "Date,X-A"),
    )  # fmt: skip


# -- signatures: botocore signs


def signed(
    url: str = "http://127.0.0.1:1234/", *, method: str = "GET", body: bytes = b"", secret: str = SECRET_KEY,
    key: str = ACCESS_KEY, region: str = "us-east-1", service: str = "lambda", expires: int | None = None,
    headers: dict[str, str] | None = None,
) -> signature.Signed:  # fmt: skip
    asked = AWSRequest(method, url, data=body, headers={"Host": "127.0.0.1:1234", **(headers or {})})
    credentials = Credentials(key, secret, "a-token")
    if expires is None:
        SigV4Auth(credentials, service, region).add_auth(asked)
    else:
        SigV4QueryAuth(credentials, service, region, expires=expires).add_auth(asked)
    found = {name.lower(): value for name, value in asked.headers.items()}
    prepared = asked.prepare()
    path, _, query = prepared.url.removeprefix("http://127.0.0.1:1234").partition("?")
    return signature.Signed(
        method=method, path=path, query=query, body=body,
        values=lambda name: (found[name],) if name in found else (),
    )  # fmt: skip


def fields(values: Mapping[str, tuple[str, ...]]) -> Callable[[str], tuple[str, ...]]:
    return lambda name: values.get(name, ())


def changed(request: signature.Signed, **changes: Any) -> signature.Signed:
    fields = {name: getattr(request, name) for name in ("method", "path", "query", "values", "body")}
    return signature.Signed(**{**fields, **changes})


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@pytest.mark.parametrize("expires", [None, 60])
@settings(max_examples=40)
@given(
    path=st.text(max_size=12), pairs=st.lists(st.tuples(NAMES, TEXT), max_size=3), body=st.binary(max_size=20)
)
def test_any_signature_of_botocore_is_right(
    expires: int | None, path: str, pairs: list[tuple[str, str]], body: bytes
) -> None:
    path = path.encode("utf-8", "replace").decode()
    body = body if expires is None else b""  # botocore takes a presigned request's body for parameters
    url = f"http://127.0.0.1:1234/{quote(path)}" + (f"?{urlencode(pairs, quote_via=quote)}" if pairs else "")
    asked = signed(url, method="POST", body=body, expires=expires)
    assert signature.verify(asked, now()) == signature.Caller(ACCESS_KEY)
    for wrong in (
        changed(asked, method="PUT"),
        changed(asked, path=f"{asked.path}x"),
        changed(asked, query=f"{asked.query}&x=y".removeprefix("&")),
        changed(asked, body=body + b"x"),
    ):
        with pytest.raises(ServiceError) as caught:
            signature.verify(wrong, now())
        assert (caught.value.status, caught.value.code) == (403, "InvalidSignatureException")


def test_the_pairs_of_a_query_may_come_in_any_order() -> None:
    asked = signed("http://127.0.0.1:1234/?b=2&a=1&a=0")
    assert dict(parse_qsl(asked.query))["b"] == "2"
    signature.verify(changed(asked, query="a=0&b=2&a=1"), now())


def test_a_request_without_a_signature_is_forbidden() -> None:
    given: tuple[dict[str, tuple[str, ...]], ...] = (
        {},
        {"authorization": ("Bearer x",)},
        {"authorization": ("Basic eDp5",)},
    )
    for values in given:
        asked = signature.Signed(method="GET", path="/", query="", values=fields(values), body=b"")
        with pytest.raises(ServiceError, match=r"^Forbidden\. For troubleshooting") as caught:
            signature.verify(asked, now())
        assert (caught.value.code, caught.value.status) == ("AccessDeniedException", 403)


@pytest.mark.parametrize(
    ("how", "after_s", "words"),
    [
        ({"secret": "another"}, 0, "does not match"),
        ({"region": "eu-west-1"}, 0, "valid region"),
        ({"service": "execute-api"}, 0, "correct service"),
        ({}, 302, "expired"),
        ({}, -310, "not yet current"),
        ({"expires": 10}, 12, "expired"),
        ({"expires": 604_801}, 0, "X-Amz-Expires"),
        ({"key": "any", "headers": {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}}, 0, "does not match"),
    ],
)
def test_what_a_signature_must_be(how: dict[str, Any], after_s: int, words: str) -> None:
    with pytest.raises(ServiceError, match=words) as caught:
        signature.verify(signed(**how), now() + dt.timedelta(seconds=after_s))
    assert caught.value.status == 403


def test_of_other_access_keys_the_lab_knows_no_secret() -> None:
    caller = signature.verify(signed(key="any", secret="thing"), now())
    assert caller.document()["userArn"] == "arn:aws:iam::123456789012:user/any"
    found = made(request(), caller=caller)["requestContext"]
    assert (found["accountId"], found["authorizer"]["iam"]["accessKey"]) == ("123456789012", "any")


@given(TEXT, TEXT)
def test_no_authorization_fails_otherwise(rest: str, query: str) -> None:
    for text in (
        rest,
        f"{signature.ALGORITHM} {rest}",
        f"{signature.ALGORITHM} Credential={rest}/2/us-east-1",
    ):
        asked = signature.Signed(
            method="GET", path="/", query=f"X-Amz-Algorithm={signature.ALGORITHM}&{query}", body=b"",
            values=fields({"authorization": (text,), "x-amz-date": (text,)}),
        )  # fmt: skip
        with pytest.raises(ServiceError):
            signature.verify(asked, NOW)
