"""The disk behind /tmp: a small file system in a file, so that what lies there is not memory.

On Lambda /tmp is a disk. A tmpfs would be simpler, but its pages count as the function's memory until they
are deleted; those of a file system on disk can be written out and taken back, and the memory limit holds for
what the function really needs.

An ext4 image of the wanted size is made once for each lab (some 20 ms, beside the staging) and is a sparse
file of 100 kB; every environment gets a copy of it on a loop device. Image and device vanish by themselves
with the last mount, whatever becomes of the lab: the image has no name any more, and the device is one that
clears itself. Where there are no loop devices, or only memory to put the image on, there is a tmpfs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import subprocess
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lambent_lab.sandbox import syscalls
from lambent_lab.sandbox.workspace import workspace

_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_AUTOCLEAR, _DIRECT_IO = 4, 16
_INFO = "5Q4I64s64s32s2Q"  # struct loop_info64
_BLOCK = 4096
_OVERHEAD_AT, _OVERHEAD = 1024 + 0x248, 2100  # where ext4 says how many blocks it takes itself; a first guess
_INODES_PER_MB = 64
_TRIES = 20
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "rootfs", "devtmpfs"})
_PATIENCE_S = 60

_making = threading.Lock()


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted file system without a place yet. It exists as long as it is open, or has a place."""

    handle: int

    def belong_to(self, uid: int, gid: int) -> None:
        """Give the disk to a user."""
        os.chown(".", uid, gid, dir_fd=self.handle)

    def put(self, target: Path) -> None:
        """Give it a place, in the calling thread's mount namespace."""
        syscalls.put_mount(self.handle, target)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.handle)


class Order:
    """A disk that is being made, while its environment is busy with other things."""

    def __init__(self, size_mb: int) -> None:
        self._made: Future[Disk] = Future()
        self._left = threading.Lock()  # held by whoever has the disk, or has seen to its end
        threading.Thread(target=self._make, args=(size_mb,), name="lambent-disk", daemon=True).start()

    def _make(self, size_mb: int) -> None:
        try:
            self._made.set_result(make(size_mb))
        except Exception as error:  # noqa: BLE001 - handed to whoever takes the disk
            self._made.set_exception(error)

    def take(self) -> Disk:
        """Wait for the disk and return it: it is the caller's to close. Raises OSError if there is none."""
        disk = self._made.result(_PATIENCE_S)
        if not self._left.acquire(blocking=False):
            raise OSError(errno.ESTALE, "the disk was taken before")
        return disk

    def cancel(self) -> None:
        """See to it that a disk that nobody has taken goes away. Safe to call again."""
        if self._left.acquire(blocking=False):
            self._made.add_done_callback(_discard)


def _discard(made: Future[Disk]) -> None:
    if made.exception() is None:
        made.result().close()


def make(size_mb: int) -> Disk:
    """Return a new disk with an empty ext4 file system of that size. Raises OSError where there are none."""
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):  # noqa: PTH110 - on every cold start
        raise OSError(errno.ENODEV, "no loop devices")
    place = workspace()
    image = place.folder / f"{place.unique()}.disk"
    try:
        handle = _copy(_template(place.folder, size_mb), image)
        try:
            return _mount(handle)
        finally:
            os.close(handle)
    finally:
        with suppress(OSError):
            image.unlink()


def _template(folder: Path, size_mb: int) -> Path:
    path = folder / f"{size_mb}.ext4"
    with _making:
        if not path.exists():
            tool = shutil.which("mkfs.ext4") or shutil.which("mkfs.ext4", path="/usr/sbin:/sbin")
            if tool is None:
                raise OSError(errno.ENOENT, "no mkfs.ext4")
            if _kind(folder) in _IN_MEMORY:
                raise OSError(errno.ENOTSUP, f"{folder} is in memory")
            _format(tool, path, size_mb)
    return path


def _format(tool: str, path: Path, size_mb: int) -> None:
    """Make an image that offers exactly the size: what ext4 takes for itself comes on top."""
    making, wanted, overhead = path.with_suffix(".new"), size_mb * (1024 * 1024 // _BLOCK), _OVERHEAD
    for _ in range(3):
        with making.open("wb") as file:
            file.truncate((wanted + overhead) * _BLOCK)
        command = [tool, "-q", "-F", "-b", str(_BLOCK), "-m", "0", "-N", str(size_mb * _INODES_PER_MB)]
        command += ["-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard", str(making)]
        try:
            subprocess.run(  # noqa: S603 - the system's own tool, on our own file
                command,
                env=workspace().tool_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE_S,
                check=True,
            )
        except subprocess.SubprocessError as error:
            raise OSError(errno.EIO, f"{tool} failed") from error
        with making.open("rb") as file:
            file.seek(_OVERHEAD_AT)
            (taken,) = struct.unpack("<I", file.read(4))
        if taken in {0, overhead}:  # 0: an old mkfs does not say
            break
        overhead = taken
    _empty(making)
    making.rename(path)


def _empty(path: Path) -> None:
    """Make the image's root folder what an empty /tmp is, once for all copies."""
    image = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        disk = _mount(image)
    finally:
        os.close(image)
    try:
        with suppress(OSError):
            os.rmdir("lost+found", dir_fd=disk.handle)
        os.chmod(".", 0o700, dir_fd=disk.handle)
    finally:
        disk.close()


def _kind(folder: Path) -> str:
    """Return the type of the file system that a folder lies on."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, source = line.partition(" - ")
        if fields.split(" ")[2] == wanted:
            return source.split(" ", 1)[0]
    return ""


def _copy(template: Path, image: Path) -> int:
    """Copy a sparse file and return the copy, open."""
    source = os.open(template, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(image, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(source).st_size
            os.truncate(target, size)
            end = 0
            while end < size:
                try:
                    start = os.lseek(source, end, os.SEEK_DATA)
                except OSError:  # nothing but a hole is left
                    break
                end = os.lseek(source, start, os.SEEK_HOLE)
                data = os.pread(source, end - start, start)
                os.pwrite(target, data, start)
        except BaseException:
            os.close(target)
            raise
        return target
    finally:
        os.close(source)


def _mount(image: int) -> Disk:
    """Mount an image, nowhere for now. (Mounting takes a millisecond, which nobody should wait for.)"""
    name, device = _attach(image)
    try:
        disk = Disk(syscalls.new_mount("ext4", f"/dev/{name}", "noinit_itable"))
    finally:
        os.close(device)
    with suppress(OSError):  # of what there is, ext4 would keep 2% for itself
        Path(f"/sys/fs/ext4/{name}/reserved_clusters").write_text("0")
    return disk


def _attach(image: int) -> tuple[str, int]:
    """Put an image on a free loop device that clears itself when nobody uses it any more, and open it."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            name = f"loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            handle = os.open(f"/dev/{name}", os.O_RDWR | os.O_CLOEXEC)
            try:
                _configure(handle, image)
            except OSError as error:
                os.close(handle)
                if error.errno != errno.EBUSY:  # somebody else was quicker
                    raise
            else:
                return name, handle
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no free loop device")


def _configure(handle: int, image: int) -> None:
    # Without a second page cache between the two file systems, where the lower one can do that.
    for flags in (_AUTOCLEAR | _DIRECT_IO, _AUTOCLEAR):
        info = struct.pack(_INFO, 0, 0, 0, 0, 0, 0, 0, 0, flags, b"", b"", b"", 0, 0)
        try:
            fcntl.ioctl(handle, _LOOP_CONFIGURE, struct.pack("2I", image, _BLOCK) + info + bytes(64))
        except OSError as error:
            if error.errno != errno.EINVAL or not flags & _DIRECT_IO:
                raise
        else:
            return
