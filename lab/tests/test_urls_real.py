"""Functions that really run, behind their URLs: traced, streaming, and from files."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest
import requests

from lambent_lab.environ import exporting
from lambent_lab.errors import UsageError
from lambent_lab.service import Lab, setup
from lambent_lab.service.files import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lambent_lab.traces import SpanRecord

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = """
import lambent
tracer = lambent.init(service_name="shop")

@tracer.handler
def handler(event, context):
    with tracer.trace("work"):
        if event["rawPath"] == "/fail":
            raise ValueError("no")
        return {"statusCode": 201, "body": event["body"]}
"""
STREAMING = """
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  const metadata = {statusCode: 207, headers: {"Content-Type": "text/plain"}, cookies: ["a=1", "b=2"]};
  const out = awslambda.HttpResponseStream.from(stream, metadata);
  out.write(event.rawPath);
  await new Promise((done) => setTimeout(done, 50));
  out.end(" and more");
});
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as opened:
        yield opened


def trace(lab: Lab, count: int) -> list[SpanRecord]:
    until = time.monotonic() + 60
    while len(spans := lab.store.trace(TRACE)) < count:
        assert time.monotonic() < until, spans
        time.sleep(0.02)
    return spans


def test_a_request_is_a_trace(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(TRACED)
    env = exporting(lab.otlp_url)
    function = lab.function(
        "shop", code=tmp_path, handler="app.handler", memory=512, timeout=30, env=env, url=True
    )
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "Content-Type": "text/plain"}
    response = requests.post(f"{function.url}orders/1?a=b", data="a lamp", headers=headers, timeout=60)
    assert (response.status_code, response.text) == (201, "a lamp")
    failed = requests.get(f"{function.url}fail", headers=headers, timeout=60)
    assert (failed.status_code, failed.text) == (502, "Internal Server Error")

    spans = trace(lab, 4)
    roots = {str(span.attributes["url.path"]): span for span in spans if span.parent_span_id == CALLER}
    assert sorted(roots) == ["/fail", "/orders/1"]
    root = roots["/orders/1"]
    assert (root.name, root.kind, root.status) == ("POST", "SERVER", "UNSET")
    wanted = {
        "faas.trigger": "http",
        "faas.invocation_id": response.headers["x-amzn-RequestId"],
        "lambent.trigger": "lambda.url",
        "http.request.method": "POST",
        "http.response.status_code": 201,
        "url.query": "a=b",
        "url.scheme": "http",
        "client.address": "127.0.0.1",
    }
    assert {name: root.attributes.get(name) for name in wanted} == wanted
    assert roots["/fail"].status == "ERROR"
    assert {span.name for span in spans if span.parent_span_id == root.span_id} == {"work"}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_a_stream_of_node(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "index.mjs").write_text(STREAMING)
    function = lab.function(
        "feed", code=tmp_path, handler="index.handler", runtime="nodejs20.x", memory=512, timeout=30,
        url={"mode": "RESPONSE_STREAM"},
    )  # fmt: skip
    response = requests.get(f"{function.url}a/b", timeout=60)
    assert (response.status_code, response.text) == (207, "/a/b and more")
    assert response.raw.headers.getlist("set-cookie") == ["a=1", "b=2"]
    assert response.headers["content-type"] == "text/plain"
    late = (
        function.add_url()
    )  # Invoke would give the prelude with the body: a URL that buffers has no use for it
    assert requests.get(late, timeout=60).status_code == 502


# -- files

OWN = """
functions:
  plain: {code: code, handler: app.handler, url: true}
  none: {code: code, handler: app.handler, url: false}
  live:
    code: code
    handler: app.handler
    alias: live
    url:
      auth: AWS_IAM
      mode: RESPONSE_STREAM
      cors: {origins: ["https://a.example"], credentials: true, max_age: 9}
"""
SAM = """
Transform: AWS::Serverless-2016-10-31
Parameters: {Auth: {Type: String, Default: AWS_IAM}}
Globals: {Function: {Runtime: python3.11, Handler: app.handler, CodeUri: code}}
Resources:
  One:
    Type: AWS::Serverless::Function
    Properties:
      AutoPublishAlias: live
      FunctionUrlConfig:
        AuthType: !Ref Auth
        InvokeMode: RESPONSE_STREAM
        Cors: {AllowOrigins: ["*"], AllowMethods: [GET], MaxAge: 5}
  Two:
    Type: AWS::Serverless::Function
    Properties: {FunctionName: second}
  TwoUrl:
    Type: AWS::Lambda::Url
    Properties: {TargetFunctionArn: !GetAtt Two.Arn, AuthType: NONE}
  Three:
    Type: AWS::Serverless::Function
"""


@pytest.mark.parametrize(("name", "text"), [("lambent.yaml", OWN), ("template.yaml", SAM)])
def test_files(lab: Lab, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("def handler(event, context): return event['rawPath']\n")
    plain, aliased, without = (
        ("plain", "live", "none") if name == "lambent.yaml" else ("second", "One", "Three")
    )
    made = {one.name: setup.deploy(lab, one) for one in load(tmp_path / name).definitions}
    assert made[without].url is None
    assert requests.get(f"{made[plain].url}a", timeout=60).text == "/a"
    address = str(made[aliased].url)
    assert requests.get(address, timeout=60).status_code == 403
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    assert requests.options(address, headers=asks, timeout=60).headers["Access-Control-Max-Age"] in {"5", "9"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("{auth: IAM}", r"functions\.one\.url\.auth cannot be 'IAM': choose NONE or AWS_IAM"),
        ("{mode: stream}", r"url\.mode cannot be 'stream': choose BUFFERED or RESPONSE_STREAM"),
        ("{port: 70000}", r"url\.port cannot be 70000: choose 0 to 65535"),
        ("{prot: 1}", r"url has the unknown key 'prot': did you mean 'port'\?"),
        ("{cors: {origin: []}}", r"url\.cors has the unknown key 'origin': did you mean 'origins'\?"),
        ("{cors: {origins: x}}", r"url\.cors\.origins must be a list"),
        ("{cors: {max_age: 86401}}", r"url\.cors\.max_age cannot be 86401"),
        ("yes please", r"functions\.one\.url must be a table"),
    ],
)
def test_what_files_must_not_say(tmp_path: Path, url: str, message: str) -> None:
    file = tmp_path / "lambent.yaml"
    file.write_text(f"functions: {{one: {{code: ., handler: a.b, url: {url}}}}}")
    with pytest.raises(UsageError, match=message):
        load(file)


def test_a_template_says_who_may_call(tmp_path: Path) -> None:
    file = tmp_path / "template.yaml"
    file.write_text(SAM.replace("AuthType: !Ref Auth", "AuthType: MINE"))
    with pytest.raises(UsageError, match="AuthType cannot be 'MINE'"):
        load(file)
    file.write_text(SAM.replace("        AuthType: !Ref Auth\n", ""))
    with pytest.raises(UsageError, match="has no AuthType: it is NONE or AWS_IAM"):
        load(file)
