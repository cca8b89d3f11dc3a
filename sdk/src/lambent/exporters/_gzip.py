"""gzip without the `gzip` module, which loads much and writes the time into the bytes."""

from __future__ import annotations

from zlib import DEF_MEM_LEVEL, DEFLATED, MAX_WBITS, compressobj

__all__ = ["compress"]

_GZIP = 16  # added to the window's bits, it asks for gzip's frame
_SMALL = 8192


def compress(data: bytes, level: int) -> bytes:
    """Return the data as one gzip member. The same data gives the same bytes.

    Clearing zlib's usual 256 KB of tables takes several times as long as compressing one
    invocation's spans, so what is small gets a window of 4 KB and tables to match.
    """
    if len(data) <= _SMALL:
        compressor = compressobj(level, DEFLATED, 12 + _GZIP, 6)
    else:
        compressor = compressobj(level, DEFLATED, MAX_WBITS + _GZIP, DEF_MEM_LEVEL)
    return compressor.compress(data) + compressor.flush()
