"""The axes of a measurement, as users write them: memory sizes, interpreters, variants."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    _SizesType = click.ParamType[tuple[int, ...]]
    _PythonsType = click.ParamType[dict[str, Path | None]]
    _VariantsType = click.ParamType[tuple[str, ...]]
    _OnePythonType = click.ParamType["Chosen"]
else:
    # Generic in the newest releases only.
    _SizesType = _PythonsType = _VariantsType = _OnePythonType = click.ParamType

_SIZES = range(128, 10241)
_VERSION = re.compile(r"3\.\d{1,2}")
_MARKS = re.compile(r"[=/:]|(on|off|sync|async|finalize|auto)$")


class MemorySizes(_SizesType):
    """A list of memory sizes in MB, as 128,256,512."""

    name = "MB,…"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The sizes, each once and in order."""
        if isinstance(value, tuple):
            return value
        try:
            sizes = sorted({int(part) for part in str(value).split(",")})
        except ValueError:
            self.fail(f"{value!r} is not a list of megabytes such as 128,256,512.", param, ctx)
        for size in sizes:
            if size not in _SIZES:
                self.fail(f"Lambda has memory sizes from 128 to 10240 MB, not {size}.", param, ctx)
        return tuple(sizes)


class Pythons(_PythonsType):
    """Interpreters: versions that are looked for (3.12), or paths.

    A version's path is None, for the lab to find: that there is one is checked here. One path alone has no
    name: then interpreters are no axis.
    """

    name = "V|PATH,…"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Path | None]:
        """The interpreters by their names, in the order in which they were given."""
        if isinstance(value, dict):
            return value
        parts = [part.strip() for part in str(value).split(",") if part.strip()]
        if not parts:
            self.fail("Name a version such as 3.12, or the path of an interpreter.", param, ctx)
        found: dict[str, Path | None] = {}
        for part in parts:
            if _VERSION.fullmatch(part):
                self._look_for(part, param, ctx)
                found[part] = None
                continue
            path = Path(part)
            if not path.is_file():
                self.fail(
                    f"File {part!r} does not exist: name a version such as 3.12, or a path.", param, ctx
                )
            found["" if len(parts) == 1 else self._name(path, found, param, ctx)] = path
        return found

    def _look_for(self, version: str, param: click.Parameter | None, ctx: click.Context | None) -> None:
        from lambent_lab.staging.pythons import find

        try:
            find(version)
        except UsageError as error:
            self.fail(str(error), param, ctx)

    def _name(
        self,
        path: Path,
        taken: dict[str, Path | None],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        from lambent_lab.staging.interpreter import inspect

        try:
            version = ".".join(map(str, inspect(path).version))
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return str(path) if version in taken else version


@dataclass(frozen=True, slots=True)
class Chosen:
    """One interpreter: where it is, and how the lab is told of it."""

    path: Path
    runtime: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """What a function of the lab is made with: a version that is named is run as Lambda's runtime is."""
        return {"python": self.path} if self.runtime is None else {"runtime": self.runtime}


class OnePython(_OnePythonType):
    """An interpreter: a version that is looked for (3.12), or a path."""

    name = "V|PATH"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Chosen:
        """The interpreter."""
        if isinstance(value, Chosen):
            return value
        text = str(value)
        if _VERSION.fullmatch(text):
            from lambent_lab.staging.pythons import find

            try:
                return Chosen(find(text).path, f"python{text}")
            except UsageError as error:
                self.fail(str(error), param, ctx)
        if not Path(text).is_file():
            self.fail(f"File {text!r} does not exist: name a version such as 3.12, or a path.", param, ctx)
        return Chosen(Path(text))


class Variants(_VariantsType):
    """A list of variants. A comma within a variable's value does not end it, unless a variant follows."""

    name = "V,…"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,  # noqa: ARG002 - as above
    ) -> tuple[str, ...]:
        """The texts of the variants."""
        if isinstance(value, tuple):
            return value
        found: list[str] = []
        for part in str(value).split(","):
            if found and part.strip() and not _MARKS.search(part.strip()) and "=" in found[-1]:
                found[-1] += f",{part}"
            elif part.strip():
                found.append(part.strip())
        return tuple(found)
