"""The first records through mapper, combiner and reducer here, before any worker starts.

Most slips show at the first record. Everything runs on copies (``functions.isolated``), counters
and random states come back as they were, prints are swallowed, half a second is the limit.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from mrkernel.data.records import Batch, ItemBatch, Unreadable
from mrkernel.data.row_shape import RowShape
from mrkernel.errors import KeyTypeError
from mrkernel.job import counters, randomness
from mrkernel.job.batch_mapping import BatchMapCall
from mrkernel.job.failure import Failure, UserCodeError, short
from mrkernel.job.functions import Functions, isolated
from mrkernel.job.mapping import MapCall, Pair, at_record
from mrkernel.job.reducing import ReduceCall, bad_key
from mrkernel.job.suggest import Tried, suggest

RECORDS = 20
BUDGET_S = 0.5

#: Raised by a reducer, these say the same of a whole group as of a part of one.
_SLIPS = ("NameError", "ImportError", "ModuleNotFoundError")


@dataclass(frozen=True)
class Preflight:
    """What the trial run showed."""

    records: int  #: records mapped
    pairs: int  #: pairs they gave
    groups: int  #: groups reduced
    notes: tuple[str, ...] = ()  #: sentences the user should read
    advice: str | None = (
        None  #: what a built-in would save; worth reading where there is much to do
    )
    #: columns that the first pairs of the result fill
    shape: RowShape = field(default_factory=RowShape)
    partly: bool = False  #: the reducer failed on what may be parts of its groups


class _OutOfTime(BaseException):
    """The budget is spent in mid-record; user code that catches Exception lets it through."""


def preflight(
    packed: bytes,
    first_records: Batch | Callable[[], Batch | None],
    *,
    check_key: Callable[[Any], Any] | None = None,
    make_values: Callable[[list[Any]], Any] = list,
    records: int = RECORDS,
    budget_s: float = BUDGET_S,
    job_seed: int = 0,
    batch: bool = False,
    skip: int = 0,
    whole: Callable[[], bool] = lambda: True,
) -> Preflight:
    """Try the functions on the first records, as a worker would run them.

    Args:
        packed: ``Packed.data``.
        first_records: the first batch of the first split, or what reads it: called where the
            records' classes are those of the functions; None: there is no record.
        check_key: normalises a key or raises KeyTypeError (``shuffle.keys.normalise``).
        make_values: what a reducer gets, made of a list (``shuffle.values.Values``).
        records: at most so many are tried.
        budget_s: seconds, also within one record where the system has interval timers.
        job_seed: for ``random`` in user code.
        batch: the mapper takes tables; it gets one of the first records.
        skip: records, at most, that the job goes on without when the mapper fails on them.
        whole: whether the job has no records but those tried. Where it has, its groups are larger
            than those of the trial, and what a reducer raises on a part of a group is a note.

    Raises:
        JobSpecError: a function cannot do what its role demands.
        UserCodeError: a function raised, or gave something wrong; ``failure`` says all.
        InputError: the records cannot be read.
    """
    printed = io.StringIO()
    notes: list[str] = []
    trial = _Trial(first_records, check_key, make_values, records, budget_s, batch, skip, whole)
    with (
        counters.collect(),  # first: one thread at a time
        contextlib.redirect_stdout(_OfThisThread(printed, sys.stdout)),
        contextlib.redirect_stderr(_OfThisThread(io.StringIO(), sys.stderr)),
        randomness.seeded(job_seed, "map-0"),
    ):
        try:
            with isolated(packed, trial.load) as functions, _alarm(budget_s, trial):
                trial.run(functions)
        except _OutOfTime:
            trial.late = True
    if trial.late:
        notes.append(
            f"{_first(trial.mapped)} took {budget_s:.1f} s, so no more was tried here"
            if trial.mapped
            else f"the first record took over {budget_s:.1f} s, so nothing was tried here"
        )
    if trial.skipped:
        many = f"{_first(trial.mapped)} will be skipped"
        if trial.mapped > 1:
            many = f"{len(trial.skipped)} of {many}"
        notes.append(f"{many}: {trial.skipped[0].sentence}")
    elif trial.silent:
        _judge_silence(trial.mapped, printed.getvalue(), notes)
    if trial.partly is not None:
        notes.append(
            f"{trial.partly.sentence}: these are the groups of {_first(trial.mapped)}, "
            "which others may join, so the job goes on"
        )
    return Preflight(
        trial.mapped,
        trial.pairs,
        trial.groups,
        tuple(notes),
        trial.advice,
        trial.shape,
        trial.partly is not None,
    )


class _Trial:
    """One trial run; its counts are right also when it is cut short."""

    def __init__(
        self,
        first_records: Batch | Callable[[], Batch | None],
        check_key: Callable[[Any], Any] | None,
        make_values: Callable[[list[Any]], Any],
        records: int,
        budget_s: float,
        tables: bool,
        skip: int,
        whole: Callable[[], bool],
    ) -> None:
        self._skip = skip
        self._whole = whole
        self.skipped: list[Failure] = []  #: of records that the job will go on without
        self._first_records = first_records
        self._tables = tables
        self._batch: Batch = ItemBatch([])
        self._check_key = check_key
        self._make_values = make_values
        self._most = records
        self._budget_s = budget_s
        self._deadline = 0.0  # set when it runs
        self.mapped = self.pairs = self.groups = 0
        self.shape = RowShape()  #: of the result's first pairs
        self.partly: Failure | None = None  #: of the reducer, on what may be a part of a group
        self.silent = False  #: the mapper gave back None every time
        self.advice: str | None = None  #: what a built-in would save
        self.late = False
        self.exposed = False  #: user code runs, which may be interrupted

    @contextlib.contextmanager
    def _user_code(self) -> Iterator[None]:
        self.exposed = True
        try:
            yield
        finally:
            self.exposed = False

    def load(self) -> None:
        """Read the records."""
        first = self._first_records
        self._batch = (first() if callable(first) else first) or self._batch
        self._most = min(self._most, len(self._batch))

    def run(self, functions: Functions) -> None:
        self._deadline = time.monotonic() + self._budget_s
        # All three are made before the first record, so that a slip in the reducer shows at once.
        with self._user_code():
            mapper = (BatchMapCall if self._tables else MapCall)(functions.mapper)
            reducer = None if functions.reducer is None else ReduceCall(functions.reducer)
            combiner = None
            if functions.combiner is not None:
                combiner = ReduceCall(functions.combiner, "combiner")
        if isinstance(mapper, MapCall):
            groups = self._map(mapper)
            # A class may give its pairs in finish().
            self.silent = mapper.silent and self.mapped > 0 and not self.pairs
        else:
            groups = self._map_table(mapper)
        if reducer is None:
            with self._user_code():
                self._see([(key, value) for key, values in groups.values() for value in values])
        try:
            tried = self._reduce(groups, combiner, reducer)
        except UserCodeError as error:
            failure = error.failure
            sure = failure.role != "reducer" or not failure.error_type
            if sure or failure.error_type in _SLIPS or self._whole():
                raise
            self.partly = failure
            return
        if tried:
            with self._user_code():
                self.advice = suggest(functions.reducer, functions.combiner, tried)

    def _reduce(
        self,
        groups: dict[Any, tuple[Any, list[Any]]],
        combiner: ReduceCall | None,
        reducer: ReduceCall | None,
    ) -> list[Tried]:
        tried: list[Tried] = []
        for key, values in groups.values():
            if time.monotonic() > self._deadline:
                self.late = True
                return []
            with self._user_code():
                if combiner is not None:
                    values = combiner.combine(key, values)  # a list, as on the map side
                if reducer is not None:
                    out = reducer.pairs(key, self._make_values(values))
                    self._check_reduced(key, out)
                    _check_picklable("reducer", out, "", "")
                    self._see(out)
                    tried.append((key, values, out))
            self.groups += 1
        if reducer is not None:
            with self._user_code():
                reducer.finish()
        return tried

    def _map(self, mapper: MapCall) -> dict[Any, tuple[Any, list[Any]]]:
        groups: dict[Any, tuple[Any, list[Any]]] = {}
        for index in range(self._most):
            if time.monotonic() > self._deadline:
                self.late = True
                return groups
            try:
                made = []
                if not isinstance(self._batch.records[index], Unreadable):
                    with self._user_code():
                        made = mapper.try_one(self._batch, index)
                self._take(made, groups, index)
            except UserCodeError as error:
                failure = error.failure
                if not failure.evidence:
                    failure = at_record(failure, self._batch, index)
                self.skipped.append(failure)
                if len(self.skipped) > self._skip:
                    raise UserCodeError(failure) from error.__cause__
            self.mapped += 1
        # finish() belongs after the last record of a task, which this is not, but its slips are
        # worth finding: the copy of the class that gave the pairs is thrown away here.
        with self._user_code():
            made = mapper.finish()
        self._take(made, groups, None)
        return groups

    def _map_table(self, mapper: BatchMapCall) -> dict[Any, tuple[Any, list[Any]]]:
        groups: dict[Any, tuple[Any, list[Any]]] = {}
        if self._most:
            with self._user_code():
                made = mapper.try_rows(self._batch, self._most)
            self._take(made, groups, 0)
            self.mapped = self._most
        with self._user_code():
            mapper.finish()
        return groups

    def _take(
        self, made: list[Pair], groups: dict[Any, tuple[Any, list[Any]]], index: int | None
    ) -> None:
        where = "finish()" if index is None else self._batch.where(index) if made else ""
        record = ""
        if index is not None and made and not self._tables:
            record = short(self._batch.records[index])
        _check_picklable("mapper", made, where, record)
        for key, value in made:
            try:
                plain = key if self._check_key is None else self._check_key(key)
                held = groups.setdefault(plain, (plain, []))
            except (KeyTypeError, TypeError) as error:
                sentence = str(error) if isinstance(error, KeyTypeError) else _unhashable(key)
                raise UserCodeError(
                    Failure(
                        kind="user",
                        sentence=f"{sentence} ({where})",
                        error_type="KeyTypeError",
                        record=record,
                        where=where,
                    )
                ) from error
            held[1].append(value)
            self.pairs += 1

    def _see(self, pairs: list[Pair]) -> None:
        """Look at pairs of the result."""
        keys, values = [key for key, _ in pairs], [value for _, value in pairs]
        # Fields may be objects of the user's: only their names can be told.
        self.shape = self.shape.joined(RowShape.of(keys, values).named())

    def _check_reduced(self, group: Any, out: list[Pair]) -> None:
        if self._check_key is None:
            return
        for key, _ in out:
            try:
                self._check_key(key)
            except KeyTypeError as error:
                raise bad_key(error, f"group {short(group)}") from error


def _unhashable(key: Any) -> str:
    kind = type(key).__name__
    instead = "write tuple(key)" if isinstance(key, list) else "write a str, a number or a tuple"
    return f"the mapper's key {short(key)} is a {kind}, which cannot be a key: {instead}"


def _check_picklable(role: str, pairs: list[Pair], where: str, record: str) -> None:
    """Values travel pickled; say which kind cannot."""
    if not pairs:
        return
    try:
        pickle.dumps(pairs, 5)
    except Exception:  # noqa: BLE001 - classes of the notebook, or a real fault: told apart below
        _check_each(role, pairs, where, record)


def _check_each(role: str, pairs: list[Pair], where: str, record: str) -> None:
    import cloudpickle

    for key, value in pairs:
        try:
            cloudpickle.dumps(value, 5)
        except Exception as error:
            kind = type(value)
            name = (
                kind.__name__
                if kind.__module__ == "builtins"
                else f"{kind.__module__}.{kind.__name__}"
            )
            hint = "yield plain data: numbers, strings, lists, dicts"
            if hasattr(value, "__next__"):
                hint = "write list(…) around it"
            place = f" ({where})" if where else f" (group {short(key)})"
            said = f"the {role} gives a {name} as a value, which cannot be sent"
            raise UserCodeError(
                Failure(
                    kind="user",
                    sentence=f"{said}: {hint}{place}",
                    error_type=type(error).__name__,
                    message=str(error),
                    record=record,
                    where=where,
                    hint=hint,
                )
            ) from error


def _first(records: int) -> str:
    return "the first record" if records == 1 else f"the first {records} records"


def _judge_silence(mapped: int, printed: str, notes: list[str]) -> None:
    """The mapper gave back None for every record, and no pair."""
    if printed.strip():
        hint = "write yield key, value in place of print(key, value)"
        first = printed.strip().splitlines()[0]
        raise UserCodeError(
            Failure(
                kind="user",
                sentence=f"the mapper prints ({short(first)}) and gives no pairs: {hint}",
                hint=hint,
            )
        )
    they = "it" if mapped == 1 else "they"
    notes.append(f"the mapper returned None for {_first(mapped)}, so {they} gave no pairs")


class _OfThisThread(io.TextIOBase):
    """Swallows what this thread writes; the prints of a job in the background go on."""

    def __init__(self, kept: io.StringIO, beyond: Any) -> None:
        self._kept = kept
        self._beyond = beyond
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        mine = threading.get_ident() == self._thread
        written: int = (self._kept if mine else self._beyond).write(text)
        return written

    def flush(self) -> None:
        if threading.get_ident() != self._thread:
            self._beyond.flush()


@contextlib.contextmanager
def _alarm(budget_s: float, trial: _Trial) -> Iterator[None]:
    """Interrupt user code that does not come back, where the system and the caller allow it."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
        or signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)
    ):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        # Never in our own clean-up; nor in an import: half of NumPy cannot be imported again.
        if trial.exposed and not _importing(frame):
            raise _OutOfTime

    signal.signal(signal.SIGALRM, ring)
    try:
        # It rings on, for what it did not dare to interrupt, and for destructors, which swallow
        # exceptions.
        signal.setitimer(signal.ITIMER_REAL, budget_s, 0.05)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
