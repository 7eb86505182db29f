"""One attempt of one task, wherever it runs: read, map, combine, write a run; or merge and reduce.

Both functions here are called by a runner process and by the inline engine alike; they know no
socket and no manager. What they raise says whose fault it was: ``UserCodeError`` and ``InputError``
end the job, ``FetchError`` means that map output has to be made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby
from os import cpu_count
from pathlib import Path
from types import FunctionType
from typing import Any

import msgspec
import psutil
from msgspec.structs import replace

from mrkernel.data.head import head
from mrkernel.data.records import Batch, RecordReader, open_split
from mrkernel.data.splits import MemorySplit, PackedSplit, PartSplit
from mrkernel.errors import CorruptRunError, KeyTypeError
from mrkernel.ids import JobId
from mrkernel.job import counters, randomness
from mrkernel.job.batch_mapping import BatchMapCall
from mrkernel.job.builtins import Folding, folding
from mrkernel.job.failure import Failure, UserCodeError, short
from mrkernel.job.functions import Functions
from mrkernel.job.mapping import MapCall
from mrkernel.job.program import Program
from mrkernel.job.projection import columns_read
from mrkernel.job.reducing import ReduceCall, Reduced, bad_key
from mrkernel.job.spec import JobSpec
from mrkernel.protocol.worker_messages import Finished, PartOutput, RunOutput, Start
from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle.columns import to_column
from mrkernel.shuffle.fold_block import finisher
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.line_writer import LineWriter
from mrkernel.shuffle.merge import merge_groups, merge_sorted
from mrkernel.shuffle.part import PairWriter, PartWriter
from mrkernel.shuffle.run import (
    RunIndex,
    RunWriter,
    block_bytes,
    run_name,
)
from mrkernel.shuffle.sort_buffer import SortBuffer
from mrkernel.worker.map_records import Done, Sink, map_records
from mrkernel.worker.programs import TaskPrograms
from mrkernel.worker.progress import ProgressCell
from mrkernel.worker.reduce_groups import groups_of, near, ticking
from mrkernel.worker.reduce_inputs import PartOpener, ReduceInputs, RunOpener, read_part
from mrkernel.worker.resident import Resident, can_stay
from mrkernel.worker.skipping import Skipping
from mrkernel.worker.streaming import (
    ANY_BYTES,
    ProgramPartitioner,
    combining,
    map_program,
    reduce_program,
)

#: A result part up to this size travels inside the message that reports it.
INLINE_PART = 64 << 10
#: What a slot may hold before it spills when nobody says: a share of the machine's memory between
#: these, so that all slots of a worker together leave most of it to everybody else.
LEAST_SLOT_MEMORY = 64 << 20
MOST_SLOT_MEMORY = 512 << 20

#: Input that is read again and again may take one so-manieth of that in memory.
RESIDENT_SHARE = 4

Pair = tuple[Any, Any]


@dataclass(slots=True)
class JobContext:
    """What all attempts of one job share in one process.

    Attributes:
        directory: where its runs and parts are written, made when the first is.
        read_blob: returns the bytes of a blob of this job.
        open_run: opens the run of a finished map attempt.
        resident: input that this process holds; None: it holds none.
        open_part: opens a result part of another job; None: there are no others here.
        progress: told of every slice of records.
        peak_memory: returns the most memory that the attempt in hand had, in bytes; 0: not known.
        made: whether this process has made ``directory``.
        map_call: the mapper made ready, where all tasks of this process can share it.
        folds: what the job folds, once it was looked at.
        programs: runs those of the attempt in hand, where the job has any.
    """

    job: JobId
    spec: JobSpec
    functions: Functions
    directory: Path
    read_blob: Callable[[str], bytes]
    open_run: RunOpener
    progress: ProgressCell
    open_part: PartOpener | None = None
    resident: Resident | None = None
    peak_memory: Callable[[], int] = int
    made: bool = False
    map_call: MapCall | None = None
    folds: Folding | None = None
    programs: TaskPrograms | None = None

    def runs_programs(self) -> TaskPrograms:
        """Give what runs the programs of the attempt in hand."""
        assert self.programs is not None
        return self.programs

    @property
    def memory(self) -> int:
        """Bytes an attempt may hold before it spills."""
        return self.spec.slot_memory or default_slot_memory()


@lru_cache(maxsize=1)
def default_slot_memory() -> int:
    """Return the budget of one slot of this machine, in bytes."""
    total: int = psutil.virtual_memory().total
    return max(LEAST_SLOT_MEMORY, min(MOST_SLOT_MEMORY, total // (4 * (cpu_count() or 1))))


def part_name(index: int, attempt: int) -> str:
    """Name the file of a result part within its job's directory."""
    return f"part-{index}.{attempt}"


def run_attempt(start: Start, context: JobContext) -> Finished:
    """Run one attempt to its end.

    Raises:
        UserCodeError: the user's function is at fault; has a ``Failure``.
        InputError: the split cannot be read.
        FetchError: a run of an earlier map cannot be read.
    """
    context.progress.begin()
    if not context.made:
        context.directory.mkdir(exist_ok=True)
        context.made = True
    randomness.seed(context.spec.seed, start.task)
    counters.begin()
    began = time.perf_counter()
    try:
        if context.functions.files or context.functions.has_program:
            with TaskPrograms(
                start, context.spec, context.functions, context.directory, context.progress
            ) as context.programs:
                done = _run(start, context)
        else:
            done = _run(start, context)
    except UserCodeError as error:
        if context.spec.skip:
            raise _not_skipped(error) from error.__cause__
        raise
    return Finished(
        start.job,
        start.task,
        start.attempt,
        records=done.records,
        pairs=done.pairs,
        bytes_in=done.bytes_in,
        seconds=time.perf_counter() - began,
        output=done.output,
        part=done.part,
        counters=counters.take(),
        bad=tuple(done.bad),
        peak_memory=context.peak_memory(),
    )


def _run(start: Start, context: JobContext) -> Done:
    if start.split is None:
        if isinstance(context.functions.reducer, Program):
            return _reduce_by_program(context.functions.reducer, start, context)
        return _reduce(start, context)
    return _map(start, context) if context.spec.reduce_tasks else _map_only(start, context)


def _not_skipped(error: UserCodeError) -> UserCodeError:
    """Say why ``--on-error skip`` does not help, where one might expect it to."""
    failure = error.failure
    if failure.index is not None:
        return error  # the mapper, on a record: too many of them
    sentence = (
        f"{failure.sentence}; --on-error skip leaves out records on which the mapper fails, and "
        "nothing else"
    )
    return UserCodeError(replace(failure, sentence=sentence))


# --- map ------------------------------------------------------------------------------------------


def _map(start: Start, context: JobContext) -> Done:
    """Map a split into a run: one share per reduce task."""
    spec, functions = context.spec, context.functions
    path = f"{context.directory}/{run_name(start.index, start.attempt)}"
    memory = context.memory
    size = block_bytes(memory)
    writer = RunWriter(path, spec.reduce_tasks, inline=start.carry, block_bytes=size)
    combine = combine_block = None
    folds = _folds(context)
    fold = folds.map
    if isinstance(functions.combiner, Program):
        combine_block = combining(functions.combiner, context.runs_programs())
    elif functions.combiner is not None and fold is None:
        combine = ReduceCall(functions.combiner, "combiner").combine
    partitioner = functions.partitioner
    if isinstance(partitioner, Program):
        partitioner = ProgramPartitioner(partitioner, context.runs_programs())
    buffer = SortBuffer(
        spec.reduce_tasks,
        writer=writer,
        limit_bytes=memory,
        partitioner=partitioner,
        combine=combine,
        combine_block=combine_block,
        fold=fold,
    )
    done = Done()
    try:
        _map_split(start, context, done, buffer)
        index = buffer.close()
    except BaseException:
        writer.abort()
        raise
    sizes = [index.partition(p).nbytes for p in range(spec.reduce_tasks)]
    top = buffer.top.named() if folds.foretells else ()
    done.output = RunOutput(tuple(sizes), index.digest, writer.data, top)
    return done


def _map_only(start: Start, context: JobContext) -> Done:
    """Map a split into a result part: there is no reducer."""
    path = context.directory / part_name(start.index, start.attempt)
    writer = PairWriter(path, inline=INLINE_PART)
    done = Done()
    try:
        _map_split(start, context, done, writer)
        index = writer.close()
    except BaseException:
        writer.abort()
        raise
    done.part = _part(start, index, done.pairs, writer.data)
    return done


def _map_split(start: Start, context: JobContext, done: Done, sink: Sink) -> None:
    """Map all records of the split into ``sink``."""
    spec, mapper = context.spec, context.functions.mapper
    if isinstance(mapper, Program):
        # Of many small files it is run for each: it may ask for the name of its input.
        split = start.split
        for piece in split.files if isinstance(split, PackedSplit) else (split,):
            with _opened(replace(start, split=piece), context) as batches:
                map_program(mapper, context.runs_programs(), piece, batches, sink, done,
                            context.progress, spec.sample)  # fmt: skip
        return
    with _opened(start, context) as batches:
        wanted = batches if spec.sample is None else head(batches, spec.sample)
        if spec.batch:
            _map_tables(wanted, context, done, sink)
        else:
            _map_records(wanted, start, context, done, sink)


def _opened(start: Start, context: JobContext) -> RecordReader:
    """Open the split, whatever it is a piece of."""
    spec, split = context.spec, start.split
    assert split is not None
    if isinstance(split, PartSplit):
        assert start.part is not None
        assert context.open_part is not None
        return RecordReader(read_part(split, start.part, context.open_part))
    is_program = isinstance(context.functions.mapper, Program)
    encoding = ANY_BYTES if is_program else spec.encoding
    columns = columns_read(context.functions.mapper)
    unreadable = bool(spec.skip or start.skip)

    def read() -> RecordReader:
        data = None
        if isinstance(split, MemorySplit) and split.blob:
            data = context.read_blob(split.blob)
        return open_split(
            split,
            encoding=encoding,
            errors=spec.errors,
            data=data,
            columns=columns,
            schemas=spec.schemas,
            unreadable=unreadable,
        )

    if context.resident is None or not (spec.resident and can_stay(split)):
        return read()
    how = (split, encoding, spec.errors, columns, spec.schemas, unreadable)
    key = msgspec.msgpack.encode(how)
    return context.resident.open(key, context.memory // RESIDENT_SHARE, read)


def _map_tables(batches: Iterable[Batch], context: JobContext, done: Done, sink: Sink) -> None:
    """Map table by table: keys and values stay columns all the way."""
    call = BatchMapCall(context.functions.mapper)

    def take(columns: tuple[Any, Any], where: str) -> None:
        keys, values = map(to_column, columns)
        if not len(keys):
            return
        try:
            sink.add_columns(keys, values)
        except KeyTypeError as error:
            failure = Failure(
                kind="user", sentence=f"{error} ({where})", where=where, role="mapper"
            )
            raise UserCodeError(failure) from error
        done.pairs += len(keys)

    for batch in batches:
        if not len(batch):
            continue  # nothing is known of its columns, as it may be
        context.progress.at(f"{len(batch):,} records from {batch.where(0)}")
        for columns in call.columns(batch):
            take(columns, batch.where(0))
        done.records += len(batch)
        done.bytes_in += batch.nbytes
        context.progress.add(len(batch), batch.nbytes)
    for columns in call.finish():
        take(columns, "finish()")


def _map_records(
    batches: Iterable[Batch], start: Start, context: JobContext, done: Done, sink: Sink
) -> None:
    """Map slice by slice of records."""
    spec = context.spec
    call = _map_call(context)
    exact = start.careful or spec.timeout_s is not None
    if spec.skip or start.skip:
        stateful = type(context.functions.mapper) is not FunctionType
        skipping = Skipping(start.task, spec.skip, start.skip, stateful=stateful, exact=exact)
        skipping.map_records(batches, call, sink, context.progress, done)
        return
    map_records(batches, call, sink, context.progress, done, exact=exact)


def _map_call(context: JobContext) -> MapCall:
    """Make the mapper ready for one task: a class begins anew, a function is looked at once."""
    mapper = context.functions.mapper
    if type(mapper) is not FunctionType:
        return MapCall(mapper)
    if context.map_call is None:
        context.map_call = MapCall(mapper)
    return context.map_call


def _folds(context: JobContext) -> Folding:
    """Say what the job folds: the same for all its tasks."""
    if context.folds is None:
        functions, sort_values = context.functions, context.spec.sort_values
        context.folds = folding(functions.reducer, functions.combiner, sort_values=sort_values)
    return context.folds


# --- reduce ---------------------------------------------------------------------------------------


def _reduce(start: Start, context: JobContext) -> Done:
    """Merge the runs of one partition and reduce its groups into a result part."""
    done = Done()
    functions, sort_values = context.functions, context.spec.sort_values
    folds = _folds(context)
    finish_states = finisher(folds.reduce) if folds.reduce is not None and folds.states else None
    call = ReduceCall(functions.reducer, finish_states=finish_states)
    path = context.directory / part_name(start.index, start.attempt)
    writer = PartWriter(path, inline=INLINE_PART)
    inputs = ReduceInputs(start, context.open_run, context.progress)
    done.bytes_in = inputs.nbytes
    merged = merge_groups(inputs.segments, scratch=context.directory, limit_bytes=context.memory)
    timed = start.careful or context.spec.timeout_s is not None
    try:
        for batch in merged:
            folded = batch.folded(folds.reduce) if folds.reduce is not None else None
            if folded is not None:
                writer.add_block(folded)
                done.records += folded.groups
                done.pairs += folded.pairs
                context.progress.add(folded.groups, 0)
                continue
            if timed or sort_values or batch.spilled:
                context.progress.at(near(batch))
                groups = groups_of(batch, sort_values)
                reduced = call.reduce(ticking(groups, context.progress) if timed else groups)
                _take(writer, batch.keys, reduced, done)
                context.progress.add(0 if timed else len(batch), 0)
                continue
            for piece in batch.pieces():
                context.progress.at(near(piece))
                _take(writer, piece.keys, call.reduce_all(piece.opened()), done)
                context.progress.add(len(piece), 0)
        if call.has_finish:
            context.progress.at("finish()")
        pairs = call.finish()
        if pairs:
            # They belong to no group: each takes its place in the order by its own key.
            writer.end_segment()
            keys = _plain_keys([key for key, _ in pairs])
            finals = zip(keys, (value for _, value in pairs), strict=True)
            for _, group in groupby(sorted(finals, key=_encoded), _encoded):
                given = list(group)
                writer.add_group(given[0][0], given)
            done.pairs += len(pairs)
        index = writer.close()
    except CorruptRunError as error:
        writer.abort()
        raise inputs.corrupt(error) from error
    except BaseException:
        writer.abort()
        raise
    done.part = _part(start, index, done.pairs, writer.data)
    return done


def _reduce_by_program(program: Program, start: Start, context: JobContext) -> Done:
    """Merge the runs of one partition and let a program reduce them into a result part."""
    done = Done()
    path = context.directory / part_name(start.index, start.attempt)
    writer = LineWriter(path, inline=INLINE_PART)
    inputs = ReduceInputs(start, context.open_run, context.progress)
    done.bytes_in = inputs.nbytes
    blocks = merge_sorted(inputs.segments, scratch=context.directory, limit_bytes=context.memory)
    try:
        reduce_program(program, context.runs_programs(), blocks, writer, done, context.progress)
        index = writer.close()
    except CorruptRunError as error:
        writer.abort()
        raise inputs.corrupt(error) from error
    except BaseException:
        writer.abort()
        raise
    done.part = _part(start, index, done.pairs, writer.data)
    return done


def _encoded(pair: Pair) -> bytes:
    return _keys.encode(pair[0])


def _plain_keys(keys: list[Any], reduced: Reduced | None = None) -> Sequence[Any]:
    """Check keys that the reducer gave itself.

    Args:
        reduced: where they come from; None: finish().
    """
    try:
        return _keys.check(keys)[0]
    except KeyTypeError as error:
        where = "finish()"
        if reduced is not None:
            ends = accumulate(reduced.counts)
            group = next(i for i, end in enumerate(ends) if end > (error.index or 0))
            where = f"group {short(reduced.keys[group])}"
        raise bad_key(error, where) from error


def _take(writer: PartWriter, keys: KeyColumn, reduced: Reduced, done: Done) -> None:
    """Write what some groups were reduced to; ``keys`` are theirs."""
    if reduced.out_keys is None:
        writer.add(keys, reduced.counts, reduced.values)
    else:
        out_keys = _plain_keys(reduced.out_keys, reduced)
        at = 0
        for key, count in zip(reduced.keys, reduced.counts, strict=True):
            out = slice(at, at + count)
            given = list(zip(out_keys[out], reduced.values[out], strict=True))
            writer.add_group(key, given)
            at += count
    done.records += len(reduced.keys)
    done.pairs += len(reduced.values)


def _part(start: Start, index: RunIndex, pairs: int, data: bytes | None) -> PartOutput:
    """Describe a result part; a small one travels along."""
    if not index.nbytes:
        return PartOutput("", 0, 0)
    if data is not None:
        return PartOutput("", len(data), pairs, data)
    name = part_name(start.index, start.attempt)
    return PartOutput(f"{start.job}/{name}", index.nbytes, pairs)
