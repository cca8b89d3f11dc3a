"""Where `lambent serve` has its functions from: a file, which may change, or one function's place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lambent_lab.commands.inputs import locate
from lambent_lab.errors import UsageError
from lambent_lab.service.files import Configuration, Definition, find, load
from lambent_lab.service.urls import UrlSettings
from lambent_lab.service.watch import File

_SUFFIXES = frozenset({".yaml", ".yml", ".toml", ".json", ".template"})


class Origin:
    """Where the functions come from: a file, one function's place, or nothing at first.

    With `urls` each of them has a URL, whether the file says so or not.
    """

    def __init__(
        self,
        path: Path | None,
        given: str | None,
        parameters: tuple[str, ...],
        layers: tuple[str, ...],
        *,
        urls: bool = False,
    ) -> None:
        self._urls = urls
        self._given = given
        pairs = (_pair(text, "--layer") for text in layers)
        self._mapped = {arn: Path(place).absolute() for arn, place in pairs}
        self._parameters = dict(_pair(text, "--parameter") for text in parameters)
        single = path is not None and not path.is_file() and path.suffix not in _SUFFIXES
        self.file: File | None = None if path is None or single else File(path.absolute())
        if path is None and (given is not None or parameters):
            raise UsageError("--empty starts without functions: leave it out, or the file.")

    def read(self) -> Configuration:
        """Return what there is now. Raises UsageError."""
        configuration = self._read()
        if not self._urls:
            return configuration
        with_urls = (replace(one, url=one.url or UrlSettings()) for one in configuration.definitions)
        return replace(configuration, definitions=tuple(with_urls))

    def _read(self) -> Configuration:
        if self.file is not None:
            configuration = load(self.file.path, parameters=self._parameters, layers=self._mapped)
            return replace(configuration, layers={**configuration.layers, **self._mapped})
        if self._given is None:
            return Configuration(definitions=(), layers=self._mapped)
        location = locate(self._given)
        chosen = {"name": location.name, "code": location.code.absolute(), "handler": location.handler}
        return Configuration(definitions=(Definition(options=chosen),), layers=self._mapped)


def path_of(file: str | None) -> Path:
    """Return the file that is meant, which need not be there. Raises UsageError."""
    path = Path(file) if file is not None else find(Path())
    if path is None:
        raise UsageError(
            "There is no lambent.yaml, lambent.toml or template.yaml here: name a file, "
            "a function as FOLDER/module.function, or say --empty."
        )
    if path.is_dir():
        found = find(path)
        if found is None:
            raise UsageError(f"There is no lambent.yaml, lambent.toml or template.yaml in {path}.")
        path = found
    return path


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"{option} {text!r} has no '=': write NAME=VALUE.")
    return name, value
