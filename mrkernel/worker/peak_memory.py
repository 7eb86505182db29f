"""The most memory that this process held during one attempt, as the kernel counts it."""

from __future__ import annotations

import os
import sys

if sys.platform != "win32":
    from resource import RUSAGE_SELF, getrusage


class PeakMemory:
    """The peak of this process; make it in the process that it is about.

    Where the peak cannot be set back (anywhere but on Linux) it is that of the process's life.
    """

    def __init__(self) -> None:
        try:
            self._forget = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            self._forget = -1

    def begin(self) -> None:
        """Count from now on: one microsecond."""
        if self._forget < 0:
            return
        try:
            os.write(self._forget, b"5")
        except OSError:  # not allowed here: it stays the peak of the process's life
            self.close()

    def read(self) -> int:
        """Return the peak since ``begin``, in resident bytes; 0 where the system does not tell."""
        if sys.platform == "win32":
            return 0
        peak = getrusage(RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak << 10

    def close(self) -> None:
        """Let go of the kernel's file."""
        if self._forget >= 0:
            os.close(self._forget)
            self._forget = -1
