"""The keyword arguments of `init`: checked, and turned into options. Loaded when there are any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lambent.config import OPTIONS
from lambent.errors import ConfigError
from lambent.limits import Limits

__all__ = ["ARGUMENTS", "check"]

_OF_LAMBDA = frozenset(
    {
        "handler",
        "function_name",
        "function_version",
        "log_stream",
        "memory_mb",
        "region",
        "initialization_type",
        "runtime_api",
        "max_concurrency",
    }
)
_RENAMED = {"resource": "resource_attributes", "exporter": "exporters"}
_NOT_ARGUMENTS = frozenset({"resource_attributes"})
ARGUMENTS: tuple[str, ...] = tuple(
    sorted(
        {
            option[0]
            for option in OPTIONS
            if option[0] not in _OF_LAMBDA | _NOT_ARGUMENTS and not option[0].endswith("_limit")
        }
        | {"limits", *_RENAMED}
    )
)
"""The names that `init` takes."""

_PARSERS: dict[str, Callable[[str], object]] = {option[0]: option[2] for option in OPTIONS}
_DEFAULTS: dict[str, object] = {option[0]: option[3] for option in OPTIONS}


def check(arguments: Mapping[str, object]) -> dict[str, object]:
    """Return the options that the arguments set. None stands for "not given", as does an empty text:
    `api_key=os.getenv("KEY", "")` leaves the variables their say.

    Raises ConfigError, naming the nearest known argument for an unknown one, and what is
    expected for a wrong value. Values of secrets do not appear in the message.
    """
    options: dict[str, object] = {}
    for name, value in arguments.items():
        if name not in ARGUMENTS:
            raise ConfigError(_unknown(name))
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        options[_RENAMED.get(name, name)] = _value(name, value)
    if arguments.get("exporter") is not None and arguments.get("exporters") is not None:
        raise ConfigError("init() got both exporter= and exporters=; keep one of them")
    return options


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, ARGUMENTS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"the arguments are {', '.join(ARGUMENTS)}"
    return f"init() got an unknown argument {name!r}; {hint}"


def _value(name: str, value: object) -> object:
    try:
        special = _SPECIAL.get(name)
        if special is not None:
            return special(value)
        if isinstance(_DEFAULTS[name], bool):
            return _bool(name, value)
        if isinstance(value, str):
            return _PARSERS[name](value)
        if isinstance(_DEFAULTS[name], int) and isinstance(value, int) and not isinstance(value, bool):
            return _PARSERS[name](str(value))
    except ValueError as error:
        raise ConfigError(f"init({name}=…): {error}") from None
    raise ConfigError(f"init({name}=…) takes {type(_DEFAULTS[name]).__name__}, not {type(value).__name__}")


def _bool(name: str, value: object) -> object:
    return value if isinstance(value, bool) else _PARSERS[name](str(value))


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _MOST_SECONDS:
        raise ValueError(f"a number of seconds above 0, not {value!r}")
    return float(value)


_MOST_SECONDS = 1e308  # of whole numbers there are more


def _mapping(value: object) -> dict[str, object]:
    if isinstance(value, str):
        return dict(_PARSERS["resource_attributes"](value))  # type: ignore[call-overload,no-any-return]  # a dict
    attributes = value if isinstance(value, Mapping) else getattr(value, "attributes", None)
    if not isinstance(attributes, Mapping) or not all(isinstance(key, str) for key in attributes):
        raise ValueError("a mapping of text keys to attribute values")
    from lambent.cleaning import clean_attributes

    return clean_attributes(attributes, None, None)[0]


def _headers(value: object) -> dict[str, str]:
    if isinstance(value, str):
        return dict(_PARSERS["headers"](value))  # type: ignore[call-overload,no-any-return]  # a dict
    items = value.items() if isinstance(value, Mapping) else value
    headers: dict[str, str] = {}
    try:
        for key, text in items:  # type: ignore[attr-defined]  # pairs; anything else is refused below
            headers[str(key).lower()] = str(text)
    except (TypeError, ValueError):
        raise ValueError("a mapping or pairs of header names and values") from None
    return headers


def _limits(value: object) -> Limits:
    try:
        return value if isinstance(value, Limits) else Limits(**value)  # type: ignore[arg-type]  # or TypeError
    except TypeError:
        raise ValueError(
            f"lambent.Limits or a mapping with keys among {', '.join(Limits.__slots__)}"
        ) from None


def _exporters(value: object) -> tuple[object, ...]:
    if isinstance(value, str):
        return tuple(_PARSERS["exporters"](value))  # type: ignore[arg-type]  # a tuple of names
    from lambent.exporters import Exporter

    items = tuple(value) if isinstance(value, Sequence) else (value,)
    exporters: list[object] = []
    for item in items:
        if isinstance(item, str):
            exporters.extend(_exporters(item))
        elif isinstance(item, type):
            raise ValueError(f"an exporter or a name, not the class {item.__name__}")
        elif callable(getattr(item, "export", None)) and (
            not isinstance(item, Exporter) and _is_opentelemetrys(item)
        ):
            from lambent.otel.exporter import OtelExporter

            exporters.append(OtelExporter(item))
        elif isinstance(item, Exporter):
            exporters.append(item)
        elif callable(getattr(item, "export", None)):
            from lambent.exporters._adapted import UntimedExporter, takes_time

            exporters.append(item if takes_time(item.export) else UntimedExporter(item))
        else:
            raise ValueError(f"an exporter or a name, not {type(item).__name__}")
    return tuple(exporters)


def _processors(value: object) -> tuple[object, ...]:
    if value in (False, "off", "none"):
        return ()
    processors = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    for each in processors:
        if isinstance(each, type) or not (
            callable(getattr(each, "on_start", None)) or callable(getattr(each, "on_end", None))
        ):
            raise ValueError(f"span processors, with on_start and on_end, not {type(each).__name__}")
    return processors


def _is_opentelemetrys(exporter: object) -> bool:
    """Whether it is an exporter of OpenTelemetry's SDK, or made like one."""
    foreign = any(callable(getattr(exporter, name, None)) for name in ("shutdown", "force_flush"))
    if not foreign or callable(getattr(exporter, "close", None)):
        return False
    try:
        import opentelemetry.sdk  # noqa: F401  # whether it is there
    except ImportError:
        return False
    return True


def _sampler(value: object) -> object:
    if isinstance(value, str):
        return _PARSERS["sampler"](value)
    if hasattr(value, "get_description"):  # one of OpenTelemetry's SDK
        from lambent.otel.foreign import ForeignSampler

        return ForeignSampler(value)
    if callable(getattr(value, "should_sample", None)):
        return value
    raise ValueError(f"a sampler or its name, not {type(value).__name__}")


def _names(option: str) -> Callable[[object], object]:
    def parse(value: object) -> object:
        if isinstance(value, str):
            return _PARSERS[option](value)
        if not isinstance(value, Sequence):
            raise ValueError(f"names, not {type(value).__name__}")
        return _PARSERS[option](",".join(map(str, value)))

    return parse


def _ratio(value: object) -> str:
    try:
        if 0.0 <= float(value) <= 1.0:  # type: ignore[arg-type]  # or TypeError
            return str(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"a ratio between 0 and 1, not {value!r}")


_SPECIAL: dict[str, Callable[[object], object]] = {
    "capture": lambda value: _PARSERS["capture"](str(value or "none")),
    "redact_keys": _names("redact_keys"),
    "recorder": lambda value: _bool("recorder", value),
    "timeout": _seconds,
    "deadline_margin": _seconds,
    "schedule_delay": _seconds,
    "resource": _mapping,
    "headers": _headers,
    "limits": _limits,
    "exporter": _exporters,
    "exporters": _exporters,
    "processors": _processors,
    "sampler": _sampler,
    "sampler_argument": _ratio,
    "propagators": _names("propagators"),
    "semconv": _names("semconv"),
    "instrument": _names("instrument"),
    "disabled_instrumentations": _names("disabled_instrumentations"),
}
