"""A progress cell: how far a runner is, in memory that outlives it and costs no message.

The runner writes, the worker server reads at each beat. Both map the same few bytes, so a runner
that hangs in C code is still seen to stand still, and one that crashed to have been somewhere: the
place it last wrote down says where.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

_LAYOUT = struct.Struct("=QQQQ")
#: Sequence (odd while the place is being written), index + 1 (0: none), bytes of the text.
_PLACE = struct.Struct("=QQI")
_SEQUENCE = struct.Struct("=Q")
_PLACE_AT = 64
_TEXT_AT = _PLACE_AT + _PLACE.size
CELL_SIZE = mmap.PAGESIZE
#: Bytes of a place, at most: the rest of a long one is cut off.
PLACE_LIMIT = 3 << 10
#: Times a place is read when somebody writes it meanwhile.
_LOOKS = 3


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
        self._started = self._records = self._bytes = self._stirs = self._sequence = 0

    def begin(self) -> None:
        """Another attempt starts: one more begun, no records yet, nowhere in particular."""
        self._started += 1
        self._records = self._bytes = 0
        self._write()
        self._sequence += 2
        _PLACE.pack_into(self._memory, _PLACE_AT, self._sequence, 0, 0)

    def add(self, records: int, nbytes: int) -> None:
        """So many more records and bytes are behind us."""
        self._records += records
        self._bytes += nbytes
        self._write()

    def stir(self) -> None:
        """Nothing is finished, but there is life: a program reads, writes or says something."""
        self._stirs += 1
        self._write()

    def at(self, where: str, index: int | None = None) -> None:
        """Write down where we are, before we go on: "a.txt, byte 1234", "group 'the'".

        Args:
            where: for people; cut after 3 KiB.
            index: of the record in its split, from 0 and counting those that are skipped, if it is
                exactly this record that comes now; None: one of several from ``where`` on.
        """
        text = where.encode("utf-8", "backslashreplace")[:PLACE_LIMIT]
        size, sequence, memory = len(text), self._sequence, self._memory
        # Odd while we write: who looks now, or finds that we died here, knows not to believe it.
        _SEQUENCE.pack_into(memory, _PLACE_AT, sequence + 1)
        memory[_TEXT_AT : _TEXT_AT + size] = text
        self._sequence = sequence + 2
        number = 0 if index is None else index + 1
        _PLACE.pack_into(memory, _PLACE_AT, sequence + 2, number, size)

    def _write(self) -> None:
        _LAYOUT.pack_into(self._memory, 0, self._started, self._records, self._bytes, self._stirs)

    def read(self) -> tuple[int, int, int, int]:
        """Return (attempts begun, records, bytes, signs of life) as last written."""
        started, records, nbytes, stirs = _LAYOUT.unpack_from(self._memory, 0)
        return started, records, nbytes, stirs

    def place(self) -> str:
        """Return ``where`` as last written; "" when nothing was, or not to its end."""
        return self._read_place()[0]

    def index(self) -> int | None:
        """Return the ``index`` last written with a place; None: it had none."""
        return self._read_place()[1]

    def _read_place(self) -> tuple[str, int | None]:
        for _ in range(_LOOKS):
            sequence, number, size = _PLACE.unpack_from(self._memory, _PLACE_AT)
            text = self._memory[_TEXT_AT : _TEXT_AT + min(size, PLACE_LIMIT)]
            (after,) = _SEQUENCE.unpack_from(self._memory, _PLACE_AT)
            if sequence == after and not sequence % 2:
                # It may be cut in the middle of a character.
                return text.decode("utf-8", "ignore"), number - 1 if number else None
        return "", None

    def close(self) -> None:
        """Unmap."""
        self._memory.close()
