"""Signing requests to AWS: botocore is the oracle of the signature, real servers stand for the rest."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from lambent.config import read
from lambent.exporters._sigv4 import Credentials, Signer, sign
from lambent.exporters.choose import choose
from lambent.testing import recording_tracer

if TYPE_CHECKING:
    from pathlib import Path

    from sdk.tests.exporters.conftest import StartServer

SECRET = "hush/4711+abcdefghij"
KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": SECRET}
NOW = 1_700_000_000.0


def botocores(
    credentials: Credentials,
    region: str,
    url: str,
    headers: dict[str, str],
    body: bytes,
    now: float,
    method: str,
) -> dict[str, str]:
    request = AWSRequest(method, url, dict(headers), body)
    frozen = dt.datetime.fromtimestamp(now, tz=dt.UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=frozen):
        signer = SigV4Auth(
            BotoCredentials(credentials.access_key, credentials.secret, credentials.token or None),
            "xray",
            region,
        )
        signer.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


NAMES = st.from_regex(r"x-[a-z0-9\-]{1,10}", fullmatch=True).filter(lambda name: not name.startswith("x-amz"))
VALUES = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12
) | st.sampled_from(["a  b", "a\tb", "application/x-protobuf"])
PATHS = st.lists(
    st.text("abcXYZ019-_.~%20/ü@:+", max_size=6).filter(lambda part: "?" not in part), max_size=4
).map(lambda parts: "/" + "/".join(parts))
QUERIES = st.lists(
    st.tuples(st.text("abz09-_~", min_size=1, max_size=4), st.text("abz09-_~%", max_size=4)), max_size=3
).map(lambda pairs: "&".join("=".join(pair) for pair in pairs))


@given(
    st.text("ABCDEFGHIJKLMNOP0123456789", min_size=4, max_size=20),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    st.just("") | st.text("abcDEF+/=", min_size=1, max_size=60),
    st.sampled_from(["us-east-1", "eu-west-1", "cn-north-1"]),
    st.sampled_from(["xray.eu-west-1.amazonaws.com", "localhost:4318", "h"]),
    PATHS,
    QUERIES,
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.binary(max_size=60),
    st.integers(0, 4_000_000_000),
)
def test_the_signature_is_botocores(
    access_key: str,
    secret: str,
    token: str,
    region: str,
    host: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    now: int,
) -> None:
    credentials = Credentials(access_key, secret, token)
    target = f"{path}?{query}" if query else path
    headers = {"content-type": "application/x-protobuf", "user-agent": "ours", **headers}
    expected = botocores(credentials, region, f"https://{host}{target}", headers, body, now, "POST")
    found = sign(credentials, region, "xray", host, target, headers, body, now)
    assert found["authorization"] == expected["authorization"]
    assert found["x-amz-date"] == expected["x-amz-date"]
    assert found.get("x-amz-security-token") == expected.get("x-amz-security-token")


def headers_of(signer: Signer) -> dict[str, str]:
    return signer.headers("h", "/", {}, b"", 5.0)


def test_credentials_of_the_environment() -> None:
    found = headers_of(Signer({**KEYS, "AWS_SESSION_TOKEN": "tok"}, "eu-west-1", "xray", lambda: NOW))
    assert "Credential=AKID/20231114/eu-west-1/xray/aws4_request" in found["authorization"]
    assert found["x-amz-security-token"] == "tok"
    assert "x-amz-security-token" not in headers_of(Signer(KEYS, "eu-west-1", "xray"))


def answer(content: object, status: str = "200 OK") -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def issued(key: str, expires: float) -> dict[str, str]:
    moment = dt.datetime.fromtimestamp(expires, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"AccessKeyId": key, "SecretAccessKey": SECRET, "Token": "tok", "Expiration": moment}


def test_credentials_of_a_container_are_kept_until_they_end(serve: StartServer, tmp_path: Path) -> None:
    server = serve(answer(issued("ONE", NOW + 3600)), answer(issued("TWO", NOW + 7200)))
    (tmp_path / "token").write_text("from a file\n")
    environ = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.port}/2021-04-23/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "from the environment",
    }
    now = [NOW]
    signer = Signer(environ, "eu-west-1", "xray", lambda: now[0])
    assert "Credential=ONE/" in headers_of(signer)["authorization"]
    assert "Credential=ONE/" in headers_of(signer)["authorization"]
    now[0] += 3400
    assert "Credential=TWO/" in headers_of(signer)["authorization"]
    assert [request.line for request in server.requests] == ["GET /2021-04-23/credentials HTTP/1.1"] * 2
    assert server.requests[0].headers["authorization"] == "from the environment"
    signer = Signer(
        {**environ, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token")}, "eu-west-1", "xray"
    )
    headers_of(signer)
    assert server.requests[2].headers["authorization"] == "from a file"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (answer({"message": SECRET}, "403 Forbidden"), "answered 403"),
        (answer({"AccessKeyId": SECRET}), "gave no credentials"),
        (answer([1]), "gave no credentials"),
        (answer(b"nonsense"), "gave no credentials"),
    ],
)
def test_a_container_without_credentials(reply: bytes, said: str, serve: StartServer) -> None:
    server = serve(reply)
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.port}/"}
    with pytest.raises(ValueError, match=said) as caught:
        headers_of(Signer(environ, "eu-west-1", "xray"))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["http://example.org/", f"ftp://{SECRET}@127.0.0.1/"])
def test_a_container_elsewhere_is_not_asked(url: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)credentials") as caught:
        headers_of(Signer({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}, "eu-west-1", "xray"))
    assert SECRET not in str(caught.value)


def test_what_botocore_finds_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text(
        f"[default]\naws_access_key_id = FILE\naws_secret_access_key = {SECRET}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "Credential=FILE/" in headers_of(Signer({}, "eu-west-1", "xray"))["authorization"]
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID"):
        headers_of(Signer({}, "eu-west-1", "xray"))
    monkeypatch.setitem(__import__("sys").modules, "botocore.session", None)
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID"):
        headers_of(Signer({}, "eu-west-1", "xray"))


def test_a_signature_wants_a_region() -> None:
    with pytest.raises(ValueError, match="AWS_REGION"):
        Signer(KEYS, "", "xray")


def test_the_server_gets_a_request_that_botocore_would_have_signed(serve: StartServer) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    server = serve(busy, answer(b""))
    environ = {**KEYS, "AWS_SESSION_TOKEN": "tok", "AWS_REGION": "eu-west-1"}
    arguments = {"backend": "xray", "server_url": f"http://127.0.0.1:{server.port}", "compression": "gzip"}
    (exporter,) = choose(read(arguments, environ))
    tracer = recording_tracer()
    span = tracer.start_span("a")
    span.end()
    result = exporter.export([span], 20)  # type: ignore[list-item]  # it records
    assert (result.ok, result.retries) == (True, 1)
    for request in server.requests:
        sent = request.headers
        moment = dt.datetime.strptime(sent["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        plain = {
            name: value
            for name, value in sent.items()
            if name not in {"authorization", "host", "x-amz-date", "x-amz-security-token", "content-length"}
        }
        expected = botocores(
            Credentials("AKID", SECRET, "tok"),
            "eu-west-1",
            f"http://{sent['host']}/v1/traces",
            plain,
            request.body,
            moment.timestamp(),
            "POST",
        )
        assert sent["authorization"] == expected["authorization"]
        assert sent["content-encoding"] == "gzip"
    tracer.close()


def test_an_address_of_x_rays_own_is_signed_without_being_asked() -> None:
    endpoint = "https://xray.us-west-2.amazonaws.com/v1/traces"
    (exporter,) = choose(read({}, {**KEYS, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}))
    signed = exporter._sign("xray.us-west-2.amazonaws.com", "/v1/traces", {}, b"", 1.0)  # type: ignore[attr-defined]  # how it signs
    assert "/us-west-2/xray/aws4_request" in signed["authorization"]
    (exporter,) = choose(read({}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/v1/traces"}))
    assert exporter._sign is None  # type: ignore[attr-defined]  # as above


def test_without_credentials_the_spans_are_lost_and_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "botocore.session", None)
    environ = {"AWS_REGION": "eu-west-1"}
    tracer = recording_tracer(environ=environ, exporter="otlp", backend="cloudwatch")
    tracer.start_span("a").end()
    assert tracer.force_flush() is False
    assert "no AWS credentials to sign with" in capsys.readouterr().err
    tracer.close()


def test_what_a_server_quotes_of_a_signature_is_masked(serve: StartServer) -> None:
    def script(server: Any, peer: Any) -> None:
        while (request := peer.request()) is not None:
            server.requests.append(request)
            peer.send(answer(request.headers["x-amz-security-token"].encode(), "403 Forbidden"))

    server = serve(script)
    environ = {**KEYS, "AWS_SESSION_TOKEN": SECRET, "AWS_REGION": "eu-west-1"}
    (exporter,) = choose(read({"backend": "xray", "server_url": f"http://127.0.0.1:{server.port}"}, environ))
    tracer = recording_tracer()
    span = tracer.start_span("a")
    span.end()
    result = exporter.export([span], 20)  # type: ignore[list-item]  # it records
    assert "answered 403" in result.reason
    assert SECRET not in result.reason
    tracer.close()
