"""Manager and worker: what they tell each other. Pure.

A worker server and its runners use the very same structs over a socket pair, so a worker relays
what it gets.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from mrkernel.data.splits import Split
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.messages import BlobPiece, Message

# --- worker to manager ----------------------------------------------------------------------------


class Register(Message, frozen=True, tag="register"):
    """A worker's first word after the handshake."""

    host: str  #: for people
    host_id: str  #: equal for workers that see the same local disk
    pid: int
    slots: Annotated[int, msgspec.Meta(ge=1)]
    python: str  #: "3.11"
    data_host: str  #: where its runs are served
    data_port: int
    directory: str  #: where its runs lie on its host
    instance: str = ""  #: of this process, the same at every registration; random
    previous: WorkerId = WorkerId("")  #: what it was called before it lost its manager
    cluster: str = ""  #: the ``Registered.cluster`` of that one; "": it comes with nothing
    adopted: tuple[str, ...] = ()  #: directories of dead workers of its host that it serves


class AttemptProgress(msgspec.Struct, frozen=True, array_like=True):
    """How far one running attempt is."""

    job: JobId
    task: TaskId
    attempt: int
    records: int
    bytes: int


class Alive(Message, frozen=True, tag="alive"):
    """The heartbeat, where datagrams do not get through."""


class Beat(Message, frozen=True, tag="beat"):
    """Load and progress, every half a second or so; a sign of life like anything a worker says."""

    cpu_percent: float
    memory_bytes: int
    progress: tuple[AttemptProgress, ...] = ()


class RunOutput(msgspec.Struct, frozen=True):
    """A map attempt's run: how much of it each partition holds."""

    sizes: tuple[int, ...]  #: bytes per partition; all zero: no file was written
    digest: int = 0  #: two attempts with different ones made different pairs; 0: not known
    data: bytes | None = None  #: the whole run when it is small: no file was written
    top: tuple[tuple[str, float], ...] = ()  #: keys that stand out, for the views


class PartOutput(msgspec.Struct, frozen=True):
    """A result part: the output of a reduce attempt, or of a map attempt in a map-only job."""

    name: str  #: relative to the worker's directory; "" when ``data`` has it all or it is empty
    nbytes: int
    pairs: int
    data: bytes | None = None  #: the whole file when it is small


class Finished(Message, frozen=True, tag="finished"):
    """An attempt ended well."""

    job: JobId
    task: TaskId
    attempt: int
    records: int  #: read (map); groups (reduce)
    pairs: int
    bytes_in: int
    seconds: float
    output: RunOutput | None = None
    part: PartOutput | None = None
    counters: dict[str, int] = msgspec.field(default_factory=dict)
    bad: tuple[BadRecord, ...] = ()  #: records that were skipped (``--on-error skip``)
    peak_memory: int = 0  #: bytes, resident, of its runner; 0: not known


class Offer(Message, frozen=True, tag="offer"):
    """Attempts that ended well shortly before the manager went away; it may not know of them.

    Sent once after a registration that found the cluster again (``Registered.keep``).
    """

    finished: tuple[Finished, ...]


class Failed(Message, frozen=True, tag="failed"):
    """An attempt ended badly; ``failure.kind`` says whose fault it was."""

    job: JobId
    task: TaskId
    attempt: int
    failure: Failure


class FetchFailed(Message, frozen=True, tag="fetch-failed"):
    """A reduce attempt could not read the run of one map task; or a map attempt, a result part."""

    job: JobId
    task: TaskId
    attempt: int
    map_index: int
    map_attempt: int
    worker: WorkerId  #: the store it should have come from: ``RunSource.worker``
    reason: str
    blame: Literal["disk", "network", "gone"] = "gone"
    """disk: it is damaged where it lies; network: nobody answered, or what came was damaged on the
    way; gone: it is not there."""
    part_of: JobId = JobId("")
    """The job whose result part could not be read: then ``map_index`` and ``map_attempt`` are those
    of the task that made it; "": it was a run of the attempt's own job."""


class Printed(Message, frozen=True, tag="printed"):
    """What user code wrote to standard output or error."""

    job: JobId
    task: TaskId
    attempt: int
    text: str
    dropped: int = 0  #: characters not sent because the attempt wrote too much


# --- manager to worker ----------------------------------------------------------------------------


class Registered(Message, frozen=True, tag="registered"):
    """You are in."""

    worker: WorkerId
    beat_s: float  #: seconds between heartbeats
    cluster: str = ""  #: what to tell as ``Register.cluster`` to the next manager
    keep: bool = False  #: this manager knows what you hold; otherwise delete all of it first
    jobs: tuple[JobId, ...] = ()  #: with ``keep``: delete what you hold of all but these
    results: tuple[JobId, ...] = ()  #: those of them of which only result parts are wanted
    number: int = 0  #: yours, in heartbeat datagrams
    beat_port: int = 0  #: UDP, of the host that you reached the manager at; 0: none
    report_s: float = 0.5  #: seconds between ``Beat`` messages
    dead_s: float = 0.0  #: silence after which you are given up; 0: not said
    lease_s: float = 0.0  #: look for a lost manager no longer than this; 0: as you were started


class BeatsHeard(Message, frozen=True, tag="beats-heard"):
    """Whether your heartbeat datagrams arrive: while they do not, send ``Alive`` as well.

    Until the first of these a worker sends both.
    """

    heard: bool


class Adopt(Message, frozen=True, tag="adopt"):
    """Serve what a dead worker of your host left in ``directory``, and delete it in your turn."""

    directory: str
    jobs: tuple[JobId, ...] = ()  #: delete what it holds of all but these
    results: tuple[JobId, ...] = ()  #: those of them of which only result parts are wanted


class Disown(Message, frozen=True, tag="disown"):
    """Serve that directory no more: its owner is back, or nobody needs it."""

    directory: str
    delete: bool = False  #: and delete it


class Disturb(Message, frozen=True, tag="disturb"):
    """Fail on purpose, for lectures and tests.

    kill: die by SIGKILL, runners and all; freeze: stop the server and its runners (SIGSTOP) for
    ``amount`` seconds; slow: let runners have one ``amount``-th of the time from now on (1: all).
    """

    how: Literal["kill", "freeze", "slow"]
    amount: float = 0.0


class JobInfo(Message, frozen=True, tag="job-info"):
    """What all tasks of a job share; comes before its first ``Start``."""

    job: JobId
    spec: JobSpec
    functions: bytes | None = None  #: to a runner: the blob itself, when it is small


class RunSource(msgspec.Struct, frozen=True):
    """Runs that one store holds: a directory that a worker wrote, and somebody serves."""

    worker: WorkerId  #: who wrote it; it may be dead, and another serve it
    host_id: str
    directory: str
    data_host: str
    data_port: int
    runs: tuple[tuple[int, int], ...]  #: (map index, attempt)
    job: JobId = JobId("")  #: whose runs; "": of the job of the attempt that reads them


class PartPlace(msgspec.Struct, frozen=True):
    """Where a result part is."""

    index: int
    name: str
    nbytes: int
    pairs: int
    data: bytes | None
    worker: WorkerId
    host_id: str
    directory: str
    data_host: str
    data_port: int
    attempt: int = 0  #: that made it


class Start(Message, frozen=True, tag="start"):
    """Run an attempt: a map task has a split, a reduce task has sources."""

    job: JobId
    task: TaskId
    attempt: int
    index: int
    split: Split | None = None
    sources: tuple[RunSource, ...] = ()
    carried: tuple[tuple[int, bytes], ...] = ()  #: runs that came along: (map index, the run)
    carry: int = 0  #: bytes of a map's run, at most, that come along with the report of its end
    careful: bool = False  #: an attempt before crashed or hung: keep the record pointer exact
    skip: tuple[int, ...] = ()  #: records of the split, from 0, not to be given to the mapper
    part: PartPlace | None = None  #: where what a ``PartSplit`` reads is now


class Gather(Message, frozen=True, tag="gather"):
    """These map outputs on other hosts will be wanted here, as it looks: fetch them in good time.

    No answer is expected. What is not fetched when a reduce attempt starts it fetches by itself.
    """

    job: JobId
    partitions: tuple[int, ...]
    sources: tuple[RunSource, ...]


class CancelAttempt(Message, frozen=True, tag="cancel-attempt"):
    """Stop an attempt at once, whatever it does; no answer is expected."""

    job: JobId
    task: TaskId
    attempt: int


class Forget(Message, frozen=True, tag="forget"):
    """Delete what you hold of a job."""

    job: JobId
    blobs: tuple[str, ...] = ()
    runs_only: bool = False  #: keep its result parts
    keep_logs: bool = False  #: and keep what its tasks printed


class Retire(Message, frozen=True, tag="retire"):
    """End yourself; or you were refused, and ``reason`` says why."""

    reason: str


FromWorker = Register | Alive | Beat | Finished | Offer | Failed | FetchFailed | Printed
ToWorker = (
    Registered
    | BeatsHeard
    | Adopt
    | Disown
    | Disturb
    | JobInfo
    | Start
    | Gather
    | CancelAttempt
    | Forget
    | Retire
    | BlobPiece
)
FromRunner = Finished | Failed | FetchFailed
ToRunner = JobInfo | Start
