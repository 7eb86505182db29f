"""ManagerState: events in, instructions out. Pure: no clock, no socket, no await, no chance.

Rules of this package: everything that decides what a manager does lives in its pure files; a
message is believed only of the peer it came from; an answer about an attempt that is not running on
that worker any more is dropped in silence, because its fate was decided already (fencing); a noun's
state changes through ``transitions.advance`` only.

Theory of operation. A job's map tasks are handed to workers as slots (and a little prefetch) allow;
when all are DONE its reduce tasks become ready; when those are, the job is. A lost worker takes
back its running attempts and its finished outputs: what is still needed runs again elsewhere.

This file only says who hears what: ``workers``, ``attempts`` and ``jobs`` keep their pages of the
``books``; each tick ``gathering`` lets shuffling start while maps run, where there are several
hosts; and after each event the ``scheduler`` hands out what became ready.
"""

from __future__ import annotations

from mrkernel.ids import JobId, WorkerId
from mrkernel.manager.attempts import Attempts, Ending
from mrkernel.manager.books import Books
from mrkernel.manager.events import (
    BlobStored,
    Event,
    PeerId,
    PeerJoined,
    PeerLost,
    Received,
    Tick,
)
from mrkernel.manager.gathering import Gathering
from mrkernel.manager.instructions import Close, Instruction, SendView, StopView
from mrkernel.manager.invariants import check_invariants
from mrkernel.manager.jobs import Jobs
from mrkernel.manager.records import Job, Worker
from mrkernel.manager.scheduler import Scheduler
from mrkernel.manager.workers import Liveness, Workers
from mrkernel.protocol.messages import (
    Attach,
    Beat,
    CancelJob,
    Failed,
    FetchFailed,
    Finished,
    Look,
    Message,
    Printed,
    Register,
    ReleaseJob,
    Submit,
    Unwatch,
    Watch,
)


class ManagerState:
    """All a manager knows.

    Args:
        python: minor version whose closures this cluster runs, "3.11".
        liveness: when silent workers are doubted and given up.
    """

    def __init__(self, *, python: str, liveness: Liveness | None = None) -> None:
        self._books = Books()
        self._attempts = Attempts(self._books)
        self._jobs = Jobs(self._books, self._attempts, python)
        self._workers = Workers(self._books, self._attempts, python, liveness or Liveness())
        self._gathering = Gathering(self._books, self._attempts)
        self._scheduler = Scheduler(self._books, self._attempts)

    @property
    def workers(self) -> dict[WorkerId, Worker]:
        """The workers that are not dead."""
        return self._books.workers

    @property
    def jobs(self) -> dict[JobId, Job]:
        """The jobs that are not forgotten, in order of arrival."""
        return self._books.jobs

    @property
    def blobs(self) -> set[str]:
        """Digests of the blobs that the shell holds."""
        return self._books.blobs

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take one event; return what to do, in order.

        Args:
            now: seconds on a monotonic clock; never before that of an earlier call.
        """
        match event:
            case Received(peer, message):
                worker = self._workers.of(peer)
                if worker is None:
                    self._from_client(peer, message, now)
                else:
                    self._workers.spoke(worker, now)
                    self._from_worker(worker, message, now)
            case PeerLost(peer, cause):
                self._workers.peer_lost(peer, cause, now)
                self._jobs.client_lost(peer)
            case BlobStored(peer, digest):
                self._jobs.blob_stored(peer, digest)
            case Tick():
                self._workers.tick(now)
                self._gathering.tick()
            case PeerJoined():
                pass  # a worker counts once it has registered; a client needs no record
        self._scheduler.schedule(now)
        return self._books.take_instructions()

    def validate(self) -> None:
        """Check every invariant; tests call it after each event.

        Raises:
            AssertionError: one does not hold.
        """
        books = self._books
        least = books.loads.least()
        check_invariants(self.workers, self.jobs, self.blobs, books.running, least)

    def _from_worker(self, worker: Worker, message: Message, now: float) -> None:
        ending: Ending | None = None
        match message:
            case Finished():
                ending = self._attempts.finished(worker, message, now)
            case Beat():
                self._workers.beat(worker, message, now)
            case Failed():
                ending = self._attempts.failed(worker, message, now)
            case FetchFailed():
                ending = self._attempts.fetch_failed(worker, message, now)
            case Printed():
                self._jobs.printed(worker, message, now)
            case _:
                self._out_of_role(worker.peer)
        if ending is not None:
            self._jobs.end(ending, now)

    def _from_client(self, peer: PeerId, message: Message, now: float) -> None:
        match message:
            case Submit():
                self._jobs.submit(peer, message, now)
            case CancelJob(job_id, reason):
                self._jobs.cancel(job_id, reason, now)
            case ReleaseJob(job_id, runs_only):
                self._jobs.release(peer, job_id, runs_only, now)
            case Attach(ticket, job_id):
                self._jobs.attach(peer, ticket, job_id)
            case Watch(topic):
                self._books.say(SendView(peer, topic))
            case Unwatch(topic):
                self._books.say(StopView(peer, topic))
            case Look(ticket, topic):
                if topic == "cluster" or topic in self.jobs:
                    self._books.say(SendView(peer, topic, ticket))
                else:
                    self._books.refuse(peer, ticket, self._jobs.no_such_job(JobId(topic)))
            case Register():
                self._workers.register(peer, message, now)
            case _:
                self._out_of_role(peer)

    def _out_of_role(self, peer: PeerId) -> None:
        """It is authenticated, yet nothing it says next can be trusted."""
        self._books.say(Close(peer))
