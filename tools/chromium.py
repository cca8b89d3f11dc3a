"""A page in headless Chromium: pictures of it, and what it says when asked. Needs no driver and no network.

    python tools/chromium.py PAGE.html PICTURE.png [--width 1200] [--height 1600] [--dark] [--whole]
    python tools/chromium.py PAGE.html PAPER.pdf

The browser is spoken to over two pipes in the DevTools protocol (`--remote-debugging-pipe`: JSON messages, a
zero byte after each). Every answer is waited for, no longer than `PATIENCE_S`.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

PATIENCE_S = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def find() -> str | None:
    """The browser's program, where one is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """A browser with one page. `events`: everything that the page did, as the protocol tells it."""

    def __init__(self, program: str) -> None:
        self._program = program
        self.events: list[dict[str, Any]] = []
        self.shown: object = None  # for those who want to know whether their page still is
        self._number = 0
        self._rest = b""
        self._session = ""

    def __enter__(self) -> Self:
        """Start it, with a profile of its own."""
        self._profile = tempfile.TemporaryDirectory(prefix="lambent-chromium-", ignore_cleanup_errors=True)
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # It reads from 3 and writes to 4: ours are moved there, from numbers that cannot be in the way.
        theirs = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in (to_read, to_write)]
        os.close(to_read)
        os.close(to_write)
        nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        moved = [(os.POSIX_SPAWN_DUP2, each, number) for number, each in enumerate(theirs, 3)]
        arguments = [self._program, *FLAGS, f"--user-data-dir={self._profile.name}"]
        self._process = os.posix_spawn(
            self._program, arguments, os.environ, file_actions=[*nothing, *moved], setpgroup=0
        )
        for each in theirs:
            os.close(each)
        try:
            target = self.ask("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.ask(f"{domain}.enable")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, and everything it kept."""
        os.close(self._to)  # it ends when nobody can speak to it any more
        limit = time.monotonic() + 10
        while os.waitpid(self._process, os.WNOHANG) == (0, 0):
            if time.monotonic() > limit:
                os.killpg(self._process, signal.SIGKILL)  # its own group: its helpers end as well
                os.waitpid(self._process, 0)
                break
            time.sleep(0.02)
        os.close(self._from)
        self._profile.cleanup()

    def ask(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its answer. Raises RuntimeError for an error, TimeoutError for none."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        limit = time.monotonic() + PATIENCE_S
        while True:
            got = self._next(limit, method)
            if got.get("id") != self._number:
                self.events.append(got)
            elif "error" in got:
                raise RuntimeError(f"{method}: {got['error']}")
            else:
                return got["result"]

    def _next(self, limit: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, limit - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{method}: no answer from {self._program} in {PATIENCE_S:.0f} s")
            read = os.read(self._from, 1 << 20)
            if not read:
                raise RuntimeError(f"{method}: {self._program} has ended")
            self._rest += read
        text, _, self._rest = self._rest.partition(b"\0")
        got: dict[str, Any] = json.loads(text)
        return got

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window and the colours that the user prefers."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[feature])

    def open(self, page: Path, ready: str) -> None:
        """Show a file, and wait until the expression `ready` is true in it."""
        self.events.clear()
        self.ask("Page.navigate", url=page.resolve().as_uri())
        self.wait(f"document.readyState === 'complete' && ({ready})")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true. Raises TimeoutError."""
        limit = time.monotonic() + PATIENCE_S
        while not self.evaluate(expression):
            if time.monotonic() > limit:
                raise TimeoutError(f"not true in {PATIENCE_S:.0f} s: {expression}")
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON has it. Raises RuntimeError for an exception."""
        got = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise RuntimeError(f"{expression}: {got['exceptionDetails']}")
        return got["result"].get("value")

    def picture(self, *, whole: bool = False) -> bytes:
        """What can be seen, or the whole page, as PNG."""
        got = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(got["data"])

    def paper(self) -> bytes:
        """The page as it is printed, as PDF."""
        return base64.b64decode(
            self.ask("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"]
        )

    def complaints(self) -> list[str]:
        """What the page wrote to its console as an error, and the exceptions that nobody caught."""
        found = []
        for event in self.events:
            method, told = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(str(told["exceptionDetails"].get("text")))
            elif method == "Runtime.consoleAPICalled" and told["type"] in {"error", "warning", "assert"}:
                found.append(str([each.get("value") for each in told["args"]]))
            elif method == "Log.entryAdded" and told["entry"]["level"] in {"error", "warning"}:
                found.append(str(told["entry"]["text"]))
        return found

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        return [
            str(event["params"]["request"]["url"])
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]


DRAWN = "document.documentElement.dataset.drawn !== undefined"
"""True in a report's page when its figures are drawn."""


def main() -> None:
    """Take a picture of a report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1600)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--whole", action="store_true", help="the whole page, however long")
    asked = parser.parse_args()
    program = find()
    if program is None:
        parser.error("no Chromium is installed: tools/chromium.sh")
    with Chromium(program) as browser:
        browser.look(asked.width, asked.height, dark=asked.dark)
        browser.open(asked.page, DRAWN)
        paper = asked.output.suffix == ".pdf"
        asked.output.write_bytes(browser.paper() if paper else browser.picture(whole=asked.whole))


if __name__ == "__main__":
    main()
