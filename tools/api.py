"""The page docs/reference/python.md: what the SDK offers to programs, in the words of its docstrings."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import lambent
from lambent import carriers, exporters, llm, logging, sampling, testing
from lambent.propagation import baggage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

__all__ = ["page"]

GROUPS: dict[str, tuple[str, ...]] = {
    "Tracers and their spans": (
        "init", "get_tracer", "Tracer", "current_span", "Span", "NonRecordingSpan", "SpanContext", "Link",
        "SpanKind", "Status", "StatusCode", "Limits", "SpanProcessor", "LambentError", "ConfigError",
    ),
    "Functions, classes and sessions": (
        "trace", "atrace", "trace_class", "enrich_span", "enrich_session", "EventType",
    ),
    "Context that travels": ("inject", "extract"),
}  # fmt: skip
"""The names of `lambent` itself, by what they are for."""

MODULES: dict[str, tuple[ModuleType, tuple[str, ...]]] = {
    "lambent.carriers": (carriers, tuple(name for name in carriers.__all__ if name not in lambent.__all__)),
    "lambent.propagation.baggage": (baggage, ("current", "attach", "detach", "parse", "to_header")),
    "lambent.llm": (llm, ("call", "Call", "tool", "Tool", "Stream")),
    "lambent.logging": (logging, tuple(logging.__all__)),
    "lambent.sampling": (
        sampling, ("Sampler", "Decision", "AlwaysOn", "AlwaysOff", "TraceIdRatio", "ParentBased"),
    ),
    "lambent.exporters": (exporters, ("Exporter", "Result")),
    "lambent.exporters.otlp_http": (exporters.otlp_http, ("OtlpHttpExporter",)),
    "lambent.exporters.otlp_grpc": (exporters.otlp_grpc, ("OtlpGrpcExporter",)),
    "lambent.exporters.xray_udp": (exporters.xray_udp, ("XRayUdpExporter",)),
    "lambent.exporters.stdout": (exporters.stdout, ("StdoutExporter",)),
    "lambent.exporters.console": (exporters.console, ("ConsoleExporter",)),
    "lambent.exporters.file": (exporters.file, ("FileExporter",)),
    "lambent.exporters.memory": (exporters.memory, ("MemoryExporter",)),
    "lambent.testing": (testing, tuple(testing.__all__)),
}  # fmt: skip
"""Modules whose names are written with theirs, and these names."""

MADE = frozenset({lambent.Tracer, lambent.Span, lambent.NonRecordingSpan, llm.Call, llm.Tool, llm.Stream})
"""Classes of what programs are handed: nobody calls these."""

HEAD = """What `lambent.init` takes is in [Configuration](configuration.md). Each module below is reached from
`lambent` without an import of its own: `lambent.testing.tracer()`. What is not on this page may change."""


def page(note: str) -> str:
    """Return the page."""
    named = {name for names in GROUPS.values() for name in names}
    written = {module.removeprefix("lambent.").partition(".")[0] for module in MODULES}
    missing = {name for name in lambent.__all__ if not name.startswith("__")} - named - written - {"wire"}
    if missing:
        raise SystemExit(
            f"tools/api.py: of the names of lambent, the page lacks {', '.join(sorted(missing))}"
        )
    lines = ["# The Python API", "", note, "", *HEAD.splitlines(), ""]
    for title, names in GROUPS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += _entry(f"lambent.{name}", getattr(lambent, name))
    for title, (module, names) in MODULES.items():
        lines += [f"## {title}", "", _first(module), ""]
        for name in names:
            lines += _entry(f"{title.rpartition('.')[2]}.{name}", getattr(module, name))
    return "\n".join(lines).rstrip() + "\n"


def _entry(path: str, found: Any) -> Iterator[str]:
    """Give the lines of one name."""
    is_class = isinstance(found, type)
    yield f"### {'class ' if is_class else ''}`{path}{_signature(found)}`"
    yield ""
    yield from (inspect.getdoc(found) or "").splitlines()
    yield ""
    members = list(_members(found)) if is_class else []
    yield from members
    if members:
        yield ""


def _members(kind: type) -> Iterator[str]:
    """Give a line for each public method and property of a class, as its own class defines it."""
    known: dict[object, str] = {}
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", member)
        if name.startswith("_") or not (inspect.isfunction(function) or isinstance(member, property)):
            continue
        same, text = known.setdefault(function, name), _first(member)
        if same != name:
            yield f"- `{name}`: the same as `{same}`."
        elif text:
            shown = "" if isinstance(member, property) else _signature(function, bound=True)
            yield f"- `{name}{shown}`: {text}"


def _first(found: object) -> str:
    """Return the first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(found) or "").partition("\n\n")[0].split())


def _signature(found: Any, *, bound: bool = False) -> str:
    """Return parameters with types and defaults; nothing for what is made by others, or of constants."""
    if isinstance(found, type):
        made = vars(found).get("__init__")
        if found in MADE or not inspect.isfunction(made) or getattr(found, "_is_protocol", False):
            return ""
        found, bound = made, True
    parameters = list(inspect.signature(found).parameters.values())[bound:]
    shown: list[str] = []
    for place, each in enumerate(parameters):
        before = parameters[place - 1].kind if place else None
        if each.kind is each.KEYWORD_ONLY and before not in {each.KEYWORD_ONLY, each.VAR_POSITIONAL}:
            shown.append("*")
        if before is each.POSITIONAL_ONLY and each.kind is not each.POSITIONAL_ONLY:
            shown.append("/")
        stars = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
        typed = f": {each.annotation}" if each.annotation is not each.empty else ""
        default = "" if each.default is each.empty else f" = {_default(each.default)}"
        shown.append(f"{stars}{each.name}{typed}{default}")
    if parameters and parameters[-1].kind is inspect.Parameter.POSITIONAL_ONLY:
        shown.append("/")
    result = inspect.signature(found).return_annotation
    returned = f" -> {result}" if result not in {inspect.Signature.empty, "None"} else ""
    return f"({', '.join(shown)}){returned}"


def _default(value: object) -> str:
    return "…" if callable(value) else repr(value)
