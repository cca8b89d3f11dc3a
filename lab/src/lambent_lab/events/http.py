"""Sample events of callers over HTTP: API Gateway, load balancers, function URLs, VPC Lattice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent_lab.events.values import ACCOUNT, REGION, hex_id, millis, request_id

if TYPE_CHECKING:
    from datetime import datetime

    from lambent_lab.events.values import Event
    from lambent_lab.traces.model import Json

_AGENT = "lambent-lab"
_CLIENT = "203.0.113.7"


def _headers(host: str, now: datetime) -> dict[str, Json]:
    return {
        "accept": "application/json",
        "content-type": "application/json",
        "host": host,
        "user-agent": _AGENT,
        "x-amzn-trace-id": f"Root=1-{int(now.timestamp()):08x}-{hex_id('trace', now, 24)}",
        "x-forwarded-for": _CLIENT,
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    }


def _clock(now: datetime) -> str:
    return now.strftime("%d/%b/%Y:%H:%M:%S +0000")


def apigw_v2(now: datetime) -> Event:
    """Return a request through an API Gateway HTTP API (payload format 2.0)."""
    host = f"a1b2c3d4e5.execute-api.{REGION}.amazonaws.com"
    return {
        "version": "2.0",
        "routeKey": "GET /orders/{id}",
        "rawPath": "/orders/42",
        "rawQueryString": "expand=items&expand=customer",
        "cookies": ["session=abc123"],
        "headers": _headers(host, now),
        "queryStringParameters": {"expand": "items,customer"},
        "pathParameters": {"id": "42"},
        "stageVariables": {"backend": "blue"},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "a1b2c3d4e5",
            "domainName": host,
            "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": "GET",
                "path": "/orders/42",
                "protocol": "HTTP/1.1",
                "sourceIp": _CLIENT,
                "userAgent": _AGENT,
            },
            "requestId": hex_id("apigw-v2", now, 15) + "=",
            "routeKey": "GET /orders/{id}",
            "stage": "$default",
            "time": _clock(now),
            "timeEpoch": millis(now),
        },
        "isBase64Encoded": False,
    }


def apigw_v1(now: datetime) -> Event:
    """Return a request through an API Gateway REST API (proxy integration, payload format 1.0)."""
    host = f"f6g7h8i9j0.execute-api.{REGION}.amazonaws.com"
    headers = _headers(host, now)
    return {
        "resource": "/orders/{id}",
        "path": "/orders/42",
        "httpMethod": "GET",
        "headers": {**headers},
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {"expand": "customer"},
        "multiValueQueryStringParameters": {"expand": ["items", "customer"]},
        "pathParameters": {"id": "42"},
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "f6g7h8i9j0",
            "domainName": host,
            "domainPrefix": "f6g7h8i9j0",
            "extendedRequestId": hex_id("extended", now, 15) + "=",
            "httpMethod": "GET",
            "identity": {"accessKey": None, "sourceIp": _CLIENT, "user": None, "userAgent": _AGENT},
            "path": "/prod/orders/42",
            "protocol": "HTTP/1.1",
            "requestId": request_id("apigw-v1", now),
            "requestTime": _clock(now),
            "requestTimeEpoch": millis(now),
            "resourceId": "xyz987",
            "resourcePath": "/orders/{id}",
            "stage": "prod",
        },
        "body": None,
        "isBase64Encoded": False,
    }


def alb(now: datetime) -> Event:
    """Return a request through an Application Load Balancer."""
    group = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/orders/0123456789abcdef"
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": "GET",
        "path": "/orders/42",
        "queryStringParameters": {"expand": "items"},
        "headers": {**_headers(f"orders-1234567890.{REGION}.elb.amazonaws.com", now)},
        "body": "",
        "isBase64Encoded": False,
    }


def function_url(now: datetime) -> Event:
    """Return a POST to a Lambda function URL without authorization."""
    prefix = hex_id("function-url", now, 32)
    host = f"{prefix}.lambda-url.{REGION}.on.aws"
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/orders",
        "rawQueryString": "",
        "headers": _headers(host, now),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": prefix,
            "domainName": host,
            "domainPrefix": prefix,
            "http": {
                "method": "POST",
                "path": "/orders",
                "protocol": "HTTP/1.1",
                "sourceIp": _CLIENT,
                "userAgent": _AGENT,
            },
            "requestId": request_id("function-url", now),
            "routeKey": "$default",
            "stage": "$default",
            "time": _clock(now),
            "timeEpoch": millis(now),
        },
        "body": '{"item": "lamp", "quantity": 2}',
        "isBase64Encoded": False,
    }


def vpc_lattice(now: datetime) -> Event:
    """Return a VPC Lattice request, event version 2.0."""
    lattice = f"arn:aws:vpc-lattice:{REGION}:{ACCOUNT}"
    return {
        "version": "2.0",
        "path": "/orders/42",
        "method": "GET",
        "headers": {name: [value] for name, value in _headers("orders.internal.example", now).items()},
        "queryStringParameters": {"expand": ["items"]},
        "requestContext": {
            "serviceNetworkArn": f"{lattice}:servicenetwork/sn-0123456789abcdef0",
            "serviceArn": f"{lattice}:service/svc-0123456789abcdef0",
            "targetGroupArn": f"{lattice}:targetgroup/tg-0123456789abcdef0",
            "identity": {"sourceVpcArn": f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/vpc-0123456789abcdef0"},
            "region": REGION,
            "timeEpoch": str(millis(now) * 1000),
        },
        "isBase64Encoded": False,
    }
