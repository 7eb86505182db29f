"""The manager's nouns: workers, jobs, tasks, attempts. Pure: only facts, no decisions."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from mrkernel.data.splits import Split
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.failure import Failure
from mrkernel.job.plan import PlannedTask
from mrkernel.job.spec import JobSpec
from mrkernel.manager.events import PeerId
from mrkernel.manager.transitions import JobState, Story, TaskState, WorkerLiveness
from mrkernel.protocol.messages import JobPrinted, PartOutput, Register, RunOutput, RunSource


@dataclass(slots=True, repr=False, eq=False)
class Worker:
    """A worker server as long as its connection lives."""

    id: WorkerId
    number: int  #: the how manieth to join, from 1
    peer: PeerId
    info: Register
    last_seen: float
    state: WorkerLiveness = WorkerLiveness.ALIVE
    assigned: dict[tuple[JobId, TaskId], int] = field(default_factory=dict)
    """Attempt numbers handed to it and not ended."""
    jobs: set[JobId] = field(default_factory=set)  #: jobs it was told about
    blobs: set[str] = field(default_factory=set)  #: digests it was sent
    story: Story = field(default_factory=list)

    def __repr__(self) -> str:
        return f"worker {self.id}"

    @property
    def load(self) -> float:
        """Attempts it has, per slot."""
        return len(self.assigned) / self.info.slots

    def source(self, runs: tuple[tuple[int, int], ...]) -> RunSource:
        """Say where runs of its are: (map index, attempt) each."""
        info = self.info
        return RunSource(
            self.id, info.host_id, info.directory, info.data_host, info.data_port, runs
        )


@dataclass(slots=True, repr=False, eq=False)
class Task:
    """One map or reduce task.

    ``attempts`` counts all that were ever started; ``running`` are those now on a worker.
    """

    id: TaskId
    index: int
    split: Split | None  #: None for a reduce task
    label: str
    input_bytes: int
    state: TaskState
    attempts: int = 0
    running: dict[int, tuple[WorkerId, float]] = field(default_factory=dict)
    """Worker and start of each attempt that has not ended."""
    crashes: int = 0  #: attempts that count against the task: crashed, or timed out
    faults: int = 0  #: attempts that a worker's disk or the like ended
    repeats: int = 0  #: times its output could not be read, so that it ran again
    failed_on: set[WorkerId] = field(default_factory=set)
    winner: int = 0  #: the attempt whose output counts; 0 while not DONE
    seconds: float = 0.0  #: what the winner took
    holder: WorkerId | None = None  #: who holds the winner's output
    output: RunOutput | None = None
    part: PartOutput | None = None
    counters: dict[str, int] = field(default_factory=dict)
    story: Story = field(default_factory=list)

    def __repr__(self) -> str:
        return f"task {self.id}"

    @property
    def is_map(self) -> bool:
        return self.split is not None

    @classmethod
    def planned(cls, plan: PlannedTask, state: TaskState) -> Task:
        """Make the task of one line of the plan."""
        return cls(plan.id, plan.index, plan.split, plan.label, plan.input_bytes, state)


@dataclass(slots=True, repr=False, eq=False)
class Job:
    """One accepted job."""

    id: JobId
    spec: JobSpec
    maps: list[Task]
    reduces: list[Task]
    blobs: frozenset[str]  #: what it needs to run; empty once it will not run again
    started_at: float
    carry: int = 0  #: bytes of a map's run, at most, that travel in messages
    state: JobState = JobState.RUNNING
    tasks: dict[TaskId, Task] = field(default_factory=dict)
    ready_maps: deque[Task] = field(default_factory=deque)
    ready_reduces: deque[Task] = field(default_factory=deque)
    fresh: list[Task] = field(default_factory=list)
    """Finished maps that other hosts were not told of yet; empty while there is but one host."""
    plan: list[WorkerId] = field(default_factory=list)
    """Who will reduce each partition, as it looks; empty until somebody is told to fetch for it."""
    maps_left: int = 0  #: map tasks not DONE
    reduces_left: int = 0
    running: int = 0  #: attempts on workers
    mean_map_s: float | None = None  #: recent attempts of map tasks
    mean_reduce_s: float | None = None
    ended_at: float | None = None
    failure: Failure | None = None
    sentence: str = ""
    delivered: bool = False  #: a client has the result or does not want it: losing it is no loss
    watchers: dict[PeerId, None] = field(default_factory=dict)
    """Clients to be told how it ends and what it prints, in order of their wish."""
    printed: list[JobPrinted] = field(default_factory=list)  #: what its tasks printed, capped
    printed_characters: int = 0
    lonely: bool = False  #: it has said that no worker is there
    story: Story = field(default_factory=list)

    def __repr__(self) -> str:
        return f"job {self.id}"

    @property
    def map_only(self) -> bool:
        return not self.reduces

    @property
    def result_tasks(self) -> list[Task]:
        """The tasks whose outputs are the result."""
        return self.maps if self.map_only else self.reduces
