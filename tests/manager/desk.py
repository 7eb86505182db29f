"""A manager's state at a desk: short names for peers, a clock by hand, books checked every time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from mrkernel.data.splits import FileSplit, MemorySplit, Split
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.failure import Failure
from mrkernel.job.spec import JobSpec
from mrkernel.manager.events import (
    BlobStored,
    Event,
    PeerId,
    PeerJoined,
    PeerLost,
    Received,
    Tick,
)
from mrkernel.manager.instructions import Instruction, Publish, Send
from mrkernel.manager.records import Job, Task, Worker
from mrkernel.manager.state import ManagerState
from mrkernel.monitor import events as public
from mrkernel.protocol.messages import (
    Beat,
    CancelAttempt,
    Failed,
    FetchFailed,
    Finished,
    Message,
    PartOutput,
    Printed,
    Register,
    ReleaseJob,
    RunOutput,
    Start,
    Submit,
)

PYTHON = "3.11"
FUNCTIONS = "f" * 64  #: digest of the functions of jobs that do not say otherwise


def split(index: int) -> FileSplit:
    """The input of map task ``index``."""
    return FileSplit("/data/a.txt", index * 10, index * 10 + 10, 1000, 0)


class Desk:
    """Drives a ``ManagerState``; every event is followed by ``validate()``.

    Attributes:
        client: a peer that submits.
        peers: worker id → its peer.
        events: what was published so far.
    """

    def __init__(self, **options: Any) -> None:
        self.state = ManagerState(python=PYTHON, **options)
        self.now = 0.0
        self.peers: dict[str, PeerId] = {}
        self.events: list[public.AnyEvent] = []
        self._numbers = itertools.count(1)
        self._tickets = itertools.count(1)
        self.client = self.new_client()

    # --- events -----------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Instruction]:
        """Hand one event over; return the instructions but for those to publish."""
        out = self.state.handle(event, self.now)
        self.state.validate()
        self.events += [i.event for i in out if isinstance(i, Publish)]
        return [i for i in out if not isinstance(i, Publish)]

    def new_client(self) -> PeerId:
        peer = PeerId(next(self._numbers))
        self.handle(PeerJoined(peer, "client"))
        return peer

    def join(self, slots: int = 1, python: str = PYTHON, host: str = "h1") -> list[Instruction]:
        """Let a worker join: "w1", then "w2", ..."""
        peer = PeerId(next(self._numbers))
        self.handle(PeerJoined(peer, "worker"))
        known = set(self.state.workers)
        info = Register(host, host, 100 + peer, slots, python, "127.0.0.1", 5000 + peer, f"/{peer}")
        out = self.handle(Received(peer, info))
        for name in set(self.state.workers) - known:
            self.peers[name] = peer
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
        **spec: Any,
    ) -> list[Instruction]:
        """Submit a job with so many tasks: "j1", then "j2", ..."""
        given = tuple(splits) if splits is not None else tuple(split(i) for i in range(maps))
        wanted = {s.blob for s in given if isinstance(s, MemorySplit) and s.blob} | {functions}
        for digest in sorted(wanted) if stored else ():
            self.handle(BlobStored(client or self.client, digest))
        spec = {"name": "job", "python": PYTHON, "reduce_tasks": reduces, **spec}
        job_spec = JobSpec(functions=functions, **spec)
        return self.ask(Submit(next(self._tickets), job_spec, given), client)

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
        **facts: Any,
    ) -> list[Instruction]:
        """Let an attempt end well; None: the one it runs, with output for every reduce task."""
        books = self.state.jobs.get(JobId(job))
        output = None
        if books is not None and task.startswith("map") and books.reduces:
            sizes = sizes if sizes is not None else (5,) * len(books.reduces)
            output = RunOutput(sizes, 0, carried)
        elif part is None:
            part = PartOutput("", 8, 1, b"the part")
        facts = {"records": 1, "pairs": 1, "bytes_in": 10, "seconds": 1.0, **facts}
        number = self.attempt(worker, task, job) if attempt is None else attempt
        message = Finished(JobId(job), TaskId(task), number, output=output, part=part, **facts)
        return self.tell(worker, message)

    def fail(
        self,
        worker: str,
        task: str,
        kind: Any = "crash",
        *,
        job: str = "j1",
        attempt: int | None = None,
    ) -> list[Instruction]:
        number = self.attempt(worker, task, job) if attempt is None else attempt
        failure = Failure(kind=kind, sentence=f"it had a {kind}")
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
    ) -> list[Instruction]:
        number = self.attempt(worker, task, job)
        message = FetchFailed(
            JobId(job), TaskId(task), number, map_index, map_attempt, WorkerId(source), "gone"
        )
        return self.tell(worker, message)

    def printed(self, worker: str, task: str, text: str, job: str = "j1") -> list[Instruction]:
        return self.tell(worker, Printed(JobId(job), TaskId(task), 1, text))

    def release(self, job: str = "j1", *, runs_only: bool = False) -> list[Instruction]:
        return self.ask(ReleaseJob(JobId(job), runs_only))

    def lose(self, worker: str, cause: str = "connection reset") -> list[Instruction]:
        return self.handle(PeerLost(self.peers[worker], cause))

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
