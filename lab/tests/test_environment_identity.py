"""Who was invoked and under which number: what of it reaches the function, its extensions and its log."""

from __future__ import annotations

import json
from collections.abc import Callable

from lambent_lab.environment import Environment
from lambent_lab.function import FunctionSpec

Make = Callable[..., FunctionSpec]

SOURCE = """
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
api.request("POST", "/2020-01-01/extension/register", '{"events": []}', {"Lambda-Extension-Name": "inside"})
answer = api.getresponse()
about = json.load(answer)
api.request("GET", "/2020-01-01/extension/event/next", None,
            {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]})
def handler(event, context):
    identity = context.identity
    return {
        "arn": context.invoked_function_arn,
        "id": context.aws_request_id,
        "version": [context.function_version, os.environ["AWS_LAMBDA_FUNCTION_VERSION"], about],
        "tenant": context.tenant_id,
        "cognito": [identity.cognito_identity_id, identity.cognito_identity_pool_id] if identity else None,
    }
"""


async def test_the_invoked_arn_the_request_id_the_identity_and_the_version(write_function: Make) -> None:
    spec = write_function(SOURCE, name="shop", version="7", memory_mb=256)
    identity = "11111111-2222-4333-8444-555555555555"
    arn = "arn:aws:lambda:us-east-1:123456789012:function:shop:live"
    async with Environment(spec) as environment:
        result = await environment.invoke(
            b"{}",
            request_id=identity,
            function_arn=arn,
            tenant_id="blue",
            cognito_identity='{"cognitoIdentityId": "me", "cognitoIdentityPoolId": "pool"}',
        )
        plain = await environment.invoke(b"{}")
    seen = json.loads(result.payload)
    assert seen["arn"] == arn
    assert seen["id"] == result.request_id == identity
    assert seen["cognito"] == ["me", "pool"]
    assert (seen["tenant"], json.loads(plain.payload)["tenant"]) == ("blue", None)
    about = {"functionName": "shop", "functionVersion": "7", "handler": "app.handler"}
    assert seen["version"] == ["7", "7", about]
    assert f"START RequestId: {identity} Version: 7" in result.log
    assert "/[7]" in environment.log_stream
    unqualified = json.loads(plain.payload)
    assert unqualified["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:shop"
    assert unqualified["id"] == plain.request_id != identity
