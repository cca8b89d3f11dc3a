"""What the tests of the examples share: the examples as functions of a lab, and what every root says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lambent_lab import Lab
    from lambent_lab.service import Result

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

Run = Callable[..., "Result"]


@pytest.fixture(scope="session")
def run(lab: Lab) -> Run:
    """Invoke an example's handler with one of its events; one environment serves each handler."""
    functions: dict[tuple[str, str], Any] = {}

    def invoke(name: str, event: str, handler: str = "app.handler", **options: Any) -> Result:
        key = (f"{name}-{handler.replace('.', '-')}", json.dumps(options))
        if key not in functions:
            functions[key] = lab.function(
                f"{key[0]}-{len(functions)}",
                code=EXAMPLES / name,
                handler=handler,
                **{"memory": 1769, "timeout": 60, **options},
            )
        payload = json.loads((EXAMPLES / name / "events" / f"{event}.json").read_text())
        return functions[key].invoke(payload)  # type: ignore[no-any-return]  # the lab's result

    return invoke


@pytest.fixture(scope="session")
def root_says() -> Callable[..., dict[str, Any]]:
    """Return the attributes of the root span of a request, all of them."""

    def said(result: Result, **more: Any) -> dict[str, Any]:
        return {
            "faas.trigger": "http",
            "faas.coldstart": result.cold,
            "faas.invocation_id": result.request_id,
            "cloud.resource_id": ...,
            "cloud.account.id": "123456789012",
            "lambent.trigger": "apigateway.http",
            "client.address": "203.0.113.7",
            "network.protocol.version": "1.1",
            "user_agent.original": "curl/8",
            "url.scheme": "https",
            "server.address": "shop.execute-api.eu-west-1.amazonaws.com",
            **{name.replace("_", ".", 1): value for name, value in more.items()},
        }

    return said
