"""``job.retry_bad_records()``: the bad records of a job under a mended mapper, the rest as it is.

The new job takes over the map output of the old one and adds map tasks for the bad records; its
reduce tasks read both. So nothing that went well is done again, and nothing is left of what went
badly.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from mrkernel.config import API, JobOptions, most_skipped
from mrkernel.data.outputs import check_output
from mrkernel.data.splits import MemorySplit
from mrkernel.engines.bad_records import BadRecords, counted
from mrkernel.engines.base import Engine, PreparedJob
from mrkernel.engines.job import Job
from mrkernel.errors import JobSpecError
from mrkernel.job.callables import check
from mrkernel.job.failure import SOURCE_NAMES
from mrkernel.job.functions import pack

#: Options that may be said anew; the others must be as they were, or the two do not fit together.
_OPTIONS = ("output", "output_format", "columns", "overwrite", "name", "on_error")
#: Map tasks for bad records, at most: there are few of them.
_TASKS = 8


def make_retriable(job: Job, engine: Engine, prepared: PreparedJob) -> None:
    """Let a job that was just submitted be tried again; its input is not held for that."""
    job.functions = prepared.functions
    job.retry = partial(_retry, engine, replace(prepared, splits=(), blobs={}, output=None))


def _retry(
    engine: Engine,
    before: PreparedJob,
    job: str,
    bad: BadRecords,
    mapper: Any,
    given: Mapping[str, Any],
) -> Job:
    """Submit the retry of a job; see ``Job.retry_bad_records``.

    Args:
        engine: where the job ran.
        before: what was submitted.
        job: its id.
        bad: its bad records.

    Raises:
        JobSpecError: there is nothing to try again, or it cannot be done; says why.
    """
    for name in given:
        if name not in _OPTIONS:
            raise JobSpecError(
                f"retry_bad_records takes no {name}: it takes {', '.join(_OPTIONS)}; everything "
                f"else is as in job {job}"
            )
    lost = [each for each in bad if not each.pickled]
    if lost:
        raise JobSpecError(
            f"{counted(len(lost))} of job {job} could not be kept (the first: {lost[0].where}: "
            f"{lost[0].error}): mend the input or the mapper, and run the job again"
        )
    if before.sample is not None:
        raise JobSpecError(f"job {job} was a sample: run the mended mapper on the sample again")
    if not before.spec.reduce_tasks:
        raise JobSpecError(
            f"job {job} has no reducer (--reducer none), so there is nothing to merge with: run "
            "the mended mapper over the job's input"
        )
    options = JobOptions.from_keywords(given, API)
    return engine.submit_prepared(_prepared(job, before, mapper, options, given, bad))


def _prepared(
    job: str,
    before: PreparedJob,
    mapper: Any,
    options: JobOptions,
    given: Mapping[str, Any],
    bad: BadRecords,
) -> PreparedJob:
    mapper = _mended(before.functions.mapper) if mapper is None else mapper
    check(mapper, "mapper")
    functions = replace(before.functions, mapper=mapper)
    spec = before.spec
    blobs: dict[str, bytes] = {}
    digest = ""
    notes: tuple[str, ...] = ()
    if not spec.in_process:
        packed = pack(functions, beside=Path.cwd(), names=dict(SOURCE_NAMES))
        digest = hashlib.sha256(packed.data).hexdigest()
        blobs[digest] = packed.data
        notes = packed.notes
    skip = spec.skip if given.get("on_error") is None else most_skipped(options.on_error)
    spec = msgspec.structs.replace(
        spec, functions=digest, skip=skip, name=options.name or spec.name, sample=None
    )
    output = None
    if options.output is not None:
        output = check_output(
            options.output,
            options.overwrite,
            Path.cwd(),
            format=options.output_format,
            columns=options.columns,
        )
    return PreparedJob(
        spec=spec,
        splits=tuple(_splits(bad, blobs)),
        functions=functions,
        blobs=blobs,
        output=output,
        notes=notes,
        extends=job,
    )


def _mended(mapper: Any) -> Any:
    """Find the function that now has the mapper's name in the notebook.

    Raises: JobSpecError: there is none.
    """
    name = getattr(mapper, "__name__", "")
    found = getattr(sys.modules["__main__"], name, None) if name.isidentifier() else None
    if found is None:
        called = f"called {name}" if name.isidentifier() else "by the name of the mapper"
        raise JobSpecError(
            f"nothing in this notebook is {called}: pass the mended mapper, "
            "job.retry_bad_records(mapper)"
        )
    return found


def _splits(bad: Sequence[Any], blobs: dict[str, bytes]) -> list[MemorySplit]:
    """Put the records into splits, in their order; each in a blob of its own."""
    splits: list[MemorySplit] = []
    size = -(-len(bad) // _TASKS)
    for first in range(0, len(bad), size):
        some = bad[first : first + size]
        data = pickle.dumps([(each.where, each.pickled) for each in some], 5)
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        splits.append(
            MemorySplit("bad records", first, len(some), None, digest, len(data), keyed=True)
        )
    return splits
