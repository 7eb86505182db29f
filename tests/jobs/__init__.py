"""Jobs that answer alike on every engine, however many workers it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """One job, in the words of ``mrkernel.run``.

    Attributes:
        splits: the records of each map task: lines, given in a file of their own, or one item each.
    """

    mapper: Any
    splits: Sequence[Sequence[Any]]
    reducer: Any = "list"
    options: Mapping[str, Any] = field(default_factory=dict)


def each(*items: Any) -> list[list[Any]]:
    """One map task for each item."""
    return [[item] for item in items]


def pairs_of(record: Any) -> Any:
    """A mapper whose records are lists of pairs."""
    return record


def run(job: Job, engine: Any, folder: Path, **options: Any) -> Any:
    """Run a job so that each of its splits is one map task.

    Args:
        engine: what ``on`` may be.
        folder: for the files of a job that reads lines; each job needs one of its own.
        options: on top of the job's own.
    """
    import mrkernel

    if all(isinstance(record, str) for split in job.splits for record in split):
        for number, lines in enumerate(job.splits):
            (folder / f"{number}.txt").write_text("".join(f"{line}\n" for line in lines))
        inputs: Any = str(folder)
    else:
        assert all(len(split) == 1 for split in job.splits)
        inputs, options["split_size"] = [split[0] for split in job.splits], 1
    options = {"reduce_tasks": 2 if job.reducer != "none" else None} | dict(job.options) | options
    return mrkernel.run(job.mapper, inputs, job.reducer, on=engine, **options)
