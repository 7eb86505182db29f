"""Every message on the wire, in one file. Pure.

Functions, keys, values and tracebacks are opaque bytes or text here: whoever routes a message can
not be made to execute anything by it. A new field has a default, no field changes its type.

Three conversations use them: client with manager, manager with worker, and worker server with
runner (the last over a socket pair, with the very same structs, so a worker relays what it gets).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from mrkernel.data.splits import Split
from mrkernel.errors import RemoteProtocolError
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.framing import MALFORMED, pack_control


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Anything that travels in a control frame."""


# --- both ways ------------------------------------------------------------------------------------


class BlobPiece(Message, frozen=True, tag="blob"):
    """A piece of an opaque object named by its sha256; pieces come in order.

    The one at ``offset`` 0 begins anew: who sent those before it may have been interrupted.
    """

    digest: str
    data: bytes
    last: bool = True
    offset: int = 0


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
    counters: dict[str, int] = {}
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


# --- client to manager ----------------------------------------------------------------------------


class Submit(Message, frozen=True, tag="submit"):
    """Run a job; its blobs were sent before."""

    ticket: int
    spec: JobSpec
    splits: tuple[Split, ...]
    key: str = ""  #: random, the same when it is sent again after a reconnection
    extends: JobId = JobId("")  #: take over the map output of this job, which is done
    """The job's splits are then those of its additional map tasks: bad records, mended."""


class CancelJob(Message, frozen=True, tag="cancel-job"):
    """Stop a job everywhere."""

    job: JobId
    reason: str = ""  #: for people, where there is more to say


class ReleaseJob(Message, frozen=True, tag="release-job"):
    """Map output (``runs_only``), or all of a job, is needed no more."""

    job: JobId
    runs_only: bool = False


class Attach(Message, frozen=True, tag="attach"):
    """Tell me when this job ends (at once, if it has), with the places of its result."""

    ticket: int
    job: JobId


class Watch(Message, frozen=True, tag="watch"):
    """Send me the view of a topic, and then its deltas. The topic of a job is its id."""

    topic: str  #: "cluster" or a job id


class Unwatch(Message, frozen=True, tag="unwatch"):
    """Stop sending it."""

    topic: str


class Look(Message, frozen=True, tag="look"):
    """Send me the view of a topic once."""

    ticket: int
    topic: str


class FetchFunctions(Message, frozen=True, tag="fetch-functions"):
    """Send me the packed functions of a job, to debug it."""

    ticket: int
    job: JobId


class FindStores(Message, frozen=True, tag="find-stores"):
    """Tell me where the files of a job may lie: I look for what its tasks printed."""

    ticket: int
    job: JobId


class DisturbWorker(Message, frozen=True, tag="disturb-worker"):
    """Pass a ``Disturb`` on to a worker."""

    ticket: int
    worker: WorkerId
    how: Literal["kill", "freeze", "slow"]
    amount: float = 0.0


class RetireWorker(Message, frozen=True, tag="retire-worker"):
    """Give a worker no new work, and let it end itself when it has none left."""

    ticket: int
    worker: WorkerId


# --- manager to client ----------------------------------------------------------------------------


class Welcome(Message, frozen=True, tag="welcome"):
    """A manager's first word to a client."""

    cluster: str  #: the same after a restart that found its journal
    start: int = 1  #: the how manieth start of the cluster's manager this is


class Agreed(Message, frozen=True, tag="agreed"):
    """The request was carried out."""

    ticket: int


class Functions(Message, frozen=True, tag="functions"):
    """The packed functions of a job."""

    ticket: int
    data: bytes


class StorePlace(msgspec.Struct, frozen=True):
    """Where a store is, and who serves it."""

    worker: WorkerId  #: who wrote it
    host_id: str
    directory: str
    data_host: str  #: "": nobody serves it now
    data_port: int


class StorePlaces(Message, frozen=True, tag="store-places"):
    """All stores that there are."""

    ticket: int
    places: tuple[StorePlace, ...]


class Accepted(Message, frozen=True, tag="accepted"):
    """The job is in; it will end, one way or the other."""

    ticket: int
    job: JobId


class Refused(Message, frozen=True, tag="refused"):
    """The request makes no sense, or asks for what is not there."""

    ticket: int
    sentence: str


class Ended(Message, frozen=True, tag="ended"):
    """The job is over. ``parts`` are all of its result, by index, when it is done."""

    job: JobId
    name: str
    outcome: Literal["done", "failed", "cancelled"]
    sentence: str
    seconds: float
    failure: Failure | None = None
    parts: tuple[PartPlace, ...] = ()
    counters: dict[str, int] = {}
    map_only: bool = False
    bad: tuple[BadRecord, ...] = ()  #: records that were skipped, by map task and place


class JobPrinted(Message, frozen=True, tag="job-printed"):
    """User code wrote something; goes to whoever submitted or attached to the job."""

    job: JobId
    task: TaskId
    worker: WorkerId
    text: str
    dropped: int = 0


class View(Message, frozen=True, tag="view"):
    """A broker's payload: the snapshot of a topic, or a delta; ``ticket`` answers a ``Look``."""

    payload: dict[str, Any]
    ticket: int = 0


# --- reading runs from a worker -------------------------------------------------------------------


class ReadRange(Message, frozen=True, tag="read-range"):
    """Send bytes of one of your run or part files, in no frames, behind a ``RangeReply``.

    A negative ``offset`` counts from the end; ``length`` -1 means to the end.
    """

    name: str
    offset: int
    length: int


class RangeReply(Message, frozen=True, tag="range-reply"):
    """How many bytes follow, in no frames; or why none do."""

    length: int
    error: str = ""


class LogFile(msgspec.Struct, frozen=True):
    """What one attempt printed."""

    name: str  #: for a ``ReadRange``
    task: str
    attempt: int
    nbytes: int


class ListLogs(Message, frozen=True, tag="list-logs"):
    """List what the tasks of a job printed, in the store of a worker that you serve."""

    job: JobId
    directory: str


class LogFiles(Message, frozen=True, tag="log-files"):
    """The answer."""

    files: tuple[LogFile, ...]


class ReadShares(Message, frozen=True, tag="read-shares"):
    """Send what each of your runs has of one partition: a ``ShareReply`` each, in this order."""

    names: tuple[str, ...]
    partition: int
    codec: str = ""  #: compress with this, if you have it and it pays; "": do not


class ShareReply(Message, frozen=True, tag="share-reply"):
    """The bytes of a share follow: in no frames, or compressed, a raw frame for each piece."""

    length: int  #: bytes, not compressed
    index: bytes = b""  #: what is where in them
    codec: str = ""  #: "": not compressed
    error: str = ""  #: why none follow
    blame: Literal["disk", "gone"] = "gone"  #: with an error: as in ``FetchFailed``


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
FromClient = (
    Submit
    | CancelJob
    | ReleaseJob
    | Attach
    | Watch
    | Unwatch
    | Look
    | FetchFunctions
    | FindStores
    | DisturbWorker
    | RetireWorker
    | BlobPiece
)
ToClient = (
    Welcome | Accepted | Agreed | Refused | Ended | JobPrinted | Functions | StorePlaces | View
)
FromRunner = Finished | Failed | FetchFailed
ToRunner = JobInfo | Start

_encoder = msgspec.msgpack.Encoder()


def frame_of(*messages: Message) -> bytes:
    """Encode messages into one control frame; into several when they are very large."""
    return pack_control(_encoder.encode(messages))


class MessageDecoder:
    """Decodes control payloads of one direction; anything else is refused by its path.

    Args:
        union: the union of the messages that may come from that side.
    """

    def __init__(self, union: Any) -> None:
        self._decoder = msgspec.msgpack.Decoder(list[union])

    def decode(self, payload: bytes) -> list[Any]:
        """Return the messages of one control frame.

        Raises:
            RemoteProtocolError: one is not of this direction, or a field has a wrong type.
        """
        try:
            messages: list[Any] = self._decoder.decode(payload)
        except MALFORMED as error:
            raise RemoteProtocolError(f"a malformed message: {error}") from error
        return messages


def blob_pieces(digest: str, data: bytes, piece: int) -> list[BlobPiece]:
    """Cut a blob into messages of at most ``piece`` bytes; an empty one is one empty piece."""
    starts = range(0, max(len(data), 1), piece)
    return [
        BlobPiece(digest, data[start : start + piece], start + piece >= len(data), start)
        for start in starts
    ]
