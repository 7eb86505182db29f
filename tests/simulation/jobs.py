"""Simulated jobs: what their tasks will do, and what must come of it.

A job is known to the simulated runners by its spec's name; nothing else of it is real. Its fate
(who crashes, who raises) lies in its user's code, so every attempt meets it alike.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from mrkernel.data.splits import MemorySplit, Split
from mrkernel.ids import TaskId, map_task
from mrkernel.job.spec import JobSpec

PYTHON = "3.11"
Fate = Literal["well", "crash", "hang", "user", "input"]
#: Records of every map task: a record pointer counts them.
RECORDS = 100


class Made(msgspec.Struct, frozen=True, array_like=True):
    """The whole content of a map's run, or of a part: who made it, out of what."""

    job: str  #: name of the job's script
    task: str
    attempt: int
    of: tuple[tuple[int, int], ...] = ()  #: a reduce's: (map index, attempt) it read, in order
    skipped: tuple[int, ...] = ()  #: a map's: records that it was told to skip


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Made).decode


def packed(made: Made) -> bytes:
    """Return the bytes of a small run or part."""
    return _encode(made)


def unpacked(data: bytes) -> Made:
    """Return what is in a small run or part."""
    return _decode(data)


@dataclass(frozen=True)
class Script:
    """One job to come.

    Attributes:
        name: unique in its world.
        seconds: what a map task takes, a reduce task, about.
        carried: of four map tasks, how many have a run small enough to be carried.
        kept: whether parts are too large to be carried.
        raising: the task whose code raises; None: none.
        poison: map index → record that crashes its process.
        crashing: task → how many of its first attempts crash.
        hanging: task → how many of its first attempts never end.
        dense: whether every map has something for every reduce.
        wavering: whether its mapper gives other pairs every time.
        cancelled_after: seconds after which its client cancels it; None: it does not.
        memory: whether its input lies in blobs.
        patience: seconds its result is left alone before it is released.
    """

    name: str
    maps: int
    reduces: int
    seconds: tuple[float, float] = (0.1, 0.1)
    carried: int = 0
    kept: bool = False
    raising: TaskId | None = None
    poison: dict[int, int] = field(default_factory=dict)
    crashing: dict[TaskId, int] = field(default_factory=dict)
    hanging: dict[TaskId, int] = field(default_factory=dict)
    cancelled_after: float | None = None
    memory: bool = False
    patience: float = 0.5
    attempts: int = 4
    timeout_s: float | None = None
    skip: int = 0
    backup: bool = True
    dense: bool = False
    wavering: bool = False

    def spec(self) -> JobSpec:
        """Return what is submitted."""
        return JobSpec(
            name=self.name,
            functions=f"functions of {self.name}",
            reducer="function" if self.reduces else "none",
            reduce_tasks=self.reduces,
            attempts=self.attempts,
            timeout_s=self.timeout_s,
            skip=self.skip,
            backup=self.backup,
            python=PYTHON,
        )

    def splits(self) -> tuple[Split, ...]:
        """Return the splits that go with it."""
        return tuple(
            MemorySplit(
                self.name,
                index * RECORDS,
                RECORDS,
                None if self.memory else b"items",
                blob=f"input {index % 3} of {self.name}" if self.memory else "",
                size=1000,
            )
            for index in range(self.maps)
        )

    def blobs(self) -> list[str]:
        """Return the digests of what is sent before it."""
        inputs = {split.blob for split in self.splits() if isinstance(split, MemorySplit)} - {""}
        return [self.spec().functions, *sorted(inputs)]

    def size(self, index: int, partition: int) -> int:
        """Return how many bytes a partition of a map's run has; some are empty."""
        if self.dense:
            return 100
        return 0 if (index * 7 + partition * 3) % 5 == 4 else 100

    def is_carried(self, index: int) -> bool:
        """Whether the run of a map travels in messages."""
        return index % 4 < self.carried

    def feeds(self, partition: int) -> list[int]:
        """Return the maps that have something for a partition."""
        return [index for index in range(self.maps) if self.size(index, partition)]

    def fate(self, task: TaskId, attempt: int, skip: Sequence[int]) -> Fate:
        """Say what an attempt meets in its user's code."""
        if task == self.raising:
            return "user"
        if attempt <= self.crashing.get(task, 0):
            return "crash"
        if attempt <= self.hanging.get(task, 0):
            return "hang"
        if self.poison and task.startswith("map-"):
            record = self.poison.get(int(task[4:]))
            if record is not None and record not in skip:
                return "crash"
        return "well"


def random_script(chance: random.Random, name: str, *, largest: int = 12) -> Script:
    """Make up a job.

    Args:
        largest: map tasks, at most.
    """
    maps = chance.choice([0, 1, 2, 3, 4, 5, 6, largest]) if largest > 8 else chance.randint(1, 8)
    reduces = chance.choice([0, 1, 1, 2, 3, 4])
    options: dict[str, Any] = {}
    tasks = [map_task(i) for i in range(maps)] + [TaskId(f"reduce-{i}") for i in range(reduces)]
    trouble = chance.random()
    if tasks and trouble < 0.04:
        options["raising"] = chance.choice(tasks)
    elif tasks and trouble < 0.10:
        options["crashing"] = {chance.choice(tasks): chance.choice([1, 2, 2, 4])}
    elif tasks and trouble < 0.13:
        options |= {"hanging": {chance.choice(tasks): 1}, "timeout_s": 2.0}
    elif maps and trouble < 0.17:
        poison = {chance.randrange(maps): chance.randrange(RECORDS)}
        options |= {"poison": poison, "skip": chance.choice([0, 1, 5])}
    elif maps and trouble < 0.22:
        options["wavering"] = True
    return Script(
        name=name,
        maps=maps,
        reduces=reduces,
        seconds=(chance.choice([0.005, 0.05, 0.3, 1.0]), chance.choice([0.01, 0.1, 0.5])),
        carried=chance.choice([0, 0, 1, 4]),
        kept=chance.random() < 0.4,
        cancelled_after=chance.uniform(0, 2) if chance.random() < 0.06 else None,
        memory=chance.random() < 0.3,
        patience=chance.choice([0.0, 0.5, 3.0]),
        backup=chance.random() < 0.9,
        **options,
    )
