"""AWS's distribution of OpenTelemetry with what its Lambda layer's wrapper script sets.

Application Signals, which the layer switches on as well, is off: it makes metrics, as no other tool
here does. Left on, it would cost more.
"""

from __future__ import annotations

import os
import sys

from benchmarks.worker import otel_work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[object, object], object]

# The instrumentations that the layer's script leaves on are botocore, urllib, urllib3 and aws-lambda's own.
DISABLED = (
    "aio-pika,aiohttp-client,aiohttp-server,aiokafka,aiopg,asgi,asyncio,asyncpg,boto,boto3,boto3sqs,cassandra,celery,"
    "confluent_kafka,dbapi,django,elasticsearch,falcon,fastapi,flask,grpc_client,grpc_server,grpc_aio_client,"
    "grpc_aio_server,httpx,jinja2,kafka,logging,mysql,mysqlclient,pika,psycopg,psycopg2,pymemcache,pymongo,pymysql,"
    "pyramid,redis,remoulade,requests,sklearn,sqlalchemy,sqlite3,starlette,system_metrics,threading,tornado,"
    "tortoiseorm,wsgi,openai_agents,aws_openai_agents,aws_crewai,aws_langchain,aws_mcp,aws_llama-index,aws-lambda"
)
tracer: Any = None
provider: Any = None


def start(function: Handler) -> Handler:
    """Initialise as `opentelemetry-instrument` does, then instrument the handler as the layer does."""
    environment = os.environ
    environment.setdefault("OTEL_SERVICE_NAME", "bench")
    environment.setdefault("OTEL_PROPAGATORS", "baggage,xray,tracecontext")
    environment.setdefault("OTEL_METRICS_EXPORTER", "none")
    environment.setdefault("OTEL_LOGS_EXPORTER", "none")
    environment.setdefault("OTEL_AWS_APPLICATION_SIGNALS_ENABLED", "false")
    environment.setdefault("OTEL_PYTHON_DISTRO", "aws_distro")
    environment.setdefault("OTEL_PYTHON_CONFIGURATOR", "aws_configurator")
    environment.setdefault("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", DISABLED)
    delivery = environment["BENCH_DELIVERY"]
    if delivery == "discard":
        environment["OTEL_TRACES_EXPORTER"] = "none"
    elif delivery != "default":
        environment["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = environment["BENCH_ENDPOINT"] + "/v1/traces"

    from opentelemetry.instrumentation.auto_instrumentation import (  # type: ignore[import-not-found,unused-ignore]
        initialize,  # only in its own environment
    )

    initialize(swallow_exceptions=False)

    from opentelemetry import trace
    from opentelemetry.instrumentation.aws_lambda import (  # type: ignore[import-not-found,unused-ignore]
        AwsLambdaInstrumentor,  # only in its own environment
    )

    # The instrumentor patches the function that ORIG_HANDLER names, as the layer does with the user's module.
    user = type(sys)("bench_user_module")
    user.handler = function  # type: ignore[attr-defined] # a module made here
    sys.modules[user.__name__] = user
    environment["ORIG_HANDLER"] = "bench_user_module.handler"
    AwsLambdaInstrumentor().instrument()

    global tracer, provider  # noqa: PLW0603 - a worker is one process with one tool in it
    provider = trace.get_tracer_provider()
    if delivery == "discard":
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider.add_span_processor(BatchSpanProcessor(otel_work.discard()))
    tracer = trace.get_tracer("bench")
    handler: Handler = user.handler
    return handler


def spans(count: int) -> None:
    """One root and its children, five attributes each."""
    otel_work.spans(tracer, count)


def children() -> None:
    """The five spans inside the handler's."""
    otel_work.children(tracer)


def flush() -> None:
    """Deliver everything finished so far."""
    provider.force_flush()


def recording() -> bool:
    """A span really holds what it is given."""
    return otel_work.recording(tracer)
