"""Why a runner died, in one true sentence: each way has its own, and says what to do next. Pure.

What is known of a death is collected from outside, because the dead tell nothing: how the process
ended, whether the kernel counted one more victim for want of memory, what the progress cell says,
and the last lines of its output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mrkernel.job.failure import Failure, Frame, owner_of
from mrkernel.monitor.quantities import bytes_text
from mrkernel.protocol.worker_messages import Failed, Start

#: One frame of ``faulthandler``'s report.
_FATAL_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)$', re.MULTILINE)
#: Lines of output that count as last words.
_LAST_LINES = 8

_MEANINGS = {
    "SIGSEGV": "it used memory that is not its own",
    "SIGBUS": "it used memory that is not there: a file that it had mapped became shorter?",
    "SIGABRT": "a C library gave up",
    "SIGFPE": "a division by zero in C code",
    "SIGILL": "code for another processor",
    "SIGSYS": "it asked for what it may not do here",
    "SIGXCPU": "its limit of processor time was over",
    "SIGXFSZ": "a file grew beyond its limit",
}
#: Signals that ask a process to end; it may have sent them itself.
_REQUESTS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGUSR2")
_CRASH_HINT = "look at what the mapper or reducer calls outside Python (C code, os._exit, memory)"
_MEMORY_HINT = (
    "fewer slots per worker, or a smaller --slot-memory to spill earlier; in the functions, yield "
    "pairs instead of collecting them"
)


@dataclass(frozen=True, slots=True)
class Death:
    """What is known of the end of one runner.

    Attributes:
        status: its exit status; 0 when a signal ended it.
        signal: the name of that signal, e.g. "SIGSEGV"; "": none.
        stderr: the last of its output.
        records: records (or groups) of its attempt that it had finished.
        place: where it was, as it last wrote down; "": not known.
        index: of the record in its split, from 0, when ``place`` is exact; None: not known.
        peak_bytes: the most memory it ever had; 0: not known.
        out_of_memory: the kernel killed somebody for want of memory just then.
    """

    status: int = 0
    signal: str = ""
    stderr: str = ""
    records: int = 0
    place: str = ""
    index: int | None = None
    peak_bytes: int = 0
    out_of_memory: bool = False

    @property
    def cause(self) -> str:
        """How the process ended: "was killed (SIGKILL)", "ended itself with exit status 3"."""
        if not self.signal:
            return f"ended itself with exit status {self.status}"
        if self.signal == "SIGKILL":
            if self.out_of_memory:
                return "was killed (SIGKILL) by the kernel, because memory ran out"
            return "was killed (SIGKILL) from outside"
        if self.signal in _REQUESTS:
            return f"was ended by a signal ({self.signal})"
        meaning = _MEANINGS.get(self.signal)
        return f"crashed ({self.signal})" + (f", {meaning}," if meaning else "")

    @property
    def hint(self) -> str:
        """What to do next."""
        if not self.signal:
            return "raise an exception instead of leaving the process: it would name the record"
        if self.signal == "SIGKILL" and self.out_of_memory:
            return _MEMORY_HINT
        if self.signal in ("SIGKILL", *_REQUESTS):
            return "somebody sent it a signal: a person, a batch system, a guard of the machine?"
        return _CRASH_HINT


def crash(start: Start, death: Death) -> Failed:
    """Tell of a runner that ended in the middle of an attempt."""
    sentence = f"its Python process {death.cause} after {death.records:,} finished {_things(start)}"
    if death.place:
        sentence += f"; it was at {_near(start, death)}"
    if death.peak_bytes:
        sentence += f"; its peak memory was {bytes_text(death.peak_bytes)}"
    return _failed(start, death, "crash", sentence, death.hint)


def over_limit(start: Start, death: Death, used: int, limit: int) -> Failed:
    """Tell of a runner that we killed because it took too much memory.

    Args:
        used: bytes that it had when it was killed.
        limit: bytes that it might have.
    """
    number = death.records + 1
    sentence = f"used {_of(used, limit)} at {_things(start)[:-1]} {number:,}"
    where = f"partition {start.index}" if start.split is None else start.split.label
    sentence += f" of {where}"
    if death.index is None:
        sentence += ", or soon after"
    if death.place:
        sentence += f" ({death.place})"
    hint = (
        "a larger --slot-memory allows more, 1.5 times as much as it says; in the functions, yield "
        "pairs instead of collecting them"
    )
    return _failed(start, death, "crash", sentence, hint)


def timed_out(start: Start, death: Death, limit_s: float) -> Failed:
    """Tell of a runner that we killed because it finished nothing for so long."""
    sentence = f"no {_things(start)[:-1]} was finished for {limit_s:g} s"
    if death.place:
        sentence += f"; it was at {_near(start, death)}"
    hint = "an endless loop? otherwise give --timeout a larger number of seconds"
    return _failed(start, death, "timeout", sentence, hint)


def _failed(start: Start, death: Death, kind: str, sentence: str, hint: str) -> Failed:
    error_type, message, frames = last_words(death.stderr)
    if kind == "timeout" and error_type:
        error_type, message = "", ""  # it was asked where it is, and that is all it said
    failure = Failure(
        kind="timeout" if kind == "timeout" else "crash",
        sentence=sentence,
        error_type=error_type,
        message=message,
        frames=frames,
        where=death.place,
        hint=hint,
        role="mapper" if start.split is not None else "reducer",
        index=death.index,
    )
    return Failed(start.job, start.task, start.attempt, failure)


def _things(start: Start) -> str:
    return "records" if start.split is not None else "groups"


def _near(start: Start, death: Death) -> str:
    """Write the place; where it is that of the first of several records, say so."""
    exact = death.index is not None or start.split is None or death.place == "finish()"
    if exact or " after " in death.place or " records from " in death.place:
        return death.place
    return f"{death.place} or soon after"


def _of(used: int, limit: int) -> str:
    """Write "2.1 GB of 2.0 GB"; exactly, where the two would look alike."""
    texts = bytes_text(used), bytes_text(limit)
    return " of ".join(texts) if texts[0] != texts[1] else f"{used:,} of {limit:,} bytes"


def last_words(output: str) -> tuple[str, str, tuple[Frame, ...]]:
    """Read what a process said when it died: error type, message, and the user's frames.

    The report of ``faulthandler`` (most recent call first) is told like any other error; without
    one the last lines of its output have to do.
    """
    _, fatal, report = output.rpartition("Fatal Python error")
    if not fatal:
        return "", "\n".join(output.strip().splitlines()[-_LAST_LINES:]), ()
    message = report.partition("\n")[0].removeprefix(": ")
    current = report.partition("Current thread ")[2].partition("\n\n")[0]
    frames = [
        Frame(file, int(line), function)
        for file, line, function in _FATAL_FRAME.findall(current)
        if owner_of(file) == "user"
    ]
    return fatal, message, tuple(reversed(frames))
