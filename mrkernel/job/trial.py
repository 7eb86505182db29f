"""The preflight in a process of its own: what a mapper does to its process, it must not do to ours.

A first record may crash Python, call ``os._exit`` or never come back from C code, where no alarm
reaches it. So the functions are tried in a fork of this process, which has them and the records at
no cost and can be killed; it answers in plain text through a pipe.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn

import msgspec

from mrkernel.errors import InputError, JobSpecError, MRKernelError
from mrkernel.job.failure import Failure, UserCodeError
from mrkernel.job.preflight import Preflight

#: Seconds a trial may take before it is killed; its own budget is half of that.
LIMIT_S = 1.0


class _Answer(msgspec.Struct, frozen=True):
    """How a trial ended; exactly one field is set."""

    passed: Preflight | None = None
    failure: Failure | None = None
    input_error: tuple[str, str | None, int | None] | None = None
    spec_error: str | None = None
    bug: str | None = None


def try_apart(trial: Callable[[], Preflight]) -> Preflight:
    """Run a trial in a fork of this process.

    Where there is no safe fork (macOS, Windows) it runs here.

    Raises:
        UserCodeError: a function failed; ``failure`` says all. One that took its process with it
            is a note.
        JobSpecError: a function or the input makes no sense.
    """
    if not _can_fork():
        return trial()
    data, status = _fork(lambda: msgspec.msgpack.encode(_answer(trial)), LIMIT_S)
    if data is None:
        note = f"the first records took over {LIMIT_S:.0f} s, so nothing was tried here"
        return Preflight(0, 0, 0, (note,))
    if not data:
        return Preflight(0, 0, 0, (_died(status),))
    return _understand(msgspec.msgpack.decode(data, type=_Answer))


def compute_apart(compute: Callable[[], bytes], limit_s: float) -> bytes:
    """Compute something with user code in a fork of this process, or here where there is none.

    Returns: what it gave; b"" if it raised, took its process with it, or took over ``limit_s``.
    """

    def answer() -> bytes:
        with contextlib.suppress(Exception, SystemExit):
            return compute()
        return b""

    if not _can_fork():
        return answer()
    return _fork(answer, limit_s)[0] or b""


def _can_fork() -> bool:
    return hasattr(os, "fork") and sys.platform != "darwin"


def _fork(answer: Callable[[], bytes], limit_s: float) -> tuple[bytes | None, int]:
    """Run ``answer`` in a fork; give its bytes, None when they are not in time, and its status."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Other threads may hold locks that the child then waits for in vain: it is killed in time.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _be_the_child(answer, reading, writing)
    os.close(writing)
    status = 0
    try:
        data = _read_all(reading, time.monotonic() + limit_s)
    finally:
        os.close(reading)
        status = _bury(pid)
    return data, status


def _be_the_child(answer: Callable[[], bytes], reading: int, writing: int) -> NoReturn:
    """In the child: answer and end, without running anything else of the parent's."""
    try:
        os.close(reading)
        os.setpgid(0, 0)
        faulthandler.disable()  # a crash is told in a sentence
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        child = os.getpid()
        data = answer()
        # A fork of user code's own that came back here has nothing to answer.
        while data and os.getpid() == child:
            data = data[os.write(writing, data) :]
    finally:
        os._exit(0)


def _answer(trial: Callable[[], Preflight]) -> _Answer:
    try:
        return _Answer(passed=trial())
    except UserCodeError as error:
        return _Answer(failure=error.failure)
    except InputError as error:
        return _Answer(input_error=(str(error), error.path, error.offset))
    except JobSpecError as error:
        return _Answer(spec_error=str(error))
    except Exception:  # noqa: BLE001 - told to the parent, which raises it
        return _Answer(bug=traceback.format_exc())


def _understand(answer: _Answer) -> Preflight:
    if answer.failure is not None:
        raise UserCodeError(answer.failure)
    if answer.input_error is not None:
        raise InputError(*answer.input_error)
    if answer.spec_error is not None:
        raise JobSpecError(answer.spec_error)
    if answer.passed is None:
        raise MRKernelError(f"the trial of the first records failed, a bug of ours:\n{answer.bug}")
    return answer.passed


def _read_all(descriptor: int, deadline: float) -> bytes | None:
    """Read until the child is done; None when it is not in time."""
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        part = os.read(descriptor, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _bury(pid: int) -> int:
    """End the child with all it started; return its exit status."""
    for kill, target in ((os.killpg, pid), (os.kill, pid)):
        try:
            kill(target, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue  # gone already, or it never got a group of its own
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _died(status: int) -> str:
    """A note, not an error: workers try a task that crashes its process several times."""
    how = f"ended itself with exit status {status}"
    if status < 0:
        how = f"crashed ({signal.Signals(-status).name})"
    return (
        f"tried on the first records here, the functions' Python process {how}; "
        "look at what they call outside Python (C code, os._exit)"
    )
