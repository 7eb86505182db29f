"""Every exception of mrkernel.

::

    MRKernelError
    ├── JobSpecError            fix the cell or the command: what was asked for makes no sense
    │   ├── InputError          an input is missing, unreadable, undecodable or changed
    │   │   └── InputUnreachableError   its URL does not answer, or not to this machine
    │   └── KeyTypeError        a key that is none of None, bool, int, float, str, bytes, tuple
    ├── JobError                the job was accepted and did not end well
    │   ├── TaskFailedError     user code raised, crashed or never ended; has ``failure``
    │   ├── JobCancelledError   somebody cancelled it
    │   └── OutputExistsError   the output directory is there already
    ├── ClusterError            the machines, not the job
    │   ├── NoWorkersError      a manager without workers
    │   ├── ManagerUnreachableError
    │   └── CorruptRunError     a block of map output fails its checksum
    ├── ProtocolError           a peer, or we, broke the wire protocol
    │   ├── LocalProtocolError  our fault
    │   └── RemoteProtocolError the peer's fault; PictureGap (monitor): a delta was missed
    ├── SecurityError           a proof failed; nothing more is said to the peer
    └── InvalidTransition       a bug of ours: an event without a row in a table; has ``story``

Facts are attributes, the sentence is ``str(error)`` and ends in a next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Report(Protocol):
    """What is known of a failure; ``job.failure.Failure`` is one."""

    def render(self) -> str:
        """Draw it for a terminal or a cell."""


class MRKernelError(Exception):
    """Root of everything this package raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """Lines IPython shows in place of our own frames: the sentence says all there is to do."""
        return [f"{type(self).__name__}: {self}"]


class JobSpecError(MRKernelError):
    """What was asked for makes no sense; nothing ran. The message says what to write instead."""


class InputError(JobSpecError):
    """An input is missing, unreadable, undecodable, or changed while the job ran.

    Attributes:
        path: the file, or the name of the in-memory input.
        offset: byte (or item) where it was noticed; None when the whole file is meant.
    """

    def __init__(self, message: str, path: str | None = None, offset: int | None = None) -> None:
        super().__init__(message, path, offset)
        self.path = path
        self.offset = offset

    def __str__(self) -> str:
        return str(self.args[0])


class InputUnreachableError(InputError):
    """The URL of an input does not answer, or not to this machine: another try may help."""


class KeyTypeError(JobSpecError):
    """A key is none of None, bool, int, float, str, bytes and tuples of these.

    Attributes:
        index: position of the first bad pair in the batch that was checked; None for one key.
    """

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message, index)
        self.index = index

    def __str__(self) -> str:
        return str(self.args[0])


class JobError(MRKernelError):
    """A job was accepted and did not end well."""


class TaskFailedError(JobError):
    """User code raised, crashed, or never ended.

    Attributes:
        failure: what the failing attempt reported (a ``Failure``): error type, the user's frames,
            record, place; None when it could report nothing.
    """

    def __init__(self, message: str, failure: Report | None = None) -> None:
        super().__init__(message, failure)
        self.failure = failure

    def __str__(self) -> str:
        return str(self.args[0])

    def details(self) -> list[str]:
        """Lines on what the sentence does not have: the user's frames, the record."""
        if self.failure is None:
            return []
        lines = self.failure.render().splitlines()
        told = str(self)
        facts = (line.removeprefix("at ").removeprefix("hint: ") for line in lines)
        return [line for line, fact in zip(lines, facts, strict=True) if fact not in told]

    def _render_traceback_(self) -> list[str]:
        """Lines IPython shows in place of our own frames: only the user's code is of interest."""
        rest = self.details()
        return [*super()._render_traceback_(), *([""] if rest else []), *rest]


class JobCancelledError(JobError):
    """The job was cancelled; the cluster stays usable."""


class OutputExistsError(JobError):
    """The output is there already and ``--overwrite`` was not given, or it is not ours."""


class ClusterError(MRKernelError):
    """Something about the machines, not about the job."""


class NoWorkersError(ClusterError):
    """The manager has no worker to run the job."""


class ManagerUnreachableError(ClusterError):
    """No manager answers at the address."""


class CorruptRunError(ClusterError):
    """A block of map output fails its checksum.

    Attributes:
        path: the run file.
        offset: first byte of the bad block.
    """

    def __init__(self, message: str, path: str | None = None, offset: int | None = None) -> None:
        super().__init__(message, path, offset)
        self.path = path
        self.offset = offset

    def __str__(self) -> str:
        return str(self.args[0])


class ProtocolError(MRKernelError):
    """The wire protocol was broken."""


class LocalProtocolError(ProtocolError):
    """We tried to send what the protocol does not allow: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol does not allow; the connection is closed."""


class SecurityError(MRKernelError):
    """A proof of identity failed."""


class InvalidTransition(MRKernelError):
    """An event arrived for which the transition table has no row: a bug of ours.

    Attributes:
        story: what happened to the noun so far, oldest first.
    """

    def __init__(self, message: str, story: Sequence[Any] = ()) -> None:
        super().__init__(message, tuple(story))
        self.story = tuple(story)

    def __str__(self) -> str:
        return "\n".join([str(self.args[0]), *(f"  {line}" for line in self.story)])
