"""An enclosure: all processes of one contestant, what they use, and their end.

Where a control group can be made (Linux, root or a delegated tree) the kernel counts the CPU of
whatever ever ran in it: a JVM, Ray's daemons, processes long dead. Elsewhere it is the sum over the
family of a process that adopts all orphans (``reaper.py``), and over those that it buried.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.meter import family_cpu

REAPER = Path(__file__).with_name("reaper.py")
SAMPLE_S = 0.05
GRACE_S = 3.0
PATIENCE_S = 5.0

_numbers = itertools.count()


class Enclosure:
    """Start one with a command; close it to end whatever still runs in it.

    Attributes:
        process: of the reaper; its pipes are the command's.
        largest: highest resident memory of any one process so far, in bytes.
        together: highest sum over all processes at one time; shared pages count for each.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Any) -> None:
        self.largest = self.together = 0
        self._group = _new_group()
        joined = str(self._group / "cgroup.procs") if self._group else "-"
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(REAPER), joined, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(env),
            start_new_session=True,
            text=True,
        )
        self._began = time.perf_counter()
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def hear(self) -> dict[str, Any] | None:
        """Wait for the contestant's next line; None: it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def say(self, line: str) -> None:
        """Let the contestant go on."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; who listens will hear
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def age(self) -> float:
        """Seconds since its start."""
        return time.perf_counter() - self._began

    def cpu(self) -> float:
        """CPU seconds of all its processes so far; only differences mean something."""
        if self._group is None:
            return family_cpu(self.process.pid)
        with suppress(FileNotFoundError):
            return int((self._group / "cpuacct.usage").read_text()) / 1e9
        stat = dict(line.split() for line in (self._group / "cpu.stat").read_text().splitlines())
        return int(stat["usage_usec"]) / 1e6

    def pids(self) -> list[int]:
        """All its processes but the reaper."""
        if self._group is not None:
            found = map(int, (self._group / "cgroup.procs").read_text().split())
            return [pid for pid in found if pid != self.process.pid]
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            return [child.pid for child in children]
        return []

    def peaks(self) -> dict[int, int]:
        """The highest resident memory of each process that lives now, in bytes, by pid."""
        return {pid: peak for pid in self.pids() for _, peak in [_memory(pid)] if peak}

    def end(self) -> None:
        """End all its processes: the contestant, then what has not ended with it."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                child.terminate()
        # A cluster sees that its owner is gone, and takes its files with it.
        end = time.monotonic() + GRACE_S
        while self.pids() and time.monotonic() < end:
            time.sleep(0.02)
        end = time.monotonic() + PATIENCE_S
        while (pids := self.pids()) and time.monotonic() < end:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            time.sleep(0.02)

    def close(self) -> None:
        """End it, and all that was made for it."""
        self._over.set()
        self._sampler.join()
        self.end()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
        try:
            self.process.wait(GRACE_S)  # it buries the others, and ends when there are none
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._group is not None:
            with suppress(OSError):
                self._group.rmdir()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_S):
            found = [_memory(pid) for pid in self.pids()]
            if found:
                self.largest = max(self.largest, *(peak for _, peak in found))
                self.together = max(self.together, sum(now for now, _ in found))


def _memory(pid: int) -> tuple[int, int]:
    """Resident memory of a process now and at its highest, in bytes; zeros when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return 0, 0
        with suppress(psutil.Error):  # no such file system here
            now = psutil.Process(pid).memory_info().rss
            return now, now
        return 0, 0
    except OSError:
        return 0, 0
    rows = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Vm"))
    return tuple(1024 * int(rows.get(name, "0 kB").split()[0]) for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def _new_group() -> Path | None:
    parent = _parent_group()
    if parent is None:
        return None
    group = parent / f"benchmarks-{os.getpid()}-{next(_numbers)}"
    group.mkdir()
    return group


def how_counted() -> str:
    """Say in a word how CPU is counted here."""
    return "the family's sum" if _parent_group() is None else "a control group"


@functools.cache
def _parent_group() -> Path | None:
    """Where control groups that count CPU can be made and joined; None: nowhere."""
    for parent, counter in _candidates():
        group = parent / f"benchmarks-{os.getpid()}-test"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            # Whether a process may move there depends on more than this folder's mode.
            joined = [sys.executable, "-S", "-E", str(REAPER), str(group / "cgroup.procs")]
            done = subprocess.run([*joined, "true"], stdin=subprocess.DEVNULL, capture_output=True)
            if done.returncode == 0 and (group / counter).exists():
                return parent
        finally:
            with suppress(OSError):
                group.rmdir()
    return None


def _candidates() -> list[tuple[Path, str]]:
    """Folders of control groups that are ours, with the file that would count."""
    with suppress(OSError):
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        found = []
        for _, names, path in own:
            for _, mount, kind, options, *_ in mounts:
                if "cpuacct" in names.split(",") and "cpuacct" in options.split(","):
                    found.append((Path(mount + path), "cpuacct.usage"))
                elif kind == "cgroup2" and not names:
                    found.append((Path(mount + path), "cpu.stat"))
        return sorted(found, key=lambda each: each[1], reverse=True)  # the finer count first
    return []
