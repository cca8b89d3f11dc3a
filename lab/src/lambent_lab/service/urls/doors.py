"""The URLs that are open: each listens on a port of its own, and invokes its function for every request.

Rules
- A URL is `http://127.0.0.1:PORT/`, which every client can call as it stands. Its settings apply from the
  next request on; its id stays the same for the function's name and alias.
- A function's URLs end with it.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

from lambent_lab import http
from lambent_lab.errors import LabError
from lambent_lab.service.api.invoke import MAX_PAYLOAD
from lambent_lab.service.names import LATEST, qualified_arn
from lambent_lab.service.problems import conflict
from lambent_lab.service.urls.exchange import Exchange, preflight
from lambent_lab.service.urls.settings import url_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from lambent_lab.http import Answer, BadBody, Request, Response
    from lambent_lab.service.core import Core, Deployed
    from lambent_lab.service.urls.settings import UrlSettings

_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a client finds who listens everywhere


class Urls:
    """All URLs of a lab. Everything here belongs to the lab's event loop."""

    def __init__(self, core: Core) -> None:
        self.host = "127.0.0.1"
        self.on_open: list[Callable[[Door], None]] = []
        self._core = core
        self._doors: dict[Deployed, dict[str, Door]] = {}

    def of(self, deployed: Deployed) -> Mapping[str, Door]:
        """Return a function's URLs by qualifier: `$LATEST` or an alias."""
        return self._doors.get(deployed, {})

    async def create(self, deployed: Deployed, qualifier: str, settings: UrlSettings) -> Door:
        """Open a URL. Raises ServiceError when there is one, LabError when the port cannot be had."""
        doors = self._doors.setdefault(deployed, {})
        if qualifier in doors:
            raise conflict(
                "Failed to create function url config for "
                f"[functionArn = {doors[qualifier].arn}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function"
            )
        door = doors[qualifier] = Door(self._core, deployed, qualifier, settings)
        try:
            await door.open(self.host)
        except BaseException:
            doors.pop(qualifier, None)
            raise
        if doors.get(qualifier) is not door or self._doors.get(deployed) is not doors:
            await door.close()  # somebody has deleted it, or its function, meanwhile
        for hear in self.on_open:
            hear(door)
        return door

    async def put(self, deployed: Deployed, qualifier: str, settings: UrlSettings) -> Door:
        """Open a URL, or change the one there is."""
        door = self.of(deployed).get(qualifier)
        if door is not None and settings.port in {0, door.port}:
            door.change(settings)
            return door
        if door is not None:
            await self.remove(deployed, qualifier)
        return await self.create(deployed, qualifier, settings)

    async def remove(self, deployed: Deployed, qualifier: str) -> None:
        """Close a URL, if there is one."""
        door = self._doors.get(deployed, {}).pop(qualifier, None)
        if door is not None:
            await door.close()

    def forget(self, deployed: Deployed) -> None:
        """Close the URLs of a function that is no more."""
        for door in self._doors.pop(deployed, {}).values():
            self._core.fleet.spawn(door.close())

    async def close(self) -> None:
        """Close all."""
        doors = [door for each in self._doors.values() for door in each.values()]
        self._doors.clear()
        for door in doors:
            await door.close()


def urls_of(core: Core) -> Urls:
    """Return the URLs of a lab's functions."""
    if core.urls is None:
        core.urls = Urls(core)
    return core.urls


class Door:
    """One URL."""

    def __init__(self, core: Core, deployed: Deployed, qualifier: str, settings: UrlSettings) -> None:
        self.deployed = deployed
        self.qualifier = qualifier
        self.settings = settings
        self.id = url_id(deployed.name, qualifier)
        self.created = self.modified = _stamp()
        self.port = 0
        self.url = ""
        self.core = core
        self._server: http.Server | None = None

    @property
    def arn(self) -> str:
        """The function's ARN, with the alias if the URL is one's."""
        return qualified_arn(self.deployed.name, None if self.qualifier == LATEST else self.qualifier)

    def change(self, settings: UrlSettings) -> None:
        """Have other settings, from the next request on."""
        self.settings = settings
        self.modified = _stamp()

    async def open(self, host: str) -> None:
        """Begin to answer. Raises LabError when the port cannot be had."""
        port = self.settings.port
        try:
            self._server = await http.Server.start(
                self._handle, host, port, max_body=MAX_PAYLOAD, refuse=self._refuse
            )
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise LabError(
                f"Port {port} of {host} cannot be had for the URL of {self.deployed.name} ({why}): "
                "choose another."
            ) from error
        self.port = self._server.port
        shown = _ANY_HOST.get(self._server.host, self._server.host)
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/"

    async def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            await self._server.close()

    # -- requests

    def _handle(self, request: Request) -> Answer | Awaitable[Answer]:
        return preflight(self, request) or Exchange(self, request).answer()

    def _refuse(self, request: Request, why: BadBody) -> Response:
        return Exchange(self, request).broken(why)


def _stamp() -> str:
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
