"""What an engine is: a place where a prepared job can run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mrkernel.data.outputs import Output
from mrkernel.data.splits import Split
from mrkernel.engines.job import Job
from mrkernel.engines.sample import Sample
from mrkernel.job.functions import Functions
from mrkernel.job.spec import JobSpec


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job that passed every check here and is ready to be sent.

    Attributes:
        functions: as the user wrote them, for an engine in this process.
        blobs: digest → bytes of the packed functions and of large in-memory splits.
        output: where the result is to be written, checked; None = keep it in the cluster.
        notes: warnings to show, one sentence each.
        sample: what part of the input it is about; None: all of it.
        extends: a job that is done, whose map output this one takes over; "": none.
        chain: submits another job: (engine, mapper, inputs, reducer, options).
    """

    spec: JobSpec
    splits: tuple[Split, ...]
    functions: Functions
    blobs: dict[str, bytes]
    output: Output | None = None
    notes: tuple[str, ...] = ()
    sample: Sample | None = None
    extends: str = ""
    chain: Callable[..., Job] | None = None


#: Hears what user code prints, from a thread of the engine's: task, worker, text, and how many
#: characters were dropped because there were too many.
OnPrint = Callable[[str, str, str, int], None]


class Engine(Protocol):
    """A place where a prepared job can run."""

    #: for people: "this process", "the cluster inside this session"
    label: str
    #: whether functions are used as they are, in the process that submits
    in_process: bool

    @property
    def cluster_id(self) -> str:
        """The cluster's, the same for all who reach it; "": what it makes is only here."""
        ...

    @property
    def slots(self) -> int:
        """Map tasks that can run at once; 0 while nobody can."""
        ...

    def submit_prepared(self, prepared: PreparedJob, on_print: OnPrint | None = None) -> Job:
        """Start a job.

        Raises:
            JobSpecError: the engine cannot do what the job asks; says what.
        """
        ...
