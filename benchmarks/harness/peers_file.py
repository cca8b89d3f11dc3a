"""Reads peers.toml: which tools are compared, their pins, and what each cannot take part in."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1
_PIN = re.compile(r"^[A-Za-z0-9._-]+(\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.!+]+$")


class PeersFileError(Exception):
    """peers.toml cannot be used as it is. The message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One tool: its name, its worker, what is installed for it."""

    name: str
    title: str
    module: str
    requirements: tuple[str, ...]
    also: tuple[str, ...] = ()  # installed as well, not counted in its size
    source: str | None = None  # a folder of this repository that is built into a wheel
    records: bool = True  # False: makes no spans, so none are expected to arrive
    without: dict[str, str] = field(default_factory=dict)  # measure → why it has no part in it


@dataclass(frozen=True, slots=True, kw_only=True)
class PeersFile:
    """All of it."""

    python: tuple[str, ...]
    runtime: tuple[str, ...]
    peers: tuple[Peer, ...]


def read(path: Path) -> PeersFile:
    """Parse and check `path`. Raises PeersFileError when something is missing, unknown or not pinned."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    if document.get("schema") != SCHEMA:
        raise PeersFileError(f"{path}: schema must be {SCHEMA}")
    peers = tuple(_peer(path, entry) for entry in document.get("peer", []))
    names = [peer.name for peer in peers]
    if len(set(names)) != len(names):
        raise PeersFileError(f"{path}: two peers have the same name")
    if "none" not in names:
        raise PeersFileError(f"{path}: the baseline `none` is missing")
    runtime = tuple(document.get("runtime", ()))
    _check_pins(path, "runtime", runtime)
    return PeersFile(python=tuple(document.get("python", ())), runtime=runtime, peers=peers)


def _peer(path: Path, entry: dict[str, Any]) -> Peer:
    known = {"name", "title", "module", "requirements", "also", "source", "records", "measures_without"}
    if unknown := sorted(set(entry) - known):
        raise PeersFileError(f"{path}: unknown key {unknown[0]!r} in a peer")
    peer = Peer(
        name=entry["name"],
        title=entry["title"],
        module=entry["module"],
        requirements=tuple(entry["requirements"]),
        also=tuple(entry.get("also", ())),
        source=entry.get("source"),
        records=entry.get("records", True),
        without=dict(entry.get("measures_without", {})),
    )
    _check_pins(path, peer.name, peer.requirements + peer.also)
    return peer


def _check_pins(path: Path, name: str, requirements: tuple[str, ...]) -> None:
    for requirement in requirements:
        if not _PIN.match(requirement):
            raise PeersFileError(f"{path}: {name}: pin {requirement!r} as NAME==VERSION, without an address")
