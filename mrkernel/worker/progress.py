"""A progress cell: how far a runner is, in memory that outlives it and costs no message.

The runner writes, the worker server reads at each beat. Both map the same few bytes, so a runner
that hangs in C code is still seen to stand still, and one that crashed to have been somewhere.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

_LAYOUT = struct.Struct("=QQQ")
CELL_SIZE = mmap.PAGESIZE


def make_cell() -> int:
    """Return the descriptor of a fresh, zeroed cell that has no name on any disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("mrkernel-progress", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp(prefix="mrkernel-progress-")
        os.unlink(path)  # noqa: PTH108 - a descriptor is all that is wanted
    os.ftruncate(descriptor, CELL_SIZE)
    return descriptor


class ProgressCell:
    """One side's view of a cell.

    Args:
        descriptor: of a cell; it is closed here, the mapping stays. None makes a private cell, for
            engines that run attempts in their own process.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            descriptor = make_cell()
        self._memory = mmap.mmap(descriptor, CELL_SIZE)
        os.close(descriptor)
        self._started = self._records = self._bytes = 0

    def begin(self) -> None:
        """Another attempt starts: one more begun, no records yet."""
        self._started += 1
        self._records = self._bytes = 0
        self._write()

    def add(self, records: int, nbytes: int) -> None:
        """So many more records and bytes are behind us."""
        self._records += records
        self._bytes += nbytes
        self._write()

    def _write(self) -> None:
        _LAYOUT.pack_into(self._memory, 0, self._started, self._records, self._bytes)

    def read(self) -> tuple[int, int, int]:
        """Return (attempts begun, records, bytes) as last written."""
        started, records, nbytes = _LAYOUT.unpack_from(self._memory, 0)
        return started, records, nbytes

    def close(self) -> None:
        """Unmap."""
        self._memory.close()
