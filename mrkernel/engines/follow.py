"""Following a job in a terminal: live where there is one, milestones line by line where not."""

from __future__ import annotations

import math
import sys
import time

from mrkernel.engines.job import Job
from mrkernel.engines.result import JobResult
from mrkernel.monitor.picture import Json
from mrkernel.monitor.terminal import job_renderable
from mrkernel.monitor.text import Milestones

#: Redraws a second in a terminal, and looks for new lines in a pipe.
RATE_HZ = 8


class PrintedLines:
    """What user code prints, told apart by task, on standard error."""

    def __call__(self, task: str, worker: str, text: str, dropped: int) -> None:
        lines = text.splitlines()
        if dropped:
            lines.append(f"… {dropped:,} more characters are not shown")
        for line in lines:
            sys.stderr.write(f"{task} on {worker} | {line}\n")


class ManagerClock:
    """The manager's clock, as far as pictures tell: it is not ours, and goes on between events."""

    def __init__(self) -> None:
        self._ahead_s = -math.inf

    def now(self, picture: Json) -> float:
        """What it shows now, or a little less."""
        here = time.monotonic()
        self._ahead_s = max(self._ahead_s, picture["at"] - here)
        return here + self._ahead_s


def follow(job: Job, *, quiet: bool = False, cancel_on_interrupt: bool = True) -> JobResult:
    """Show a job until it ends and return its result.

    Args:
        quiet: show nothing.
        cancel_on_interrupt: an interrupt cancels the job everywhere; False: it goes on.

    Raises:
        JobError: it failed or was cancelled.
        KeyboardInterrupt: after it was cancelled, if it was.
    """
    for note in job.notes:
        sys.stderr.write(f"note: {note}\n")
    try:
        if quiet:
            job.wait()
        elif sys.stderr.isatty():
            _follow_live(job)
        else:
            _follow_plainly(job)
    except KeyboardInterrupt:
        if cancel_on_interrupt:
            job.settle()
        raise
    return job.result()


def _follow_live(job: Job) -> None:
    from rich.console import Console
    from rich.live import Live

    clock = ManagerClock()
    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            ended = job.wait(1 / RATE_HZ)
            picture = job.last_picture()
            if picture:
                live.update(job_renderable(picture, clock.now(picture)), refresh=True)
            if ended:
                return


def _follow_plainly(job: Job) -> None:
    milestones, clock = Milestones(), ManagerClock()
    while True:
        ended = job.wait(1 / RATE_HZ)
        picture = job.last_picture()
        if picture:
            for line in milestones.tell(picture, clock.now(picture)):
                sys.stderr.write(line + "\n")
            sys.stderr.flush()
        if ended:
            return
