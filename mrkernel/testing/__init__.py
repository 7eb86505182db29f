"""Testing mappers and reducers: for users, students and graders.

``run`` is also the pytest fixture ``mapreduce``, which comes with the installation::

    def test_counts(mapreduce):
        assert mapreduce(mapper, reducer, ["a b a"]).to_dict() == {"a": 2, "b": 1}
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrkernel.engines.result import JobResult

__all__ = ["run"]


def run(mapper: Any, reducer: Any, records: Iterable[Any], **options: Any) -> JobResult:
    """Run a job over records in memory, in this process, through the real state machine.

    ``breakpoint()`` and coverage work in the functions. There are two map and two reduce tasks
    where the records allow, so that code that needs to see everything in one task fails here.

    Args:
        records: the items given to the mapper; a list of str is a list of lines.
        **options: as of ``mrkernel.run``.

    Raises:
        TaskFailedError: a function failed; its ``__cause__`` is the exception itself.
        JobSpecError: something makes no sense.
    """
    from mrkernel.engines.api import run as run_job

    return run_job(mapper, iter(list(records)), reducer, on="inline", **options)
