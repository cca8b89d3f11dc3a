"""The locustfile of `lambent locust`, in a folder of its own: Locust makes its folder importable."""

from __future__ import annotations

import json
import os

from locust import constant

from lambent_lab.measure.locust import PLAN, LambdaUser, task

_PLAN = json.loads(os.environ[PLAN])


class Caller(LambdaUser):
    """Invokes the function again and again."""

    target = _PLAN["url"]
    event = _PLAN["event"]
    region = _PLAN["region"]
    endpoint_url = _PLAN["endpoint_url"]
    timeout_s = _PLAN["wait_s"]
    wait_time = constant(_PLAN["pause_s"])

    @task
    def again(self) -> None:
        """Invoke once."""
        self.invoke()
