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

#: Seconds files of ended jobs are left lying, so that those of many jobs go together.
DELETE_DELAY_S = 0.05
#: Empty folders kept: as many as small jobs come and go while those before wait to be emptied.
SPARES = 16


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
        self._doomed: list[tuple[str, bool]] = []  # jobs; whether only their runs
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

    def delete(self, job: str, runs_only: bool) -> None:
        """Delete all of a job, or only its runs, soon."""
        if not runs_only:
            self._made.discard(job)
        self._doomed.append((job, runs_only))
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
            self._doomed[-1] = (aside, False)

    async def _delete_doomed(self) -> None:
        """Delete files in a thread: some disks take long, and the next job is starting."""
        await asyncio.sleep(DELETE_DELAY_S)
        while self._doomed:
            doomed, self._doomed = self._doomed, []
            await asyncio.to_thread(self._delete_files, doomed)
        self._deleting = None

    def _delete_files(self, doomed: list[tuple[str, bool]]) -> None:
        for job, runs_only in doomed:
            if runs_only:
                for path in (self._directory / job).glob("*.run"):
                    path.unlink(missing_ok=True)
            else:
                self._empty(self._directory / job)

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
