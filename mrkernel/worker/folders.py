"""The folders of jobs in a worker's directory: made when a job is told of, emptied in a thread.

An ``rmdir`` and a ``mkdir`` take 0.2 to 0.4 ms on ext4, as long as all else that a worker server
does for a small job; so the folder of a job that is over is emptied, kept, and renamed for the
next.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
from pathlib import Path

from mrkernel.shuffle.log_files import ENDING

#: Seconds files of ended jobs are left lying, so that those of many jobs go together.
DELETE_DELAY_S = 0.05
#: Empty folders kept: as many as small jobs come and go while those before wait to be emptied.
SPARES = 16


def delete_files(folder: Path, runs_only: bool) -> None:
    """Delete the runs in the folder of a job, or all but its logs."""
    with contextlib.suppress(FileNotFoundError):  # it went as a whole meanwhile
        for path in folder.glob("*.run" if runs_only else "*"):
            if path.suffix == ENDING:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


class Folders:
    """What lies where.

    Args:
        directory: the worker's.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: set[str] = set()
        self._spare: list[Path] = []
        self._numbers = itertools.count(1)
        self._doomed: list[tuple[str, bool, bool]] = []  # jobs; only their runs; not their logs
        self._deleting: asyncio.Future[None] | None = None

    def make(self, job: str) -> None:
        """Make a job's folder, if that can be done: who writes into it makes it where need be."""
        if job in self._made:
            return
        self._made.add(job)
        path = self._directory / job
        while self._spare:
            spare = self._spare.pop()
            # Who was killed in the middle of writing may have left something after all.
            if not any(spare.iterdir()):
                with contextlib.suppress(OSError):  # it is there, and not empty
                    spare.rename(path)
                return
            shutil.rmtree(spare, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.mkdir(exist_ok=True)

    def delete(self, job: str, runs_only: bool, *, keep_logs: bool = False) -> None:
        """Delete all of a job, all but its logs, or only its runs, soon."""
        if not runs_only and not keep_logs:
            self._made.discard(job)
        self._doomed.append((job, runs_only, keep_logs))
        if self._deleting is None:
            self._deleting = asyncio.ensure_future(self._delete_doomed())

    async def settled(self) -> None:
        """Wait until all is deleted that was to be."""
        if self._deleting is not None:
            await self._deleting

    def let_go(self) -> None:
        """Delete all jobs: out of the way at once, from the disk soon."""
        for job in list(self._made):
            # Under another name nobody who comes next meets what was in it.
            aside = f"old-{next(self._numbers)}"
            with contextlib.suppress(FileNotFoundError):  # it was never written to
                (self._directory / job).rename(self._directory / aside)
            self.delete(job, runs_only=False)
            self._doomed[-1] = (aside, False, False)

    async def _delete_doomed(self) -> None:
        """Delete files in a thread: some disks take long, and the next job is starting."""
        await asyncio.sleep(DELETE_DELAY_S)
        while self._doomed:
            doomed, self._doomed = self._doomed, []
            await asyncio.to_thread(self._delete_files, doomed)
        self._deleting = None

    def _delete_files(self, doomed: list[tuple[str, bool, bool]]) -> None:
        for job, runs_only, keep_logs in doomed:
            folder = self._directory / job
            if not runs_only and not (keep_logs and any(folder.glob(f"*{ENDING}"))):
                self._made.discard(job)
                self._empty(folder)
            else:
                delete_files(folder, runs_only)

    def _empty(self, path: Path) -> None:
        spare = self._directory / f"spare-{next(self._numbers)}"
        try:
            for file in path.iterdir():
                file.unlink()
            if len(self._spare) >= SPARES:
                path.rmdir()
                return
            # Under another name nobody who is late can write into it.
            path.rename(spare)
            self._spare.append(spare)
        except FileNotFoundError:
            return  # nothing was written for it here
        except OSError:
            shutil.rmtree(path, ignore_errors=True)  # there are folders in it
