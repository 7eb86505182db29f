"""``submit`` and ``run``: a job from Python."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mrkernel.deploy.local import begin_inside, is_inside

if TYPE_CHECKING:
    from mrkernel.engines.job import Job
    from mrkernel.engines.result import JobResult

#: Where the cluster inside this session is, if there was one.
_LOCAL = "mrkernel.engines.local"


def submit(mapper: Any, inputs: Any = None, reducer: Any = None, **options: Any) -> Job:
    """Start a MapReduce job and return at once.

    Args:
        mapper: ``mapper(record)`` or ``mapper(key, record)``, yielding (key, value) pairs; or a
            class that is called like it and may have ``finish()``.
        inputs: a path, glob or directory, a URL of one, or a list of these: CSV, JSON lines and
            Parquet by name, else lines of text; or an iterable, a DataFrame or an Arrow table whose
            items or rows are the records. A list of str is a list of paths: pass ``iter(lines)``
            for lines in memory. A dict of name → input tags records: ``mapper(source, record)``.
            The result of another job: its pairs, read where they lie, ``mapper(key, value)``.
        reducer: ``reducer(key, values)``; a built-in by name (sum count min max mean stats first
            list set top:N identity); or "none" for a map-only job.
        **options: see ``mrkernel submit --help``: the same names with underscores.

    Raises:
        JobSpecError: something makes no sense; nothing ran.
        OutputExistsError: the output is there already.
        TaskFailedError: mapper or reducer fail on the first records.
    """
    on = options.get("on")
    is_first = _LOCAL not in sys.modules and not options.get("sample")
    if is_first and isinstance(on, str | None) and is_inside(on):
        begin_inside()  # on one processor; on another, all that follows
    from mrkernel.engines.choose import choose_engine
    from mrkernel.engines.cluster import list_inputs, submit_job

    listed = list_inputs(inputs)
    return submit_job(
        lambda o: choose_engine(o.on, None, listed)[0], mapper, listed, reducer, options
    )


def run(mapper: Any, inputs: Any = None, reducer: Any = None, **options: Any) -> JobResult:
    """Run a MapReduce job to its end; the arguments are those of ``submit``.

    Raises:
        JobError: it failed or was cancelled.
    """
    job = submit(mapper, inputs, reducer, **options)
    from mrkernel.engines.cluster import run_to_end

    return run_to_end(job)
