"""The manager's nouns: workers, jobs, tasks, attempts. Pure: only facts, no decisions."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from mrkernel.data.splits import Split
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure
from mrkernel.job.plan import PlannedTask
from mrkernel.job.spec import JobSpec
from mrkernel.manager.events import PeerId
from mrkernel.manager.transitions import JobState, Story, TaskState, WorkerLiveness
from mrkernel.protocol.client_messages import JobPrinted
from mrkernel.protocol.worker_messages import Finished, PartOutput, Register, RunOutput, RunSource

NO_JOB = JobId("")
#: Attempts of a task that one manager can start. Their numbers name files, and which ones a manager
#: that died had started is in no journal: the next one begins at another thousand.
NUMBERS_A_START = 1000


def number_in_start(attempt: int) -> int:
    """Count an attempt among those that the same manager started, from 1."""
    return (attempt - 1) % NUMBERS_A_START + 1


@dataclass(slots=True, repr=False, eq=False)
class Store:
    """The directory that a worker server wrote: runs and result parts.

    It outlives its worker as long as another worker of the host keeps it, which means: serves it.
    """

    id: WorkerId  #: of who wrote it, as it was called first
    host_id: str
    directory: str
    instance: str  #: of who wrote it: the process comes back under another id
    keeper: Worker | None = None  #: None: nobody serves it now
    orphan_since: float = 0.0
    kept_since: float = 0.0  #: by ``keeper``
    logs: set[JobId] = field(default_factory=set)  #: jobs whose tasks printed there

    def source(self, runs: tuple[tuple[int, int], ...], job: JobId) -> RunSource:
        """Say where runs are that it holds: (map index, attempt) each; ``job``: see RunSource."""
        info = self.keeper.info if self.keeper is not None else None
        return RunSource(
            self.id,
            self.host_id,
            self.directory,
            info.data_host if info else "",
            info.data_port if info else 0,
            runs,
            job,
        )


@dataclass(slots=True, repr=False, eq=False)
class Worker:
    """A worker server as long as its connection lives."""

    id: WorkerId
    number: int  #: the how manieth to join, from 1
    peer: PeerId
    info: Register
    store: Store  #: what it writes
    last_seen: float
    state: WorkerLiveness = WorkerLiveness.ALIVE
    barred: bool = False  #: no new work for now
    barred_until: float = 0.0  #: until then
    retiring: bool = False  #: no new work ever, as somebody wishes
    bar_told: bool = True  #: whether the views know of it
    bars: int = 0  #: how often it was barred for what it did
    last_beat: float = 0.0  #: its last heartbeat by datagram
    beats_heard: bool | None = None  #: what it was told of them; None: nothing yet
    unheard_told: bool = False  #: whether people know that they do not arrive
    pace: float = 1.0  #: how long its attempts take, as a multiple of what others need
    assigned: dict[tuple[JobId, TaskId], int] = field(default_factory=dict)
    """Attempt numbers handed to it and not ended."""
    jobs: set[JobId] = field(default_factory=set)  #: jobs it was told about
    may_hold: set[JobId] = field(default_factory=set)
    """Jobs of which it may have files from before it registered, or from others of its host."""
    blobs: set[str] = field(default_factory=set)  #: digests it was sent
    load: float = 0.0  #: attempts it has, per slot; ``Loads`` keeps it
    story: Story = field(default_factory=list)

    def __repr__(self) -> str:
        return f"worker {self.id}"


@dataclass(slots=True, repr=False, eq=False)
class Running:
    """An attempt on a worker, as last heard of."""

    worker: WorkerId
    at: float  #: when it was handed out
    begun: float
    """When it began, as far as is known: attempts may wait there for each other; 0: not yet."""
    records: int = 0
    bytes: int = 0
    moved: float = 0.0  #: when ``records`` or ``bytes`` last grew
    backup: bool = False


class Durations:
    """How long the last few attempts of a phase took, in seconds for a task of usual size.

    Attributes:
        at: when the last of them ended.
    """

    __slots__ = ("_last", "_sorted", "at")

    def __init__(self) -> None:
        self.at = 0.0
        self._last: deque[float] = deque(maxlen=31)
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._last)

    def __iter__(self) -> Iterator[float]:
        return iter(self._last)

    def add(self, seconds: float, now: float) -> None:
        """One more attempt ended well."""
        self.at = now
        self._last.append(seconds)
        self._sorted = []

    @property
    def median(self) -> float:
        """A slow worker moves a mean, not this. At least one attempt must have ended."""
        return self._at(0.5)

    @property
    def high(self) -> float:
        """One of ten took longer. At least one attempt must have ended."""
        return self._at(0.9)

    def _at(self, share: float) -> float:
        if not self._sorted:
            self._sorted = sorted(self._last)
        return self._sorted[int(share * len(self._sorted))]


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
    journaled: int = 0  #: the last attempt that a manager before this one put into its journal
    running: dict[int, Running] = field(default_factory=dict)  #: attempts that have not ended
    crashes: int = 0  #: attempts that count against the task: crashed, or timed out
    crashed_on: frozenset[WorkerId] = frozenset()
    losses: int = 0  #: attempts that died with their worker
    careful: bool = False  #: its next attempt keeps the record pointer exact
    skip: dict[int, str] = field(default_factory=dict)
    """Records that its attempts pass over, and why: they killed a runner. Why is "" where another
    map task of the job has the record: what is passed over then is none of this task's bad ones."""
    faults: int = 0  #: attempts that a worker's disk or the like ended
    repeats: int = 0  #: times its output could not be read, so that it ran again
    failed_on: frozenset[WorkerId] = frozenset()
    unreadable: frozenset[int] = frozenset()
    """Attempts whose output turned out to be damaged, or gone: not to be offered again."""
    winner: int = 0  #: the attempt whose output counts; 0 while not DONE
    holder: WorkerId | None = None  #: the store that has the winner's output
    origin: JobId = NO_JOB  #: whose files these are, where it is not the job's own
    used_digest: int = 0
    """Of an output that was lost after a reduce task had begun to use it; 0: none, or not known."""
    finished: Finished | None = None
    """What the winner reported; without its output once that is lost."""
    finished_at: float = 0.0
    output: RunOutput | None = None
    part: PartOutput | None = None
    story: Story = field(default_factory=list)

    def __repr__(self) -> str:
        return f"task {self.id}"

    @property
    def is_map(self) -> bool:
        return self.split is not None

    @property
    def counters(self) -> dict[str, int]:
        """What the winner counted."""
        return self.finished.counters if self.finished is not None else {}

    @property
    def bad(self) -> tuple[BadRecord, ...]:
        """Records that the winner went on without."""
        return self.finished.bad if self.finished is not None else ()

    @property
    def run_in_file(self) -> bool:
        """Whether its map output is a file in a store; else it is empty, or came along."""
        return self.output is not None and self.output.data is None and any(self.output.sizes)

    @property
    def part_in_file(self) -> bool:
        """Whether its part of the result is a file in a store."""
        return self.part is not None and self.part.pairs > 0 and self.part.data is None

    def seen(self, attempt: int) -> int:
        """Give the number under which people see an attempt: a small one, counted from 1."""
        number = number_in_start(attempt)
        if attempt > self.journaled > 0:
            number += number_in_start(self.journaled)
        return number

    @classmethod
    def planned(cls, plan: PlannedTask, state: TaskState) -> Task:
        """Make the task of one line of the plan."""
        return cls(plan.id, plan.index, plan.split, plan.label, plan.input_bytes, state)


@dataclass(frozen=True, slots=True)
class Shelf:
    """All runs of a job's maps in one store; ``dense``: each has something for every partition."""

    source: RunSource
    sizes: list[tuple[int, ...]]  #: of each run, by partition
    dense: bool


@dataclass(slots=True, repr=False, eq=False)
class Job:
    """One accepted job."""

    id: JobId
    spec: JobSpec
    maps: list[Task]
    reduces: list[Task]
    blobs: frozenset[str]  #: what it needs to run; its functions alone once it will not run again
    started_at: float
    number: int = 0  #: the how manieth of the cluster, from 1
    key: str = ""  #: of its submission
    extends: JobId = NO_JOB  #: whose map output it took over
    inherited: int = 0  #: how many of its map tasks, the first ones, are from there
    reads: frozenset[JobId] = frozenset()  #: jobs whose result parts are its input
    parts_at: int = -1  #: the count of ``Books.keepers_changed`` when all of these were served
    shelves: list[Shelf] | None = (
        None  #: what its reduces read, as of ``shelves_of``; None: unknown
    )
    shelves_of: int = 0  #: the count of ``Books.keepers_changed`` then
    carry: int = 0  #: bytes of a map's run, at most, that travel in messages
    state: JobState = JobState.RUNNING
    tasks: dict[TaskId, Task] = field(default_factory=dict)
    ready_maps: deque[Task] = field(default_factory=deque)
    ready_reduces: deque[Task] = field(default_factory=deque)
    fresh: list[Task] = field(default_factory=list)
    """Finished maps that other hosts were not told of yet; empty while there is but one host."""
    plan: list[WorkerId] = field(default_factory=list)
    """Who will reduce each partition, as it looks; empty until somebody is told to fetch for it."""
    holders: Counter[WorkerId] = field(default_factory=Counter)
    """How many of its map outputs are files in each store."""
    part_holders: Counter[WorkerId] = field(default_factory=Counter)
    """How many parts of its result are files in each store."""
    maps_left: int = 0  #: map tasks not DONE
    reduces_left: int = 0
    running: int = 0  #: attempts on workers
    mean_map_s: float | None = None  #: recent attempts of map tasks
    mean_reduce_s: float | None = None
    map_durations: Durations = field(default_factory=Durations)
    reduce_durations: Durations = field(default_factory=Durations)
    usual_input: float | None = None  #: bytes of a map task's input, on average; None: not added up
    weights: list[float] | None = None
    """How much more each reduce task has to do than the usual one; None: not known yet."""
    skipped: int = 0  #: bad records that its done tasks went on without
    ended_at: float | None = None
    failure: Failure | None = None
    sentence: str = ""
    delivered: bool = False  #: a client has the result or does not want it: losing it is no loss
    watchers: dict[PeerId, None] = field(default_factory=dict)
    readers: set[PeerId] = field(default_factory=set)  #: clients that have its result in hand
    result_bytes: int = 0  #: of its result, in files of workers, once it is done
    """Clients to be told how it ends and what it prints, in order of their wish."""
    printed: list[JobPrinted] = field(default_factory=list)  #: what its tasks printed, capped
    printed_characters: int = 0
    moved_at: float = 0.0  #: when something of it last went on
    waiting: str = ""  #: what it said it waits for; "": nothing
    release: bool | None = None
    """It was released while another job used its map output: ``runs_only`` of that; None: no."""
    story: Story = field(default_factory=list)

    def __repr__(self) -> str:
        return f"job {self.id}"

    def durations(self, task: Task) -> Durations:
        """What attempts of the task's phase took."""
        return self.map_durations if task.is_map else self.reduce_durations

    def files_in(self, store: WorkerId) -> int:
        """Count the files of a store that somebody may still read."""
        return self.part_holders[store] + (0 if self.delivered else self.holders[store])

    @property
    def map_only(self) -> bool:
        return not self.reduces

    @property
    def result_tasks(self) -> list[Task]:
        """The tasks whose outputs are the result."""
        return self.maps if self.map_only else self.reduces
