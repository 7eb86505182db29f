"""The manager's state and the workers' states together, in a world where everything goes wrong.

Hypothesis plays fate: it decides which message arrives next, which runner ends how, which worker
dies or comes back as another. Whatever it does, the books are right after each event, and once
fate rests, every job ends, each task with one winner, and nothing is left running.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mrkernel.data.splits import MemorySplit
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.failure import Failure
from mrkernel.job.spec import JobSpec
from mrkernel.manager.events import BlobStored, Event, PeerId, PeerLost, Received, Tick
from mrkernel.manager.instructions import Close, DropBlob, Publish, Send, SendBlob
from mrkernel.manager.state import ManagerState
from mrkernel.manager.transitions import JobState, TaskState
from mrkernel.monitor import events as public
from mrkernel.protocol.messages import (
    Accepted,
    Attach,
    CancelJob,
    Ended,
    Failed,
    FetchFailed,
    Finished,
    JobInfo,
    PartOutput,
    Register,
    Registered,
    ReleaseJob,
    Retire,
    RunOutput,
    Start,
    Submit,
)
from mrkernel.worker import state as worker_side
from mrkernel.worker.gathers import Fetch
from mrkernel.worker.state import WorkerState

CLIENT = PeerId(0)
#: What fate needs at most to bring every job to its end.
PATIENCE = 5_000


@dataclass
class Runner:
    """A process in a slot: it knows jobs, has orders, and may be dying."""

    up: bool = False
    dying: bool = False
    jobs: set[JobId] = field(default_factory=set)
    orders: deque[Start] = field(default_factory=deque)


class SimulatedWorker:
    """A worker server around the real ``WorkerState``; its disk is a set."""

    def __init__(self, peer: PeerId, slots: int) -> None:
        self.peer = peer
        self.name = WorkerId("")
        self.state = WorkerState(slots)
        self.inbox: deque[Any] = deque()  #: from the manager, under way
        self.outbox: deque[Any] = deque()  #: to it
        self.runners = [Runner() for _ in range(slots)]
        self.files: set[tuple[JobId, int, int]] = set()  #: runs: job, map index, attempt
        self.shares: set[tuple[JobId, int, int, int]] = set()  #: and the partition
        self.fetching: deque[Fetch] = deque()
        self.blobs: set[str] = set()
        self.obey(self.state.start())
        self.register()

    @property
    def host(self) -> str:
        return f"h{int(self.peer) % 2}"

    def register(self) -> None:
        slots = len(self.runners)
        port, folder = int(self.peer), f"/{self.peer}"
        info = Register("h", self.host, 1, slots, "3.11", "127.0.0.1", port, folder)
        self.outbox.append(info)

    def handle(self, event: worker_side.Event, now: float) -> None:
        self.obey(self.state.handle(event, now))
        self.state.validate()

    def obey(self, instructions: list[worker_side.Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case worker_side.Say(message):
                    self.outbox.append(message)
                case worker_side.Order(slot, JobInfo() as info):
                    assert self.runners[slot].up
                    self.runners[slot].jobs.add(info.job)
                    assert info.spec.functions in self.blobs, "the functions are not here"
                case worker_side.Order(slot, Start() as start):
                    assert start.job in self.runners[slot].jobs, "a runner was not told of the job"
                    if isinstance(start.split, MemorySplit) and start.split.blob:
                        assert start.split.blob in self.blobs, "the input is not here"
                    self.runners[slot].orders.append(start)
                case worker_side.Kill(slot):
                    assert self.runners[slot].up
                    self.runners[slot].dying = True
                case worker_side.Fork(slot):
                    assert not self.runners[slot].up, "two runners in one slot"
                    self.runners[slot] = Runner()
                case Fetch(source=source):
                    assert source.host_id != self.host, "its files are at hand"
                    self.fetching.append(instruction)
                case worker_side.Delete(job, blobs, _):
                    self.shares = {share for share in self.shares if share[0] != job}
                    self.files = {file for file in self.files if file[0] != job}
                    self.blobs -= set(blobs)

    def hear(self, message: Any, now: float) -> None:
        """Take one message from the manager."""
        match message:
            case str():
                self.blobs.add(message)
            case Registered():
                self.name = message.worker
            case Retire():
                raise AssertionError("nobody was to be refused here")
            case _:
                self.handle(worker_side.FromManager(message), now)

    def end_attempt(self, slot: int, how: str, world: World) -> None:
        """Let the runner of a slot end what it runs."""
        runner = self.runners[slot]
        start = runner.orders.popleft()
        me = (start.job, start.task, start.attempt)
        message: Finished | Failed | FetchFailed
        missing = world.missing_source(start, self.shares)
        if missing is not None:
            message = FetchFailed(*me, *missing, "gone")
        elif how in ("user", "environment"):
            message = Failed(*me, Failure(kind=how, sentence=how))  # type: ignore[arg-type]
        else:
            output, part = world.output_of(start)
            if output is not None and any(output.sizes) and output.data is None:
                self.files.add((start.job, start.index, start.attempt))
            message = Finished(*me, 1, 1, 1, 0.01, output, part, {"done": 1})
        self.handle(worker_side.RunnerSaid(slot, message), world.now)

    def end_fetch(self, world: World) -> None:
        """What was fetched ahead is here, as far as it was to be had."""
        fetch = self.fetching.popleft()
        holder = world.named(fetch.source.worker)
        for index, attempt in fetch.source.runs:
            if holder is not None and (fetch.job, index, attempt) in holder.files:
                self.shares.add((fetch.job, index, attempt, fetch.partition))
        self.handle(worker_side.Fetched(fetch.number), world.now)

    def bury(self, slot: int, world: World) -> None:
        """The process is gone, by our hand or by its own."""
        self.runners[slot] = Runner()
        self.handle(worker_side.RunnerDied(slot, "was killed (SIGKILL)"), world.now)

    def start_anew(self, peer: PeerId) -> None:
        """The connection broke: to the manager the same process is another worker now."""
        self.peer = peer
        self.inbox.clear()
        self.outbox.clear()
        self.files.clear()
        self.shares.clear()
        self.fetching.clear()
        self.blobs.clear()
        self.state.forget_everything()
        self.state.validate()
        for runner in self.runners:
            runner.dying = runner.up
            runner.orders.clear()
        self.register()


class World(RuleBasedStateMachine):
    """Everybody, and what is under way between them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.manager = ManagerState(python="3.11")
        self.blobs: set[str] = set()
        self.workers: list[SimulatedWorker] = []
        self.peers = itertools.count(1)
        self.tickets = itertools.count(1)
        self.jobs: list[JobId] = []
        self.ended: dict[JobId, Ended] = {}
        self.released: set[JobId] = set()
        self.winners: dict[tuple[JobId, TaskId], int] = {}  #: finished minus lost

    # --- the shell --------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        for instruction in self.manager.handle(event, self.now):
            match instruction:
                case Send(peer, message) if peer == CLIENT:
                    self.client_hears(message)
                case Send(peer, message):
                    worker = self.at(peer)
                    if worker is not None:
                        worker.inbox.append(message)
                case SendBlob(peer, digest):
                    assert digest in self.blobs, "the manager sends a blob that it dropped"
                    worker = self.at(peer)
                    if worker is not None:
                        worker.inbox.append(digest)
                case DropBlob(digest):
                    self.blobs.remove(digest)
                case Publish(public.AttemptFinished() as event_):
                    key = (event_.job, event_.task)
                    self.winners[key] = self.winners.get(key, 0) + 1
                    assert self.winners[key] == 1, f"{key} was won twice"
                case Publish(public.OutputLost() as event_):
                    for task in event_.tasks:
                        self.winners[event_.job, task] -= 1
                        assert self.winners[event_.job, task] == 0, f"{task} was lost twice"
                case Close():
                    raise AssertionError("the manager closes a connection to an honest peer")
        assert self.manager.blobs == self.blobs

    def client_hears(self, message: Any) -> None:
        match message:
            case Accepted(_, job):
                if job not in self.jobs:
                    self.jobs.append(job)
            case Ended():
                self.ended[message.job] = message
                if message.outcome == "done" and message.job not in self.released:
                    for part in message.parts:
                        alive = part.worker in self.manager.workers
                        empty = not part.nbytes
                        assert empty or part.data is not None or alive, (
                            "a part of a result is nowhere"
                        )

    def at(self, peer: PeerId) -> SimulatedWorker | None:
        return next((worker for worker in self.workers if worker.peer == peer), None)

    def output_of(self, start: Start) -> tuple[RunOutput | None, PartOutput | None]:
        """What an attempt gives: the same for every attempt of a task."""
        reduces = self.manager.jobs[start.job].reduces if start.job in self.manager.jobs else ()
        if start.split is not None and reduces:
            sizes = tuple(5 * ((start.index + p.index) % 3 != 0) for p in reduces)
            carried = b"the run" if start.index % 4 == 1 and start.carry >= 7 else None
            return RunOutput(sizes, 0, carried), None
        if start.index % 3 == 0:
            return None, PartOutput("", 8, 1, b"the part")
        if start.index % 3 == 1:
            return None, PartOutput(f"{start.job}/part-{start.index}", 10**6, 1)
        return None, PartOutput("", 0, 0)

    def named(self, name: WorkerId) -> SimulatedWorker | None:
        return next((worker for worker in self.workers if worker.name == name), None)

    def missing_source(
        self, start: Start, shares: set[tuple[JobId, int, int, int]]
    ) -> tuple[int, int, WorkerId] | None:
        """The first run that a reduce attempt cannot read, and of which nothing was fetched."""
        for source in start.sources:
            holder = self.named(source.worker)
            for index, attempt in source.runs:
                if (start.job, index, attempt, start.index) in shares:
                    continue
                if holder is None or (start.job, index, attempt) not in holder.files:
                    return index, attempt, source.worker
        return None

    # --- what fate may do -------------------------------------------------------------------------

    @initialize(slots=st.integers(1, 2), hosts=st.integers(1, 2))
    def begin(self, slots: int, hosts: int) -> None:
        for _ in range(hosts):
            self.join(slots)

    @precondition(lambda self: len(self.workers) < 4)
    @rule(slots=st.integers(1, 3))
    def join(self, slots: int) -> None:
        self.workers.append(SimulatedWorker(PeerId(next(self.peers)), slots))

    @precondition(lambda self: len(self.jobs) < 4)
    @rule(
        maps=st.integers(0, 5),
        reduces=st.integers(0, 3),
        functions=st.sampled_from(["f1", "f2"]),
        blobs=st.booleans(),
    )
    def submit(self, maps: int, reduces: int, functions: str, blobs: bool) -> None:
        splits = tuple(
            MemorySplit("x", i, 1, None if blobs else b"x", blob=f"b{i}" if blobs else "")
            for i in range(maps)
        )
        for digest in {functions, *(s.blob for s in splits if s.blob)}:
            self.blobs.add(digest)
            self.tell(BlobStored(CLIENT, digest))
        spec = JobSpec(name="job", functions=functions, reduce_tasks=reduces, python="3.11")
        self.tell(Received(CLIENT, Submit(next(self.tickets), spec, splits)))

    @rule(who=st.integers(0, 3), many=st.integers(1, 6))
    def deliver_to_a_worker(self, who: int, many: int) -> None:
        if self.workers:
            worker = self.workers[who % len(self.workers)]
            for _ in range(min(many, len(worker.inbox))):
                worker.hear(worker.inbox.popleft(), self.now)

    @rule(who=st.integers(0, 3), many=st.integers(1, 6))
    def deliver_to_the_manager(self, who: int, many: int) -> None:
        if self.workers:
            worker = self.workers[who % len(self.workers)]
            for _ in range(min(many, len(worker.outbox))):
                self.tell(Received(worker.peer, worker.outbox.popleft()))

    @rule(who=st.integers(0, 3), many=st.integers(1, 12))
    def work_goes_on(self, who: int, many: int) -> None:
        if self.workers:
            worker = self.workers[who % len(self.workers)]
            for _ in range(many):
                self.move_on(worker)
            self.tick()

    @rule(
        who=st.integers(0, 3),
        slot=st.integers(0, 2),
        how=st.sampled_from(["well", "well", "well", "well", "crash", "environment", "user"]),
    )
    def runner_acts(self, who: int, slot: int, how: str) -> None:
        if self.workers:
            worker = self.workers[who % len(self.workers)]
            slot %= len(worker.runners)
            runner = worker.runners[slot]
            if not runner.up:
                runner.up = True
                worker.handle(worker_side.RunnerUp(slot), self.now)
            elif how == "crash" or (runner.dying and how == "user"):
                worker.bury(slot, self)
            elif runner.orders:
                worker.end_attempt(slot, how, self)

    @rule(who=st.integers(0, 3))
    def fetch_ends(self, who: int) -> None:
        if self.workers and self.workers[who % len(self.workers)].fetching:
            self.workers[who % len(self.workers)].end_fetch(self)

    @rule(who=st.integers(0, 3), said=st.booleans(), back=st.booleans())
    def connection_breaks(self, who: int, said: bool, back: bool) -> None:
        """The worker is dead, or comes back; its last words may have arrived."""
        if self.workers:
            worker = self.workers[who % len(self.workers)]
            while said and worker.outbox:
                self.tell(Received(worker.peer, worker.outbox.popleft()))
            peer = worker.peer
            if back:
                worker.start_anew(PeerId(next(self.peers)))
            else:
                self.workers.remove(worker)
            self.tell(PeerLost(peer, "connection reset"))

    @rule(seconds=st.sampled_from([0.1, 0.1, 0.5, 1.0, 30.0]), beat=st.booleans())
    def time_goes_by(self, seconds: float, beat: bool) -> None:
        self.now += seconds
        for worker in self.workers:
            if beat:
                progress = tuple(worker_side.RunnerProgress(1, 1, 1) for _ in worker.runners)
                worker.handle(worker_side.Pulse(1.0, 1, progress), self.now)
                while worker.outbox:
                    self.tell(Received(worker.peer, worker.outbox.popleft()))
        self.tick()

    def tick(self) -> None:
        # So soon after the words of all it is no reason to fear for anyone: silence is judged in
        # the tests of the manager alone, where it is played out in full.
        for known in self.manager.workers.values():
            known.last_seen = self.now
        self.tell(Tick())

    @precondition(lambda self: self.jobs)
    @rule(which=st.integers(0, 3))
    def file_vanishes(self, which: int) -> None:
        files = sorted((file, w) for w, worker in enumerate(self.workers) for file in worker.files)
        if files:
            file, who = files[which % len(files)]
            self.workers[who].files.remove(file)

    @precondition(lambda self: self.jobs)
    @rule(which=st.integers(0, 3), what=st.sampled_from(["cancel", "release", "deliver", "attach"]))
    def client_acts(self, which: int, what: str) -> None:
        job = self.jobs[which % len(self.jobs)]
        if what == "cancel":
            self.tell(Received(CLIENT, CancelJob(job)))
        elif what == "attach":
            self.tell(Received(CLIENT, Attach(next(self.tickets), job)))
        elif job in self.ended:
            self.released.add(job)
            self.tell(Received(CLIENT, ReleaseJob(job, runs_only=what == "deliver")))

    @invariant()
    def books_are_right(self) -> None:
        self.manager.validate()
        for worker in self.workers:
            worker.state.validate()

    # --- when fate rests --------------------------------------------------------------------------

    def teardown(self) -> None:
        self.workers.append(SimulatedWorker(PeerId(next(self.peers)), 1))
        for _ in range(PATIENCE):
            self.tick()
            moved = [self.move_on(worker) for worker in self.workers]
            if not any(moved):
                break
        else:
            raise AssertionError("there is no end to it")
        self.books_are_right()
        assert set(self.jobs) == set(self.ended), "a job never ended"
        for worker in self.manager.workers.values():
            assert not worker.assigned, f"{worker!r} has work left"
        for simulated in self.workers:
            assert not simulated.state.line
            assert not simulated.state.gathers.waiting
            assert not simulated.state.gathers.under_way
            for job_id, *_ in simulated.shares:
                assert not self.manager.jobs[job_id].delivered, "a share is kept for nobody"
            assert not any(slot.held for slot in simulated.state.slots)
        for job in self.manager.jobs.values():
            assert job.state is not JobState.RUNNING
            if job.state is JobState.DONE:
                assert self.ended[job.id].outcome == "done"
                for task in job.result_tasks:
                    assert task.state is TaskState.DONE
                    assert self.winners[job.id, task.id] == 1
        needed = {digest for job in self.manager.jobs.values() for digest in job.blobs}
        assert self.blobs == needed, "blobs are kept for nobody"

    def move_on(self, worker: SimulatedWorker) -> bool:
        """Let a worker and those in it do the next thing there is to do; False: nothing is."""
        if worker.outbox:
            self.tell(Received(worker.peer, worker.outbox.popleft()))
            return True
        if worker.inbox:
            worker.hear(worker.inbox.popleft(), self.now)
            return True
        if worker.fetching:
            worker.end_fetch(self)
            return True
        for slot, runner in enumerate(worker.runners):
            if not runner.up:
                runner.up = True
                worker.handle(worker_side.RunnerUp(slot), self.now)
                return True
            if runner.dying:
                worker.bury(slot, self)
                return True
            if runner.orders:
                worker.end_attempt(slot, "well", self)
                return True
        return False


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
