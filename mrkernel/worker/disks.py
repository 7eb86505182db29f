"""Disks that are full, broken or gone, in one sentence: what, where, how much there is."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

from mrkernel.job.failure import Failure
from mrkernel.monitor.quantities import bytes_text
from mrkernel.shuffle.run import RunWriteError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)


def disk_failure(error: OSError, directory: Path) -> Failure:
    """Describe what kept a worker from writing or reading its own files; no fault of the task.

    Args:
        error: not one of user code.
        directory: where the worker has its files.
    """
    hint = ""
    if error.errno in _FULL:
        hint = f"free space below {directory}, or start the worker with XDG_CACHE_HOME elsewhere"
    elif error.errno in _TOO_MANY:
        hint = "raise its limit of open files (ulimit -n)"
    return Failure(
        kind="environment",
        sentence=sentence_of(error, directory),
        error_type=type(error).__name__,
        message=str(error),
        hint=hint,
    )


def sentence_of(error: OSError, directory: Path) -> str:
    """Say what is wrong: "its disk is full: ..."."""
    path = Path(error.filename) if isinstance(error.filename, str) else directory
    if error.errno in _FULL:
        return _full(error, path)
    if error.errno in _TOO_MANY:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"it is at its limit of {limit:,} open files ({path})"
    if error.errno == errno.EROFS:
        return f"its disk is read-only: {path} on {_mount(path)} cannot be written"
    return f"the worker could not write or read its files: {error}"


def _full(error: OSError, path: Path) -> str:
    if error.errno == errno.EDQUOT:
        return f"its quota is used up: {path} cannot be written{_needed(error)}"
    try:
        facts = os.statvfs(_existing(path))
    except OSError:
        return f"its disk is full: {path} cannot be written{_needed(error)}"
    where = f"in {path.parent} (file system {_mount(path)})"
    if facts.f_files and not facts.f_favail:
        return f"its disk is full: no more files can be made {where}, whatever their size"
    free = facts.f_bavail * facts.f_frsize
    return f"its disk is full: {bytes_text(free)} free {where}{_needed(error)}"


def _needed(error: OSError) -> str:
    if isinstance(error, RunWriteError):
        return f", and this run needs more than {bytes_text(error.needed)}"
    return ""


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _mount(path: Path) -> Path:
    """Return where the file system of a path is mounted."""
    path = _existing(path).resolve()
    while not path.is_mount() and path != path.parent:
        path = path.parent
    return path
