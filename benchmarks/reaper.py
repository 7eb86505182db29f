"""Start a contestant under a process that every orphan among its descendants comes home to.

    python reaper.py CGROUP COMMAND...

CGROUP is the ``cgroup.procs`` file of the group to join first, or ``-``. Daemons that leave their
parents (Ray's, Spark's) are adopted and waited for, so that the CPU of the dead counts too.
Nothing but the standard library: any Python runs it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress

_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command until it and all its descendants have ended; return its exit status."""
    group, *command = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the contest ends its contestants itself
    if group != "-":
        with open(group, "w") as file:
            file.write(str(os.getpid()))
    with suppress(AttributeError, OSError):  # not on Linux: orphans are lost to us
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command)
    for inherited in (0, 1):  # the contestant's alone: its end must be seen
        os.close(inherited)
    status = 1
    with suppress(ChildProcessError):
        while True:
            pid, how = os.wait()
            if pid == child.pid:
                status = child.returncode = os.waitstatus_to_exitcode(how)
    return status


if __name__ == "__main__":
    sys.exit(main())
