"""Workers: registered, beating, suspect, barred, lost. Pure."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from mrkernel.ids import WorkerId
from mrkernel.manager.attempts import Attempts, Ending
from mrkernel.manager.backups import Backups
from mrkernel.manager.books import Books
from mrkernel.manager.events import PeerId
from mrkernel.manager.facts import RetirementAsked, StoreTaken, WorkerTaken
from mrkernel.manager.failures import Failures
from mrkernel.manager.instructions import Close, ExpectHeartbeats, Send
from mrkernel.manager.outputs import Outputs
from mrkernel.manager.records import Store, Worker
from mrkernel.manager.stores import Stores
from mrkernel.manager.transitions import (
    WORKER_TRANSITIONS,
    WorkerLiveness,
    WorkerTrigger,
    advance,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Agreed, DisturbWorker, RetireWorker
from mrkernel.protocol.worker_messages import (
    Beat,
    BeatsHeard,
    Disturb,
    Register,
    Registered,
    Retire,
)

#: A worker server that is lost so often within ``FLAP_WINDOW_S`` gets no work for a while.
FLAPS = 3
FLAP_WINDOW_S = 60.0
FLAP_BAR_S = 30.0
#: Missed heartbeats after which datagrams count as blocked, while the worker speaks over TCP.
UNHEARD = 3
#: After so many, and so many seconds, it is no bad luck: people are told, once.
BLOCKED = 20
BLOCKED_S = 2.0
#: Seconds a worker that came back gets to say what it finished, before it is handed work.
OFFER_S = 1.0
#: How long to remember that a process died whose connection has not ended yet, in seconds.
CAUSE_KEPT_S = 10.0
#: Why a worker is gone that somebody asked to go.
RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Liveness:
    """When a silent worker is doubted, and when it is given up; all in seconds.

    The defaults are those of a network of machines: a beat each two seconds, five missed are death.
    """

    beat_s: float = 2.0  #: between the heartbeats asked of workers
    suspect_after_s: float = 4.5  #: silence after which it gets no new work, and its tasks backups
    dead_after_s: float = 10.0  #: silence after which it is dead
    lease_s: float = 0.0  #: how long workers look for a lost manager; 0: as they were started

    @classmethod
    def of(cls, beat_s: float, missed: int = 5, lease_s: float = 0.0) -> Liveness:
        """Make one of a beat; after ``missed`` beats a worker is dead, after two it is suspect."""
        return cls(beat_s, 2.2 * beat_s, missed * beat_s, lease_s)


#: On one machine nothing is lost on the way, and a beat costs some µs. Death is declared later than
#: after five beats: a loaded machine may well forget a process for half a second, and suspicion
#: alone starts the backups.
EMBEDDED = Liveness.of(0.1, missed=20, lease_s=30.0)


@dataclass(frozen=True, slots=True)
class Home:
    """What workers are told of the cluster."""

    python: str  #: minor version that they must run, "3.11"
    cluster: str = ""
    start: int = 1  #: the how manieth of this cluster's manager
    beat_port: int = 0  #: UDP; 0: none
    host_id: str = ""  #: of the manager: how workers of its own host end may be told to it
    in_process: bool = False  #: functions and inputs never leave its process


class Workers:
    """The pages about workers."""

    def __init__(
        self,
        books: Books,
        attempts: Attempts,
        outputs: Outputs,
        failures: Failures,
        stores: Stores,
        backups: Backups,
        home: Home,
        liveness: Liveness,
    ) -> None:
        self._books = books
        self._attempts = attempts
        self._outputs = outputs
        self._failures = failures
        self._stores = stores
        self._backups = backups
        self._home = home
        self._liveness = liveness
        self._by_peer: dict[PeerId, Worker] = {}
        self._last_tick: float | None = None
        self._lost_at: dict[str, deque[float]] = {}  # by instance
        self._causes: dict[int, tuple[float, str]] = {}  # of processes that died, by id
        self._dead: dict[int, tuple[float, WorkerId]] = {}  # on whose cause is waited, by id

    def of(self, peer: PeerId) -> Worker | None:
        """The worker at the other end of a connection; None for a client."""
        return self._by_peer.get(peer)

    # --- registered -------------------------------------------------------------------------------

    def register(self, peer: PeerId, info: Register, now: float) -> None:
        """Take a worker in, or say why not."""
        if info.python != self._home.python:
            reason = (
                f"this cluster runs Python {self._home.python}, the worker on {info.host} "
                f"Python {info.python}: start it with Python {self._home.python}"
            )
            self._books.note(None, "warning", f"a worker was refused: {reason}", now)
            self._books.say(Send(peer, Retire(reason)))
            self._books.say(Close(peer))
            return
        for other in list(self._books.workers.values()):
            if info.instance and other.info.instance == info.instance:
                # The end of its old connection has not been noticed yet.
                self._books.say(Close(other.peer))
                self._lost(other, "it connected anew", now)
        if info.host_id == self._home.host_id:
            self._dead.pop(info.pid, None)  # it lives: what ends it comes later
        if self._last_tick is None:
            self._last_tick = now  # a pause before the first tick is one as well
        number = self._books.workers_seen = self._books.workers_seen + 1
        name = WorkerId(f"w{number}")
        keep = bool(info.cluster) and info.cluster == self._home.cluster
        store = self._stores.of(info, name)
        worker = Worker(name, number, peer, info, store, now, last_beat=now)
        self._books.record(WorkerTaken(name, number, store.id, info, now))
        self._books.workers[name] = worker
        self._books.loads.changed(worker)
        self._books.hosts[info.host_id] += 1
        self._by_peer[peer] = worker
        worker.may_hold.update(self._books.jobs if keep else ())
        jobs, results = self._books.wanted() if keep else ((), ())
        if self._home.beat_port:
            self._books.say(ExpectHeartbeats(peer, number))
        self._books.say(
            Send(
                peer,
                Registered(
                    name,
                    self._liveness.beat_s,
                    cluster=self._home.cluster,
                    keep=keep,
                    jobs=jobs,
                    results=results,
                    number=number,
                    beat_port=self._home.beat_port,
                    dead_s=self._liveness.dead_after_s,
                    lease_s=self._liveness.lease_s,
                ),
            )
        )
        self._books.publish(
            public.WorkerJoined(at=now, worker=name, host=info.host, pid=info.pid, slots=info.slots)
        )
        if keep:
            # What it finished last comes in its offer, at once: none of that is to be started anew.
            worker.barred, worker.bar_told, worker.barred_until = True, False, now + OFFER_S
            self._books.loads.changed(worker)
        self._stores.arrived(worker, now)
        losses = self._lost_at.get(info.instance, ())
        if sum(now - at < FLAP_WINDOW_S for at in losses) >= FLAPS:
            cause = f"it was lost {FLAPS} times within a minute"
            self._failures.bar(worker, cause, FLAP_BAR_S, now)

    def replay(self, fact: WorkerTaken, now: float) -> None:
        """Put down a worker that the journal knows: what is left of it is its store."""
        self._books.workers_seen = fact.number
        info = fact.info
        self.replay_store(StoreTaken(fact.store, info.host_id, info.directory, info.instance), now)

    def replay_store(self, fact: StoreTaken, now: float) -> None:
        """Put down a store that the journal knows; whoever keeps it registers before long."""
        if fact.store not in self._books.stores:
            store = Store(fact.store, fact.host_id, fact.directory, fact.instance)
            store.orphan_since = now
            self._books.stores[store.id] = self._books.orphans[store.id] = store

    # --- alive ------------------------------------------------------------------------------------

    def heartbeat(self, peer: PeerId, now: float) -> None:
        """A datagram of a worker arrived."""
        worker = self._by_peer.get(peer)
        if worker is None:
            return
        worker.last_beat = now
        if not worker.beats_heard:
            worker.beats_heard = True
            self._books.say(Send(peer, BeatsHeard(True)))
        self.spoke(worker, now)

    def spoke(self, worker: Worker, now: float) -> None:
        """A worker said something, so it lives."""
        worker.last_seen = now
        if worker.state is WorkerLiveness.SUSPECT:
            advance(worker, WORKER_TRANSITIONS, WorkerTrigger.BEAT, now)
            self._books.loads.changed(worker)
            self._books.publish(public.WorkerAlive(at=now, worker=worker.id))

    def beat(self, worker: Worker, beat: Beat, now: float) -> None:
        """Take note, and pass on, how loaded a worker is and how far its attempts are."""
        self._books.publish(
            public.WorkerBeat(
                at=now,
                worker=worker.id,
                cpu_percent=beat.cpu_percent,
                memory_bytes=beat.memory_bytes,
            )
        )
        for p in beat.progress:
            if worker.assigned.get((p.job, p.task)) != p.attempt:
                continue
            job = self._books.jobs[p.job]
            task = job.tasks[p.task]
            running = task.running[p.attempt]
            running.begun = running.begun or now
            if (p.records, p.bytes) != (running.records, running.bytes):
                running.records, running.bytes = p.records, p.bytes
                running.moved = job.moved_at = now
            self._books.publish(
                public.Progress(
                    at=now,
                    job=p.job,
                    task=p.task,
                    attempt=task.seen(p.attempt),
                    worker=worker.id,
                    records=p.records,
                    bytes=p.bytes,
                )
            )

    def tick(self, now: float, tick_s: float) -> list[Ending]:
        """Look who has been silent for too long.

        Args:
            tick_s: how far apart two ticks should be. A longer gap is our own pause (a laptop's
                sleep, SIGSTOP), and says nothing about the workers: their deadlines move by it.
        """
        late = 0.0 if self._last_tick is None else max(0.0, now - self._last_tick - 2 * tick_s)
        self._last_tick = now
        endings = []
        for worker in list(self._books.workers.values()):
            if late:
                worker.last_seen = min(now, worker.last_seen + late)
                worker.last_beat = min(now, worker.last_beat + late)
            silent = now - worker.last_seen
            if silent > self._liveness.dead_after_s:
                self._books.say(Close(worker.peer))
                why = f"frozen, or its network is down: nothing was heard of it for {silent:.1f} s"
                endings += self._lost(worker, why, now)
            elif silent > self._liveness.suspect_after_s and worker.state is WorkerLiveness.ALIVE:
                advance(worker, WORKER_TRANSITIONS, WorkerTrigger.SILENT, now)
                self._books.publish(public.WorkerSuspect(at=now, worker=worker.id, silent_s=silent))
                self._backups.doubt(worker)
            elif now - worker.last_beat > UNHEARD * self._liveness.beat_s:
                self._over_tcp(worker, now)
            if worker.retiring and not worker.assigned and worker.id in self._books.workers:
                self._books.say(Send(worker.peer, Retire(RETIRED)))
                self._books.say(Close(worker.peer))
                endings += self._lost(worker, RETIRED, now)
            elif worker.barred and not worker.retiring and now >= worker.barred_until:
                works = self._unbar(worker, now)
                if works and worker.bar_told:
                    self._books.publish(public.WorkerBarred(at=now, worker=worker.id, cause=""))
        for store in self._stores.overdue(now, late):
            self._outputs.lose_store(store, now)
        return endings

    def offered(self, worker: Worker, now: float) -> None:
        """A worker that came back has said what it finished: it may work."""
        if worker.barred and not worker.bar_told and not worker.retiring:
            self._unbar(worker, now)

    def _unbar(self, worker: Worker, now: float) -> bool:
        """Let a worker have new work; False: it was asked to go before it lost us."""
        if worker.info.instance in self._books.retiring:
            self._let_retire(worker, now)
            return False
        worker.barred = False
        self._books.loads.changed(worker)
        return True

    def _over_tcp(self, worker: Worker, now: float) -> None:
        """Datagrams do not get through while the worker speaks: it beats over TCP then."""
        if not self._home.beat_port:
            return
        if worker.beats_heard is not False:
            worker.beats_heard = False
            self._books.say(Send(worker.peer, BeatsHeard(False)))
        blocked = max(BLOCKED_S, BLOCKED * self._liveness.beat_s)
        if now - worker.last_beat > blocked and not worker.unheard_told:
            worker.unheard_told = True
            self._books.note(
                None,
                "warning",
                f"{worker.id}: its UDP heartbeats do not arrive (a firewall?), they come over TCP",
                now,
            )

    def disturb(self, peer: PeerId, message: DisturbWorker) -> None:
        """Let a worker fail on purpose, as a client asks."""
        worker = self._meant(peer, message)
        if worker is not None:
            self._books.say(Send(worker.peer, Disturb(message.how, message.amount)))
            self._books.say(Send(peer, Agreed(message.ticket)))

    def retire(self, peer: PeerId, message: RetireWorker, now: float) -> None:
        """Give a worker no new work, as a client asks; the tick after its last task it goes."""
        worker = self._meant(peer, message)
        if worker is None:
            return
        if not worker.retiring:
            if worker.info.instance:
                self._books.retiring.add(worker.info.instance)
                self._books.record(RetirementAsked(worker.info.instance))
            self._let_retire(worker, now)
        self._books.say(Send(peer, Agreed(message.ticket)))

    def _let_retire(self, worker: Worker, now: float) -> None:
        worker.retiring = worker.barred = worker.bar_told = True
        self._books.loads.changed(worker)
        self._books.publish(public.WorkerBarred(at=now, worker=worker.id, cause="it retires"))

    def _meant(self, peer: PeerId, message: DisturbWorker | RetireWorker) -> Worker | None:
        """The worker a client names; None: it was told that there is none."""
        worker = self._books.workers.get(message.worker)
        if worker is None:
            living = ", ".join(self._books.workers) or "none"
            self._books.refuse(
                peer, message.ticket, f"no worker {message.worker!r} lives here; living: {living}"
            )
        return worker

    # --- lost -------------------------------------------------------------------------------------

    def peer_lost(self, peer: PeerId, cause: str, now: float) -> list[Ending]:
        """A connection is gone; with it the worker, if it was one's."""
        worker = self._by_peer.get(peer)
        return [] if worker is None else self._lost(worker, cause, now)

    def process_ended(self, pid: int, cause: str, now: float) -> None:
        """It is known how a worker server of this host ended: before its connection, or after."""
        self._forget_old_causes(now)
        if pid in self._dead:
            worker = self._dead.pop(pid)[1]
            self._books.publish(public.WorkerCause(at=now, worker=worker, cause=cause))
        else:
            self._causes[pid] = (now, cause)

    def _forget_old_causes(self, now: float) -> None:
        for pages in (self._causes, self._dead):
            for old in [key for key, kept in pages.items() if now - kept[0] > CAUSE_KEPT_S]:
                del pages[old]

    def _lost(self, worker: Worker, cause: str, now: float) -> list[Ending]:
        # How one ends that was asked to is no news.
        if worker.info.host_id == self._home.host_id and cause != RETIRED:
            self._forget_old_causes(now)
            pid = worker.info.pid
            known = self._causes.pop(pid, None)
            if known is not None:
                cause = known[1]
            else:
                self._dead[pid] = (now, worker.id)
        advance(worker, WORKER_TRANSITIONS, WorkerTrigger.LOST, now, cause)
        del self._books.workers[worker.id], self._by_peer[worker.peer]
        self._books.hosts -= Counter([worker.info.host_id])
        losses = self._lost_at.setdefault(worker.info.instance, deque(maxlen=FLAPS))
        losses.append(now)
        self._forget_old_losses(now)
        self._books.publish(public.WorkerLost(at=now, worker=worker.id, cause=cause))
        endings = []
        for job in list(self._books.running.values()):
            self._attempts.lose_worker(job, worker, now)
        for job in list(self._books.running.values()):
            ending = self._failures.died_with(job, worker, now)
            endings += [ending] if ending is not None else []
        self._stores.keeper_lost(worker, now)
        worker.assigned.clear()
        return endings

    def _forget_old_losses(self, now: float) -> None:
        if len(self._lost_at) > 1000:
            for key in [k for k, at in self._lost_at.items() if now - at[-1] > FLAP_WINDOW_S]:
                del self._lost_at[key]
