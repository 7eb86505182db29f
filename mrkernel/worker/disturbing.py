"""Failing on purpose, for lectures and tests: die, freeze for a while, let runners crawl."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable

from mrkernel.worker.template import kill_group

#: Seconds in which a slowed runner runs once and stands once.
PERIOD_S = 0.1
#: A program that wakes its parent after so many seconds, again and again until the parent closes
#: the pipe between them, because the first time may come before the parent has fallen asleep. When
#: the parent dies the pipe ends as well, so this wakes nobody else and outlives nobody. It needs no
#: site packages, so it starts at once.
_ALARM = """
import os, select, signal, sys
parent, patience = int(sys.argv[1]), float(sys.argv[2])
while not select.select([0], [], [], patience)[0] and os.getppid() == parent:
    os.kill(parent, signal.SIGCONT)
    patience = 0.05
"""


def die(runners: Iterable[int]) -> None:
    """End this process and its runners by SIGKILL; does not return."""
    for pid in runners:
        kill_group(pid)
    os.kill(os.getpid(), signal.SIGKILL)


def freeze(runners: Iterable[int], template: int, seconds: float) -> None:
    """Stand still, with the runners and the template, for so long; then all go on.

    Should this process be killed meanwhile, its template is woken by the kernel and ends the
    runners as always.
    """
    pids = list(runners)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _ALARM, str(os.getpid()), str(seconds)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # a signal to our group must not end it
    ):
        _signal([*pids, template], signal.SIGSTOP)
        # Here time stands still, until the alarm, or somebody else, wakes us.
        os.kill(os.getpid(), signal.SIGSTOP)
        _signal([template, *pids], signal.SIGCONT)


def _signal(pids: Iterable[int], number: int) -> None:
    """Send a signal to some runners with all they started, or to the template."""
    for pid in pids:
        for send in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(pid, number)
                break


class Slowness:
    """Lets the runners have a part of the time only.

    Args:
        runners: tells which there are just now.
    """

    def __init__(self, runners: Callable[[], Iterable[int]]) -> None:
        self._runners = runners
        self._crawling: asyncio.Future[None] | None = None

    def set(self, factor: float) -> None:
        """Make them so many times slower from now on; 1 or less: as fast as they can."""
        self.stop()
        if factor > 1:
            self._crawling = asyncio.ensure_future(self._crawl(factor))

    def stop(self) -> None:
        """Let them run."""
        if self._crawling is not None:
            self._crawling.cancel()
            self._crawling = None
            _signal(self._runners(), signal.SIGCONT)

    async def _crawl(self, factor: float) -> None:
        while True:
            _signal(self._runners(), signal.SIGCONT)
            await asyncio.sleep(PERIOD_S / factor)
            _signal(self._runners(), signal.SIGSTOP)
            await asyncio.sleep(PERIOD_S - PERIOD_S / factor)
