"""Client and manager: what they tell each other. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mrkernel.data.splits import Split
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.messages import BlobPiece, Message
from mrkernel.protocol.worker_messages import PartPlace

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
    counters: dict[str, int] = msgspec.field(default_factory=dict)
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
