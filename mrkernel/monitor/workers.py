"""What a picture says about workers, be it a job's or a cluster's. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, ClassVar

from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Draft, Json, Pace
from mrkernel.monitor.quantities import plural

#: Running tasks listed per worker row; further ones are counted.
TASKS_SHOWN = 16

#: Gaps between heartbeats kept per worker: a quarter of a minute, as a line of points.
BEATS_KEPT = 30

#: A row is some 700 bytes, and each of a hundred workers changes several times a second: rows by
#: turns, together at most 30 kB a second; how a worker lives and dies goes first.
_WORKERS_PACE = Pace(each=4, burst=100)

#: States of a worker that is there; the others are dead, retired, and unknown: it was never
#: announced, as those that a manager had before it was restarted.
HERE = ("alive", "suspect", "barred")

#: How causes begin that say what a process did, and not how that was noticed.
_PREDICATES = ("was ", "ended ", "crashed ")


class WorkerRow:
    """A worker and what it did: for one job, or for all."""

    __slots__ = (
        "barred", "beat", "beats", "bytes", "cause", "cpu", "failed", "host", "life", "lost_at",
        "maps", "memory", "pid", "records", "reduces", "running", "seconds", "shuffled", "slots",
        "why",
    )  # fmt: skip

    def __init__(self) -> None:
        self.life = "unknown"  #: alive, suspect, dead, retired; unknown: never announced
        self.cause = ""  #: of its state, as the manager saw it
        self.why = ""  #: what really ended it, as became known: "was killed (SIGKILL)"
        self.barred = ""  #: why it gets no new work
        self.host = ""
        self.pid = 0
        self.slots = 0
        self.cpu = 0.0
        self.memory = 0
        self.beat = 0.0
        self.beats: deque[int] = deque(maxlen=BEATS_KEPT)
        self.shuffled = 0  #: bytes of map output that its reduces took
        self.lost_at: float | None = None
        self.maps = 0  #: tasks finished here, those redone elsewhere later included
        self.reduces = 0
        self.failed = 0
        self.records = 0
        self.bytes = 0
        self.seconds = 0.0
        self.running: dict[Any, Any] = {}  #: in the order they were handed to it

    @property
    def state(self) -> str:
        return "barred" if self.life == "alive" and self.barred else self.life

    @property
    def gone(self) -> bool:
        return self.life in ("dead", "retired")

    @property
    def end(self) -> str:
        """What became of it: "was killed (SIGKILL)", "died"; "" while it is there."""
        if not self.gone:
            return ""
        return self.why or ("died" if self.life == "dead" else "left")

    def in_slots(self) -> Iterable[Any]:
        """What runs; a worker is handed its next task before it has a slot for it."""
        return islice(self.running.values(), self.slots or None)

    def credit(self, event: ev.AttemptFinished) -> None:
        if event.task[0] == "m":
            self.maps += 1
        else:
            self.reduces += 1
            self.shuffled += event.bytes_in
        self.records += event.records
        self.bytes += event.bytes_in
        self.seconds += event.seconds

    def row(self) -> Json:
        """All but the heartbeats, which only a cluster's picture has."""
        cause = "" if self.why else self.cause
        return {
            "state": self.state,
            "cause": self.barred if self.state == "barred" else cause,
            "end": self.end,
            "host": self.host,
            "pid": self.pid,
            "slots": self.slots,
            "cpu": round(self.cpu),
            "memory": self.memory,
            "beat": round(self.beat, 3),
            "shuffled": self.shuffled,
            "lost_at": self.lost_at,
            "maps": self.maps,
            "reduces": self.reduces,
            "failed": self.failed,
            "records": self.records,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
        }


class WorkersDraft(Draft):
    """What both views say about workers."""

    paces: ClassVar[dict[str, Pace]] = {"workers": _WORKERS_PACE}

    def __init__(self, wall: float) -> None:
        super().__init__()
        self._wall = wall
        self._at = 0.0
        self._workers: dict[str, WorkerRow] = {}
        self._handlers: dict[type, Callable[[Any], None]] = {
            ev.WorkerJoined: self._worker_joined,
            ev.WorkerBeat: self._worker_beat,
            ev.WorkerSuspect: self._worker_suspect,
            ev.WorkerAlive: self._worker_alive,
            ev.WorkerBarred: self._worker_barred,
            ev.WorkerLost: self._worker_lost,
            ev.WorkerCause: self._worker_cause,
            ev.StoreAdopted: self._store_adopted,
        }

    def _lives(self, worker: str) -> WorkerRow:
        """The worker, to be changed in what everybody must see at once."""
        self._touched["workers"].note_first(worker)
        return self._worker(worker)

    def _worker(self, worker: str) -> WorkerRow:
        """The worker, to be changed: a row that was never announced is made up."""
        self._touched["workers"].note(worker)
        found = self._workers.get(worker)
        if found is None:
            found = self._workers[worker] = WorkerRow()
        return found

    def _worker_joined(self, event: ev.WorkerJoined) -> None:
        row = self._worker(event.worker)
        row.host, row.pid, row.slots = event.host, event.pid, event.slots
        row.beat = event.at
        if row.life == "unknown":
            row.life = "alive"
        self.feed.add(event.at, "info", f"{event.worker} joined with {plural(event.slots, 'slot')}")

    def _worker_beat(self, event: ev.WorkerBeat) -> None:
        row = self._worker(event.worker)
        if row.beat:
            row.beats.append(max(0, round((event.at - row.beat) * 1000)))
        row.cpu, row.memory, row.beat = event.cpu_percent, event.memory_bytes, event.at

    def _worker_suspect(self, event: ev.WorkerSuspect) -> None:
        row = self._lives(event.worker)
        if row.gone:
            return
        row.life = "suspect"
        row.cause = f"no heartbeat for {event.silent_s:.1f} s"
        self.feed.add(event.at, "warning", f"{event.worker} is suspect: {row.cause}")

    def _worker_alive(self, event: ev.WorkerAlive) -> None:
        row = self._lives(event.worker)
        if row.life != "suspect":
            return
        row.life, row.cause, row.beat = "alive", "", event.at
        self.feed.add(event.at, "info", f"{event.worker} beats again")

    def _worker_barred(self, event: ev.WorkerBarred) -> None:
        row = self._lives(event.worker)
        if row.gone:
            return
        if event.cause:
            span = f" for {event.seconds:.0f} s" if event.seconds else ""
            row.barred = f"no new work{span}: {event.cause}"
            self.feed.add(event.at, "warning", f"{event.worker} gets {row.barred}")
        elif row.barred:
            row.barred = ""
            self.feed.add(event.at, "info", f"{event.worker} gets work again")

    def _worker_lost(self, event: ev.WorkerLost) -> None:
        row = self._lives(event.worker)
        row.life = "retired" if event.cause.startswith("retired") else "dead"
        row.cause = event.cause
        if event.cause.startswith(_PREDICATES):
            row.why = event.cause  # it was known at once
        row.lost_at = event.at

    def _worker_cause(self, event: ev.WorkerCause) -> None:
        self._lives(event.worker).why = event.cause

    def _store_adopted(self, event: ev.StoreAdopted) -> None:
        row = self._worker(event.worker)
        if event.back and row.life in ("unknown", "dead"):
            # The same process under a new name: its end was its connection's.
            row.why = f"is {event.by} now"
            if row.life == "unknown":
                row.life, row.lost_at = "retired", event.at


def adoption_text(event: ev.StoreAdopted) -> str:
    """What a store that found somebody to serve it means: "12 finished tasks of w2 kept: ..."."""
    kept = f"{plural(event.tasks, 'finished task')} of {event.worker} kept"
    if event.back:
        return f"{event.worker} is back as {event.by}" + (f": {kept}" if event.tasks else "")
    return f"{kept}: {event.by} serves its map output" if event.tasks else ""
