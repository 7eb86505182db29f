"""Directories that are held: by a lock (flock) on the file ``lock`` in them.

The system lets a lock go when the last process that inherited its descriptor has ended, however it
ended; so a directory in which no lock is held is what somebody left behind.
"""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is held there until the LAN issue
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"


def hold(directory: Path) -> int:
    """Hold a directory for as long as this process, and whatever it forks, lives.

    Returns: the descriptor that holds it; closing it lets go.

    Raises:
        BlockingIOError: another process holds it.
        OSError: its lock cannot be opened: it is not there, or the disk does not do as we say.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    lock = os.open(directory / LOCK, flags, 0o600)
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
    return lock
