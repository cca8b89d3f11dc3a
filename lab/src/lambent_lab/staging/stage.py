"""Everything that a function's process is started with, prepared once and shared by its environments."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent_lab.staging import archive, client, layers, node, requirements, scripts
from lambent_lab.staging.interpreter import clean_home
from lambent_lab.staging.package import doubts, package
from lambent_lab.staging.runtimes import Runtime, choose
from lambent_lab.staging.shelf import Kept, shelf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lambent_lab.function import FunctionSpec


BOOTSTRAP = "bootstrap"
"""The file that the provided runtimes run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The folders a function is run with, none the user's own. No `home`: the interpreter runs as it is.

    `client` is for /var/runtime, `layer` for /opt; `extensions` are the names of the files that run from its
    extensions folder; `notes` say what is not as on Lambda. `release` gives the folders back; they may vanish
    then.
    """

    runtime: Runtime
    home: Path | None
    code: Path
    client: Path | None
    layer: Path | None
    extensions: tuple[str, ...]
    notes: tuple[str, ...]
    taken: tuple[Kept, ...]

    def release(self) -> None:
        """Tell that nothing runs from these folders any more. Call it once."""
        for kept in self.taken:
            shelf.give_back(kept)


def stage(spec: FunctionSpec) -> Stage:
    """Prepare a function. Blocks while files are copied and compiled, once for each state of the code.

    Raises UsageError for code that Lambda would not take, and for a runtime that is not there.
    """
    runtime = choose(spec)
    taken: list[Kept] = []
    try:
        for path in (spec.code, *spec.layers):
            taken.append(package(path, runtime.python, bytecode=spec.bytecode))  # noqa: PERF401 - each as soon as it is taken
        archive.check_size("The function's code with its layers", sum(kept.size for kept in taken))
        code, *layered = [kept.path for kept in taken]
        asked, about_packages = requirements.layer(
            spec.code, layered, runtime.python, taken, bytecode=spec.bytecode
        )
        if asked is not None:
            archive.check_size("The function's code with its packages", sum(kept.size for kept in taken))
            layered = [asked, *layered]
        if runtime.python is not None:
            own = layers.sdk(code, layered, runtime.python, taken, bytecode=spec.bytecode)
            layered = [own, *layered] if own is not None else layered
        layer = layers.merged(layered, spec.extensions, taken)
        extensions = layers.extensions_in(layer)
        own_start = [
            folder / BOOTSTRAP for folder in (code, layer) if folder and runtime.family == "provided"
        ]
        started = [path for path in own_start if path.is_file()]
        started += [layer / layers.EXTENSIONS / name for name in extensions if layer is not None]
        return Stage(
            runtime=dataclasses.replace(runtime, prefixes=(*runtime.prefixes, *scripts.prefixes(*started))),
            home=_home(runtime, taken),
            code=code,
            client=_client(spec, runtime, taken),
            layer=layer,
            extensions=extensions,
            notes=(
                *runtime.notes,
                *about_packages,
                *(text for path in (spec.code, *spec.layers) for text in doubts(path)),
            ),
            taken=tuple(taken),
        )
    except BaseException:
        for kept in taken:
            shelf.give_back(kept)
        raise


def _home(runtime: Runtime, taken: list[Kept]) -> Path | None:
    """Return a clean home for the interpreter; one that the user named is run exactly as it is."""
    python, found = runtime.python, runtime.node
    if found is not None:
        return _made(("home", str(found.path)), lambda folder: node.make_home(found, folder), taken)
    if python is not None and python.is_default:
        return _made(("home", str(python.path)), lambda folder: clean_home(python, folder), taken)
    return None


def _client(spec: FunctionSpec, runtime: Runtime, taken: list[Kept]) -> Path | None:
    """Return the folder with the runtime client."""
    if runtime.node is not None:
        old = int(runtime.release) < 24 and spec.max_concurrency is None
        return node.client_folder(runtime.node, node.WITH_CALLBACKS if old else node.CURRENT)
    if runtime.python is None:
        return None
    folder = client.folder_for(runtime.python, bytecode=spec.bytecode)
    # An interpreter that has the client itself is only told how to start it.
    return folder or _made(("start", ""), client.write_start, taken)


def _made(key: tuple[str, ...], fill: Callable[[Path], None], taken: list[Kept]) -> Path:
    def make(folder: Path) -> int:
        fill(folder)
        return 0

    kept = shelf.take(key, make)
    taken.append(kept)
    return kept.path
