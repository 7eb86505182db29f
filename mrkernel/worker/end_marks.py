"""End marks: a runner says in its output where one attempt's ends and the next one's begins.

Its answers travel another way, so without them the worker server could not tell what was printed
before an answer from what was printed right after it.
"""

from __future__ import annotations

import os
import stat
import sys

from mrkernel.worker.slot_output import END


class EndMarks:
    """The marks of this process; make it before any user code runs."""

    def __init__(self) -> None:
        # User code may do as it likes with the descriptors it knows of.
        self._streams = (sys.stdout, sys.stderr)
        is_pipe = stat.S_ISFIFO(os.fstat(1).st_mode)
        self._pipe = os.dup(1) if is_pipe else None  # elsewhere nobody looks for marks

    def write(self) -> None:
        """All that was printed so far belongs to the attempt that ends now."""
        if self._pipe is None:
            return
        for stream in self._streams:
            try:  # after every attempt: a context manager would cost more than the flush
                stream.flush()
            except (OSError, ValueError):
                continue  # user code closed it
        os.write(self._pipe, END)

    def close(self) -> None:
        """Let go of the pipe."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
