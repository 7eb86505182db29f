"""A worker's state and short words for what it is told: no processes, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId, TaskId
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.messages import Message
from mrkernel.protocol.worker_messages import CancelAttempt, Finished, JobInfo, Start
from mrkernel.worker.deaths import Death
from mrkernel.worker.state import (
    Discard,
    Event,
    Fork,
    FromManager,
    Instruction,
    Pulse,
    RunnerProgress,
    RunnerSaid,
    RunnerUp,
    WorkerState,
)

ZERO = RunnerProgress(0, 0, 0)
KILLED = Death(signal="SIGKILL")


def info(job: str = "j1", **spec: Any) -> JobInfo:
    return JobInfo(JobId(job), JobSpec(name="job", functions="f" * 64, **spec))


def start(number: int, job: str = "j1", attempt: int = 1) -> Start:
    split = MemorySplit("numbers", number, 1, b"")
    return Start(JobId(job), TaskId(f"map-{number}"), attempt, number, split)


def discard(number: int, job: str = "j1", attempt: int = 1) -> Discard:
    return Discard(start(number, job, attempt), run=True)


def finished(number: int, job: str = "j1", attempt: int = 1) -> Finished:
    return Finished(JobId(job), TaskId(f"map-{number}"), attempt, 1, 1, 1, 0.1)


def cancel(number: int, job: str = "j1", attempt: int = 1) -> CancelAttempt:
    return CancelAttempt(JobId(job), TaskId(f"map-{number}"), attempt)


class Bench:
    """A ``WorkerState`` whose runners are up, and a clock."""

    def __init__(self, slots: int = 1, *, up: bool = True) -> None:
        self.state = WorkerState(slots)
        self.now = 0.0
        assert self.state.start() == [Fork(slot) for slot in range(slots)]
        for slot in range(slots if up else 0):
            assert self.handle(RunnerUp(slot)) == []

    def handle(self, event: Event) -> list[Instruction]:
        out = self.state.handle(event, self.now)
        self.state.validate()
        return out

    def hear(self, *messages: Message) -> list[Instruction]:
        return [i for message in messages for i in self.handle(FromManager(message))]

    def said(self, slot: int, message: Any) -> list[Instruction]:
        return self.handle(RunnerSaid(slot, message))

    def pulse(self, *progress: RunnerProgress, after: float = 0.5) -> list[Instruction]:
        self.now += after
        return self.handle(Pulse(1.0, 100, progress))


def tasks(slot: Iterable[Start]) -> list[str]:
    return [start.task for start in slot]
