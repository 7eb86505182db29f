"""Public events: what happened in a cluster, for views, logs and tests. Pure.

The manager's state emits them, the broker numbers and hands them on, ``view`` folds them into
pictures. They are versioned by rule, not by number: a new field has a default, and no field ever
changes its type. Times are ``at``: seconds on the manager's monotonic clock; the header of a view
carries the offset to the wall clock.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from mrkernel.ids import JobId, TaskId, WorkerId

Level = Literal["info", "warning", "error"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened, once, at ``at`` seconds on the manager's monotonic clock."""

    at: float


class JobAccepted(Event, frozen=True, tag="job-accepted"):
    """A job passed its checks; its tasks are ready to start."""

    job: JobId
    name: str
    maps: int  #: map tasks, one per split
    reduces: int  #: reduce tasks; 0 = map only
    input_bytes: int  #: 0 when unknown (in-memory input)
    functions: str  #: where mapper and reducer came from, one line for the view's header
    top: Literal["count", "sum", "min", "max"] = "count"
    """What the numbers in ``AttemptFinished.top`` are: how often a key was given out, or its
    reduced value so far; of a built-in that keeps the n largest values, the first."""
    builtin: bool = False  #: reduces are a built-in's: merging is most of what they do


class AttemptStarted(Event, frozen=True, tag="attempt-started"):
    """An attempt was handed to a worker."""

    job: JobId
    task: TaskId
    attempt: int  #: from 1
    worker: WorkerId
    input: str  #: what it reads, for people: "a.txt 0-16 MB", "partition 3"
    backup: bool = False  #: another attempt of the task runs: the first to finish wins


class Progress(Event, frozen=True, tag="progress"):
    """How far a running attempt is; the newest replaces the ones before."""

    job: JobId
    task: TaskId
    attempt: int
    worker: WorkerId
    records: int
    bytes: int  #: input bytes read (map) or map output fetched (reduce)


class AttemptFinished(Event, frozen=True, tag="attempt-finished"):
    """An attempt ended well and its task is done (the first to finish wins)."""

    job: JobId
    task: TaskId
    attempt: int
    worker: WorkerId
    records: int  #: records read (map) or groups reduced (reduce)
    pairs: int  #: pairs given out
    bytes_in: int
    bytes_out: int
    seconds: float
    bad: int = 0  #: records that it went on without (``--on-error skip``)
    peak_memory: int = 0  #: bytes, of its runner; 0: not known
    saved_s: float = 0.0
    """Of a backup that won: what the attempt it overtook would have needed still, by its pace;
    0: not a backup, or not known."""
    sizes: tuple[int, ...] = ()  #: of a map: bytes of its output for each partition
    top: tuple[tuple[str, float], ...] = ()
    """Of a map: some keys as text, most first, with what ``JobAccepted.top`` says of them."""


class AttemptFailed(Event, frozen=True, tag="attempt-failed"):
    """An attempt ended badly by its own doing: it raised, crashed its runner, or never ended."""

    job: JobId
    task: TaskId
    attempt: int
    worker: WorkerId
    sentence: str


class AttemptLost(Event, frozen=True, tag="attempt-lost"):
    """An attempt was taken away: its worker died, it was cancelled, or another one won."""

    job: JobId
    task: TaskId
    attempt: int
    worker: WorkerId
    cause: str  #: "worker w2 died", "cancelled"


class OutputLost(Event, frozen=True, tag="output-lost"):
    """Finished work whose only copy died with its worker; these tasks run again."""

    job: JobId
    worker: WorkerId
    tasks: tuple[TaskId, ...]


class StoreAdopted(Event, frozen=True, tag="store-adopted"):
    """What a dead worker left on its host is served by another worker of that host.

    Or by its owner again, which is back under another name.
    """

    worker: WorkerId  #: whose it was
    by: WorkerId
    back: bool = False  #: ``by`` is the very process that wrote it
    tasks: int = 0  #: finished tasks that need not run again thanks to it


class ManagerRestarted(Event, frozen=True, tag="manager-restarted"):
    """The manager died and is back; so much of a running job was in its journal.

    Comes right after the events that tell again what the journal knows of the job.
    """

    job: JobId
    maps_kept: int
    maps: int
    down_s: float  #: by the wall clock, from the last thing in the journal


class JobWaits(Event, frozen=True, tag="job-waits"):
    """For 10 s nothing of the job went on; or something does again."""

    job: JobId
    sentence: str  #: "waiting for map-4 on w2: ..."; "": it goes on


class JobEnded(Event, frozen=True, tag="job-ended"):
    """The job is over."""

    job: JobId
    outcome: Literal["done", "failed", "cancelled"]
    sentence: str  #: why, when it failed or was cancelled; "" when done


class JobForgotten(Event, frozen=True, tag="job-forgotten"):
    """Its result was released: nothing of the job is kept."""

    job: JobId


class Printed(Event, frozen=True, tag="printed"):
    """What user code wrote to its standard output or error, capped per attempt by the worker."""

    job: JobId
    task: TaskId
    worker: WorkerId
    text: str
    dropped: int = 0  #: characters past the cap that were not sent


class Noted(Event, frozen=True, tag="noted"):
    """One human line for the feed: what happened, what was done, what it cost."""

    job: JobId | None  #: None: about the cluster, shown in every running job
    level: Level
    sentence: str


class WorkerJoined(Event, frozen=True, tag="worker-joined"):
    """A worker registered."""

    worker: WorkerId
    host: str
    pid: int
    slots: int


class WorkerBeat(Event, frozen=True, tag="worker-beat"):
    """A sign of life, with the load of the worker server and its runners together."""

    worker: WorkerId
    cpu_percent: float  #: 100 = one core
    memory_bytes: int  #: resident


class WorkerSuspect(Event, frozen=True, tag="worker-suspect"):
    """Too few beats: no new work for it until it beats again."""

    worker: WorkerId
    silent_s: float


class WorkerAlive(Event, frozen=True, tag="worker-alive"):
    """A suspect worker beats again."""

    worker: WorkerId


class WorkerLost(Event, frozen=True, tag="worker-lost"):
    """A worker is gone for good: dead, or retired on request."""

    worker: WorkerId
    cause: str  #: "connection reset", "no beat for 5.0 s", "retired"


class WorkerCause(Event, frozen=True, tag="worker-cause"):
    """Why a worker that was lost is gone, as became known a moment later; replaces the cause."""

    worker: WorkerId
    cause: str  #: "was killed (SIGKILL)", "ended with status 3"


class WorkerBarred(Event, frozen=True, tag="worker-barred"):
    """A worker gets no new work for a while, or does again."""

    worker: WorkerId
    cause: str  #: "its disk is full", "it was lost 3 times in a minute"; "": it gets work again
    seconds: float = 0.0


AnyEvent = (
    JobAccepted
    | AttemptStarted
    | Progress
    | AttemptFinished
    | AttemptFailed
    | AttemptLost
    | OutputLost
    | StoreAdopted
    | ManagerRestarted
    | JobWaits
    | JobEnded
    | JobForgotten
    | Printed
    | Noted
    | WorkerJoined
    | WorkerBeat
    | WorkerSuspect
    | WorkerAlive
    | WorkerLost
    | WorkerCause
    | WorkerBarred
)
