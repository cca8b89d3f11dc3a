"""Zip files of code, unpacked as Lambda would, and never outside their folder.

Rules
- Names are relative paths with forward slashes. Absolute ones, drive letters, backslashes, `..` and NUL are
  refused, and so is a name that stands for two entries or for a file and a folder.
- Symbolic links are made last, when no file is written any more, and only where what they lead to, through
  all other links, lies inside. Devices, sockets and pipes are refused.
- Encrypted entries and methods other than stored and deflated are refused; so is what does not have the size
  or the checksum that the zip tells.
- The unzipped size is limited as in Lambda's documentation ("Lambda quotas": 262,144,000 bytes, layers
  included). It is judged by what the zip tells before anything is written, and held to while writing.
- The right to execute is kept. Files are made readable for everybody: see docs/design/code-packages.md.

Every refusal is a UsageError of one line that names the entry.
"""

from __future__ import annotations

import calendar
import errno
import io
import os
import re
import stat
import struct
import time
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lambent_lab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ZIPPED = 52_428_800
"""What Lambda takes in a direct upload, in bytes."""

MAX_UNZIPPED = 262_144_000
"""What code and layers of one function may have unzipped, in bytes."""

_MAX_LINK = _MAX_PATH = 4096
_CHUNK = 1024 * 1024
_DRIVE = re.compile(r"[A-Za-z]:")
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1 | 0x40 | 0x2000
# What zipfile and the modules below it raise for bytes that are no sound zip file.
_DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, struct.error, ValueError, IndexError,
    NotImplementedError, OverflowError, RuntimeError,
)  # fmt: skip


class CodeSizeExceededError(UsageError):
    """Code and layers have more bytes than Lambda takes."""


def extract(source: Path | bytes, folder: Path, *, name: str = "", links: bool = True) -> int:
    """Unpack a zip file into an empty folder of ours and return its unzipped size in bytes.

    `name` is what messages call it; `links` says whether it may hold symbolic links. Raises UsageError for a
    zip file that is refused, CodeSizeExceededError for one that is too large; the folder then holds what was
    written so far.
    """
    name = name or (str(source) if isinstance(source, Path) else "the zip file")
    with _opened(source, name) as archive:
        plan = _Plan(name)
        for info in archive.infolist():
            plan.add(info)
        plan.check()
        if plan.links and not links:
            raise plan.refuse(next(iter(plan.links.values())), "is a symbolic link, which wheels do not have")
        for path in plan.folders:
            _make_folder(folder / path, name)
        for path, info in plan.files.items():
            _write_file(archive, info, folder / path, name)
        targets = {path: _link_target(archive, info, name) for path, info in plan.links.items()}
    _make_links(folder, targets, name)
    return plan.size


def unreadable(source: Path) -> str | None:
    """Return the name of an entry that only its owner may read, None if there is none. Or UsageError."""
    with _opened(source, str(source)) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            # No mode at all is what Windows and some tools write: Lambda has such files readable.
            if mode & 0o777 and not mode & 0o004 and stat.S_IFMT(mode) in {0, stat.S_IFREG}:
                return info.filename
    return None


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(source if isinstance(source, Path) else io.BytesIO(source))
    except (*_DAMAGE, OSError) as error:
        raise UsageError(
            f"{name} cannot be read as a zip file ({_said(error)}): zip the code again."
        ) from error
    with archive:
        yield archive


class _Plan:
    """What is to be made, by path: folders, files and links. Filled first, and then done as a whole."""

    def __init__(self, name: str) -> None:
        self.size = 0
        self.folders: dict[str, None] = {}
        self.files: dict[str, zipfile.ZipInfo] = {}
        self.links: dict[str, zipfile.ZipInfo] = {}
        self._name = name

    def add(self, info: zipfile.ZipInfo) -> None:
        """Judge one entry and take it."""
        path = self._path(info)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() or kind == stat.S_IFDIR:
            if path:
                self.folders.setdefault(path)
            return
        if kind not in {0, stat.S_IFREG, stat.S_IFLNK}:
            raise self.refuse(info, "is no regular file")
        if info.flag_bits & _ENCRYPTED:
            raise self.refuse(info, "is encrypted")
        if info.compress_type not in _METHODS:
            raise self.refuse(
                info, f"has the compression method {info.compress_type}, which Lambda does not take"
            )
        if path in self.files or path in self.links:
            raise self.refuse(info, "is there twice")
        self.size += info.file_size
        check_size(self._name, self.size)
        (self.links if kind == stat.S_IFLNK else self.files)[path] = info

    def check(self) -> None:
        """Name every folder that is needed, and make sure that none of them is a file or a link as well."""
        for path in [*self.folders, *self.files, *self.links]:
            for above in _above(path):
                self.folders.setdefault(above)
        for path in self.folders:
            entry = self.files.get(path) or self.links.get(path)
            if entry is not None:
                raise self.refuse(entry, "is a file and a folder")

    def _path(self, info: zipfile.ZipInfo) -> str:
        """Return an entry's path, made plain. An empty one is the top itself."""
        text = info.orig_filename
        if "\0" in text:
            raise self.refuse(info, "has a NUL in its name")
        if "\\" in text:
            raise self.refuse(info, "is written with backslashes: zip it with forward slashes")
        if text.startswith("/") or _DRIVE.match(text):
            raise self.refuse(info, "has an absolute path")
        parts = [part for part in text.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise self.refuse(info, "leads out of the folder")
        if not parts and not text.endswith("/"):
            raise self.refuse(info, "has no name")
        path = "/".join(parts)
        if len(path.encode("utf-8", "surrogatepass")) >= _MAX_PATH:
            raise self.refuse(info, "has a name that is too long")
        return path

    def refuse(self, info: zipfile.ZipInfo, why: str) -> UsageError:
        """Return the error for an entry."""
        return refused(self._name, info.orig_filename, why)


def check_size(name: str, size: int) -> None:
    """Raise CodeSizeExceededError when code, or code with its layers, has more bytes than Lambda takes."""
    if size > MAX_UNZIPPED:
        raise CodeSizeExceededError(
            f"{name} is too large: the unzipped size must be smaller than {MAX_UNZIPPED} bytes."
        )


def refused(name: str, entry: str, why: str) -> UsageError:
    """Return the error for an entry of the zip file `name`: one line, whatever the entry's name holds."""
    shown = entry if len(entry) <= 200 else f"{entry[:200]}…"
    return UsageError(f"{name} is refused: its entry {shown!r} {why}.")


def _above(path: str) -> Iterator[str]:
    """Yield the folders above a path, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _make_folder(path: Path, name: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755)
    except OSError as error:
        raise refused(name, path.name, f"cannot be made ({error.strerror})") from error


def _write_file(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, name: str) -> None:
    executable = (info.external_attr >> 16) & 0o111
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        raise refused(name, info.orig_filename, f"cannot be made ({error.strerror})") from error
    written = 0
    with os.fdopen(handle, "wb") as target:
        for chunk in _content(archive, info, name):
            written += len(chunk)
            target.write(chunk)
    if written != info.file_size:
        raise refused(name, info.orig_filename, "has not the size that the zip file tells")
    path.chmod(0o755 if executable else 0o644)
    when = _time(info)
    os.utime(path, (when, when))


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    """Yield an entry's bytes. What is wrong with the zip is said of the entry; what the disk says is not."""
    try:
        with archive.open(info) as entry:
            while chunk := entry.read(_CHUNK):
                yield chunk
    except (*_DAMAGE, OSError) as error:
        raise refused(name, info.orig_filename, f"is damaged ({_said(error)})") from error


def _link_target(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> str:
    if info.file_size > _MAX_LINK:
        raise refused(name, info.orig_filename, "is a link to nowhere: its target is too long")
    target = b"".join(_content(archive, info, name))
    if not target or b"\0" in target:
        raise refused(name, info.orig_filename, "is a link to nowhere")
    return os.fsdecode(target)


def _make_links(folder: Path, links: dict[str, str], name: str) -> None:
    """Make the links, and then see where each of them leads."""
    for path, target in links.items():
        if target.startswith("/"):
            raise refused(name, path, f"is a link that leads out of the folder, to {target[:200]!r}")
        try:
            (folder / path).symlink_to(target)
        except OSError as error:
            raise refused(name, path, f"cannot be made ({error.strerror})") from error
    root = os.path.realpath(folder)
    for path, target in links.items():
        ends = os.path.realpath(folder / path)
        if ends != root and not ends.startswith(root + os.sep):
            raise refused(name, path, f"is a link that leads out of the folder, to {target[:200]!r}")
        try:
            (folder / path).stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise refused(name, path, "is a link that leads in circles") from error


def _time(info: zipfile.ZipInfo) -> float:
    """Return an entry's time, which has no zone: taken as UTC, so that it is the same on every machine."""
    try:
        return float(max(0, calendar.timegm((*info.date_time, 0, 1, 0))))
    except (ValueError, OverflowError):
        return time.time()


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
