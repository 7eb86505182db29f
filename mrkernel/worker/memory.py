"""Memory as the kernel counts it: what a process has, what there is, and who was killed for it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

#: What the runners of a worker may have together when nobody says: this share of the machine.
SHARE = 0.9
#: But each of them always this much, in bytes.
LEAST_SHARE = 1 << 30

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has; 0 when it is gone."""
    try:
        # Straight from the kernel: this is asked ten times a second for every busy runner.
        file = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _resident_elsewhere(pid) if not _PROC.is_dir() else 0
    except OSError:
        return 0  # at the limit of open files: it is weighed again in a moment
    try:
        return int(os.read(file, 128).split()[1]) * _PAGE
    except ProcessLookupError:
        return 0
    finally:
        os.close(file)


def family(pid: int) -> int:
    """Return the bytes of memory that a runner has and those of the programs it runs, together.

    A child that is still a copy of the runner shares its pages, so what it has beyond the runner
    counts. Where the kernel does not list children (other than Linux) the runner counts alone.
    """
    own = total = resident(pid)
    children = _children(pid)
    words = _read(f"/proc/{pid}/cmdline") if children else b""
    while children:
        child = children.pop()
        used = resident(child)
        copy = _read(f"/proc/{child}/cmdline") == words
        total += max(0, used - own) if copy else used
        children += _children(child)
    return total


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - it may be gone, or nobody's
    except OSError:
        return []
    each = (_read(f"/proc/{pid}/task/{thread}/children").split() for thread in threads)
    return [int(child) for found in each for child in found]


def _read(path: str) -> bytes:
    """Read one of the kernel's files; b"": it is gone."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, 1 << 16)
    except OSError:
        return b""
    finally:
        os.close(file)


def _resident_elsewhere(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def share_of_machine(slots: int) -> int:
    """Return the bytes that each of so many runners may have when nobody says."""
    total = min([psutil.virtual_memory().total, *_numbers("memory.max", "memory.limit_in_bytes")])
    return max(LEAST_SHARE, int(SHARE * total) // slots)


class Victims:
    """Counts whom the kernel killed for want of memory, on this machine or in our cgroup."""

    def __init__(self) -> None:
        self._files = [*_cgroup_files("memory.events", "memory.oom_control"), _PROC / "vmstat"]
        self._seen = self._count()

    def any_new(self) -> bool:
        """Whether there are some since this was asked last."""
        before, self._seen = self._seen, self._count()
        # Any of the counters: inside a container the machine's own may not move, and the other
        # way round.
        return any(now > then for now, then in zip(self._seen, before, strict=True))

    def _count(self) -> list[int]:
        return [_oom_kills(path) for path in self._files]


def _oom_kills(path: Path) -> int:
    """Read a line "oom_kill N"; 0 where there is none."""
    try:
        text = path.read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill":
            return int(number)
    return 0


def _numbers(*names: str) -> list[int]:
    """Read those files of our cgroup that hold a number."""
    found = []
    for path in _cgroup_files(*names):
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):
            continue  # not there, or "max"
    return found


def _cgroup_files(v2: str, v1: str) -> list[Path]:
    """Name a file of our memory cgroup, wherever it may be: in a container the path may be cut."""
    try:
        lines = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, name = _CGROUPS, v2
        elif "memory" in controllers.split(","):
            root, name = _CGROUPS / "memory", v1
        else:
            continue
        files += [root / path.lstrip("/") / name, root / name]
    return files
