"""Why an attempt failed, as text that crosses processes and is never rebuilt by name. Pure."""

from __future__ import annotations

import functools
import linecache
import reprlib
import sysconfig
from pathlib import Path
from types import CodeType
from typing import Any, Literal

import msgspec

from mrkernel.errors import MRKernelError

#: What people call a file that is none, such as the code of a cell: file name → "cell 3".
#: ``functions.unpack`` fills it in from what the sender said.
SOURCE_NAMES: dict[str, str] = {}
#: A record or message longer than this is cut in a failure (characters).
SHORT = 200
_LONGEST_MESSAGE = 2000


class Frame(msgspec.Struct, frozen=True):
    """One frame of the user's own code."""

    file: str
    line: int
    function: str
    code: str = ""  #: the source line; "" where the process had no source


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong in one attempt.

    ``kind`` decides who is to blame: ``user`` (raised; the job fails at once), ``crash`` and
    ``timeout`` (count against the task), ``input`` (fails the job), ``environment`` (never counts).
    """

    kind: Literal["user", "crash", "timeout", "input", "environment"]
    sentence: str  #: what, where, what to do next, in one line
    error_type: str = ""  #: "ZeroDivisionError"
    message: str = ""  #: str() of the error
    frames: tuple[Frame, ...] = ()  #: outermost first, only the user's own code
    record: str = ""  #: repr of the record, shortened
    where: str = ""  #: "data/a.txt, byte 1234", "numbers[17]", "group 'the'"
    hint: str = ""  #: what to write instead
    role: str = ""  #: "mapper", "reducer", "combiner", "partitioner"; "": no function is at fault
    index: int | None = None  #: of the record in its split, from 0; None: not known
    evidence: bytes = b""
    """What the function was called with, pickled, for ``%mr_debug``: (key, record) of a mapper,
    (key, values) of a reducer or combiner; b"": not kept, because it is too large or not known."""

    def render(self) -> str:
        """Draw the failure for a terminal or a cell: the user's frames, record, place and hint."""
        lines = [self.sentence]
        if self.frames or self.error_type or self.message:
            lines.append(self.traceback())
        if self.where:
            lines.append(f"at {self.where}")
        if self.record:
            lines.append(f"record: {self.record}")
        if self.hint and self.hint not in self.sentence:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def next_steps(self, debug: str = "") -> str:
        """Say what to do about it, "next: ..."; "" when no function is to blame.

        Args:
            debug: what calls it again, "%mr_debug"; "": nothing does.
        """
        steps = []
        if debug and self.role and self.error_type:
            steps.append(f"{debug} calls it again here")
        # Neither a batch nor finish() can be skipped; and where too many were, that is told.
        if self.role == "mapper" and self.record and "--on-error" not in self.sentence:
            steps.append("--on-error skip goes on without such records")
        return f"next: {'; '.join(steps)}" if steps else ""

    def traceback(self) -> str:
        """Draw the user's frames and the error: a traceback without what is ours."""
        lines = []
        for frame in self.frames:
            lines.append(f"  {frame.file}, line {frame.line}, in {frame.function}")
            if frame.code:
                lines.append(f"    {frame.code.strip()}")
        if self.error_type:
            lines.append(f"{self.error_type}: {self.message}" if self.message else self.error_type)
        elif self.message:
            lines.append(self.message)  # the last words of a process that died
        return "\n".join(lines)


class UserCodeError(MRKernelError):
    """Raised inside a task when user code is at fault; ``failure`` says all."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return self.failure.sentence


#: The functions of a job; who else raised is told in the sentence alone.
ROLES = frozenset({"mapper", "reducer", "combiner", "partitioner"})


def user_failure(
    error: BaseException,
    *,
    role: str,
    where: str = "",
    record: str = "",
    hint: str = "",
    index: int | None = None,
    evidence: bytes = b"",
) -> Failure:
    """Describe an exception that user code raised.

    Args:
        error: with its traceback.
        role: one of ``ROLES``; anything else is how the sentence begins.
        where: the record's or group's place, for people.
        record: what it worked on, as ``short`` has it.
        hint: what to write instead; "" when nothing is known.
        index, evidence: as in ``Failure``.
    """
    kind = type(error).__name__
    message = text_of(error)
    frames = frames_of(error)
    sentence = f"{role} raised {kind}" + (f": {message.splitlines()[0]}" if message else "")
    places = [f"line {frames[-1].line} of {frames[-1].file}"] if frames else []
    places += [where] if where else []
    if places:
        sentence += f" ({'; '.join(places)})"
    if hint:
        sentence += f": {hint}"
    return Failure(
        kind="user",
        sentence=sentence,
        error_type=kind,
        message=message,
        frames=frames,
        record=record,
        where=where,
        hint=hint,
        role=role if role in ROLES else "",
        index=index,
        evidence=evidence,
    )


def text_of(error: BaseException) -> str:
    """``str(error)``, whatever its ``__str__`` does, not longer than a page, and valid UTF-8."""
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - the text says so; the first error counts
        return f"<its __str__ raised {type(broken).__name__}>"
    text = text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "…"
    return text.encode("utf-8", "backslashreplace").decode()


def frames_of(error: BaseException) -> tuple[Frame, ...]:
    """The user's own frames of a traceback, outermost first.

    Ours are dropped, and those of libraries unless there is nothing else: the error's type and
    message say what the library did not like, the user's line says where.
    """
    users: list[Frame] = []
    others: list[Frame] = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        owner = owner_of(code.co_filename)
        if owner != "ours":
            (users if owner == "user" else others).append(_frame(code, step.tb_lineno))
        step = step.tb_next
    if isinstance(error, SyntaxError) and error.filename and owner_of(error.filename) == "user":
        name = SOURCE_NAMES.get(error.filename, error.filename)
        users.append(Frame(name, error.lineno or 0, "<module>", error.text or ""))
    return tuple(users or others)


def _frame(code: CodeType, line: int) -> Frame:
    file = code.co_filename
    source = linecache.getline(file, line).rstrip()
    function = code.co_qualname.rpartition("<locals>.")[2]
    return Frame(SOURCE_NAMES.get(file, file), line, function, source)


@functools.cache
def owner_of(file: str) -> Literal["user", "library", "ours"]:
    """Whose code a file is."""
    if file.startswith("<frozen "):
        return "library"
    path = Path(file)
    if path.suffix in (".pxi", ".pyx"):
        return "library"
    if path.is_relative_to(Path(__file__).parent.parent):
        return "ours"
    places = sysconfig.get_paths()
    if "site-packages" in path.parts or "dist-packages" in path.parts:
        return "library"
    if any(path.is_relative_to(places[name]) for name in ("stdlib", "platstdlib")):
        return "library"
    return "user"


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = SHORT - 20
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = 12
        self.maxlevel = 4

    def repr_str(self, x: str, level: int) -> str:
        # From the start: the end of a 64 MB line tells nothing, and repr of it takes long.
        return repr(x) if len(x) <= self.maxstring else repr(x[: self.maxstring]) + "…"

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x) if len(x) <= self.maxstring else repr(x[: self.maxstring]) + "…"


_short = _Short()


def short(thing: Any) -> str:
    """``repr`` of at most 200 characters, which never raises."""
    try:
        text = _short.repr(thing)
    except Exception:  # noqa: BLE001 - a repr of user code; the type is what can be told
        text = f"<{type(thing).__qualname__} without a working repr>"
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"
