"""What a cluster leaves behind: nothing, a moment after its end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil

from mrkernel.deploy.sweep import spill_root

#: Seconds in which all that belongs to a cluster is gone.
GONE_S = 5.0


class Before:
    """The processes and files of before: what is there later, and was not then, is left over.

    Args:
        mark: in the environment of every process that counts.
        folder: of the jobs' inputs and outputs, where drafts of output may not stay.
    """

    def __init__(self, mark: tuple[str, str], folder: Path) -> None:
        self._mark = mark
        self._folder = folder
        self._pids = set(psutil.pids())
        self._files = set(self._spill())

    def left(self) -> tuple[list[str], list[str]]:
        """Wait for what is on its way out; return the processes and the files that stay."""
        deadline = time.monotonic() + GONE_S
        while True:
            processes, files = self._processes(), self._left_files()
            if not (processes or files) or time.monotonic() > deadline:
                return processes, files
            time.sleep(0.05)

    def _processes(self) -> list[str]:
        found = []
        name, value = self._mark
        for pid in set(psutil.pids()) - self._pids - {os.getpid()}:
            try:
                process = psutil.Process(pid)
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get(name) == value:
                    found.append(f"{pid}: {' '.join(process.cmdline())[:120]}")
            except psutil.Error:
                continue
        return found

    def _spill(self) -> list[str]:
        return [str(path) for path in spill_root().iterdir()]

    def _left_files(self) -> list[str]:
        drafts = [str(path) for path in self._folder.rglob(".*")]
        drafts += [str(path) for path in self._folder.rglob("*_temporary*")]
        return sorted(set(self._spill()) - self._files) + drafts
