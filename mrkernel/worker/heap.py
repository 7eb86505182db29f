"""The heap of a runner: memory that one array frees is kept for the next, not given back.

An attempt makes and drops arrays of some megabytes many times a second. By default glibc returns
each of them to the kernel, which fills the next one with zeros, page by page: a fifth of the time
of a map task (measured: group-by of 4 M pairs, 0.78 of 3.1 s). Arrow's own allocator keeps what it
frees for itself, so that peaks add up: with one heap for both a flush of 20 MB of columns peaks at
97 MB instead of 132.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Larger arrays come from the kernel, and go back to it, one by one.
_LARGEST_KEPT = 32 << 20
#: More than this, free at the end of the heap, goes back.
_MOST_KEPT = 256 << 20


def keep_freed_memory() -> None:
    """Tell the allocators of this process, and of those it forks; without glibc only Arrow's."""
    import pyarrow

    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    try:
        tell = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library: its own ways
    tell(_MMAP_THRESHOLD, _LARGEST_KEPT)
    tell(_TRIM_THRESHOLD, _MOST_KEPT)
