"""The programs of one attempt: where they run, what they know of their task, how they fail.

Each attempt has a folder of its own, the programs' current directory, with the job's files in it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from mrkernel.data.addresses import is_on_the_web, is_url
from mrkernel.data.splits import FileSplit
from mrkernel.job import counters
from mrkernel.job.failure import Failure, UserCodeError
from mrkernel.job.functions import Functions
from mrkernel.job.program import EXIT_MATTERS, Program, ShippedFile
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.worker_messages import Start
from mrkernel.worker.pipes import Conversation, Data
from mrkernel.worker.progress import ProgressCell

#: What a failure quotes of a program's last words.
TAIL_LINES = 10
_TAIL_BYTES = 16 << 10
#: A line of standard error longer than this is no message to us.
_LONGEST_LINE = 64 << 10
_STATUS = b"reporter:status:"
_COUNTER = re.compile(rb"reporter:counter:([^,]*),([^,]*),\s*(-?\d+)\s*")
#: What shells exit with when a command could not be run, or was ended by a signal.
_CANNOT_RUN, _NOT_FOUND, _BY_SIGNAL = 126, 127, 128


class TaskPrograms:
    """Runs the programs of one attempt, in its folder; a context manager that removes it.

    Args:
        start: the attempt.
        spec, functions: of its job.
        directory: of its job here; absolute.
        progress: told what ``reporter:status:`` says.
    """

    def __init__(
        self,
        start: Start,
        spec: JobSpec,
        functions: Functions,
        directory: Path,
        progress: ProgressCell,
    ) -> None:
        self._start = start
        self._spec = spec
        self._files = functions.files
        self._directory = directory.absolute()
        self._folder = self._directory / f"task-{start.task}.{start.attempt}"
        self._progress = progress
        self._before: str | None = None

    def __enter__(self) -> Self:
        unpacked = self._directory / f"files-{os.getpid()}"
        if not unpacked.exists():
            _unpack(self._files, unpacked)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        for entry in unpacked.iterdir():
            (self._folder / entry.name).symlink_to(entry)
        # Functions of Python's find the files as programs do.
        with contextlib.suppress(OSError):  # it may be gone
            self._before = os.getcwd()  # noqa: PTH109
        os.chdir(self._folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            with contextlib.suppress(OSError):
                os.chdir(self._before)
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self,
        program: Program,
        role: str,
        source: Iterator[Data],
        take: Callable[[bytearray], None],
        *,
        split: object = None,
        first: Callable[[], int] = int,
        arguments: Iterable[str] = (),
    ) -> None:
        """Let a program read ``source`` and give what it writes to ``take``.

        Args:
            role: "mapper", "reducer", "combiner" or "partitioner".
            split: what ``source`` is of; None: map output.
            first: the byte of the split's file that ``source`` begins with.
            arguments: words that follow the program's own.

        Raises:
            UserCodeError: it ended with another status than 0, or cannot be run here.
        """
        ours = {**self._describe(split), **dict(program.environment)}
        words = [*program.words, *arguments]
        try:
            process = subprocess.Popen(
                words,
                bufsize=0,
                cwd=self._folder,
                env={**os.environ, **ours},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            name, reason = program.__name__, error.strerror or str(error)
            failure = Failure(
                kind="environment",
                sentence=f"the {role} {name} cannot be run here ({reason}): install what it needs "
                "on every worker",
            )
            raise UserCodeError(failure) from error
        ears = _Ears(self._progress)
        talk = Conversation(process, source, take, ears.hear, stir=self._progress.stir)
        try:
            with _in_silence(self._spec.in_process):
                status = talk.hold()
            ears.finish()
        except BaseException:
            process.kill()
            talk.close()
            process.wait()
            self._end_strays()
            raise
        if talk.left_behind:
            self._end_strays()
            sys.stderr.write(
                f"mrkernel: the {role} {program.__name__} ended and left a process behind that "
                "held its output: it was ended, too\n"
            )
        if status and not program.tolerated:
            again = _again(program, ours, split, first(), talk.written, arguments)
            raise UserCodeError(_failure(role, program, status, split, ears.tail(), again))

    def _end_strays(self) -> None:
        """End what a program started and left: it is known by its current directory."""
        folder = str(self._folder)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.cwd() == folder:
                    process.kill()

    def _describe(self, split: object) -> dict[str, str]:
        """Say what streaming programs expect to find in their environment, under both names."""
        start, spec = self._start, self._spec
        letter = "r" if start.split is None else "m"
        task = f"{start.job}_{letter}_{start.index:06d}"
        attempt = f"attempt_{task}_{start.attempt - 1}"
        is_map = "true" if start.split is not None else "false"
        known = [
            ("mapreduce_job_id", "mapred_job_id", f"job_{start.job}"),
            ("mapreduce_job_name", "mapred_job_name", spec.name),
            ("mapreduce_job_maps", "mapred_map_tasks", str(spec.map_tasks)),
            ("mapreduce_job_reduces", "mapred_reduce_tasks", str(spec.reduce_tasks)),
            ("mapreduce_task_id", "mapred_tip_id", f"task_{task}"),
            ("mapreduce_task_attempt_id", "mapred_task_id", attempt),
            ("mapreduce_task_partition", "mapred_task_partition", str(start.index)),
            ("mapreduce_task_ismap", "mapred_task_is_map", is_map),
            ("mapreduce_task_is_map", "mapred_task_is_map", is_map),  # so in Hadoop's manual
        ]
        if isinstance(split, FileSplit):
            known += [
                ("mapreduce_map_input_file", "map_input_file", split.path),
                ("mapreduce_map_input_start", "map_input_start", str(split.start)),
                ("mapreduce_map_input_length", "map_input_length", str(split.nbytes)),
            ]
        described = {name: value for new, old, value in known for name in (new, old)}
        if source := getattr(split, "source", ""):
            described["mapreduce_source"] = source
        return described


@contextlib.contextmanager
def _in_silence(in_process: bool) -> Iterator[None]:
    """Let this process, if it is a runner, not say where it is when it is ended for a timeout.

    It is here, waiting for a program.
    """
    if in_process:
        yield
        return
    faulthandler.disable()
    try:
        yield
    finally:
        faulthandler.enable(2)


class _Ears:
    """Listens to a program's standard error: counters, its status, and words for people."""

    def __init__(self, progress: ProgressCell) -> None:
        self._progress = progress
        self._line = b""
        self._tail = b""

    def hear(self, data: bytes) -> None:
        """Take some of it."""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._understand(line)
        if len(self._line) > _LONGEST_LINE:
            self.finish()

    def finish(self) -> None:
        """Take the last line for whole."""
        if self._line:
            self._understand(self._line)
            self._line = b""

    def tail(self) -> list[str]:
        """Give the last words, line by line."""
        return self._tail.decode("utf-8", "replace").splitlines()[-TAIL_LINES:]

    def _understand(self, line: bytes) -> None:
        if line.startswith(_STATUS):
            self._progress.at(line.removeprefix(_STATUS).decode("utf-8", "replace").strip())
            return
        counted = _COUNTER.fullmatch(line)
        if counted:
            group, name, number = counted.groups()
            with contextlib.suppress(OverflowError):
                name = b"%b.%b" % (group, name)
                counters.counter(name.decode("utf-8", "replace")).add(int(number))
                return
        self._tail = (self._tail + line + b"\n")[-_TAIL_BYTES:]
        sys.stderr.write(line.decode("utf-8", "replace") + "\n")


def _unpack(files: Iterable[ShippedFile], folder: Path) -> None:
    """Write files aside, then show them all at once: a folder that is there is whole."""
    aside = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for file in files:
        path = aside / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(0o755 if file.executable else 0o644)
    aside.rename(folder)


def _again(
    program: Program,
    environment: dict[str, str],
    split: object,
    first: int,
    written: int,
    arguments: Iterable[str],
) -> str:
    """Write the line for a shell that runs the program once more on the same input."""
    asked = [f"{k}={shlex.quote(v)}" for k, v in environment.items() if program.mentions(k)]
    command = " ".join([*asked, program.text, *map(shlex.quote, arguments)])
    if program.source:
        return f"{program.source} | {command}"
    if not isinstance(split, FileSplit):
        return ""
    path = shlex.quote(split.path)
    if is_url(split.path):
        if not is_on_the_web(split.path):
            return ""
        get = f"curl -sL {path} | "
        path = "-" if split.compression else ""
    else:
        get = ""
    if split.compression:  # is called like the program that unpacks it
        return f"{get}{split.compression} -dc {path} | {command}"
    if split.start == 0 and split.end == split.size:
        return f"{get}{command}" if get else f"{command} < {path}"
    place = f"tail -c +{first + 1} {path}".rstrip()
    return f"{get}{place} | head -c {max(written, 1)} | {command}"


def _failure(
    role: str, program: Program, status: int, split: object, tail: list[str], again: str
) -> Failure:
    """Say how a program ended, what it said last, and how to see it happen."""
    how = f"ended with exit status {status}"
    if status < 0:
        try:
            how = f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            how = f"was ended by signal {-status}"
    elif status == _NOT_FOUND:
        how += " (a command was not found)"
    elif status == _CANNOT_RUN:
        how += " (a command could not be run)"
    elif status > _BY_SIGNAL:
        with contextlib.suppress(ValueError):
            how += f" (as after {signal.Signals(status - _BY_SIGNAL).name})"
    where = ""
    if isinstance(split, FileSplit):
        where = split.path
        if split.start or split.end < split.size:
            where += f", bytes {split.start:,} to {split.end:,}"
    place = f" on {where}" if where else ""
    last = f": {tail[-1].strip()}" if tail else ", and said nothing on its standard error"
    hints = []
    if any("No such file" in line for line in tail):
        hints.append("files that it opens travel with --file PATH")
    if status == 1 and not tail:
        hints.append(f"a grep that finds nothing is no failure with -D {EXIT_MATTERS}=false")
    if again:
        hints.append(f"to see it again: {again}")
    return Failure(
        # A signal may have come from a machine short of memory: another try may do.
        kind="crash" if status < 0 else "user",
        sentence=f"the {role} {program.__name__} {how}{place}{last}",
        message="\n".join(tail),
        where=where,
        hint="; ".join(hints),
        role=role,
    )
