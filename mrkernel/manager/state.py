"""ManagerState: events in, instructions out. Pure: no clock, no socket, no await, no chance.

Rules of this package: everything that decides what a manager does lives in its pure files; a
message is believed only of the peer it came from; an answer about an attempt that is not running on
that worker any more is dropped in silence, because its fate was decided already (fencing); a noun's
state changes through ``transitions.advance`` only.

Theory of operation. A job's map tasks are handed to workers as slots (and a little prefetch) allow;
when all are DONE its reduce tasks become ready; when those are, the job is. A lost worker takes
its running attempts along; what it had finished lies in its ``store``, which another worker of the
host serves, and only when none does it runs again. A suspect worker gets no new work, and
``backups`` run beside what it has. What must be known after a restart is put down as ``facts``.

This file only says who hears what: ``workers``, ``stores``, ``attempts``, ``failures``, ``outputs``
and ``jobs`` keep their pages of the ``books``; each tick ``gathering`` lets shuffling start while
maps run, where there are several hosts, and the ``watchdog`` looks who stands still; and after each
event the ``scheduler`` hands out what became ready.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mrkernel.ids import JobId, WorkerId
from mrkernel.manager.attempts import Attempts, Ending
from mrkernel.manager.backups import Backups
from mrkernel.manager.books import Books
from mrkernel.manager.budget import BUDGET
from mrkernel.manager.chains import Chains
from mrkernel.manager.events import (
    BlobStored,
    Event,
    Heartbeat,
    PeerId,
    PeerJoined,
    PeerLost,
    ProcessEnded,
    Received,
    Tick,
)
from mrkernel.manager.facts import AnyFact
from mrkernel.manager.failures import Failures
from mrkernel.manager.gathering import Gathering
from mrkernel.manager.instructions import (
    Close,
    Instruction,
    Publish,
    Send,
    SendView,
    StopView,
)
from mrkernel.manager.invariants import check_invariants
from mrkernel.manager.jobs import Jobs
from mrkernel.manager.outputs import Outputs
from mrkernel.manager.records import Job, Worker
from mrkernel.manager.replay import Replay
from mrkernel.manager.scheduler import Scheduler
from mrkernel.manager.snapshot import snapshot
from mrkernel.manager.stores import Stores
from mrkernel.manager.watchdog import Watchdog
from mrkernel.manager.workers import Home, Liveness, Workers
from mrkernel.protocol.client_messages import (
    Attach,
    CancelJob,
    DisturbWorker,
    FetchFunctions,
    FindStores,
    Look,
    ReleaseJob,
    RetireWorker,
    Submit,
    Unwatch,
    Watch,
    Welcome,
)
from mrkernel.protocol.messages import Message
from mrkernel.protocol.worker_messages import (
    Alive,
    Beat,
    Failed,
    FetchFailed,
    Finished,
    Offer,
    Printed,
    Register,
)


class ManagerState:
    """All a manager knows.

    Args:
        home: what workers are told of the cluster.
        liveness: when silent workers are doubted and given up.
        tick_s: how far apart ticks come.
        keep: bytes of results that may lie with the workers.
    """

    def __init__(
        self,
        home: Home,
        *,
        liveness: Liveness | None = None,
        tick_s: float = 0.1,
        keep: int = BUDGET,
    ) -> None:
        books = self._books = Books()
        self._home = home
        self._tick_s = tick_s
        self._outputs = Outputs(books)
        self._attempts = Attempts(books, self._outputs)
        self._failures = Failures(books, self._attempts, self._outputs)
        self._stores = Stores(books)
        self._backups = Backups(books, self._attempts, self._outputs)
        self._chains = Chains(books)
        self._jobs = Jobs(
            *(books, self._attempts, self._stores, self._outputs, self._chains, home.python),
            in_process=home.in_process,
            keep=keep,
        )
        self._workers = Workers(
            *(books, self._attempts, self._outputs, self._failures, self._stores, self._backups),
            *(home, liveness or Liveness()),
        )
        self._gathering = Gathering(books, self._attempts)
        self._watchdog = Watchdog(books, self._outputs)
        self._scheduler = Scheduler(books, self._attempts, self._outputs)

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
            case Heartbeat(peer):
                self._workers.heartbeat(peer, now)
            case PeerLost(peer, cause):
                self._end(self._workers.peer_lost(peer, cause, now), now)
                self._jobs.client_lost(peer, now)
            case BlobStored(peer, digest):
                self._jobs.blob_stored(peer, digest)
            case ProcessEnded(pid, cause):
                self._workers.process_ended(pid, cause, now)
            case Tick():
                self._end(self._workers.tick(now, self._tick_s), now)
                self._end(self._chains.broken_jobs(), now)
                self._gathering.tick()
                self._backups.tick(now)
                self._watchdog.tick(now)
            case PeerJoined(peer, role):
                # A worker counts once it has registered; a client needs no record.
                if role == "client":
                    self._books.say(Send(peer, Welcome(self._home.cluster, self._home.start)))
        self._backups.schedule(now)
        self._scheduler.schedule(now)
        return self._books.take_instructions()

    def take_facts(self) -> list[AnyFact]:
        """Return what must be in the journal before the instructions since the last call leave."""
        return self._books.take_facts()

    def replay(self, facts: Iterable[AnyFact], now: float, wall: float) -> list[Instruction]:
        """Make the state that a journal tells of; return what the views are to be told.

        Args:
            facts: of a fresh state, which has handled nothing yet.
            wall: time of day minus ``now``, seconds.
        """
        replay = Replay(self._books, self._jobs, self._attempts, self._outputs, self._workers)
        replay.run(facts, now, wall, self._home.start)
        # Nobody is there to be told; and a blob that was dropped then may be a later job's now.
        return [i for i in self._books.take_instructions() if isinstance(i, Publish)]

    def miss(self, gone: Mapping[str, str], now: float) -> list[Instruction]:
        """Blobs that jobs need are not there any more; return what the views are to be told.

        Args:
            gone: of each digest, what became of it: "blobs/12ab is damaged".
        """
        self._jobs.miss(gone, now)
        return [i for i in self._books.take_instructions() if isinstance(i, Publish)]

    def snapshot(self) -> Iterator[AnyFact]:
        """Give the facts that make this state again, but for ``Began``."""
        return snapshot(self._books)

    def _end(self, endings: list[Ending], now: float) -> None:
        for ending in endings:
            self._jobs.end(ending, now)

    def validate(self) -> None:
        """Check every invariant; tests call it after each event.

        Raises:
            AssertionError: one does not hold.
        """
        books = self._books
        least = books.loads.least()
        check_invariants(
            *(self.workers, self.jobs, books.stores, books.orphans, self.blobs, books.running),
            least,
        )

    def _from_worker(self, worker: Worker, message: Message, now: float) -> None:
        ending: Ending | None = None
        match message:
            case Finished():
                ending = self._attempts.finished(worker, message, now)
            case Alive():
                pass  # it spoke: that is all
            case Offer(offered):
                self._workers.offered(worker, now)
                for finished in offered:
                    ending = self._attempts.offered(worker, finished, now)
                    if ending is not None:
                        self._jobs.end(ending, now)
                return
            case Beat():
                self._workers.beat(worker, message, now)
            case Failed():
                ending = self._failures.failed(worker, message, now)
            case FetchFailed():
                ending = self._failures.fetch_failed(worker, message, now)
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
            case FindStores(ticket, job_id):
                self._jobs.stores(peer, ticket, job_id)
            case FetchFunctions(ticket, job_id):
                self._jobs.functions(peer, ticket, job_id)
            case DisturbWorker():
                self._workers.disturb(peer, message)
            case RetireWorker():
                self._workers.retire(peer, message, now)
            case Register():
                self._workers.register(peer, message, now)
            case _:
                self._out_of_role(peer)

    def _out_of_role(self, peer: PeerId) -> None:
        """It is authenticated, yet nothing it says next can be trusted."""
        self._books.say(Close(peer))
