# What every tool's worker in ../peers offers. The bundle puts that worker here, as peer.py.
from collections.abc import Callable

# Import the tool, initialise it as its documentation says, wrap the handler: everything that init pays.
def start(function: Callable[[object, object], object]) -> Callable[[object, object], object]: ...

# Make `bench.root` with `count` - 1 children `bench.span`, five attributes each.
def spans(count: int) -> None: ...

# Make the five spans of one invocation, below the handler's.
def children() -> None: ...

# Return when everything finished has been delivered.
def flush() -> None: ...

# Whether a span really holds the attributes it is given.
def recording() -> bool: ...
