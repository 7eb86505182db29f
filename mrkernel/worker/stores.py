"""Adopted stores: what workers of this host left behind when they died, served and deleted here.

A manager names the directories. That is believed only of a directory which looks like a worker's of
ours: a wrong word must not make a worker serve, let alone delete, what is somebody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from mrkernel.data.locks import LOCK, hold
from mrkernel.worker.folders import delete_files

logger = logging.getLogger("mrkernel.worker")

#: A job's folder in it: blobs and spare folders lie beside.
_JOB = re.compile(r"j\d+")


def why_not(directory: str, own: Path) -> str:
    """Say why a directory is none that a worker like us wrote; "" when it is one.

    Args:
        own: our own directory. Theirs lies beside it, or beside the folder that it is in.
    """
    try:
        facts = os.lstat(directory)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if stat.S_ISLNK(facts.st_mode) or not stat.S_ISDIR(facts.st_mode):
        return "it is no directory"
    if facts.st_uid != os.getuid():
        return "it is another user's"
    theirs, ours = Path(os.path.realpath(directory)), Path(os.path.realpath(own))
    if theirs == ours or theirs in ours.parents or ours in theirs.parents:
        return "it is our own"
    roots = [path for path in ours.parents[:2] if path != path.parent]
    if not any(path in roots for path in theirs.parents[:2]):
        return f"it does not lie where ours does, below {ours.parents[1]}"
    if not (theirs / LOCK).is_file():
        return "no worker wrote it"
    return ""


def unwanted(
    directory: Path, jobs: Collection[str], results: Collection[str]
) -> list[tuple[str, bool]]:
    """List what a worker's directory has and nobody wants: jobs, and whether only their runs.

    Args:
        jobs: of which something is wanted.
        results: those of them of which only result parts are.
    """
    try:
        names = [entry.name for entry in os.scandir(directory) if entry.is_dir()]
    except OSError as error:
        logger.warning("%s cannot be listed: %s", directory, error)
        return []
    held = [name for name in names if _JOB.fullmatch(name)]
    return [(job, job in jobs) for job in held if job not in jobs or job in results]


class Stores:
    """The adopted directories of one worker.

    Args:
        own: its own directory.

    Attributes:
        directories: the adopted ones, in the order of adoption; the list stays the same object.
    """

    def __init__(self, own: Path) -> None:
        self._own = own
        self.directories: list[Path] = []
        self._locks: dict[Path, int] = {}
        self._deleting: set[asyncio.Future[None]] = set()

    def adopt(self, directory: str) -> bool:
        """Serve a directory from now on, and delete it in the end; False: it is not believed."""
        path = Path(directory)
        if path in self.directories:
            return True
        reason = why_not(directory, self._own)
        if reason:
            logger.warning("%s is not adopted: %s", directory, reason)
            return False
        self.directories.append(path)
        if not self._lock(path):
            logger.info("%s is adopted, and its owner lives", directory)
        return True

    def disown(self, directory: str, *, delete: bool = False) -> None:
        """Its owner is back; or, to ``delete`` it, nobody needs it any more."""
        path = Path(directory)
        if path in self.directories:
            self.directories.remove(path)
            dead = self._lock(path)
            self._unlock(path)
            if delete and dead:
                self._in_a_thread(delete_directories, [path])

    def forget(self, job: str, runs_only: bool, *, keep_logs: bool = False) -> None:
        """Delete what they have of a job, all but its logs, or only its runs, in a thread."""
        folders = [directory / job for directory in self.directories]
        if folders:
            self._in_a_thread(_delete_job, folders, runs_only, keep_logs)

    def keep_only(self, jobs: Collection[str], results: Collection[str]) -> None:
        """Delete what dead owners left of other jobs, and the runs of ``results``, in a thread."""
        for directory in self.directories:
            if directory in self._locks:  # an owner that lives is told by itself
                for job, runs_only in unwanted(directory, jobs, results):
                    self._in_a_thread(_delete_job, [directory / job], runs_only)

    def let_go(self) -> None:
        """Delete all of them, in a thread: the manager knows nothing of what is in them."""
        doomed = self._take_all()
        if doomed:
            self._in_a_thread(delete_directories, doomed)

    def delete_all(self) -> None:
        """Delete all of them now: this worker ends."""
        delete_directories(self._take_all())

    async def settled(self) -> None:
        """Wait until all is deleted that was to be."""
        await asyncio.gather(*self._deleting)

    def _take_all(self) -> list[Path]:
        """Adopt nothing any more; return the directories whose owners are dead."""
        taken = self.directories.copy()
        self.directories.clear()  # the very list that others look at
        dead = [path for path in taken if self._lock(path)]
        for path in taken:
            self._unlock(path)
        return dead

    def _lock(self, path: Path) -> bool:
        """Hold the lock of a directory, so that nobody sweeps it away; False: its owner does."""
        if path not in self._locks:
            try:
                self._locks[path] = hold(path)
            except BlockingIOError:
                return False  # it stands still, perhaps, and comes back
            except OSError as error:
                logger.warning("%s cannot be locked: %s", path, error)
        return True

    def _unlock(self, path: Path) -> None:
        lock = self._locks.pop(path, None)
        if lock is not None:
            os.close(lock)

    def _in_a_thread(self, act: Callable[..., None], *arguments: Any) -> None:
        deleting = asyncio.ensure_future(asyncio.to_thread(act, *arguments))
        self._deleting.add(deleting)
        deleting.add_done_callback(self._deleting.discard)


def _delete_job(folders: Sequence[Path], runs_only: bool, keep_logs: bool = False) -> None:
    for folder in folders:
        if runs_only or keep_logs:
            delete_files(folder, runs_only)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def delete_directory(directory: Path) -> None:
    """Delete a worker's directory, its lock last.

    Without its lock, what is left when we are killed meanwhile would be taken for that of a version
    which knew of no locks, and stay for a week.
    """
    for folder in directory.glob("*/"):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


def delete_directories(directories: Sequence[Path]) -> None:
    """Delete directories of workers, each with the folder around it if that was its alone."""
    for directory in directories:
        delete_directory(directory)
        # ``mrkernel worker`` has its directory in one of its own, which is empty now.
        with contextlib.suppress(OSError):
            directory.parent.rmdir()
