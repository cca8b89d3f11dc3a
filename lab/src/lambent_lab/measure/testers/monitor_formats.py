"""What monitoring systems take: from named numbers with labels to text or bytes. Pure.

Sources: Prometheus's text format 0.0.4 and the Pushgateway's API; OTLP metrics (opentelemetry-proto);
CloudWatch's embedded metric format; Slack's incoming webhooks.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lambent_lab.measure.testers.plain import numbers, unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

EMF_METRICS = 100
EMF_DIMENSIONS = 30
EMF_KEY = 250
EMF_TEXT = 1024
"""The limits of one document of the embedded metric format: metrics, dimensions,
characters of a key and of a value.
"""

_EMF_UNITS = {
    "ms": "Milliseconds",
    "us": "Microseconds",
    "s": "Seconds",
    "MB": "Megabytes",
    "KB": "Kilobytes",
    "B": "Bytes",
    "%": "Percent",
    "1/s": "Count/Second",
}
_UCUM = {"MB": "MiBy", "KB": "KiBy", "B": "By", "1/s": "1/s"}
_SLACK_TEXT = 2900
"""Slack takes 3000 characters of text in one section."""


@dataclass(frozen=True, slots=True)
class Point:
    """One number of a metric."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def points_of(metrics: object, tags: Mapping[str, str]) -> list[Point]:
    """Every finite number in the metrics, by its dotted name."""
    return [Point(name or "value", value, tags) for name, value in numbers(metrics).items()]


def points_of_alert(test_name: str, details: object) -> list[Point]:
    """An alert in numbers: how many metrics regressed, and by how much each."""
    labels = {"test": test_name}
    regressions = _regressions(details)
    found = [Point("performance_regression", len(regressions) or 1, labels)]
    for each in regressions:
        own = {**labels, "metric": str(each["metric"])} if "metric" in each else labels
        found += [
            Point(f"performance_regression_{name}", value, own) for name, value in numbers(each).items()
        ]
    return found


def _regressions(details: object) -> list[dict[str, Any]]:
    """The metrics that regressed; none when the details, which may be anybody's, do not list them."""
    listed = details.get("regressions") if isinstance(details, dict) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


# Prometheus.


def prometheus_text(points: Iterable[Point], source: str) -> str:
    """The points as gauges in Prometheus's text format. Two names that become the same stay apart."""
    families: dict[str, list[Point]] = {}
    taken: dict[str, str] = {}
    for point in points:
        families.setdefault(_apart(_prometheus_name(point.name), point.name, taken), []).append(point)
    lines: list[str] = []
    for name, members in families.items():
        lines += [f"# HELP {name} {_help(members[0].name)} ({_help(source)})", f"# TYPE {name} gauge"]
        lines += [f"{name}{_labels(point.labels)} {_float(point.value)}" for point in members]
    return "".join(f"{line}\n" for line in lines)


def pushgateway_path(job: str, grouping: Mapping[str, str]) -> str:
    """The path that a group is pushed to: /metrics/job/JOB{/LABEL/VALUE}."""
    used: dict[str, str] = {}
    names = {_apart(_label_name(name), name, used): value for name, value in grouping.items()}
    return "/metrics" + "".join(_part(name, value) for name, value in {"job": job, **names}.items())


def _part(name: str, value: str) -> str:
    if value and "/" not in value:
        return f"/{name}/{quote(value, safe='')}"
    encoded = base64.urlsafe_b64encode(value.encode()).decode()
    return f"/{name}@base64/{encoded or '='}"


def _prometheus_name(name: str) -> str:
    clean = re.sub(r"[^a-zA-Z0-9_:]", "_", name)
    return clean if re.match(r"[a-zA-Z_:]", clean) else f"_{clean}"


def _label_name(name: str) -> str:
    clean = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    if clean == "job" or not re.match(r"[a-zA-Z]", clean):
        clean = f"tag_{clean}"  # `job` is the group's own, two underscores in front are Prometheus's
    return clean


def _apart(clean: str, original: str, taken: dict[str, str]) -> str:
    """A name that no other original has."""
    name, number = clean, 1
    while taken.setdefault(name, original) != original:
        number += 1
        name = f"{clean}_{number}"
    return name


def _labels(labels: Mapping[str, str]) -> str:
    used: dict[str, str] = {}
    parts = [
        f'{_apart(_label_name(name), name, used)}="{_escaped(str(value))}"' for name, value in labels.items()
    ]
    return "{" + ",".join(parts) + "}" if parts else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


# OpenTelemetry.


def otlp_request(points: Sequence[Point], *, service: str, version: str, time_ns: int) -> Any:
    """The points as gauges: an ExportMetricsServiceRequest of opentelemetry-proto."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    named = resource.resource.attributes.add(key="service.name")
    named.value.string_value = service
    scope = resource.scope_metrics.add()
    scope.scope.name, scope.scope.version = "lambent_lab.measure", version
    metrics: dict[str, Any] = {}
    for point in points:
        metric = metrics.get(point.name)
        if metric is None:
            metric = metrics[point.name] = scope.metrics.add(name=point.name)
            own = unit(point.name)
            metric.unit = _UCUM.get(own or "", own or "1")
        data = metric.gauge.data_points.add(time_unix_nano=time_ns)
        if isinstance(point.value, int) and -(2**63) <= point.value < 2**63:
            data.as_int = point.value
        else:
            data.as_double = point.value
        for name, value in point.labels.items():
            data.attributes.add(key=name).value.string_value = str(value)
    return request


def otlp_json(request: Any) -> bytes:
    """The request as OTLP/JSON has it."""
    from google.protobuf.json_format import MessageToDict

    document = MessageToDict(request, use_integers_for_enums=True)
    return json.dumps(document, separators=(",", ":")).encode()


def otlp_rejected(body: bytes, *, as_json: bool) -> str:
    """What the answer of a collector says it did not take; empty when it took everything."""
    from google.protobuf.json_format import Parse, ParseError
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    answer = ExportMetricsServiceResponse()
    try:
        if as_json:
            Parse(body or b"{}", answer, ignore_unknown_fields=True)
        else:
            answer.ParseFromString(body)
    except (DecodeError, ParseError):
        return ""  # it said 200, in words that are not OTLP's
    partial = answer.partial_success
    if not partial.rejected_data_points:
        return ""
    return f"{partial.rejected_data_points} data points rejected: {partial.error_message}"


# CloudWatch.


def emf_documents(points: Sequence[Point], *, namespace: str, time_ms: int) -> list[str]:
    """The points as documents of the embedded metric format, one line each, within its limits.

    Labels are dimensions, as many as CloudWatch takes; the others, and those too long, are properties.
    """
    groups: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    for point in points:
        name = "aws" if point.name == "_aws" else point.name  # that one is the format's own
        groups.setdefault(tuple(point.labels.items()), {})[name] = point.value
    documents: list[str] = []
    for labels, metrics in groups.items():
        names = list(metrics)
        for start in range(0, len(names), EMF_METRICS):
            chunk = {name: metrics[name] for name in names[start : start + EMF_METRICS]}
            documents.append(_emf(labels, chunk, namespace, time_ms))
    return documents


def _emf(
    labels: Iterable[tuple[str, str]], metrics: Mapping[str, float], namespace: str, time_ms: int
) -> str:
    roots: dict[str, Any] = {}
    dimensions: list[str] = []
    for name, value in labels:
        key = _free(name, {"", "_aws", *metrics, *roots})
        roots[key] = value
        # A dimension is neither empty nor long.
        if (
            len(dimensions) < EMF_DIMENSIONS
            and value.strip()
            and len(value) <= EMF_TEXT
            and len(key) <= EMF_KEY
        ):
            dimensions.append(key)
    if not dimensions:  # the format's schema wants one in a set
        key = _free("service", {*metrics, *roots})
        roots[key] = namespace.strip()[:EMF_TEXT] or "_"
        dimensions.append(key)
    directive = {
        "Namespace": re.sub(r"[^0-9A-Za-z._/#:-]", "_", namespace)[:255] or "_",
        "Dimensions": [dimensions],
        "Metrics": [{"Name": name, "Unit": _EMF_UNITS.get(unit(name) or "", "None")} for name in metrics],
    }
    document = {"_aws": {"Timestamp": time_ms, "CloudWatchMetrics": [directive]}, **roots, **metrics}
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _free(key: str, taken: AbstractSet[str]) -> str:
    """The key, with as many prefixes as it takes to be no other."""
    while key in taken:
        key = f"tag_{key}"
    return key


# Slack.


def slack_metrics(points: Sequence[Point], source: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """A message with the figures."""
    head = f"{source}: performance" + "".join(f", {name} {value}" for name, value in tags.items())
    return _slack(head, [f"{point.name}: {point.value:g}" for point in points])


def slack_alert(test_name: str, severity: str, details: object) -> dict[str, Any]:
    """A message about a regression, with each metric that regressed."""
    lines: list[str] = []
    known = details if isinstance(details, dict) else {}
    for each in _regressions(details):
        percent = each.get("change_percent")
        by = f" ({percent:+.1f}%)" if isinstance(percent, int | float) else ""
        lines.append(
            f"{each.get('metric')}: {_said(each.get('baseline'))} to {_said(each.get('current'))}{by}"
        )
    if not lines and known.get("message"):
        lines = [str(known["message"])]
    if not lines:
        lines = [f"{name}: {value:g}" for name, value in numbers(details).items()]
    return _slack(f":warning: Performance regression ({severity}): {test_name}", lines)


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _slack(head: str, lines: Sequence[str]) -> dict[str, Any]:
    head = _slack_escaped(head)
    sections: list[str] = []
    for line in map(_slack_escaped, lines):
        short = line[:_SLACK_TEXT]
        if sections and len(sections[-1]) + 1 + len(short) <= _SLACK_TEXT:
            sections[-1] += f"\n{short}"
        else:
            sections.append(short)
    shown = [f"*{head[:_SLACK_TEXT]}*", *sections[:48]]  # a message has 50 blocks at most
    if len(sections) > 48:
        shown.append(f"and more: {len(lines)} lines in all")
    return {
        "text": head[:_SLACK_TEXT],
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in shown],
    }


def _slack_escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
