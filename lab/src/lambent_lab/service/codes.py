"""Code as AWS's API sees it: its hash and size, and the copies that published versions keep."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import LabError, UsageError
from lambent_lab.sandbox.workspace import workspace
from lambent_lab.service.catalog import Code
from lambent_lab.staging import trees
from lambent_lab.staging.archive import extract

if TYPE_CHECKING:
    from collections.abc import Iterator


class Codes:
    """The code packages of one lab. Blocking; its files are gone after `close`."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._known: dict[tuple[str, str], Code] = {}

    def describe(self, path: Path) -> Code:
        """Return hash and size: of a file as it is, of a folder over all of its files."""
        try:
            key = (str(path), _state(path))
            if key not in self._known:
                self._known[key] = _of_folder(path) if path.is_dir() else _of_file(path)
        except OSError as error:
            raise LabError(f"The code in {path} cannot be read: {error}.") from error
        return self._known[key]

    def keep(self, package: bytes) -> Path:
        """Store an uploaded package and return its path; the same bytes are stored once."""
        path = self._place() / f"{hashlib.sha256(package).hexdigest()}.zip"
        if not path.exists():
            path.write_bytes(package)
        return path

    def write(self, name: str, source: str) -> Path:
        """Store one file of source in a folder of its own and return the folder."""
        folder = Path(tempfile.mkdtemp(prefix="inline-", dir=self._place()))
        folder.chmod(0o755)
        (folder / name).write_text(source)
        return folder

    def freeze(self, path: Path) -> Path:
        """Return a copy of a folder's code that nobody changes. Stored packages are that already."""
        if self._folder is not None and self._folder in path.parents:
            return path
        target = Path(tempfile.mkdtemp(prefix="version-", dir=self._place()))
        if path.is_dir():
            trees.copy(path, target)
            target.chmod(0o755)
            return target
        return Path(shutil.copyfile(path, target / path.name))

    def package(self, path: Path) -> bytes:
        """Return the code as a zip file."""
        if not path.is_dir():
            return path.read_bytes()
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
            for name, file in trees.files(path):
                archive.write(file, name)
        return buffer.getvalue()

    def close(self) -> None:
        """Remove what was stored."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="packages-", dir=workspace().folder))
            self._folder.chmod(0o755)
        return self._folder


def check_zip(package: bytes, limit: int) -> bool:
    """Tell whether these bytes are a zip file that a function can run from, of less than `limit` bytes."""
    with tempfile.TemporaryDirectory(prefix="check-", dir=workspace().folder) as folder:
        try:
            return extract(package, Path(folder)) < limit
        except UsageError:
            return False


def _state(path: Path) -> str:
    if path.is_dir():
        return trees.fingerprint(path)
    about = path.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def _of_file(path: Path) -> Code:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return Code(base64.b64encode(digest.digest()).decode(), path.stat().st_size)


def _of_folder(path: Path) -> Code:
    digest, size = hashlib.sha256(), 0
    for name, data in _contents(path):
        digest.update(f"{len(name)} {name} {len(data)}\n".encode("utf-8", "surrogateescape"))
        digest.update(data)
        size += len(data)
    return Code(base64.b64encode(digest.digest()).decode(), size)


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    for name, file in trees.files(path):
        yield name, file.read_bytes()
