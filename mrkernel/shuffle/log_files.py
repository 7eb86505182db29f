"""The files of what attempts printed: how they are named, and which there are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mrkernel.protocol.store_messages import LogFile

ENDING = ".log"


def log_name(task: str, attempt: int) -> str:
    """Name the file of an attempt within the folder of its job."""
    return f"{task}.{attempt}{ENDING}"


def list_logs(directory: Path, job: str) -> Iterator[LogFile]:
    """List those of a job in the directory of a worker."""
    try:
        entries = list(os.scandir(directory / job))
    except OSError:
        return  # nothing was written for it here
    for entry in entries:
        task, _, attempt = entry.name.removesuffix(ENDING).partition(".")
        if entry.name.endswith(ENDING) and attempt.isdecimal():
            size = entry.stat(follow_symlinks=False).st_size
            yield LogFile(f"{job}/{entry.name}", task, int(attempt), size)
