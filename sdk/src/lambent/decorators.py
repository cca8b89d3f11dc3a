"""`trace` and its relatives: a span for each call of a function, each block, each iteration.

What the function gets, returns and raises is what it would without the decorator. It runs once, whatever
fails on our side. Which tracer makes the span is decided when the function is called: the one given, else
the one of the current span, else the default one.
"""

from __future__ import annotations

from lambent.context import CURRENT
from lambent.enrich import Block, event_type_of, named, says_error, tracer_here, tracer_of
from lambent.errors import ConfigError
from lambent.span import Span
from lambent.tracer import Tracer
from lambent.values import arguments_of, as_text, flatten
from lambent.wrapping import around, kind_of, look_like, without_partials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from functools import cached_property, partialmethod, singledispatchmethod
    from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack, overload

    from lambent.capture import Capture
    from lambent.config import Config

    F = TypeVar(
        "F",
        bound=Callable[..., Any]
        | staticmethod[Any, Any]
        | classmethod[Any, Any, Any]
        | property
        | cached_property[Any]
        | partialmethod[Any]
        | singledispatchmethod[Any],
    )
    C = TypeVar("C", bound=type)

    class Options(TypedDict, total=False):
        """What `trace` and its relatives take."""

        tracer: object
        event_type: object
        event_name: str | None
        inputs: object
        outputs: object
        metadata: object
        config: object
        metrics: object
        feedback: object
        error: object
        event_id: str | None
        user_properties: object
        redact: Iterable[str] | None

    Prepared: TypeAlias = "tuple[dict[str, object] | None, str, _Keeper | None, _Keeper | None]"

__all__ = ["Tracing", "atrace", "trace", "trace_class"]

_PLAIN = frozenset({int, float, bool})

_OPTIONS = (
    "tracer", "event_type", "event_name", "inputs", "outputs", "metadata", "config", "metrics", "feedback",
    "error", "event_id", "user_properties", "redact",
)  # fmt: skip


class Tracing(Block):
    """What `trace(…)` returns: a decorator, and a context manager for a block that is no function."""

    def __init__(self, given: dict[str, Any], awaits: bool = False) -> None:
        self._tracer = tracer_of(given.pop("tracer", None))
        self.name: str | None = given.get("event_name")
        self._awaits = awaits
        names = given.pop("redact", None) or ()
        self._redact: tuple[str, ...] = tuple(names.split(",") if isinstance(names, str) else names)
        self._inputs, self._outputs = given.get("inputs"), given.get("outputs")
        self._given = {
            name: value
            for name, value in given.items()
            if value is not None
            and not (name in {"inputs", "outputs"} and isinstance(value, bool))
            and (name != "error" or says_error(value))
        }
        if "event_type" in self._given:
            self._given["event_type"] = event_type_of(self._given["event_type"])
        self._blocks: list[tuple[int, Any]] = []

    def __call__(self, function: F) -> F:
        """Return the function with a span around each of its calls."""
        made: Any
        if isinstance(function, (staticmethod, classmethod)):
            made = type(function)(self(function.__func__))
        elif isinstance(function, property) and function.fget is not None:
            made = function.getter(self(function.fget))
        elif isinstance(function, type):
            from lambent.classes import trace_as_asked

            made = trace_as_asked(function, self)
        elif callable(function):
            made = self._around(function)
        elif type(function).__name__ in {"cached_property", "partialmethod"}:
            made = function
            made.func = self(made.func)
        elif type(function).__name__ == "singledispatchmethod":
            from lambent.classes import trace_generic_method

            made = trace_generic_method(function, self)
        else:
            raise TypeError(f"trace() decorates functions and classes, not {type(function).__name__}")
        return made  # type: ignore[no-any-return]  # by its looks it is what it was

    def __enter__(self) -> Any:
        """Start the span of a block, and return it."""
        state = self.beginning(self.name or "block", None)((), {})
        self._blocks.append((id(self), state))
        return state[0] if type(state) is tuple else state

    def __exit__(self, *details: object) -> None:
        leave(taken(self._blocks, self), details[1])

    def _around(self, function: Callable[..., Any]) -> Any:
        if "registry" in getattr(function, "__dict__", ()) and not self._awaits:
            from lambent.classes import is_generic, trace_generic

            if is_generic(function):
                return trace_generic(function, self)
        inner = without_partials(function)
        qualified: Any = getattr(inner, "__qualname__", None)
        if not isinstance(qualified, str):
            qualified = type(inner).__qualname__
        begin = self.beginning(self.name or qualified.rpartition("<locals>.")[2], function)
        kind = kind_of(function)
        if self._awaits and kind in {"sync", "either"}:
            kind = "coroutine"
        if self._given.get("event_type") != "model":
            return around(function, begin, fail, _succeed, kind)
        from lambent.gen_ai import answering, streaming

        if "generator" not in kind:
            return around(function, begin, fail, answering(_succeed), kind)
        return look_like(around(streaming(function), begin, fail, _succeed, kind), function)

    def named(self, name: str) -> Tracing:
        """Return the same for another function of that name, where no other name is given."""
        one = Tracing({})
        one.__dict__.update(self.__dict__)
        one.name = self.name or name.rpartition("<locals>.")[2]
        return one

    def of_method(self, name: str) -> Tracing:
        """Return the same for a method of the class that this is for."""
        one = Tracing({})
        one.__dict__.update(self.__dict__)
        if self.name:
            one.name = f"{self.name}.{name}"
            one._given = {**self._given, "event_name": one.name}
        return one

    def beginning(self, name: str, function: Callable[..., Any] | None) -> Callable[[Any, Any], Any]:
        """Return what starts the span of one call."""
        own = self._tracer
        error = self._given.get("error")
        failed = None if error is None else as_text(error)
        read: Any = None
        has_defaults = function is not None  # until a call without arguments shows that there are none
        from weakref import WeakKeyDictionary, ref

        # Weakly: a configuration may hold an exporter, and that the spans of a tracer that has been closed.
        last: tuple[Callable[[], Config | None], Prepared] = (_nothing, (None, "", None, None))
        earlier: WeakKeyDictionary[Config, Prepared] = WeakKeyDictionary()
        if isinstance(own, Tracer):  # the first call takes no longer than the others, then
            last = (ref(own.config), self._prepare(own.config, name))
            if last[1][2] is not None and function is not None:
                read = arguments_of(function)

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            nonlocal read, last, has_defaults
            try:
                tracer = own or tracer_here()
                config = tracer.config
                known, ready = last
                if known() is not config:
                    ready = earlier[config] = earlier.get(config) or self._prepare(config, name)
                    last = (ref(config), ready)
                attributes, prefix, inputs, outputs = ready
                span = tracer.start_span(name, None, 0, attributes)
                if type(span) is not Span:
                    return span.__enter__()
                if failed is not None:
                    span.set_status(2, failed)
                if inputs is not None and (has_defaults or args or kwargs):
                    if read is None:
                        read = arguments_of(function)
                    arguments = read(args, kwargs)
                    if arguments:
                        _keep_inputs(span, prefix, arguments, inputs)
                    elif not args and not kwargs:
                        has_defaults = False
                if outputs is not None:
                    return span.__enter__(), prefix, outputs
                return span.__enter__()
            except Exception as error:  # noqa: BLE001  # see the head of this module
                _say(error)
                return None

        return begin

    def _prepare(self, config: Config, name: str) -> Prepared:
        """Work out once for each kind of tracer what all calls have in common."""
        honeyhive = config.backend == "honeyhive"
        given = self._given
        if honeyhive or "event_type" in given:
            given = {"event_type": "tool", "event_name": name, **given}
        wanted = config.capture
        if honeyhive and "capture" not in config.arguments and not config.variables.get("LAMBENT_CAPTURE"):
            wanted = "both"  # what that product's own SDK does
        keeper: _Keeper | None = None
        captures = []
        for own, word in ((self._inputs, "request"), (self._outputs, "response")):
            # A value that is given stands for what would be captured.
            wants = own if isinstance(own, bool) else own is None and wanted in {word, "both"}
            if wants and keeper is None:
                keeper = _Keeper(config, self._redact)
            captures.append(keeper if wants else None)
        prefix = "honeyhive_" if honeyhive else "lambent."
        return named(honeyhive, given) or None, prefix, captures[0], captures[1]


class _Keeper:
    """What makes values fit to be kept. It is loaded with the first value that is not plain."""

    def __init__(self, config: Config, redact: tuple[str, ...]) -> None:
        # Not the configuration: what is kept for it as long as it lives must not keep it alive.
        self._depth, self._pattern = config.capture_depth, config.redact_pattern
        self._keys = (*config.redact_keys, *redact)
        self._made: Capture | None = None
        self.size = config.capture_size

    def clean(self, value: object) -> Any:
        """Return what may be kept of a value."""
        if self._made is None:
            from lambent.capture import Capture

            self._made = Capture(depth=self._depth, size=self.size, keys=self._keys, pattern=self._pattern)
        return self._made.clean(value)


def _keep_inputs(span: Span, prefix: str, arguments: dict[str, Any], keeper: _Keeper) -> None:
    for name, value in arguments.items():
        try:
            kept: Any = keeper.clean({name: value})
        except Exception:  # noqa: BLE001  # user code: anything may happen in it
            kept = {name: f"<{type(value).__name__}>"}
        for key, part in kept.items():
            # One attribute an argument: an event's hundred parts would drive out all others.
            plain = part is None or isinstance(part, (str, int, float))
            span.set_attribute(f"{prefix}inputs.{key}", part if plain else as_text(part)[: keeper.size])


def taken(blocks: list[tuple[int, Any]], owner: object) -> Any:
    """Take off the list the block that is left: tasks and threads may share its owner, not a current span."""
    current = CURRENT.get()
    mine = [block for block in blocks if block[0] == id(owner)]
    here = [block for block in mine if current in (block[1] if type(block[1]) is tuple else block)] or mine
    if not here:
        return None
    blocks.remove(here[-1])
    return here[-1][1]


def _nothing() -> None:
    """Stand for a reference to something that is gone."""


def leave(state: Any, exc: Any) -> None:
    if exc is None:
        _succeed(state, None)
    else:
        fail(state, exc)


def _succeed(state: Any, response: object) -> None:
    if type(state) is Span:
        state.__exit__(None, None, None)
        return
    if type(state) is tuple:
        state, prefix, keeper = state
        name = prefix + "outputs.result"
        if type(response) in _PLAIN:
            state.set_attribute(name, response)
        elif response is not None:
            try:
                attributes: dict[str, object] = {}
                flatten(attributes, name, keeper.clean(response))
                state.set_attributes(attributes)
            except Exception as error:  # noqa: BLE001  # see the head of this module
                _say(error)
    if state is not None:
        state.__exit__(None, None, None)


def fail(state: Any, exc: BaseException) -> None:
    span = state[0] if type(state) is tuple else state
    if span is None:
        return
    if isinstance(span, Span) and span._passed is exc:
        # A span inside this one has recorded it.
        span._recorded_exception = exc
        span._recorded = -1
    span.__exit__(type(exc), exc, None)


def _say(error: Exception) -> None:
    from lambent.diagnostics import say_once

    say_once("trace", f"a call is not traced ({type(error).__name__}: {error}); the function is not affected")


def _make(name: str, function: Any, awaits: bool, options: dict[str, Any]) -> Any:
    for option in options:
        if option not in _OPTIONS:
            from difflib import get_close_matches

            near = get_close_matches(option, _OPTIONS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"the arguments are {', '.join(_OPTIONS)}"
            raise ConfigError(f"{name}() got an unknown argument {option!r}; {hint}")
    if isinstance(function, str):
        options.setdefault("event_name", function)
        function = None
    tracing = Tracing(options, awaits)
    return tracing if function is None else tracing(function)


if TYPE_CHECKING:

    @overload
    def trace(function: F, /) -> F: ...
    @overload
    def trace(name: str | None = None, /, **options: Unpack[Options]) -> Tracing: ...


def trace(function: Any = None, /, **options: Any) -> Any:
    """Trace each call of a function: `@trace`, `@trace("name")`, `@trace(event_type="tool", …)`.

    Functions, coroutines, generators (the span lives as long as the iteration), context managers (as long
    as the block), methods and generic functions of any kind, partials and other callables; of a class the
    methods, or, where it is a context manager, the blocks. `with trace("name") as span:` traces a block;
    `async with` does, too.

    `event_name` is the span's name, default the function's; `event_type` one of `EventType`; `metadata`,
    `config`, `metrics`, `feedback`, `user_properties`, `event_id` and `error` are kept on each span.
    `inputs` and `outputs` are values to keep, or True and False to capture arguments and result or not;
    without them the option `capture` decides. `redact`: further names whose values are not kept. `tracer`:
    default the current span's, else `get_tracer()`, decided at each call.

    Raises ConfigError for an argument or an event type that does not exist.
    """
    return _make("trace", function, False, options)


if TYPE_CHECKING:

    @overload
    def atrace(function: F, /) -> F: ...
    @overload
    def atrace(name: str | None = None, /, **options: Unpack[Options]) -> Tracing: ...


def atrace(function: Any = None, /, **options: Any) -> Any:
    """Trace as `trace` does, and make a coroutine function of one that only returns something to await."""
    return _make("atrace", function, True, options)


if TYPE_CHECKING:

    @overload
    def trace_class(cls: C, /) -> C: ...
    @overload
    def trace_class(**options: Unpack[Options]) -> Callable[[C], C]: ...


def trace_class(cls: Any = None, /, **options: Any) -> Any:
    """Trace the public methods that a class defines: `@trace_class`, or with the options of `trace`."""
    from lambent.classes import trace_methods

    tracing = _make("trace_class", None, False, options)
    return trace_methods(cls, tracing) if cls is not None else lambda cls: trace_methods(cls, tracing)
