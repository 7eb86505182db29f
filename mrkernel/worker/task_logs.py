"""What attempts print, kept in a file for each in the folder of its job, until that is forgotten.

The live view gets the beginning of it at once; ``mrkernel logs`` reads all of it here.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mrkernel.protocol.worker_messages import Start
from mrkernel.shuffle.log_files import log_name

#: Bytes kept of one attempt: a loop that prints must not fill the disk.
LOG_LIMIT = 16 << 20


class TaskLogs:
    """Writes them.

    Args:
        directory: the worker's.
        limit: bytes kept of one attempt.
    """

    def __init__(self, directory: Path, limit: int = LOG_LIMIT) -> None:
        self._directory = directory
        self._limit = limit

    def write(self, start: Start, data: bytes) -> None:
        """Put down what an attempt printed; say so where not all of it is kept."""
        path = self._directory / start.job / log_name(start.task, start.attempt)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError):  # a full disk shows where it matters
            file = os.open(path, flags, 0o600)
            try:
                room = self._limit - os.fstat(file).st_size
                if room <= 0:
                    return
                os.write(file, data[:room])
                if len(data) >= room:
                    said = f"\n[what came after {self._limit:,} bytes was not kept]\n"
                    os.write(file, said.encode())
            finally:
                os.close(file)
