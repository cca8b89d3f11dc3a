"""The few C library calls that Python 3.11 does not offer.

unshare, setns, mount, mount_setattr and become change the calling thread's view, files and rights only: call
them in threads made for that, which end with it.
"""

from __future__ import annotations

import ctypes
import fcntl
import locale
import os
import platform
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CLONE_FS = 0x00000200
CLONE_FILES = 0x00000400
CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

# The same numbers on every architecture: they are younger than their unification.
_NR_MOVE_MOUNT, _NR_FSOPEN, _NR_FSCONFIG, _NR_FSMOUNT = 429, 430, 431, 432
_NR_MOUNT_SETATTR = 442
_CLOEXEC = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_ATTRIBUTES = 2 | 4 | 16  # no set-user-id, no devices, no access times
_MOVE_FROM_EMPTY_PATH = 4
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
_NR_CLOSE_RANGE = 436
_CLOSE_RANGE_CLOEXEC = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_EINVAL = 22
_SIOCSIFFLAGS = 0x8914
_UP_AND_RUNNING = 0x1 | 0x40
# glibc's own functions change every thread of the process: these are the calls below them.
_NR_SETGROUPS, _NR_SETRESGID, _NR_SETRESUID = {"aarch64": (159, 149, 147)}.get(
    platform.machine(), (116, 119, 117)
)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


_long = ctypes.c_long
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.syscall.restype = ctypes.c_long
_libc.newlocale.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_libc.newlocale.restype = ctypes.c_void_p
_libc.freelocale.argtypes = (ctypes.c_void_p,)


def unshare(flags: int) -> None:
    """Give the calling thread its own copy of what `flags` name."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(handle: int, kind: int) -> None:
    """Move the calling thread into the namespace behind a file descriptor."""
    _check(_libc.setns(ctypes.c_int(handle), ctypes.c_int(kind)), "setns")


def mount(source: str | Path, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    done = _libc.mount(
        str(source).encode(), str(target).encode(), kind.encode() or None, flags, options.encode() or None
    )
    _check(done, f"mount {target}")


def new_mount(kind: str, source: str, option: str) -> int:
    """Mount a file system, but nowhere yet, and return a file descriptor of its root folder."""
    context = _libc.syscall(_long(_NR_FSOPEN), ctypes.c_char_p(kind.encode()), _long(_CLOEXEC))
    _check(min(context, 0), "fsopen")
    try:
        for command, key, value in (
            (_SET_STRING, "source", source),
            (_SET_FLAG, option, ""),
            (_CREATE, "", ""),
        ):
            name = ctypes.c_char_p(key.encode() or None)
            text = ctypes.c_char_p(value.encode() or None)
            done = _libc.syscall(_long(_NR_FSCONFIG), _long(context), _long(command), name, text, _long(0))
            _check(done, f"mount {source}")
        handle: int = _libc.syscall(_long(_NR_FSMOUNT), _long(context), _long(_CLOEXEC), _long(_ATTRIBUTES))
        _check(min(handle, 0), "fsmount")
    finally:
        os.close(context)
    return handle


def put_mount(handle: int, target: Path) -> None:
    """Give a mount of `new_mount` its place."""
    empty, path = ctypes.c_char_p(b""), ctypes.c_char_p(str(target).encode())
    flags = _long(_MOVE_FROM_EMPTY_PATH)
    done = _libc.syscall(_long(_NR_MOVE_MOUNT), _long(handle), empty, _long(_AT_FDCWD), path, flags)
    _check(done, f"move_mount {target}")


def make_read_only(target: Path) -> None:
    """Make a mount and everything mounted below it read-only, in this mount namespace."""
    attributes = _MountAttr(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    done = _libc.syscall(
        ctypes.c_long(_NR_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(str(target).encode()),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(done, f"mount_setattr {target}")


def gain_nothing() -> None:
    """Forbid the calling thread, and what it starts, to gain rights by executing a file."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, _long(1), _long(0), _long(0), _long(0)), "no_new_privs")


def bound() -> None:
    """Let nothing that the calling thread executes ever have a capability."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, _long(capability), _long(0), _long(0), _long(0)) != 0:
            if ctypes.get_errno() != _EINVAL:  # beyond the last one
                _check(-1, "capabilities")
            break


def become(uid: int, gid: int) -> None:
    """Turn the calling thread alone into a user without further groups and without any capability."""
    bound()
    _check(_libc.syscall(_long(_NR_SETGROUPS), _long(0), None), "setgroups")
    _check(_libc.syscall(_long(_NR_SETRESGID), *[_long(gid)] * 3), "setresgid")
    _check(_libc.syscall(_long(_NR_SETRESUID), *[_long(uid)] * 3), "setresuid")


def signal_all_of(uid: int, gid: int, number: int) -> None:
    """Send a signal to every process of a user at once, from a thread that becomes that user for it."""
    become(uid, gid)
    with suppress(ProcessLookupError):  # there is none
        os.kill(-1, number)


def keep_to_itself(first: int) -> None:
    """Have no file descriptor from `first` on inherited by what the thread starts. It needs its own table."""
    done = _libc.syscall(_long(_NR_CLOSE_RANGE), _long(first), _long(2**32 - 1), _long(_CLOSE_RANGE_CLOEXEC))
    if done != 0:  # before Linux 5.11
        for name in os.listdir("/proc/thread-self/fd"):  # noqa: PTH208 - names are what is needed
            if int(name) >= first:
                with suppress(OSError):
                    os.set_inheritable(int(name), False)


def raise_loopback() -> None:
    """Make the loopback of a new network work. For the thread or process that has just entered it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        fcntl.ioctl(made, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))


def has_locale(name: str) -> bool:
    """Tell whether the C library has the character set of a locale."""
    found = _libc.newlocale(1 << locale.LC_CTYPE, name.encode(), None)
    if found:
        _libc.freelocale(found)
    return bool(found)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
