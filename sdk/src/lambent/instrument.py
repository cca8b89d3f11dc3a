"""Tracing libraries without touching code: what `LAMBENT_INSTRUMENT` names, or `auto`.

A library is instrumented when it is imported, by OpenTelemetry's instrumentor for it, with our provider.
Nothing is looked for before: no entry points, no installed packages, so that a library that a function does
not use costs a lookup in a dictionary. Of several instrumentors for one library the first that is installed
is used. What the function instruments by itself is left as it is.

An instrumentor needs much of the standard library, and packages of its own. Where the import of one of these
led to the library, as that of `subprocess` leads to `threading`, it is half of a module still: to import the
instrumentor then would fail, and may leave others broken. The import system says on a module's spec that it
is done, and nowhere else; so that is where we wait.
"""

from __future__ import annotations

import sys
from _frozen_importlib import ModuleSpec
from _thread import get_ident

from lambent.hooks import forget, when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from lambent.config import Config
    from lambent.tracer import Tracer

__all__ = ["pass_on", "start", "stop"]

_TABLE = """
aio-pika
aiobotocore aiobotocore botocore:AiobotocoreInstrumentor
aiohttp-client|aiohttp aiohttp aiohttp_client
aiohttp-server|aiohttp aiohttp.web aiohttp_server
aiokafka
aiopg
anthropic anthropic @anthropic anthropic
asyncclick
asyncio
asyncpg
bedrock boto3 @bedrock bedrock
boto3sqs boto3
botocore|boto3|boto botocore.client botocore:BotocoreInstrumentor
cassandra
celery
click
cohere
confluent-kafka
django django.core.handlers.base:BaseHandler.load_middleware
elasticsearch
falcon
fastapi
flask
google-genai google.genai google_genai @google_genai
grpc
groq groq @groq groq
httpx httpx httpx:HTTPXClientInstrumentor
httpx2 httpx2 httpx:HTTPX2ClientInstrumentor
jinja2
kafka|kafka-python kafka
langchain langchain_core @langchain langchain
litellm litellm @litellm
llama-index llama_index.core @llama_index llamaindex
logging
mcp mcp @mcp mcp
mistralai mistralai @mistralai mistralai
mysql mysql.connector
mysqlclient MySQLdb
openai openai @openai openai_v2 openai
openai-agents agents @openai_agents openai_agents
pika
psycopg
psycopg2
pymemcache
pymongo
pymssql
pymysql
pyramid pyramid.config
redis
remoulade
requests
sqlalchemy
sqlite3
starlette starlette.applications
structlog
threading
tornado
tortoiseorm|tortoise tortoise
urllib urllib.request
urllib3
vertexai vertexai vertexai @vertexai
"""
"""Its names, the module to wait for (of a method: its first call), its instrumentors. What is left out is as
the name: `redis` is `redis redis redis`. `@` are OpenInference's, and the others OpenTelemetry's."""

_HTTP = frozenset({"aiohttp-client", "httpx", "httpx2", "requests", "urllib", "urllib3"})
_MIDDLE = "-instrumentation-"
_FOLDERS = ("opentelemetry.instrumentation.", "openinference.instrumentation.")
_NEEDED = sys.stdlib_module_names | {
    "importlib_metadata", "openinference", "opentelemetry", "packaging", "typing_extensions", "wrapt", "zipp",
}  # fmt: skip
_undo: dict[Tracer, list[Callable[[], object]]] = {}
_nested: dict[int, list[Any]] = {}
"""Of each thread that is instrumenting a library, those that this imports. They are next: what instruments
them may need the same packages, which are not whole before it is done."""


def start(tracer: Tracer) -> None:
    """Instrument what the tracer's configuration names: loaded libraries now, the others when they are."""
    undo = _undo.setdefault(tracer, [])
    for name, watch, modules, named in _wanted(tracer.config):
        module, _, method = watch.partition(":")
        callback = _later(_instrument, tracer, name, modules, named)
        if method:
            callback = _later(_before, method, callback)
        undo.append(_later(forget, module, callback))
        when_imported(module, callback)


def stop(tracer: Tracer) -> None:
    """Take back what `start` did for this tracer."""
    for undo in _undo.pop(tracer, ()):
        try:
            undo()
        except Exception as error:  # noqa: BLE001  # somebody else's code, and the tracer is being closed
            from lambent.diagnostics import say_once

            say_once("uninstrument", f"a library stays instrumented ({type(error).__name__}: {error})")


def pass_on(tracer: Tracer, heir: Tracer) -> None:
    """Have another tracer take back what `start` did for this one."""
    _undo.setdefault(heir, []).extend(_undo.pop(tracer, ()))


def _wanted(config: Config) -> Iterator[tuple[str, str, list[str], bool]]:
    """Yield the name of each library, what to wait for, its instrumentors, and whether it was named."""
    disabled = {word.replace("_", "-") for word in config.disabled_instrumentations}
    words = {word.replace("_", "-") for word in config.instrument} - {"none", "off"}
    if words & {"all", "true", "on", "1"}:
        words |= {"auto"}
    known = {"all", "true", "on", "1"}
    for line in () if "*" in disabled else _TABLE.split("\n")[1:-1]:
        names, *rest = line.split()
        name, *aliases = names.split("|")
        label = name.replace("-", "_")
        watch, *modules = rest or (label,)
        modules = modules or [label]
        # One of several instrumentors is asked for by its package's name, or what is particular in it.
        packages = {_package(module): module for module in modules}
        packages |= {package.rpartition(_MIDDLE)[2]: module for package, module in packages.items()}
        asked = words & packages.keys()
        known |= {name, *aliases, *packages}
        if asked and words.isdisjoint((name, *aliases)):
            modules = [packages[word] for word in asked]
        elif "auto" not in words and words.isdisjoint((name, *aliases)):
            continue
        if name not in disabled and not (config.disable_http_tracing and name in _HTTP):
            yield name, watch, modules, not words.isdisjoint((name, *aliases, *packages))
    for word in words - known - disabled - {"auto"} if "*" not in disabled else ():
        from difflib import get_close_matches

        short = word.rpartition(_MIDDLE)[2]
        label = short.replace("-", "_")
        near = get_close_matches(short, known, 1, 0.8)
        wrong = not label.replace(".", "").isidentifier() and "it is no name; commas separate names"
        if wrong or (near and short != near[0]):
            from lambent.diagnostics import say_once

            say_once(
                f"instrument {word}",
                f"{word!r} may not be meant: {wrong or f'a library is called {near[0]!r}'}",
            )
        yield short, label, [label, f"@{label}"], True


def _later(call: Callable[..., object], *arguments: object) -> Callable[..., object]:
    return lambda *more: call(*arguments, *more)  # functools.partial, without loading functools


def _package(module: str) -> str:
    """Return what pip calls the package of an instrumentor."""
    name = _full(module.partition(":")[0]).replace(".", "-").replace("_", "-")
    return f"{name}-python" if name.endswith("-instrumentation-kafka") else name


def _full(module: str) -> str:
    return _FOLDERS[module[0] == "@"] + module.removeprefix("@")


def _instrument(*asked: Any) -> None:
    thread = get_ident()
    if thread in _nested:
        _nested[thread].append(asked)
        return
    *wanted, library = asked
    name = library.__name__
    if _waits(name, _later(when_imported, name, _later(_instrument, *wanted))):
        return
    nested = _nested[thread] = []
    try:
        _apply(*asked)
    finally:
        del _nested[thread]
        for *wanted, library in nested:
            when_imported(library.__name__, _later(_instrument, *wanted))


class _UnderWay(ModuleSpec):
    """The spec of a module that is being executed: it notices the end of that."""

    @property
    def _initializing(self) -> bool:
        return True

    @_initializing.setter
    def _initializing(self, _value: bool) -> None:
        self.__class__ = ModuleSpec  # type: ignore[assignment]  # as it was
        self._initializing = False
        parent, _, child = self.name.rpartition(".")
        if parent in sys.modules and self.name in sys.modules:  # what the import system does next
            setattr(sys.modules[parent], child, sys.modules[self.name])
        for callback in self.__dict__.pop("callbacks", ()):
            callback()


def _waits(library: str, callback: Callable[..., object]) -> bool:
    """Have it called when the outermost import that led to the library is over, if there is one."""
    for name, module in list(sys.modules.items()):
        if name == library or name.partition(".")[0] not in _NEEDED:
            continue
        try:  # not by `vars`: to ask a lazy module for anything executes it
            spec: Any = object.__getattribute__(module, "__dict__").get("__spec__")
        except AttributeError:
            continue
        if type(spec) in {ModuleSpec, _UnderWay} and getattr(spec, "_initializing", False):
            vars(spec).setdefault("callbacks", []).append(callback)
            spec.__class__ = _UnderWay
            if not vars(spec)["_initializing"]:  # another thread's, and over meanwhile
                spec._initializing = False  # noqa: SLF001  # see the head of this module
            return True
    return False


def _apply(tracer: Any, name: str, modules: list[str], named: bool, _library: object) -> None:
    for each in modules:
        label, _, only = each.partition(":")
        full = _full(label)
        try:
            module = __import__(full, fromlist=["__name__"])
        except ModuleNotFoundError as error:
            if error.name and f"{full}.".startswith(f"{error.name}."):
                continue
            raise
        for attribute, found in list(vars(module).items()):
            ours = attribute == only if only else getattr(found, "__module__", "").startswith(full)
            if not ours or "Instrumentor" not in attribute or not isinstance(found, type):
                continue
            instrumentor: Any = found()
            if not instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.instrument(tracer_provider=tracer.provider, raise_exception_on_conflict=True)
                _undo.setdefault(tracer, []).append(instrumentor.uninstrument)
        return
    if named:
        from lambent.diagnostics import say_once

        packages = " or ".join(map(_package, modules))
        say_once(f"instrument {name}", f"{name} is not traced: put {packages} into the function's package")


def _before(path: str, callback: Callable[[Any], object], module: Any) -> None:
    """Call it once, before a method of the module's is called for the first time."""
    holder, method = path.split(".")
    kind = getattr(module, holder)
    original = getattr(kind, method)

    def first(*args: Any, **kwargs: Any) -> Any:
        setattr(kind, method, original)
        # As an import does: what fails is said, and the method is called.
        when_imported(module.__name__, callback)
        return original(*args, **kwargs)

    setattr(kind, method, first)
