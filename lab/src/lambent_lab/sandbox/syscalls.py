"""The few C library calls that Python 3.11 does not offer.

unshare, setns, mount and mount_setattr change the calling thread's view only: call them in threads made for
that.
"""

from __future__ import annotations

import ctypes
import locale
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

_NR_MOUNT_SETATTR = 442  # the same number on every architecture: it is younger than their unification
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


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
