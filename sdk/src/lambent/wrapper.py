"""Tracing a function without touching it: `lambent.wrapper.handler` in the place of its own handler.

That one is named by `LAMBENT_HANDLER`. lambent.sh, the script for `AWS_LAMBDA_EXEC_WRAPPER`, sets both.

- The runtime client itself looks for the function's handler, so that whatever it accepts works, and what it
  refuses, or what fails in the function's module, is told in the words of an untraced function.
- A tracer is made before the function's module is imported, so that libraries are instrumented. A tracer that
  the module makes is the one that counts: ours goes on as a part of it. A decorated handler is left as it is.
- Whatever fails on our side is said once, and the function runs untraced.
"""

from __future__ import annotations

import sys

import lambent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    handler: Callable[..., object]

__all__ = ["handler"]

_OWN = "lambent.wrapper.handler"
# Where the runtime client is: installed, or, in older runtimes of AWS's, a script.
_CLIENTS = ("awslambdaric.bootstrap", "bootstrap", "__main__")


def __getattr__(name: str) -> object:
    if name != "handler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    tracer, path = _prepare()
    try:
        function = _find(path)
    except BaseException as exc:
        while exc.__traceback__ is not None and exc.__traceback__.tb_frame.f_globals is globals():
            BaseException.with_traceback(exc, exc.__traceback__.tb_next)
        if isinstance(exc, AttributeError):
            _tell(exc)  # as one it would mean that there is no `handler` here
        raise
    try:
        if tracer is not None:
            function = _traced(tracer, function)
    except Exception as error:  # noqa: BLE001  # see the head of this module
        _say(error)
    globals()["handler"] = function
    return function


def _prepare() -> tuple[Any, str]:
    from lambent.config import read

    tracer = None
    path = read({}).handler
    if path.replace("/", ".") in {"", _OWN}:
        from lambent.errors import ConfigError

        raise ConfigError(f"{_OWN} needs LAMBENT_HANDLER, the function's own handler: app.handler, for one")
    try:
        tracer = lambent._provisional = lambent.init()
    except Exception as error:  # noqa: BLE001  # see the head of this module
        _say(error)
    return tracer, path


def _client() -> Any:
    for name in _CLIENTS:
        module = sys.modules.get(name)
        if hasattr(module, "_get_handler"):
            return module
    return None


def _find(path: str) -> Any:
    client = _client()
    if client is not None:
        return client._get_handler(path)
    module, _, name = path.rpartition(".")
    return getattr(__import__(module.replace("/", "."), fromlist=["__name__"]), name)


def _tell(exc: AttributeError) -> None:
    """Raise it as a fault with all that the runtime client would have told about it."""
    client = _client()
    if hasattr(client, "build_fault_result"):
        result = client.build_fault_result((type(exc), exc, exc.__traceback__), None)
        fault = client.FaultException(result["errorType"], result["errorMessage"], result["stackTrace"])
        raise fault from exc


def _traced(tracer: Any, function: Any) -> Any:
    lambent._provisional = None
    theirs: Any = lambent._default
    if theirs is not None and theirs is not tracer:
        if tracer.config.instrument:
            from lambent.instrument import pass_on

            pass_on(tracer, theirs)
        tracer.close()
        # What was instrumented has a part of this tracer: from now on that is a part of the function's own.
        tracer.__dict__.update(theirs.__dict__)
        tracer = theirs
    # Not by hasattr: some objects claim to have everything.
    for each in (function, type(function).__call__):  # of an object, what is called
        if "_lambent_tracer" in getattr(each, "__dict__", ()):
            return function
    return tracer.handler(function)


def _say(error: Exception) -> None:
    from lambent.diagnostics import say_once

    say_once("wrapper", f"the function is not traced ({type(error).__name__}: {error})")
