"""Calling a function once more with exactly what it failed on, here, with live frames.

What it was called with travels with the failure (``Failure.evidence``). The exception that comes
is the user's own, raised in this process: ``%debug`` and ``pdb.post_mortem`` stand in his frame.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from mrkernel.data import pickles
from mrkernel.data.batches import called_with
from mrkernel.errors import JobSpecError, TaskFailedError
from mrkernel.job import counters, randomness
from mrkernel.job.callables import prepare
from mrkernel.job.failure import ROLES, Failure, owner_of
from mrkernel.job.functions import Functions, isolated, show_sources, unpack
from mrkernel.job.mapping import as_pair
from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle.values import Values


def replay(
    functions: Functions,
    failure: Failure,
    *,
    tell: Callable[[str], None] = lambda _: None,
    job_seed: int = 0,
    task: str = "map-0",
) -> None:
    """Do again what failed.

    Counters count for nothing. ``random`` is seeded as at the beginning of a task: where it was
    when the record came is not known, for that depends on all that was drawn before it.

    Args:
        functions: of the job.
        failure: why it failed.
        tell: hears a sentence about what may be different here from what it was there.
        job_seed, task: whose seed ``random`` gets.

    Raises:
        BaseException: what the function raises, with its frames.
        JobSpecError: it cannot be done again, or goes well here; says what to do instead.
    """
    why = _why_not(functions, failure)
    if why:
        raise JobSpecError(why)
    function = getattr(functions, failure.role)
    if isinstance(function, type):
        tell(
            f"the {failure.role} is a class, and here it is made anew: its state may differ from "
            "what it was in the task"
        )
    with counters.collect(), randomness.seeded(job_seed, task):
        before = pickle.dumps(randomness.state())
        try:
            _do_again(function, failure)
        finally:
            if pickle.dumps(randomness.state()) != before and failure.index != 0:
                tell(
                    f"the {failure.role} draws from random, which is seeded anew here: in the task "
                    "it had drawn before, and got other numbers"
                )
    at = f" for {failure.where}" if failure.where else ""
    raise JobSpecError(
        f"the {failure.role} goes well here{at}, where it failed with: {failure.sentence}; does it "
        "depend on a file, the time, the worker's machine, or on records that came before?"
    )


def replay_packed(
    data: Callable[[], bytes],
    failure: Failure,
    *,
    tell: Callable[[str], None] = lambda _: None,
    for_good: bool = False,
) -> None:
    """Do again what failed, with the functions as a worker would have them.

    Args:
        data: gives the packed functions; called when there is something to do again.
        failure, tell: as for ``replay``.
        for_good: this process does nothing else, so modules that came with the functions may stay,
            for a debugger to look at.

    Raises: as ``replay``.
    """
    why = _why_not(Functions(mapper=None), failure)
    if why:
        raise JobSpecError(why)
    packed = data()
    if for_good:
        replay(unpack(packed), failure, tell=tell)
        return
    show_sources(packed)
    with isolated(packed) as functions:
        replay(functions, failure, tell=tell)


def failure_of(error: BaseException | None, job: str) -> Failure:
    """Find what a job failed with.

    Raises: JobSpecError: it did not fail, or by itself.
    """
    failure = error.failure if isinstance(error, TaskFailedError) else None
    if not isinstance(failure, Failure):
        what = "did not fail" if error is None else f"ended without a failed task ({error})"
        raise JobSpecError(f"job {job} {what}: there is nothing to debug")
    return failure


def users_traceback(error: BaseException) -> TracebackType | None:
    """Return the traceback of what was done again from the first frame on that is not ours."""
    step = error.__traceback__
    while step is not None and owner_of(step.tb_frame.f_code.co_filename) == "ours":
        step = step.tb_next
    return step or error.__traceback__


def _why_not(functions: Functions, failure: Failure) -> str:
    """Say why something cannot be done again, and what to do instead; "" if it can."""
    if "to see it again: " in failure.hint:
        return f"the {failure.role} is a program; {failure.hint}"
    if failure.kind in ("crash", "timeout"):
        ended = "crashed" if failure.kind == "crash" else "did not come back"
        at = f" at {failure.where}" if failure.where else ""
        said = (
            f"the process of the task {ended}{at}, and would take this one along: call the "
            f"{failure.role or 'function'} yourself in a process of its own"
        )
        if failure.role == "mapper":
            said += ", or let the job go on without such records (--on-error skip)"
        return said
    if failure.role not in ROLES:
        return f"no function of yours was called in vain: {failure.sentence}"
    if failure.where == "finish()":
        return (
            f"finish() of the {failure.role} failed, which sees all that a task gathered: run the "
            "job with --on inline, and %debug stands in it"
        )
    if not failure.evidence:
        return (
            f"what the {failure.role} failed on was not kept, because it is too large or cannot be "
            "sent: run the job with --on inline, and %debug stands in it"
        )
    function = getattr(functions, failure.role)
    if isinstance(function, str):
        return (
            f"the {failure.role} is the built-in {function}: its values come from the mapper "
            f"({failure.sentence})"
        )
    return ""


def _do_again(function: Any, failure: Failure) -> None:
    with _explained():
        key, thing = pickles.loads(failure.evidence)
    if failure.role == "partitioner":
        answer = function(key, thing)
        if type(answer) is bool or not hasattr(answer, "__index__") or not 0 <= answer < thing:
            raise ValueError(failure.sentence)
        return
    prepared = prepare(function, failure.role)
    if failure.role == "mapper":
        both = prepared.required == 2
        given = prepared.call(*called_with(key, thing)) if both else prepared.call(thing)
        _check_pairs(given, failure)
        return
    given = prepared.call(key, Values(thing))
    if hasattr(given, "__next__"):
        _check_pairs(given, failure)


def _check_pairs(given: Any, failure: Failure) -> None:
    """Run a generator to where it raises, and refuse what was refused in the task."""
    if given is None:
        return
    for item in given:
        pair = as_pair(item)
        if pair is None:
            raise TypeError(failure.sentence)
        _keys.check([pair[0]])


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of the record's class, whatever it does when it is made again
        raise JobSpecError(
            f"what it failed on cannot be made again here ({type(error).__name__}: {error}): "
            "import or define here what the record is made of"
        ) from error
