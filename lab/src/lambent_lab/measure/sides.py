"""The functions of a benchmark: one for each side in each place, made when it is first asked for.

A place is a memory size and a Python. Functions in the lab are made of the side's code; what is outside the
lab is reached once, however many sides and sizes it has.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError
from lambent_lab.measure import importtree
from lambent_lab.measure.accounting import counting
from lambent_lab.measure.records import reason
from lambent_lab.measure.remote import open_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambent_lab.measure.bench import Benchmark
    from lambent_lab.measure.remote import Remote
    from lambent_lab.measure.results import ImportNode
    from lambent_lab.measure.sampler import FunctionLike, LabLike
    from lambent_lab.measure.target import Target

    Place = tuple[int, str | None]

_WHOLE_CPU_MB = 1769
_TREES = 3


class Sides:
    """The functions of a benchmark's sides."""

    def __init__(self, benchmark: Benchmark, lab: LabLike) -> None:
        self._benchmark = benchmark
        self._lab = lab
        self._targets = benchmark.sides
        self._functions: dict[tuple[str, Place, bool], FunctionLike] = {}
        self._remotes: dict[str, Remote] = {}

    def open(self) -> None:
        """Reach what is outside the lab, before anything is measured.

        Raises LabError when it does not answer, UsageError when it cannot be measured as it was asked for.
        """
        try:
            for side, target in self._targets.items():
                if target.kind != "lab":
                    for size in self._benchmark.sizes:
                        self.function(side, (size, next(iter(self._benchmark.interpreters))))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave what is outside the lab as it was found. Raises LabError when that cannot be done."""
        trouble: LabError | None = None
        for remote in self._remotes.values():
            try:
                remote.close()
            except LabError as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    def runtime(self, side: str) -> str | None:
        """The runtime of a function outside the lab, where it says so."""
        remote = self._remotes.get(self._targets[side].text)
        return None if remote is None else remote.runtime

    def function(self, side: str, place: Place, *, again: bool = False) -> FunctionLike:
        """The function of a side in a place; `again`: a second one like it, to be compared with it."""
        made = self._functions.get((side, place, again))
        if made is None:
            target = self._targets[side]
            if target.kind == "lab":
                made = self._make("again" if again else "bench", side, place)
            else:
                made = self._remote(target).function(
                    memory=place[0], timeout=self._benchmark.timeout_s, env=counting(target.env)
                )
            self._functions[side, place, again] = made
        return made

    def import_tree(self, side: str, place: Place) -> ImportNode | None:
        """The import tree of a side in the lab, the least of a few cold starts; None when there is none.

        They have a whole CPU: with the share of a small size, whichever module is being imported when the
        share is used up would seem to cost what the waiting costs. Raises LabError.
        """
        size, python = place
        with _layer(importtree.entry(self._targets[side].handler)) as layer:
            function = self._make("imports", side, (max(size, _WHOLE_CPU_MB), python), layer)
            try:
                return importtree.least([*self._trees(function)])
            finally:
                function.stop()

    def _trees(self, function: FunctionLike) -> Iterator[ImportNode]:
        for _ in range(_TREES):
            function.stop()
            result = function.invoke(self._benchmark.event)
            tree = importtree.parse(result.log.splitlines()) if reason(result) is None else None
            if tree is not None:
                yield tree

    def _make(self, purpose: str, side: str, place: Place, layer: Path | None = None) -> FunctionLike:
        """A function of the lab; with the layer for its import tree it is one that tells it."""
        benchmark, target, (size, python) = self._benchmark, self._targets[side], place
        interpreter = benchmark.interpreters[python]
        env = counting(target.env, self._lab.otlp_url if benchmark.otlp else None)
        return self._lab.function(
            _name(purpose, side, size, python),
            code=target.code,
            handler=target.handler if layer is None else f"{importtree.ENTRY}.handler",
            layers=() if layer is None else (layer,),
            memory=size,
            timeout=benchmark.timeout_s,
            env=env if layer is None else env | importtree.VARIABLE,
            python=interpreter,
            bytecode=benchmark.bytecode,
            init_cpu=benchmark.init_cpu,
            # A version that is named is run as Lambda's runtime of that name is: from a clean home.
            runtime=f"python{python}" if python is not None and interpreter is None else None,
        )

    def _remote(self, target: Target) -> Remote:
        """The place of a target outside the lab, opened once: two sides of one function share it."""
        made = self._remotes.get(target.text)
        if made is None:
            made = self._remotes[target.text] = open_remote(target)
        return made


@contextlib.contextmanager
def _layer(source: str) -> Iterator[Path]:
    """A layer with the module that loads the handler's; the function's own user must be able to read it."""
    with tempfile.TemporaryDirectory(prefix="lambent-imports-") as name:
        folder = Path(name)
        (folder / "python").mkdir()
        (folder / "python" / f"{importtree.ENTRY}.py").write_text(source, encoding="utf-8")
        for each in (folder, folder / "python"):
            each.chmod(0o755)
        yield folder


def _name(purpose: str, side: str, memory_mb: int, python: str | None) -> str:
    """A name that Lambda takes: of letters, digits and dashes, at most 64 of them."""
    parts = [purpose, re.sub(r"[^A-Za-z0-9]+", "-", side).strip("-")[:32], str(memory_mb)]
    if python is not None:
        parts.append(re.sub(r"[^A-Za-z0-9]+", "-", python).strip("-")[-16:])
    return "-".join(parts)
