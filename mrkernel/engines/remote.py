"""A running manager as an engine: submit, watch, cancel and fetch, over one connection.

A ``Link`` reads what the manager sends, on a thread of its own, and comes back when the manager
was restarted; callers write from their threads. None of them uses the event loop of the program
they live in (a kernel's loop stands still while a cell runs).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal

from mrkernel.data.outputs import Output
from mrkernel.engines.base import OnPrint, PreparedJob
from mrkernel.engines.cluster import Cluster
from mrkernel.engines.disturbing import Disturbable
from mrkernel.engines.job import Job
from mrkernel.engines.link import LEASE_S, Link
from mrkernel.engines.pictures import Pictures
from mrkernel.engines.questions import Frames, Questions, alone
from mrkernel.engines.retry import make_retriable
from mrkernel.engines.running import RunningJobs, lost_with
from mrkernel.engines.task_logs import TaskLogs
from mrkernel.errors import (
    ClusterError,
    JobError,
    JobSpecError,
    ManagerUnreachableError,
    MRKernelError,
)
from mrkernel.ids import JobId, WorkerId
from mrkernel.monitor.live import LivePicture
from mrkernel.monitor.workers import HERE
from mrkernel.protocol.client_messages import (
    Accepted,
    Agreed,
    Attach,
    CancelJob,
    DisturbWorker,
    Ended,
    FetchFunctions,
    FindStores,
    Functions,
    JobPrinted,
    Look,
    Refused,
    ReleaseJob,
    RetireWorker,
    StorePlaces,
    Submit,
    Unwatch,
    View,
    Watch,
    Welcome,
)
from mrkernel.protocol.framing import BLOB_PIECE
from mrkernel.protocol.messages import Message, blob_pieces
from mrkernel.protocol.worker_messages import PartPlace
from mrkernel.security.token import ConnectionFile, find_manager

#: A blob up to this size travels in the frame of its job: one wake-up of the manager less.
ALONG = 1 << 20


class ManagerClient(Disturbable, Cluster):
    """A client of one manager; an ``Engine``.

    When its manager dies it looks for it, comes back when it was started again, and goes on with
    every job, question and picture.

    Args:
        connection: how to reach it.
        label: what people call it; None: its address.
        lease_s: how long to look for a lost manager.
        supervised: whether somebody lives who would start it again; None: not known.

    Raises:
        ManagerUnreachableError: nobody answers there.
    """

    def __init__(
        self,
        connection: ConnectionFile,
        label: str | None = None,
        *,
        lease_s: float = LEASE_S,
        supervised: Callable[[], bool] | None = None,
    ) -> None:
        self.connection = connection
        self.label = label or f"the cluster at {connection.host}:{connection.port}"
        self._cluster_id = ""
        self._questions = Questions(self.label)
        self._pictures = Pictures()
        self._returning: dict[int, JobId] = {}  # tickets of jobs attached to once more
        self._running = RunningJobs(
            connection.secret, release=self._release, places=self._places, attach=self._attach_again
        )
        try:
            self._link = Link(connection, self, lease_s=lease_s, supervised=supervised)
        except ClusterError as error:
            raise ManagerUnreachableError(
                f"no manager answers at {connection.host}:{connection.port} ({error}): "
                "start one with `mrkernel manager`"
            ) from error
        self._link.start()
        try:
            self.cluster = self.watch("cluster")
            # How many slots there are decides how input is split: the first picture is waited for.
            self.cluster.receive({"topic": "cluster", "snapshot": self.look("cluster")})
        except BaseException:
            self._link.close()
            raise

    @property
    def cluster_id(self) -> str:
        """The cluster's, as its manager told it."""
        return self._cluster_id

    @property
    def slots(self) -> int:
        """Slots of the living workers, as last heard."""
        workers = self.cluster.snapshot().get("workers", {})
        return sum(row["slots"] for row in workers.values() if row["state"] in HERE)

    @property
    def closed(self) -> bool:
        """Whether the manager is gone for good, or we hung up; not while it is being restarted."""
        return self._link.closed

    # --- jobs -------------------------------------------------------------------------------------

    def submit_prepared(self, prepared: PreparedJob, on_print: OnPrint | None = None) -> Job:
        """Send the job and its blobs; return at once when the manager has accepted it."""
        along: list[Message] = []
        frames: list[Sequence[Message]] = []
        for digest, data in prepared.blobs.items():
            pieces = blob_pieces(digest, data, BLOB_PIECE)
            if len(data) <= ALONG:
                along += pieces
            else:
                frames += [(piece,) for piece in pieces]
        key = secrets.token_hex(16)  # of two that arrive, the manager takes one
        job_id = self._accepted(
            lambda ticket: Submit(
                ticket, prepared.spec, prepared.splits, key, JobId(prepared.extends)
            ),
            lambda submit: [*frames, [*along, submit]],
            ours=True,
        )
        job = self._follow(job_id, prepared.spec.name, on_print, prepared.output, prepared.notes)
        make_retriable(job, self, prepared)
        return job

    def attach(self, job_id: str, on_print: OnPrint | None = None) -> Job:
        """Follow a job that somebody submitted, also one that has ended.

        A job that this client follows already is given again as it is.

        Raises:
            JobSpecError: the manager knows no such job.
        """
        running = self._running.get(JobId(job_id))
        if running is not None:
            return running
        self._running.expect(JobId(job_id))  # what comes now is for the Job made below
        try:
            known = self._accepted(lambda ticket: Attach(ticket, JobId(job_id)))
        except BaseException:
            self._running.drop(JobId(job_id))
            raise
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
            cancel=lambda: self._link.say(CancelJob(job_id)),
            page=partial(self.web_url, job_id),
            notes=notes,
        )
        job.engine, job.chain = self, self.submit
        self._running.add(job, output, on_print)
        return job

    def functions(self, job_id: str) -> bytes:
        """Return the packed functions of a job, to debug it here.

        Raises:
            JobSpecError: the manager knows no such job, or has them no more.
        """
        answer: Functions = self._ask(lambda t: FetchFunctions(t, JobId(job_id)))
        return answer.data

    def logs(self, job_id: str) -> TaskLogs:
        """Return what the tasks of a job printed, as the workers keep it.

        Raises:
            JobSpecError: the manager knows no such job.
        """
        answer: StorePlaces = self._ask(lambda t: FindStores(t, JobId(job_id)))
        return TaskLogs(answer.places, self.connection.secret, job_id)

    def release(self, job_id: str) -> None:
        """Let the cluster delete all it holds of a job."""
        self._release(JobId(job_id), False)

    def _release(self, job_id: JobId, runs_only: bool) -> None:
        self._link.say(ReleaseJob(job_id, runs_only=runs_only))

    def _places(self, job_id: JobId) -> Sequence[PartPlace]:
        """Where the result of an ended job is now; waits while parts of it are made again."""
        end = self._running.next_end(job_id)
        self._ask(lambda ticket: Attach(ticket, job_id))
        ended = end.result()
        if ended.outcome != "done":
            raise ClusterError(ended.sentence or f"job {job_id} was {ended.outcome}")
        return ended.parts

    # --- workers ----------------------------------------------------------------------------------

    def _manager(self) -> ManagerClient:
        return self

    def disturb(
        self, worker: str, how: Literal["kill", "freeze", "slow"], amount: float = 0.0
    ) -> None:
        """Make a worker fail on purpose; see ``worker_messages.Disturb``.

        Raises:
            ClusterError: there is no such living worker.
        """
        question = partial(DisturbWorker, worker=WorkerId(worker), how=how, amount=amount)
        self._ask(question, ClusterError)

    def retire(self, worker: str) -> None:
        """Give a worker no new work; it ends when it has none left, and what it made is kept.

        Raises:
            ClusterError: there is no such living worker.
        """
        self._ask(partial(RetireWorker, worker=WorkerId(worker)), ClusterError)

    # --- pictures ---------------------------------------------------------------------------------

    def look(self, topic: str) -> dict[str, Any]:
        """Return the picture of a topic as it is now: "cluster", or a job's id."""
        payload: dict[str, Any] = self._ask(lambda ticket: Look(ticket, topic))
        picture: dict[str, Any] = payload["snapshot"]
        return picture

    def watch(self, topic: str) -> LivePicture:
        """Return a picture of the topic that stays up to date."""
        picture = self._pictures.watch(topic)
        self._link.send(Watch(topic))
        return picture

    def unwatch(self, topic: str) -> None:
        """Let the manager stop sending a topic; its last picture stays."""
        self._pictures.unwatch(topic)
        self._link.send(Unwatch(topic))

    def web_url(self, job: str = "") -> str:
        """The address of the manager's web page, or of a job's, in a browser on this machine.

        It lets in whoever has it: do not leave it in a notebook that others get.

        Raises:
            ManagerUnreachableError: the manager has no web page.
        """
        return self.connection.web_url(f"/job/{job}" if job else "/")

    def close(self) -> None:
        """Hang up; jobs of a cluster that is not ours go on."""
        self._link.close()

    # --- questions --------------------------------------------------------------------------------

    def _ask(
        self, make: Callable[[int], Message], error: type[MRKernelError] = JobSpecError
    ) -> Any:
        """Ask, and wait for the answer; ``error`` is what a refusal raises."""
        future = self._questions.ask(self._link, make)
        return self._questions.answer(self._link, future, error)

    def _accepted(
        self,
        make: Callable[[int], Message],
        frames: Callable[[Message], Frames] = alone,
        *,
        ours: bool = False,
    ) -> JobId:
        """Ask for a job; ``ours``: it is submitted by this, so an interrupt must not orphan it."""
        # It may be accepted after an interrupt all the same, with nobody left to cancel it.
        abandoned = self._cancel_accepted if ours else None
        future = self._questions.ask(self._link, make, frames, abandoned)
        try:
            answer: Accepted = self._questions.answer(self._link, future)
        except KeyboardInterrupt:
            if abandoned is not None:
                future.add_done_callback(abandoned)
            raise
        return answer.job

    def _cancel_accepted(self, future: Future[Any]) -> None:
        if not future.exception() and isinstance(future.result(), Accepted):
            job_id = future.result().job
            self._running.drop(job_id)
            self._link.say(CancelJob(job_id))

    def _attach_again(self, job_id: JobId) -> None:
        """Ask for the end of a job once more; nobody waits for the answer."""
        ticket = self._questions.ticket()
        self._returning[ticket] = job_id
        self._link.send(Attach(ticket, job_id))
        if self.closed:
            self._let_go(job_id, lost_with(job_id, "we hung up"))

    # --- what the link hears ----------------------------------------------------------------------

    def heard(self, message: Any) -> None:
        """Settle what waits for the message. On the link's thread, as all below."""
        match message:
            case View(payload, 0):
                if not self._pictures.receive(payload):
                    self._link.send(Watch(payload["topic"]))
            case View(payload, ticket):
                self._settle(ticket, payload)
            case Accepted(ticket) if self._returning.pop(ticket, None) is not None:
                pass  # it goes on
            case Accepted(ticket, job_id):
                if isinstance(self._questions.question(ticket), Submit):
                    self._running.expect(job_id)
                self._settle(ticket, message)
            case Refused(ticket, sentence) if ticket in self._returning:
                job_id = self._returning.pop(ticket)
                self._let_go(job_id, JobError(f"job {job_id} is gone, run it again: {sentence}"))
            case Refused(ticket) | Agreed(ticket) | Functions(ticket) | StorePlaces(ticket):
                self._settle(ticket, message)
            case JobPrinted() | Ended():
                self._running.heard(message)
            case Welcome(cluster):
                self._cluster_id = cluster

    def _settle(self, ticket: int, answer: Any) -> None:
        self._questions.settle(self._link, ticket, answer)

    def _let_go(self, job_id: JobId, error: MRKernelError) -> None:
        """A job is gone with its manager: say so wherever it is shown."""
        self._pictures.job_gone(job_id, str(error))
        self._running.fail(job_id, error)

    def away(self, seconds: float) -> None:
        """Say so wherever a job is shown."""
        self._pictures.away(seconds)

    def back(self, welcome: Welcome) -> list[Message]:
        """Watch and attach again; of another cluster nothing but what it may know."""
        self._returning.clear()
        if self._cluster_id and welcome.cluster != self._cluster_id:
            self._other_cluster()
        self._cluster_id = welcome.cluster
        greeting = self._pictures.watches()
        for job_id in self._running.attach_again():
            ticket = self._questions.ticket()
            self._returning[ticket] = job_id
            greeting.append(Attach(ticket, job_id))
        return greeting

    def _other_cluster(self) -> None:
        """Another cluster's manager answers at this address: what the old one knew is gone."""
        self._link.forget()
        self._pictures.forget_jobs()
        why = f"another cluster answers at {self.connection.host}:{self.connection.port} now"
        for ticket, question in self._questions.open():
            match question:
                case Submit() | Look(topic="cluster"):
                    continue  # it can be asked as well as the old one
            self._settle(ticket, ManagerUnreachableError(f"{self.label} is gone: {why}"))
        for job_id in self._running.attach_again():
            self._let_go(job_id, lost_with(job_id, why))

    def gone(self, error: MRKernelError) -> None:
        """The manager will not come back: everybody who waits is told."""
        for ticket, _ in self._questions.open():
            self._settle(ticket, ManagerUnreachableError(f"{self.label} is gone: {error}"))
        for job_id in self._running.attach_again():
            self._let_go(job_id, lost_with(job_id, error))
        self._pictures.gone(f"the manager is gone: {error}")


def connect(address: str | None = None) -> ManagerClient:
    """Connect to a manager of yours on this machine.

    Args:
        address: ``host:port`` or its name; None: the only one that runs.

    Raises:
        ManagerUnreachableError: there is none, or more than one to choose from.
    """
    return ManagerClient(find_manager(address))
