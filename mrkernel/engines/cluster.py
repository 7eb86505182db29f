"""What every cluster offers: ``submit`` and ``run``, and being a context manager."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from mrkernel.config import API, JobOptions
from mrkernel.data.sources import named
from mrkernel.engines.base import Engine
from mrkernel.engines.job import Job
from mrkernel.engines.prepare import prepare
from mrkernel.engines.result import JobResult
from mrkernel.errors import JobSpecError


def submit_job(
    choose: Callable[[JobOptions], Engine],
    mapper: Any,
    inputs: Sequence[Any],
    reducer: Any,
    given: dict[str, Any],
) -> Job:
    """Check a job of the Python door and start it on the engine that ``choose`` gives."""
    options = JobOptions.from_keywords(given, API)
    prepared, engine = prepare(
        mapper, inputs, reducer, options, lambda: choose(options), cwd=Path.cwd()
    )
    return engine.submit_prepared(prepared)


def run_to_end(job: Job) -> JobResult:
    """Wait for the result; an interrupt cancels the job everywhere."""
    try:
        return job.result()
    except KeyboardInterrupt:
        job.settle()
        raise


def list_inputs(inputs: Any) -> Sequence[Any]:
    """Make a list of inputs of what a caller gave.

    A dict gives each input a name, or several of them, for ``mapper(source, record)``.

    A list with a path in it is a list of inputs; a list of anything else is one input, its items
    the records. Lines of text in a list would look like paths: ``iter(lines)`` says what is meant.
    """
    if inputs is None:
        raise JobSpecError("the job has no input: give a path, a glob, or an iterable of records")
    if isinstance(inputs, dict):
        return named(inputs)
    if isinstance(inputs, (list, tuple)) and any(
        isinstance(each, (str, os.PathLike)) for each in inputs
    ):
        return inputs
    return [inputs]


class Cluster:
    """The base of ``LocalCluster`` and of what ``connect`` gives."""

    in_process = False

    def submit(self, mapper: Any, inputs: Any = None, reducer: Any = None, **options: Any) -> Job:
        """Start a job here; see ``mrkernel.submit``."""
        here = cast(Engine, self)
        return submit_job(lambda _: here, mapper, list_inputs(inputs), reducer, options)

    def run(
        self, mapper: Any, inputs: Any = None, reducer: Any = None, **options: Any
    ) -> JobResult:
        """Run a job here to its end; see ``mrkernel.run``."""
        return run_to_end(self.submit(mapper, inputs, reducer, **options))

    def close(self) -> None:
        """Let go of the cluster; what that means is the subclass's business."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.close)
