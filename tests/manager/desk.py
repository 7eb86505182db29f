"""A manager's state at a desk: short names for peers, a clock by hand, books checked every time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec
from description import check_replay, replayed

from mrkernel.data.splits import FileSplit, MemorySplit, Split
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.failure import Failure
from mrkernel.job.spec import JobSpec
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
from mrkernel.manager.instructions import Instruction, Publish, Send
from mrkernel.manager.records import Job, Task, Worker
from mrkernel.manager.state import ManagerState
from mrkernel.manager.stores import GRACE_S
from mrkernel.manager.workers import Home, Liveness
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import ReleaseJob, Submit
from mrkernel.protocol.messages import Message
from mrkernel.protocol.worker_messages import (
    AttemptProgress,
    Beat,
    CancelAttempt,
    Failed,
    FetchFailed,
    Finished,
    Offer,
    PartOutput,
    Printed,
    Register,
    RunOutput,
    Start,
)

PYTHON = "3.11"
FUNCTIONS = "f" * 64  #: digest of the functions of jobs that do not say otherwise
#: Suspect after a second and a half, dead after five.
LIVENESS = Liveness(beat_s=0.5, suspect_after_s=1.5, dead_after_s=5.0)
#: Facts up to which a desk replays them after each event; beyond, after every twentieth.
MANY_FACTS = 60

#: A result part that is a file in its worker's store, and so is lost with that.
ON_DISK = PartOutput("j1/part-0.1", 100_000, 7)


def split(index: int) -> FileSplit:
    """The input of map task ``index``."""
    return FileSplit("/data/a.txt", index * 10, index * 10 + 10, 1000, 0)


class Desk:
    """Drives a ``ManagerState``.

    Every event is followed by ``validate()`` and, where it left facts, by a replay of all facts so
    far and by one of a snapshot: each must make the same state again.

    Args:
        beat_port: as if the shell listened to datagrams there; 0: it does not.
        liveness: as in ``ManagerState``.

    Attributes:
        client: a peer that submits.
        peers: worker id → its peer.
        infos: worker id → how it registered; also of those that are gone.
        events: what was published so far.
        facts: what the journal has.
    """

    def __init__(self, *, beat_port: int = 0, liveness: Liveness = LIVENESS) -> None:
        self.home = Home(PYTHON, cluster="c1", beat_port=beat_port, host_id="h1")
        self.state = ManagerState(self.home, liveness=liveness)
        self._liveness = liveness
        self.now = 1.0  # 0.0 means "never" in the books
        self.peers: dict[str, PeerId] = {}
        self.infos: dict[str, Register] = {}
        self.events: list[public.AnyEvent] = []
        self.facts: list[AnyFact] = []
        self._numbers = itertools.count(1)
        self._tickets = itertools.count(1)
        self.client = self.new_client()

    # --- events -----------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Instruction]:
        """Hand one event over; return the instructions but for those to publish."""
        out = self.state.handle(event, self.now)
        self.state.validate()
        self.events += [i.event for i in out if isinstance(i, Publish)]
        facts = self.state.take_facts()
        self.facts += facts
        if facts and (len(self.facts) < MANY_FACTS or len(self.facts) % 20 == 0):
            check_replay(self.state, self.home, self.facts, self.now)
        return [i for i in out if not isinstance(i, Publish)]

    def restart(self) -> None:
        """Let the manager die and another take up its journal; all peers are gone."""
        home = self.home
        self.home = Home(home.python, home.cluster, home.start + 1, home.beat_port, home.host_id)
        self.state = replayed(self.home, self.facts, self.now, liveness=self._liveness)
        self.facts += self.state.take_facts()
        self.peers.clear()
        self.client = self.new_client()

    def new_client(self) -> PeerId:
        peer = PeerId(next(self._numbers))
        self.handle(PeerJoined(peer, "client"))
        return peer

    def join(
        self, slots: int = 1, python: str = PYTHON, host: str = "h1", **info: Any
    ) -> list[Instruction]:
        """Let a worker join: "w1", then "w2", ..."""
        peer = PeerId(next(self._numbers))
        register = Register(
            *(host, host, 100 + peer, slots, python, "127.0.0.1", 5000 + peer, f"/{peer}")
        )
        given = {"instance": f"i{peer}", **info}
        return self._register(peer, msgspec.structs.replace(register, **given))

    def join_hosts(self, *hosts: str, slots: int = 1) -> None:
        """Let a worker join on each of these hosts: what one holds dies with it."""
        for host in hosts:
            self.join(slots=slots, host=host)

    def return_of(self, worker: str, **info: Any) -> list[Instruction]:
        """Let a worker that lost its connection register again: it gets the next name."""
        given = {"previous": WorkerId(worker), "cluster": self.home.cluster, **info}
        peer = PeerId(next(self._numbers))
        return self._register(peer, msgspec.structs.replace(self.infos[worker], **given))

    def _register(self, peer: PeerId, info: Register) -> list[Instruction]:
        self.handle(PeerJoined(peer, "worker"))
        known = set(self.state.workers)
        out = self.handle(Received(peer, info))
        for name in set(self.state.workers) - known:
            self.peers[name], self.infos[name] = peer, info
        return out

    def tell(self, worker: str, message: Message) -> list[Instruction]:
        return self.handle(Received(self.peers[worker], message))

    def ask(self, message: Message, client: PeerId | None = None) -> list[Instruction]:
        return self.handle(Received(client or self.client, message))

    def submit(
        self,
        maps: int = 2,
        reduces: int = 1,
        *,
        splits: Iterable[Split] | None = None,
        functions: str = FUNCTIONS,
        client: PeerId | None = None,
        stored: bool = True,
        key: str = "",
        extends: str = "",
        **spec: Any,
    ) -> list[Instruction]:
        """Submit a job with so many tasks: "j1", then "j2", ..."""
        given = tuple(splits) if splits is not None else tuple(split(i) for i in range(maps))
        wanted = {s.blob for s in given if isinstance(s, MemorySplit) and s.blob} | {functions}
        for digest in sorted(wanted) if stored else ():
            self.handle(BlobStored(client or self.client, digest))
        spec = {"name": "job", "python": PYTHON, "reduce_tasks": reduces, **spec}
        job_spec = JobSpec(functions=functions, **spec)
        submit = Submit(next(self._tickets), job_spec, given, key, JobId(extends))
        return self.ask(submit, client)

    def finish(
        self,
        worker: str,
        task: str,
        *,
        job: str = "j1",
        attempt: int | None = None,
        sizes: tuple[int, ...] | None = None,
        part: PartOutput | None = None,
        carried: bytes | None = None,
        digest: int = 0,
        **facts: Any,
    ) -> list[Instruction]:
        """Let an attempt end well; None: the one it runs, with output for every reduce task."""
        number = self.attempt(worker, task, job) if attempt is None else attempt
        message = self.finished(
            task, number, job, sizes=sizes, part=part, carried=carried, digest=digest, **facts
        )
        return self.tell(worker, message)

    def finished(
        self,
        task: str,
        attempt: int,
        job: str = "j1",
        *,
        sizes: tuple[int, ...] | None = None,
        part: PartOutput | None = None,
        carried: bytes | None = None,
        digest: int = 0,
        **facts: Any,
    ) -> Finished:
        """The report of an attempt that ended well."""
        books = self.state.jobs.get(JobId(job))
        output = None
        if books is not None and task.startswith("map") and books.reduces:
            sizes = sizes if sizes is not None else (5,) * len(books.reduces)
            output = RunOutput(sizes, digest, carried)
        elif part is None:
            part = PartOutput("", 8, 1, b"the part")
        facts = {"records": 1, "pairs": 1, "bytes_in": 10, "seconds": 1.0, **facts}
        return Finished(JobId(job), TaskId(task), attempt, output=output, part=part, **facts)

    def fail(
        self,
        worker: str,
        task: str,
        kind: Any = "crash",
        *,
        job: str = "j1",
        attempt: int | None = None,
        **failure_facts: Any,
    ) -> list[Instruction]:
        number = self.attempt(worker, task, job) if attempt is None else attempt
        failure = Failure(kind=kind, sentence=f"it had a {kind}", **failure_facts)
        return self.tell(worker, Failed(JobId(job), TaskId(task), number, failure))

    def fetch_failed(
        self,
        worker: str,
        task: str,
        map_index: int,
        *,
        map_attempt: int = 1,
        job: str = "j1",
        source: str = "w1",
        blame: Any = "gone",
    ) -> list[Instruction]:
        number = self.attempt(worker, task, job)
        message = FetchFailed(
            *(JobId(job), TaskId(task), number, map_index, map_attempt, WorkerId(source), "gone"),
            blame=blame,
        )
        return self.tell(worker, message)

    def printed(self, worker: str, task: str, text: str, job: str = "j1") -> list[Instruction]:
        return self.tell(worker, Printed(JobId(job), TaskId(task), 1, text))

    def release(self, job: str = "j1", *, runs_only: bool = False) -> list[Instruction]:
        return self.ask(ReleaseJob(JobId(job), runs_only))

    def lose(self, worker: str, cause: str = "connection reset") -> list[Instruction]:
        return self.handle(PeerLost(self.peers[worker], cause))

    def lose_for_good(self, *workers: str) -> list[Instruction]:
        """Let workers die, and the grace of what they held pass; the others live on."""
        out: list[Instruction] = []
        for worker in workers:
            out += self.lose(worker)
        return out + self.wait(GRACE_S + 0.2)

    def process_ended(self, pid: int, cause: str) -> list[Instruction]:
        return self.handle(ProcessEnded(pid, cause))

    def heartbeat(self, worker: str) -> list[Instruction]:
        return self.handle(Heartbeat(self.peers[worker]))

    def offer(self, worker: str, *finished: Finished) -> list[Instruction]:
        return self.tell(worker, Offer(finished))

    def progress(
        self, worker: str, task: str, records: int, done: int, job: str = "j1"
    ) -> list[Instruction]:
        """Let a worker report so many records and bytes of the attempt it runs."""
        number = self.attempt(worker, task, job)
        at = AttemptProgress(JobId(job), TaskId(task), number, records, done)
        return self.tell(worker, Beat(1.0, 1, (at,)))

    def beat(self, worker: str) -> list[Instruction]:
        return self.tell(worker, Beat(1.0, 1))

    def tick(self, seconds: float = 0.1) -> list[Instruction]:
        self.now += seconds
        return self.handle(Tick())

    def silence(self, seconds: float, *beating: str) -> list[Instruction]:
        """Let time go by in ticks; only these workers beat."""
        out: list[Instruction] = []
        for _ in range(round(seconds * 10)):
            for worker in beating:
                self.beat(worker)
            out += self.tick(0.1)
        return out

    def wait(self, seconds: float) -> list[Instruction]:
        """Let time go by in ticks; all workers beat."""
        out: list[Instruction] = []
        for _ in range(round(seconds * 10)):
            for worker in list(self.state.workers):
                out += self.beat(worker)
            out += self.tick(0.1)
        return out

    # --- the books --------------------------------------------------------------------------------

    def job(self, name: str = "j1") -> Job:
        return self.state.jobs[JobId(name)]

    def task(self, name: str, job: str = "j1") -> Task:
        return self.job(job).tasks[TaskId(name)]

    def worker(self, name: str) -> Worker:
        return self.state.workers[WorkerId(name)]

    def attempt(self, worker: str, task: str, job: str = "j1") -> int:
        return self.worker(worker).assigned[JobId(job), TaskId(task)]

    def running(self) -> dict[str, list[str]]:
        """Worker → the tasks it has, in the order they were handed out."""
        return {w.id: [task for _, task in w.assigned] for w in self.state.workers.values()}

    def published(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    # --- reading instructions ---------------------------------------------------------------------

    def starts(self, out: Iterable[Instruction]) -> list[tuple[str, str, int]]:
        """The attempts that are started: (worker, task, attempt)."""
        names = {peer: name for name, peer in self.peers.items()}
        return [
            (names[i.peer], i.message.task, i.message.attempt)
            for i in out
            if isinstance(i, Send) and isinstance(i.message, Start)
        ]

    def cancels(self, out: Iterable[Instruction]) -> list[tuple[str, str, int]]:
        """The attempts that are stopped: (worker, task, attempt)."""
        names = {peer: name for name, peer in self.peers.items()}
        return [
            (names[i.peer], i.message.task, i.message.attempt)
            for i in out
            if isinstance(i, Send) and isinstance(i.message, CancelAttempt)
        ]


def sent(out: Iterable[Instruction], kind: type) -> list[Any]:
    """The messages of one kind among the instructions."""
    return [i.message for i in out if isinstance(i, Send) and isinstance(i.message, kind)]


def two_workers(desk: Desk, **options: Any) -> None:
    """w1 and w2 join, on one host if nothing else is said."""
    desk.join(**options)
    desk.join(**options)


def maps_done(desk: Desk, sizes: tuple[int, ...] | None = None) -> None:
    """map-0 is done on w1, map-1 on w2."""
    desk.finish("w1", "map-0", sizes=sizes)
    desk.finish("w2", "map-1", sizes=sizes)
