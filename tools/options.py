"""What each option of `lambent.config` means: the text of its page in docs/reference."""

from __future__ import annotations

__all__ = ["MEANINGS"]

MEANINGS: dict[str, str] = {
    "disabled": "Switch tracing off: handlers run untouched, nothing is recorded.",
    "service_name": (
        "The service's name; default `service.name` of the resource attributes, then the function's name."
    ),
    "resource_attributes": (
        "Further resource attributes, `key=value,key2=value2`, percent-decoded. Argument: `resource`."
    ),
    "exporters": (
        "Where spans go: `otlp`, `xray_udp`, `stdout`, `console`, `file`, `memory`, `none`, several with "
        "commas; `otlp_http` and `otlp_grpc` whatever the protocol is. Default: `otlp` when an endpoint or a "
        "backend is set; else `stdout` in Lambda, and outside it `otlp` to localhost if a collector answers "
        "there."
    ),
    "backend": (
        "Whose OTLP intake spans go to: see [Choose a backend](../how-to/choose-a-backend.md). Default: "
        "`honeyhive` when `HH_API_KEY` or `HH_API_URL` is set, `coralogix` when `CORALOGIX_API_KEY` is; "
        "else `generic`. An endpoint wins over the backend's address."
    ),
    "console": "Print each span to the log as well, one readable line each, whatever the exporters are.",
    "processors": (
        "Span processors, in order: lambent's (`lambent.SpanProcessor`) or OpenTelemetry's. Spans then go "
        "to them only, and to `exporters` where these are named."
    ),
    "traces_endpoint": "The URL that OTLP requests are posted to, used as it is.",
    "endpoint": (
        "The collector's base URL; `/v1/traces` is added (to the argument only where it has no path, for "
        "gRPC never)."
    ),
    "server_url": (
        "The base URL of the backend, instead of its usual one. Without a backend: one that takes OTLP with "
        "`api_key` as its bearer token. Without a key or `headers` nothing is sent."
    ),
    "api_key": (
        "The backend's key. Sent to the backend or to `server_url`, or to `endpoint` when both are "
        "arguments; never printed."
    ),
    "headers": "Headers of OTLP requests, `key=value,key2=value2`, percent-decoded.",
    "protocol": "`http/protobuf`, `http/json`, or `grpc`, which needs `lambent[grpc]`.",
    "insecure": "Whether a gRPC endpoint without a scheme is spoken to without TLS.",
    "compression": "`gzip` or `none`.",
    "timeout": (
        "How long one export may take, retries included; milliseconds as a variable, seconds as an "
        "argument. 1 second, because a synchronous export stands in the response's way."
    ),
    "certificate": "A file of certificate authorities to trust instead of the system's.",
    "client_certificate": "A file with the client's certificate.",
    "client_key": "A file with the client's private key.",
    "proxy": "A proxy's URL for OTLP requests. `HTTP_PROXY` and `HTTPS_PROXY` are not read.",
    "file": "The file that the `file` exporter appends OTLP JSON lines to.",
    "stdout_compression_level": "The gzip level of the `stdout` exporter's lines, 0 for none.",
    "stdout_log_level": "The `level` written into the `stdout` exporter's lines, for log filters.",
    "stdout_output": (
        "`pipe`: the `stdout` exporter's lines go to the named pipe `/tmp/otlp-stdout-span-exporter.pipe`, "
        "for an extension that reads it."
    ),
    "xray_daemon_address": (
        "Where the `xray_udp` exporter sends to: `host:port`, or `tcp:host:port udp:host:port`. Set by "
        "Lambda."
    ),
    "log_correlation": "Adds `trace_id`, `span_id` and `faas.invocation_id` to log records.",
    "log_events": "A log level: records from it on become events of the current span; all get the ids.",
    "log_level": "`debug`: a line each about extracted context, exports and flushes.",
    "mode": (
        "When spans leave. `sync`: at the end of each invocation, before the response. `async`: after the "
        "response, by an internal extension. `finalize`: when the environment is shut down. `auto`: what "
        "suits the environment."
    ),
    "queue_size": "How many finished spans wait at most; further ones are dropped and counted.",
    "queue_bytes": (
        "How many bytes the waiting spans take at most, by an estimate; further ones are dropped and counted."
    ),
    "schedule_delay": (
        "How long spans outside invocations wait where they leave in the background; milliseconds as a "
        "variable, seconds as an argument."
    ),
    "deadline_margin": (
        "What an export leaves of the invocation's time; milliseconds as a variable, seconds as an "
        "argument. Default: the larger of 100 ms and 2 % of the time left."
    ),
    "watchdog": (
        "Send the open spans of an invocation as they are, `deadline_margin` before Lambda ends it. In "
        "Lambda only."
    ),
    "recorder": (
        "Keep a copy of what is not delivered yet in a file, from which the next process of the environment "
        "delivers it should this one be killed. Default: on in Lambda."
    ),
    "recorder_bytes": (
        "The size of the flight recorder's file, 65536 to 1073741824. When it is full the oldest spans give "
        "way."
    ),
    "recorder_folder": "The folder of the flight recorder's file.",
    "sampler": (
        "Which traces are kept. Argument: a name, an object with the `Sampler` protocol, or a sampler of "
        "OpenTelemetry's SDK."
    ),
    "sampler_argument": "The ratio, 0 to 1, of the `traceidratio` samplers.",
    "propagators": (
        "Which formats of context are read and written: `tracecontext`, `baggage`, `b3`, `b3multi`, `xray`, "
        "`xray-lambda`, `none`, or a propagator of an installed package. The first that finds a parent wins."
    ),
    "xray_sampling": "Follow X-Ray's decision: its \"not sampled\" switches an invocation's spans off.",
    "cold_start_canary": "Make one span of its own, `cold_start_canary`, in each new environment.",
    "semconv": "`http/dup` adds the older attribute names beside the stable ones.",
    "capture": (
        "Keep the `request` (the event), the `response`, or `both` as attributes of the invocation's span, "
        "redacted and cut: see [Capture payloads](../how-to/capture-payloads.md). `true` means both. "
        "Decorated functions keep their arguments and results by the same word, with the backend `honeyhive` "
        "by default."
    ),
    "capture_depth": "How deep captured values are followed.",
    "capture_size": "How many characters of a captured value are kept.",
    "redact_keys": (
        "Further names of secrets, with commas: what stands under a key that contains one is not captured. "
        "Case, `-` and `_` do not matter."
    ),
    "redact_pattern": "A regular expression: what matches it in captured text is replaced.",
    "upstream": (
        "Add a span for the time between the event's origin and the invocation, under a service name of "
        "its own: see [Events](triggers.md)."
    ),
    "project": "The resource attribute `lambent.project`.",
    "source": "The resource attribute `lambent.source`.",
    "session_name": (
        "The name of sessions, which it switches on: see [Sessions](../how-to/trace-your-code.md#sessions). "
        "With the backend `honeyhive` they are always on, named after the function by default. Also the "
        "resource attribute `lambent.session_name`."
    ),
    "test_mode": "Nothing leaves the process: spans are recorded, and kept in memory up to the queue's size.",
    "disable_http_tracing": "Leave the function's own HTTP calls alone, whatever instrumentation is present.",
    "instrument": (
        "The libraries to trace, `botocore,requests`, or `auto` for all that have an instrumentor installed: "
        "see [Trace without code changes](../how-to/trace-without-code-changes.md)."
    ),
    "disabled_instrumentations": "Libraries that are not traced, whatever `instrument` says; `*` for all.",
    "handler": "The function's own handler, where `lambent.wrapper.handler` is configured in its place.",
    "count_spans": (
        "Put the number of spans that each invocation made on its root span, as `lambent.spans`: whoever "
        "receives them can tell whether any is missing."
    ),
    "otel_provider": (
        "What to do about a provider that something else sets for OpenTelemetry's API: `replace` it, or "
        "`feed` from it: it goes on, and the spans that it records go to lambent as well."
    ),
    "set_global": "Make this tracer the default one, though another was made before it.",
    "attribute_count_limit": (
        "How many attributes a span, event or link holds, where no narrower limit is set; 128."
    ),
    "attribute_length_limit": "How many characters a text attribute holds; no limit.",
    "span_attribute_count_limit": "How many attributes a span holds; 128.",
    "span_attribute_length_limit": "How many characters a span's text attribute holds; no limit.",
    "span_event_count_limit": "How many events a span holds; 128.",
    "span_link_count_limit": "How many links a span holds; 128.",
    "event_attribute_count_limit": "How many attributes an event holds; 128.",
    "link_attribute_count_limit": "How many attributes a link holds; 128.",
    "function_name": "Set by Lambda; its presence means Lambda.",
    "function_version": "Set by Lambda.",
    "log_stream": "Set by Lambda.",
    "memory_mb": "Set by Lambda.",
    "region": "Set by Lambda.",
    "runtime_api": "Set by Lambda: where an internal extension registers.",
    "max_concurrency": (
        "Set by Lambda on managed instances, where several invocations run at once and nothing is frozen."
    ),
    "initialization_type": (
        "Set by Lambda. `snap-start`: ids come from the kernel, since memory images are cloned."
    ),
}
