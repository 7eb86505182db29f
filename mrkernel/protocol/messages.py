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


class AttemptProgress(msgspec.Struct, frozen=True, array_like=True):
    """How far one running attempt is."""

    job: JobId
    task: TaskId
    attempt: int
    records: int
    bytes: int


class Beat(Message, frozen=True, tag="beat"):
    """A sign of life."""

    cpu_percent: float
    memory_bytes: int
    progress: tuple[AttemptProgress, ...] = ()


class RunOutput(msgspec.Struct, frozen=True):
    """A map attempt's run: how much of it each partition holds."""

    sizes: tuple[int, ...]  #: bytes per partition; all zero: no file was written
    digest: int = 0  #: two attempts with different ones made different pairs; 0: not known
    data: bytes | None = None  #: the whole run when it is small: no file was written


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


class Failed(Message, frozen=True, tag="failed"):
    """An attempt ended badly; ``failure.kind`` says whose fault it was."""

    job: JobId
    task: TaskId
    attempt: int
    failure: Failure


class FetchFailed(Message, frozen=True, tag="fetch-failed"):
    """A reduce attempt could not read the run of one map task."""

    job: JobId
    task: TaskId
    attempt: int
    map_index: int
    map_attempt: int
    worker: WorkerId  #: who should have served it
    reason: str


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
    beat_s: float  #: seconds between beats


class JobInfo(Message, frozen=True, tag="job-info"):
    """What all tasks of a job share; comes before its first ``Start``."""

    job: JobId
    spec: JobSpec
    functions: bytes | None = None  #: to a runner: the blob itself, when it is small


class RunSource(msgspec.Struct, frozen=True):
    """Runs that one worker holds for one partition."""

    worker: WorkerId
    host_id: str
    directory: str
    data_host: str
    data_port: int
    runs: tuple[tuple[int, int], ...]  #: (map index, attempt)


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


class Retire(Message, frozen=True, tag="retire"):
    """End yourself; or you were refused, and ``reason`` says why."""

    reason: str


# --- client to manager ----------------------------------------------------------------------------


class Submit(Message, frozen=True, tag="submit"):
    """Run a job; its blobs were sent before."""

    ticket: int
    spec: JobSpec
    splits: tuple[Split, ...]


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


# --- manager to client ----------------------------------------------------------------------------


class Accepted(Message, frozen=True, tag="accepted"):
    """The job is in; it will end, one way or the other."""

    ticket: int
    job: JobId


class Refused(Message, frozen=True, tag="refused"):
    """The request makes no sense, or asks for what is not there."""

    ticket: int
    sentence: str


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


FromWorker = Register | Beat | Finished | Failed | FetchFailed | Printed
ToWorker = Registered | JobInfo | Start | Gather | CancelAttempt | Forget | Retire | BlobPiece
FromClient = Submit | CancelJob | ReleaseJob | Attach | Watch | Unwatch | Look | BlobPiece
ToClient = Accepted | Refused | Ended | JobPrinted | View
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
