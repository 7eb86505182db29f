"""Following a job in a terminal: live where there is one, milestones line by line where not."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from mrkernel.engines.job import Job
from mrkernel.engines.result import JobResult
from mrkernel.monitor.picture import Json
from mrkernel.monitor.screen import Screen, is_live
from mrkernel.monitor.terminal import job_line, job_renderable
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


def say_notes(job: Job) -> None:
    """Say what was remarked while the job was prepared."""
    for note in job.notes:
        sys.stderr.write(f"note: {note}\n")


class ManagerClock:
    """The manager's clock, as far as pictures tell: it is not ours, and goes on between events."""

    def __init__(self) -> None:
        self._ahead_s = -math.inf

    def now(self, picture: Json) -> float:
        """What it shows now, or a little less."""
        here = time.monotonic()
        self._ahead_s = max(self._ahead_s, picture["at"] - here)
        return here + self._ahead_s


def follow(
    job: Job,
    *,
    quiet: bool = False,
    cancel_on_interrupt: bool = True,
    fold: bool = True,
    meanwhile: Callable[[], object] | None = None,
) -> JobResult:
    """Show a job until it ends and return its result.

    Args:
        quiet: show nothing.
        cancel_on_interrupt: an interrupt cancels the job everywhere; False: it goes on.
        fold: one line is left of the view in a terminal; False: all of it.
        meanwhile: called several times a second, to print what there is to print.

    Raises:
        JobError: it failed or was cancelled.
        KeyboardInterrupt: after it was cancelled, if it was.
    """
    view: _Nothing = _Nothing()
    if not quiet:
        view = _Live(fold=fold) if is_live(sys.stderr) else _Lines()
    with view:
        try:
            while not job.wait(1 / RATE_HZ):
                if meanwhile is not None:
                    meanwhile()
                view.look(job)
        except KeyboardInterrupt:
            if cancel_on_interrupt:
                job.settle()
            raise
        finally:
            if meanwhile is not None:
                meanwhile()
            view.look(job, over=True)
    return job.result()


class _Nothing(AbstractContextManager[object]):
    """Shows nothing."""

    def look(self, job: Job, *, over: bool = False) -> None:
        """Show how the job is; ``over``: for the last time."""

    def __exit__(self, *raised: object) -> None:
        """There is nothing to leave."""


class _Lines(_Nothing):
    """A line for each thing that happened."""

    def __init__(self) -> None:
        self._milestones = Milestones()
        self._clock = ManagerClock()

    def look(self, job: Job, *, over: bool = False) -> None:
        picture = job.last_picture()
        if picture:
            for line in self._milestones.tell(picture, self._clock.now(picture)):
                sys.stderr.write(line + "\n")
            sys.stderr.flush()


class _Live(_Nothing):
    """The whole picture, in place; in the end folded to one line."""

    def __init__(self, *, fold: bool) -> None:
        self._fold = fold
        self._clock = ManagerClock()
        self._screen = Screen(sys.stderr)

    def __enter__(self) -> _Live:
        self._screen.__enter__()
        return self

    def look(self, job: Job, *, over: bool = False) -> None:
        picture = job.last_picture()
        now = self._clock.now(picture) if picture else None
        if over and self._fold:
            self._screen.show(job_line(picture, now) if picture else "")
        else:
            self._screen.show(job_renderable(picture, now, height=self._screen.height))

    def __exit__(self, *raised: object) -> None:
        self._screen.close()
