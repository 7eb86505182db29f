"""Reader and worker: how runs, parts and logs are read from who has them. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from mrkernel.ids import JobId
from mrkernel.protocol.messages import Message


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
