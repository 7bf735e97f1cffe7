"""glibc's memory allocator: which freed memory a process keeps.

glibc maps buffers of a threshold and above into the process, and unmaps them when they are
freed: they cost no memory afterwards, but the system clears every page of the next one.
Smaller buffers come from heaps, which keep freed memory that is not at their end.
Other allocators are left alone, and glibc's environment variables take precedence.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

KIB, MIB = 1024, 1024**2

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_ARENAS = 2
"""Fewer heaps have less free memory. The event loop allocates in one, all else in the other."""


def configure_allocator(mapped_bytes: int = 512 * KIB, kept_bytes: int = 32 * MIB) -> None:
    """Set the thresholds of this process. Call it before other threads start.

    mapped_bytes: the smallest buffer that is mapped, up to 32 MiB. For each read from a socket,
    asyncio allocates a little over 256 KiB: less than the default, because mapping it would cost
    three system calls. kept_bytes: how much free
    memory the end of a heap keeps.
    """
    libc = _glibc()
    if libc is None:
        return
    for variable, parameter, value in (
        ("MALLOC_ARENA_MAX", _M_ARENA_MAX, _ARENAS),
        ("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, mapped_bytes),
        ("MALLOC_TRIM_THRESHOLD_", _M_TRIM_THRESHOLD, kept_bytes),
    ):
        if variable not in os.environ:
            libc.mallopt(parameter, value)


def release_free_memory() -> None:
    """Return free memory to the system, wherever it is in the heaps; may take milliseconds."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library; None if it is not glibc."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc_trim.argtypes = (ctypes.c_size_t,)
    except (AttributeError, OSError):
        return None
    return libc
