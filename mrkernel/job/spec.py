"""JobSpec: what is to be computed, never where. Frozen and JSON-able. Pure."""

from __future__ import annotations

import msgspec

from mrkernel.data.schemas import CsvSchema


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One job as every engine gets it: the functions as an opaque blob, the rest as plain data.

    The splits of the input travel beside it, because an engine may plan its own.
    """

    name: str
    functions: str  #: sha256 of the packed mapper, reducer, combiner and partitioner
    functions_label: str = ""  #: where they came from, for people: "mapper, reducer: this cell"
    reducer: str = "function"  #: "function", "none" (map only) or the name of a built-in
    combiner: str = "none"  #: "none", "function" or the name of a built-in
    map_tasks: int = 0  #: how many the input is cut into; 0: not known
    reduce_tasks: int = 1  #: 0 exactly when ``reducer`` is "none"
    batch: bool = False  #: the mapper takes and gives tables
    sort_values: bool = False
    sample: int | None = None  #: only so many records of each split; None: all
    encoding: str = "utf-8"
    errors: str = "strict"
    schemas: tuple[CsvSchema, ...] = ()  #: of the CSV inputs, to which splits refer by number
    attempts: int = 4  #: tries of a task for crashes and timeouts
    timeout_s: float | None = None  #: seconds without a finished record; None = no limit
    skip: int = 0  #: bad records, at most, that the job goes on without; 0: the first fails it
    backup: bool = True  #: whether stragglers get backup attempts
    slot_memory: int | None = None  #: bytes one slot may hold before it spills; None = by machine
    seed: int = 0  #: of ``random`` and ``numpy.random`` in every task, together with its id
    python: str = ""  #: "3.11": closures travel between equal minor versions only
    resident: bool = False  #: its input was read before: what fits is to stay in the runners
    in_process: bool = False  #: functions are used as they are (inline engine), never pickled
