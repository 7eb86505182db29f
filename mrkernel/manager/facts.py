"""Facts: what a manager must still know after it died. Pure.

The state hands them out with its instructions, the shell writes them into the journal before any of
these leave, and ``ManagerState.replay`` makes a state of them again. Beats, ticks, progress and
started attempts are no facts: what was running when a manager died runs again.

The rules of messages hold: a new field has a default, no field changes its type. ``VERSION`` grows
when an old manager could not make sense of what a new one wrote. ``at`` is in seconds on the
monotonic clock of the manager that wrote it; ``Began.wall`` says what to add for the time of day.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mrkernel.data.splits import Split
from mrkernel.errors import ClusterError
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.failure import Failure
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.framing import MALFORMED
from mrkernel.protocol.worker_messages import Finished, Register

VERSION = 1


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="fact"):
    """Anything that is in a journal."""


class Began(Fact, frozen=True, tag="began"):
    """A manager began to write: the first one, or one that took up what stands before."""

    version: int
    cluster: str
    python: str  #: "3.11"
    start: int  #: the how manieth, from 1
    wall: float  #: time of day minus ``at``, seconds
    at: float = 0.0


class Numbers(Fact, frozen=True, tag="numbers"):
    """How many workers and jobs there have been: a snapshot does not have all of them."""

    workers: int
    jobs: int


class WorkerTaken(Fact, frozen=True, tag="worker"):
    """A worker registered; ``store`` is the directory that it writes, by its first owner's id."""

    worker: WorkerId
    number: int
    store: WorkerId
    info: Register
    at: float


class StoreTaken(Fact, frozen=True, tag="store"):
    """A store as a snapshot has it: what ``WorkerTaken`` says of its writer, and no more."""

    store: WorkerId
    host_id: str
    directory: str
    instance: str


class StoreGone(Fact, frozen=True, tag="store-gone"):
    """Nothing that it held is there, or wanted, any more."""

    store: WorkerId


class RetirementAsked(Fact, frozen=True, tag="retire"):
    """Somebody wants this worker server to go when it has nothing left to do."""

    instance: str


class BlobKept(Fact, frozen=True, tag="blob"):
    """A blob that the next job needs; large ones lie beside the journal instead."""

    digest: str
    data: bytes


class JobTaken(Fact, frozen=True, tag="job"):
    """A job was accepted."""

    job: JobId
    number: int
    spec: JobSpec
    splits: tuple[Split, ...]
    blobs: tuple[str, ...]
    key: str
    extends: JobId
    at: float
    whole: bool = False
    """``splits`` are those of all map tasks, not only of those beyond what ``extends`` has."""
    skips: dict[TaskId, dict[int, str]] = {}
    """Records that map tasks pass over, and why: see ``Task.skip``."""
    inherited: int = 0
    """How many map tasks, the first ones, are from ``extends``; where ``whole``."""


class TaskDone(Fact, frozen=True, tag="done"):
    """An attempt was the first of its task to finish."""

    store: WorkerId  #: who wrote its output
    finished: Finished
    at: float
    origin: JobId = JobId("")  #: whose files these are; "": the job's own
    used_digest: int = 0  #: see ``Task.used_digest``; where a snapshot has a task that is undone


class TasksUndone(Fact, frozen=True, tag="undone"):
    """The outputs of these tasks are lost; they run again."""

    job: JobId
    tasks: tuple[TaskId, ...]
    why: str
    at: float


class JobOver(Fact, frozen=True, tag="over"):
    """A job ended."""

    job: JobId
    outcome: Literal["done", "failed", "cancelled"]
    sentence: str
    failure: Failure | None
    at: float


class JobLetGo(Fact, frozen=True, tag="let-go"):
    """Its client has the result, or does not want it: no task of the job runs again."""

    job: JobId
    runs_only: bool = False


class JobGone(Fact, frozen=True, tag="gone"):
    """Nothing is known of the job any more."""

    job: JobId


AnyFact = (
    Began
    | Numbers
    | WorkerTaken
    | StoreTaken
    | StoreGone
    | RetirementAsked
    | BlobKept
    | JobTaken
    | TaskDone
    | TasksUndone
    | JobOver
    | JobLetGo
    | JobGone
)

_encoder = msgspec.msgpack.Encoder()
_decoder: Any = msgspec.msgpack.Decoder(list[AnyFact])


def encode_facts(facts: list[AnyFact]) -> bytes:
    """Encode the facts of one loop turn: one record of the journal."""
    return _encoder.encode(facts)


def decode_facts(record: bytes) -> list[AnyFact]:
    """Decode one record.

    Raises:
        ClusterError: a later version wrote it, or it is none.
    """
    try:
        facts: list[AnyFact] = _decoder.decode(record)
    except MALFORMED as error:
        raise ClusterError(
            f"the journal has a record that this version cannot read ({error}): "
            "start the version of mrkernel that wrote it"
        ) from error
    for fact in facts:
        if isinstance(fact, Began) and fact.version > VERSION:
            raise ClusterError(
                f"the journal is of version {fact.version} and this mrkernel reads up to "
                f"{VERSION}: start the version that wrote it"
            )
    return facts
