"""Workers: registered, beating, suspect, lost. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mrkernel.ids import WorkerId
from mrkernel.manager.attempts import Attempts
from mrkernel.manager.books import Books
from mrkernel.manager.events import PeerId
from mrkernel.manager.instructions import Close, Send
from mrkernel.manager.records import Worker
from mrkernel.manager.transitions import (
    WORKER_TRANSITIONS,
    JobState,
    WorkerLiveness,
    WorkerTrigger,
    advance,
)
from mrkernel.monitor import events as public
from mrkernel.protocol.messages import Beat, Register, Registered, Retire

#: Seconds a job waits without any worker before it says so.
LONELY_S = 2.0
#: A gap between two ticks longer than this is our own pause (a laptop's sleep, SIGSTOP), and says
#: nothing about the workers: all their deadlines move by it.
STALL_S = 1.0


@dataclass(frozen=True, slots=True)
class Liveness:
    """When a silent worker is doubted, and when it is given up; all in seconds."""

    beat_s: float = 0.5  #: between the beats asked of workers
    suspect_after_s: float = 1.5  #: silence after which it gets no new work
    dead_after_s: float = 5.0  #: silence after which it is dead


class Workers:
    """The pages about workers.

    Args:
        python: minor version that workers must run, "3.11".
    """

    def __init__(self, books: Books, attempts: Attempts, python: str, liveness: Liveness) -> None:
        self._books = books
        self._attempts = attempts
        self._python = python
        self._liveness = liveness
        self._by_peer: dict[PeerId, Worker] = {}
        self._seen = 0
        self._last_tick: float | None = None

    def of(self, peer: PeerId) -> Worker | None:
        """The worker at the other end of a connection; None for a client."""
        return self._by_peer.get(peer)

    def register(self, peer: PeerId, info: Register, now: float) -> None:
        """Take a worker in, or say why not."""
        if info.python != self._python:
            reason = (
                f"this cluster runs Python {self._python}, the worker on {info.host} "
                f"Python {info.python}: start it with Python {self._python}"
            )
            self._books.note(None, "warning", f"a worker was refused: {reason}", now)
            self._books.say(Send(peer, Retire(reason)))
            self._books.say(Close(peer))
            return
        self._seen += 1
        worker = Worker(WorkerId(f"w{self._seen}"), self._seen, peer, info, now)
        self._books.workers[worker.id] = worker
        self._books.loads.changed(worker)
        self._books.hosts[info.host_id] += 1
        self._by_peer[peer] = worker
        self._books.say(Send(peer, Registered(worker.id, self._liveness.beat_s)))
        self._books.publish(
            public.WorkerJoined(
                at=now, worker=worker.id, host=info.host, pid=info.pid, slots=info.slots
            )
        )

    def spoke(self, worker: Worker, now: float) -> None:
        """A worker said something, so it lives."""
        worker.last_seen = now
        if worker.state is WorkerLiveness.SUSPECT:
            advance(worker, WORKER_TRANSITIONS, WorkerTrigger.BEAT, now)
            self._books.loads.changed(worker)
            self._books.publish(public.WorkerAlive(at=now, worker=worker.id))

    def beat(self, worker: Worker, beat: Beat, now: float) -> None:
        """Pass on a worker's load and how far its attempts are."""
        self._books.publish(
            public.WorkerBeat(
                at=now,
                worker=worker.id,
                cpu_percent=beat.cpu_percent,
                memory_bytes=beat.memory_bytes,
            )
        )
        for p in beat.progress:
            if worker.assigned.get((p.job, p.task)) == p.attempt:
                self._books.publish(
                    public.Progress(
                        at=now,
                        job=p.job,
                        task=p.task,
                        attempt=p.attempt,
                        worker=worker.id,
                        records=p.records,
                        bytes=p.bytes,
                    )
                )

    def tick(self, now: float) -> None:
        """Look who has been silent for too long."""
        stalled = 0.0 if self._last_tick is None else now - self._last_tick
        self._last_tick = now
        for worker in list(self._books.workers.values()):
            if stalled > STALL_S:
                worker.last_seen = min(now, worker.last_seen + stalled)
            silent = now - worker.last_seen
            if silent > self._liveness.dead_after_s:
                self._books.say(Close(worker.peer))
                self._lost(worker, f"no beat for {silent:.1f} s", now)
            elif silent > self._liveness.suspect_after_s and worker.state is WorkerLiveness.ALIVE:
                advance(worker, WORKER_TRANSITIONS, WorkerTrigger.SILENT, now)
                self._books.publish(public.WorkerSuspect(at=now, worker=worker.id, silent_s=silent))
        if not self._books.workers:
            for job in self._books.jobs.values():
                lonely = job.state is JobState.RUNNING and now - job.started_at > LONELY_S
                if lonely and not job.lonely:
                    job.lonely = True
                    self._books.note(
                        job.id,
                        "warning",
                        "waiting for a worker, none is here: start one with `mrkernel worker`",
                        now,
                    )

    def peer_lost(self, peer: PeerId, cause: str, now: float) -> None:
        """A connection is gone; with it the worker, if it was one's."""
        worker = self._by_peer.get(peer)
        if worker is not None:
            self._lost(worker, cause, now)

    def _lost(self, worker: Worker, cause: str, now: float) -> None:
        advance(worker, WORKER_TRANSITIONS, WorkerTrigger.LOST, now, cause)
        del self._books.workers[worker.id], self._by_peer[worker.peer]
        self._books.hosts -= Counter([worker.info.host_id])
        self._books.publish(public.WorkerLost(at=now, worker=worker.id, cause=cause))
        for job in list(self._books.jobs.values()):
            if job.id in worker.jobs and not job.delivered:
                self._attempts.lose_worker(job, worker, now)
        worker.assigned.clear()
