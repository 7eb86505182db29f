"""A running manager as an engine: submit, watch, cancel and fetch, over one connection.

One daemon thread reads what the manager sends and settles futures and pictures; callers write from
their own threads. It never uses the event loop of the program it lives in (a kernel's loop stands
still while a cell runs).
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from mrkernel.data.outputs import Output
from mrkernel.engines.base import OnPrint, PreparedJob
from mrkernel.engines.cluster import Cluster
from mrkernel.engines.delivery import deliver, is_copied
from mrkernel.engines.job import Job
from mrkernel.errors import (
    ClusterError,
    JobCancelledError,
    JobError,
    JobSpecError,
    ManagerUnreachableError,
    MRKernelError,
    TaskFailedError,
)
from mrkernel.ids import JobId
from mrkernel.monitor.live import LivePicture
from mrkernel.monitor.picture import PictureGap
from mrkernel.protocol.framing import BLOB_PIECE, CONTROL
from mrkernel.protocol.messages import (
    Accepted,
    Attach,
    CancelJob,
    Ended,
    JobPrinted,
    Look,
    Message,
    MessageDecoder,
    Refused,
    ReleaseJob,
    Submit,
    ToClient,
    Unwatch,
    View,
    Watch,
    blob_pieces,
)
from mrkernel.security.token import ConnectionFile, find_manager
from mrkernel.shuffle.transfer import FrameSocket

#: A blob up to this size travels in the frame of its job: one wake-up of the manager less.
ALONG = 1 << 20
logger = logging.getLogger("mrkernel.engines")

#: Seconds a manager gets to answer a question.
ANSWER_S = 30.0


@dataclass(slots=True)
class _Running:
    """A job that has not ended, as its submitter sees it."""

    job: Job
    output: Output | None
    on_print: OnPrint | None


class ManagerClient(Cluster):
    """A client of one manager; an ``Engine``.

    Args:
        connection: how to reach it.
        label: what people call it; None: its address.
    """

    def __init__(self, connection: ConnectionFile, label: str | None = None) -> None:
        self.connection = connection
        self.label = label or f"the cluster at {connection.host}:{connection.port}"
        try:
            self._socket = FrameSocket(
                (connection.host, connection.port), connection.secret, "client"
            )
        except ClusterError as error:
            raise ManagerUnreachableError(
                f"no manager answers at {connection.host}:{connection.port} ({error}): "
                "start one with `mrkernel manager`"
            ) from error
        self._socket.settimeout(None)
        self._sending = threading.Lock()
        self._tickets = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        # What came of a job before its submitter knew its id.
        self._early: dict[JobId, list[JobPrinted | Ended]] = {}
        self._followed: set[JobId] = set()
        self._running: dict[JobId, _Running] = {}
        self._pictures: dict[str, LivePicture] = {}
        self._books = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._listen, name="mrk-client", daemon=True)
        self._thread.start()
        self.cluster = self.watch("cluster")
        # How many slots there are decides how input is split, so the first picture is waited for.
        self.cluster.receive({"topic": "cluster", "snapshot": self.look("cluster")})

    @property
    def slots(self) -> int:
        """Slots of the living workers, as last heard."""
        workers = self.cluster.snapshot().get("workers", {})
        return sum(row["slots"] for row in workers.values() if row["state"] != "dead")

    # --- jobs -------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the manager is gone, or we hung up."""
        return self._closed

    def submit_prepared(self, prepared: PreparedJob, on_print: OnPrint | None = None) -> Job:
        """Send the job and its blobs; return at once when the manager has accepted it."""
        along: list[Message] = []
        for digest, data in prepared.blobs.items():
            pieces = blob_pieces(digest, data, BLOB_PIECE)
            if len(data) <= ALONG:
                along += pieces
                continue
            for piece in pieces:
                self._send(piece)
        job_id = self._accepted(
            lambda ticket: Submit(ticket, prepared.spec, prepared.splits),
            JobSpecError,
            along,
            ours=True,
        )
        return self._follow(
            job_id,
            prepared.spec.name,
            on_print,
            prepared.output,
            prepared.notes,
        )

    def attach(self, job_id: str, on_print: OnPrint | None = None) -> Job:
        """Follow a job that somebody submitted, also one that has ended.

        A job that this client follows already is given again as it is.

        Raises:
            JobSpecError: the manager knows no such job.
        """
        with self._books:
            running = self._running.get(JobId(job_id))
            if running is not None:
                return running.job
            self._followed.discard(JobId(job_id))  # what comes now is for the Job made below
        known = self._accepted(lambda ticket: Attach(ticket, JobId(job_id)), JobSpecError)
        name = self.look(job_id)["name"]
        return self._follow(known, name, on_print, None, ())

    def _follow(
        self,
        job_id: JobId,
        name: str,
        on_print: OnPrint | None,
        output: Output | None,
        notes: tuple[str, ...],
    ) -> Job:
        job = Job(
            job_id,
            name,
            watch=partial(self.watch, job_id),
            cancel=partial(self._send, CancelJob(job_id)),
            notes=notes,
        )
        with self._books:
            self._running[job_id] = _Running(job, output, on_print)
            self._followed.add(job_id)
            early = self._early.pop(job_id, [])
        for message in early:
            self._heard_of_job(message)
        return job

    def look(self, topic: str) -> dict[str, Any]:
        """Return the picture of a topic as it is now: "cluster", or a job's id."""
        ticket, future = self._ticket()
        self._send(Look(ticket, topic))
        payload: dict[str, Any] = self._answer(future)
        picture: dict[str, Any] = payload["snapshot"]
        return picture

    def watch(self, topic: str) -> LivePicture:
        """Return a picture of the topic that stays up to date."""
        with self._books:
            picture = self._pictures.setdefault(topic, LivePicture())
        self._send(Watch(topic))
        return picture

    def unwatch(self, topic: str) -> None:
        """Let the manager stop sending a topic; its last picture stays."""
        self._send(Unwatch(topic))

    def release(self, job_id: str) -> None:
        """Let the cluster delete all it holds of a job."""
        if not self._closed:
            self._send(ReleaseJob(JobId(job_id)))

    def close(self) -> None:
        """Hang up; jobs of a cluster that is not ours go on."""
        self._closed = True
        self._socket.close()
        if self._thread is not threading.current_thread():
            self._thread.join()

    # --- the wire ---------------------------------------------------------------------------------

    def _send(self, *messages: Message) -> None:
        with self._sending:
            self._socket.send(*messages)

    def _ticket(self) -> tuple[int, Future[Any]]:
        future: Future[Any] = Future()
        with self._books:
            ticket = next(self._tickets)
            self._waiting[ticket] = future
        if self._closed:
            raise ManagerUnreachableError(f"{self.label} is gone: start a new one")
        return ticket, future

    def _accepted(
        self,
        make: Any,
        error: type[MRKernelError],
        along: Sequence[Message] = (),
        *,
        ours: bool = False,
    ) -> JobId:
        """Ask for a job; ``ours``: it is submitted by this, so an interrupt must not orphan it."""
        ticket, future = self._ticket()
        try:
            self._send(*along, make(ticket))
            answer = self._answer(future)
        except KeyboardInterrupt:
            if ours:  # it may be accepted all the same, with nobody left to cancel it
                future.add_done_callback(self._cancel_accepted)
            raise
        if isinstance(answer, Refused):
            raise error(answer.sentence)
        job: JobId = answer.job
        return job

    def _cancel_accepted(self, future: Future[Any]) -> None:
        if not future.exception() and isinstance(future.result(), Accepted):
            self._send(CancelJob(future.result().job))

    def _answer(self, future: Future[Any]) -> Any:
        try:
            answer = future.result(ANSWER_S)
        except TimeoutError:
            raise ManagerUnreachableError(
                f"{self.label} gave no answer for {ANSWER_S:.0f} s"
            ) from None
        if isinstance(answer, Refused):
            raise JobSpecError(answer.sentence)
        return answer

    def _listen(self) -> None:
        decoder = MessageDecoder(ToClient)
        try:
            while True:
                for message in decoder.decode(self._socket.receive(CONTROL)):
                    self._heard(message)
        except MRKernelError as error:
            self._lost(error)

    def _heard(self, message: Any) -> None:
        match message:
            case View(payload, ticket):
                if ticket:
                    self._settle_ticket(ticket, payload)
                    return
                picture = self._pictures.get(payload["topic"])
                if picture is not None:
                    try:
                        picture.receive(payload)
                    except PictureGap:
                        self._send(Watch(payload["topic"]))
            case Accepted(ticket) | Refused(ticket):
                self._settle_ticket(ticket, message)
            case JobPrinted() | Ended():
                with self._books:
                    if message.job not in self._followed:
                        self._early.setdefault(message.job, []).append(message)
                        return
                self._heard_of_job(message)

    def _heard_of_job(self, message: JobPrinted | Ended) -> None:
        if isinstance(message, Ended):
            self._settle(message)
            return
        running = self._running.get(message.job)
        if running is None or running.on_print is None:
            return
        try:
            running.on_print(message.task, message.worker, message.text, message.dropped)
        except Exception:
            # A broken listener must not deafen everybody who waits on this thread.
            running.on_print = None
            logger.exception("what job %s prints is shown no more", message.job)

    def _settle_ticket(self, ticket: int, answer: Any) -> None:
        with self._books:
            future = self._waiting.pop(ticket, None)
        if future is not None:
            future.set_result(answer)

    def _settle(self, ended: Ended) -> None:
        with self._books:
            running = self._running.pop(ended.job, None)
        if running is None:
            return  # it ended before: who attached twice is told twice
        if ended.outcome == "cancelled":
            why = f": {ended.sentence}" if ended.sentence else ""
            running.job.fail(JobCancelledError(f"job {ended.job} was cancelled{why}"))
        elif ended.outcome == "failed":
            running.job.fail(
                TaskFailedError(f"job {ended.job} failed: {ended.sentence}", ended.failure)
            )
        elif running.output is None and all(part.data is not None for part in ended.parts):
            self._deliver(running, ended)
        else:
            # Reading parts and writing output takes time this thread does not have.
            name = f"mrk-deliver-{ended.job}"
            threading.Thread(target=self._deliver, args=(running, ended), name=name).start()

    def _deliver(self, running: _Running, ended: Ended) -> None:
        try:
            result = deliver(
                ended,
                self.connection.secret,
                output=running.output,
                release=partial(self.release, ended.job),
            )
        except Exception as error:  # noqa: BLE001 - whoever waits for the result raises it
            running.job.fail(error)
            return
        running.job.succeed(result)
        if is_copied(ended):
            # What lies on workers only may have to be made again: its inputs stay as well.
            with suppress(ClusterError):  # it is gone, and all that it held
                self._send(ReleaseJob(ended.job, runs_only=True))

    def _lost(self, error: MRKernelError) -> None:
        """The manager is gone: everybody who waits is told."""
        self._closed = True
        with self._books:
            waiting, self._waiting = list(self._waiting.values()), {}
            running, self._running = list(self._running.values()), {}
        for picture in list(self._pictures.values()):
            picture.wake()
        for future in waiting:
            future.set_exception(ManagerUnreachableError(f"{self.label} is gone: {error}"))
        for lost in running:
            lost.job.fail(
                JobError(
                    f"the manager of job {lost.job.id} is gone ({error}), and the job with it: "
                    "start a cluster and run it again"
                )
            )


def connect(address: str | None = None) -> ManagerClient:
    """Connect to a manager of yours on this machine.

    Args:
        address: ``host:port`` or its name; None: the only one that runs.

    Raises:
        ManagerUnreachableError: there is none, or more than one to choose from.
    """
    return ManagerClient(find_manager(address))
