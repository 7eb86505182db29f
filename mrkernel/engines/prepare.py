"""From what the user wrote to a job ready to send: checks, inputs, functions, preflight.

Everything that can be refused is refused here, before a task runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from mrkernel.config import API, JobOptions, most_skipped
from mrkernel.data import pickles
from mrkernel.data.inputs import resolve
from mrkernel.data.memory import stream_schema
from mrkernel.data.outputs import check_output
from mrkernel.data.pickles import modules_named
from mrkernel.data.records import Batch, RecordReader, check_errors, open_split
from mrkernel.data.schemas import CsvSchema
from mrkernel.data.sources import split_names
from mrkernel.data.splits import MemorySplit, PartSplit, Split, is_far
from mrkernel.engines.base import Engine, PreparedJob
from mrkernel.engines.chaining import Chained, kind_of_pairs
from mrkernel.engines.hadoop import applied, named_programs, with_programs
from mrkernel.engines.inline import InlineEngine
from mrkernel.engines.job import Job
from mrkernel.engines.key_sample import first_batch, sample_boundaries
from mrkernel.engines.result import JobResult
from mrkernel.engines.sample import take_sample
from mrkernel.errors import JobSpecError, TaskFailedError
from mrkernel.job.builtins import builtin_combiner, check_builtin
from mrkernel.job.callables import check
from mrkernel.job.failure import UserCodeError
from mrkernel.job.functions import Functions, isolated, pack
from mrkernel.job.plan import default_reduce_tasks
from mrkernel.job.preflight import RECORDS, Preflight, preflight
from mrkernel.job.program import Program
from mrkernel.job.projection import columns_read
from mrkernel.job.spec import JobSpec
from mrkernel.job.trial import try_apart
from mrkernel.shuffle.keys import normalise
from mrkernel.shuffle.range_partition import RangePartitioner
from mrkernel.shuffle.values import Values

#: A pickled in-memory split up to this size travels inside the order to map it; larger ones are
#: blobs, stored once by the manager.
INLINE_SPLIT = 64 << 10

#: Bytes read from the first file to try the functions on.
PREFLIGHT_BYTES = 64 << 10

#: Bytes of input below which nobody cares that a built-in would be faster.
ADVICE_FROM = 1 << 20

#: More reduce tasks than this are a slip of the pen; part files are numbered with five digits.
MOST_REDUCE_TASKS = 100_000

#: A larger number means the same, and messages carry 64 bits.
_UNLIMITED = 1 << 60

#: The partitioner that puts the parts themselves in order.
RANGE = "range"

#: What people write for "no reducer".
MAP_ONLY = "none"


def prepare(
    mapper: Any,
    inputs: Sequence[Any],
    reducer: Any,
    options: JobOptions,
    choose: Callable[[], Engine],
    *,
    names: Sequence[str | None] | None = None,
    cwd: Path | None = None,
    label: str = "",
    cells: dict[str, str] | None = None,
) -> tuple[PreparedJob, Engine]:
    """Check and gather all that a job needs.

    Args:
        mapper: function or class, or a command.
        inputs: paths, globs, directories, URLs, and in-memory things, each one input.
        reducer: function, class, name of a built-in, or "none" for a map-only job.
        choose: gives the engine to run on. Called after the checks that need none; a cluster that
            is starting does so while inputs are read here.
        names: what the user calls each in-memory input, for messages.
        cwd: where relative paths begin, and beside which modules of the user's lie.
        label: where the functions came from, for the view's header.
        cells: file name → what people call it, for tracebacks.

    Raises:
        JobSpecError: something makes no sense; says what to write instead.
        OutputExistsError: the output is there.
        TaskFailedError: the functions fail on the first records.
    """
    mapper, reducer, options = named_programs(mapper, reducer, _checked(options))
    options, reducer, said = applied(options, reducer)
    functions = with_programs(_functions(mapper, reducer, options), options, inputs)
    by_program = isinstance(functions.mapper, Program)
    output = None
    if options.sample and options.output is not None:
        raise JobSpecError(
            "--sample shows what a part of the input gives and writes nothing: leave --output out, "
            "or call save(path) of the result"
        )
    if options.output is not None:
        output = check_output(
            options.output,
            options.overwrite,
            cwd,
            format=options.output_format,
            columns=options.columns,
        )
    elif options.columns is not None:
        raise JobSpecError("--columns names the columns of --output, so give that as well")
    # A sample starts nothing, and so asks nobody where to run.
    engine = InlineEngine() if options.sample else choose()
    slots = engine.slots
    columns = columns_read(mapper)
    given, sources = split_names(inputs, Path.cwd() if cwd is None else cwd)
    if options.batch and any(sources):
        raise JobSpecError(
            "a --batch mapper takes tables, which do not say of which input they are: leave "
            "--batch or the names of the inputs out"
        )
    chained = Chained(engine)
    for number, each in enumerate(given):
        if isinstance(each, JobResult):
            name = (names[number] if names else None) or sources[number] or each.name
            given[number] = chained.cut(
                each, name, options.split_size, max(slots, 1), options.sample
            )
        elif isinstance(each, str) and each.startswith("memory://") and not engine.in_process:
            raise JobSpecError(
                f"{each} is in the memory of this process, where no worker sees it: pass the items "
                "themselves, or run the job with --on inline"
            )
    found = resolve(
        given,
        split_size=options.split_size,
        slots=max(slots, 1),
        cwd=cwd,
        encoding=options.encoding,
        errors=options.errors,
        names=names,
        sources=sources,
        # A program gets the lines of a file as they are, whatever they mean.
        format="lines" if by_program and options.format == "auto" else options.format,
        columns=columns,
    )
    splits = found.splits
    functions = replace(functions, addresses=found.addresses)
    look = partial(
        _open_shortly, options=options, columns=columns, schemas=found.schemas, chained=chained
    )
    notes: tuple[str, ...] = said
    sample = None
    if options.sample:
        splits, sample = take_sample(splits, options.sample)
        notes += (f"a sample in this process: {sample.describe()}",)
    input_bytes = sum(split.nbytes for split in splits)
    reduce_tasks = _reduce_tasks(functions, options, input_bytes, slots)
    blobs: dict[str, bytes] = {}
    digest = ""

    def ranged(loaded: Callable[[], AbstractContextManager[Functions]]) -> Functions:
        bounds = sample_boundaries(splits, look, loaded, reduce_tasks, batch=options.batch)
        return replace(functions, partitioner=RangePartitioner(bounds))

    if engine.in_process:
        # What is no text is told before the job everywhere; items are as they were given here.
        if not by_program:
            first_batch([s for s in splits if not isinstance(s, MemorySplit)], look)
        if options.partitioner == RANGE:
            functions = ranged(lambda: nullcontext(functions))
    else:
        first = partial(first_batch, splits, look)
        also = _modules_of_items(splits, first)
        packed = pack(functions, beside=cwd, names=cells, also=also)
        notes += packed.notes
        digest = hashlib.sha256(packed.data).hexdigest()
        named = None if output is None else output.columns
        # Programs are looked at when they are found, and files lie in the folders of tasks only.
        tried = Preflight(0, 0, 0)
        if not functions.has_program and not functions.files:
            if any(map(is_far, splits[:1])):
                first = partial(lambda begins: begins, first())  # a trial cannot wait for it
            tried = _try_first_records(
                packed.data,
                digest,
                splits,
                first,
                partial(_all_tried, splits, look),
                options,
                anew=named is not None,
            )
        notes += tried.notes
        if tried.advice is not None and input_bytes >= ADVICE_FROM:
            notes += (tried.advice,)
        if named is not None:
            tried.shape.refuse(named)
        if options.partitioner == RANGE:
            functions = ranged(partial(isolated, packed.data))
            packed = pack(functions, beside=cwd, names=cells, also=also)
            digest = hashlib.sha256(packed.data).hexdigest()
        blobs[digest] = packed.data
        splits = _to_blobs(splits, blobs)
    name = (options.name or _name_of(mapper)) + (" (sample)" if sample is not None else "")
    spec = JobSpec(
        name=name.encode("utf-8", "replace").decode(),
        functions=digest,
        functions_label=label,
        reducer=_described(functions.reducer),
        combiner=_described(functions.combiner),
        map_tasks=len(splits),
        reduce_tasks=reduce_tasks,
        batch=options.batch,
        sort_values=options.sort_values,
        sample=options.sample,
        encoding=options.encoding,
        errors=options.errors,
        schemas=found.schemas,
        attempts=min(options.attempts, _UNLIMITED),
        timeout_s=options.timeout,
        skip=min(most_skipped(options.on_error), _UNLIMITED),
        backup=not options.no_backup,
        slot_memory=options.slot_memory and min(options.slot_memory, _UNLIMITED),
        seed=0,
        python=f"{sys.version_info[0]}.{sys.version_info[1]}",
        resident=not options.sample and _read_before(splits),
        in_process=engine.in_process,
    )
    notes = found.notes + chained.notes + notes
    prepared = PreparedJob(
        spec, tuple(splits), functions, blobs, output, notes, sample, chain=_submit_on
    )
    return prepared, engine


def _checked(options: JobOptions) -> JobOptions:
    """Refuse what no engine could use; an option that is None is as it is when not given."""
    unset: dict[str, Any] = {
        field.name: field.default
        for field in fields(options)
        if getattr(options, field.name) is None and field.default is not None
    }
    if unset:
        options = replace(options, **unset)
    for name in ("encoding", "errors", "name"):
        value = getattr(options, name)
        if value is not None and not isinstance(value, str):
            raise JobSpecError(f"{name}={value!r}: write a text in quotes")
    if options.output is not None and not isinstance(options.output, (str, os.PathLike)):
        raise JobSpecError(f"output={options.output!r}: write the path of a file or directory")
    check_errors(options.errors)
    if options.batch and most_skipped(options.on_error):
        raise JobSpecError(
            "--on-error skip goes record by record, and a --batch mapper takes whole tables: leave "
            "one of the two out"
        )
    if (options.reduce_tasks or 0) > MOST_REDUCE_TASKS:
        raise JobSpecError(
            f"reduce_tasks={options.reduce_tasks}: write a number up to {MOST_REDUCE_TASKS:,}; "
            "a few per slot are best"
        )
    return options


def _functions(mapper: Any, reducer: Any, options: JobOptions) -> Functions:
    if mapper is None:
        raise JobSpecError("the job has no mapper: write def mapper(record): yield key, value")
    check(mapper, "mapper")
    if reducer is None:
        raise JobSpecError(
            "the job has no reducer: write def reducer(key, values), name a built-in such as "
            "--reducer sum, or say --reducer none for a map-only job"
        )
    if isinstance(reducer, str) and reducer == MAP_ONLY:
        for name in ("combiner", "partitioner", "reduce_tasks"):
            if getattr(options, name) is not None:
                flag = name.replace("_", "-")
                raise JobSpecError(f"a job with --reducer none has no shuffle: leave --{flag} out")
        return Functions(mapper)
    if isinstance(reducer, str):
        check_builtin(reducer)
    else:
        check(reducer, "reducer")
    combiner = options.combiner
    if isinstance(combiner, str):
        combiner = None if combiner == MAP_ONLY else combiner
    elif combiner is not None:
        check(combiner, "combiner")
    if isinstance(combiner, str):
        builtin_combiner(combiner)
    if options.partitioner == RANGE:
        return Functions(mapper, reducer, combiner)  # its boundaries are not known yet
    if options.partitioner is not None:
        check(options.partitioner, "partitioner")
    return Functions(mapper, reducer, combiner, options.partitioner)


def _submit_on(engine: Engine, mapper: Any, inputs: Any, reducer: Any, **options: Any) -> Job:
    """Submit a job to an engine that has no ``submit`` of its own."""
    said = JobOptions.from_keywords(options, API)
    prepared, _ = prepare(mapper, [inputs], reducer, said, lambda: engine, cwd=Path.cwd())
    return engine.submit_prepared(prepared)


def _modules_of_items(splits: list[Split], first: Callable[[], Batch | None]) -> set[str]:
    """Modules whose classes the in-memory records, or those of a result, are made of.

    Args:
        first: reads the first records.
    """
    named: set[str] = set()
    if any(isinstance(split, PartSplit) for split in splits):
        batch = first()
        with contextlib.suppress(Exception):  # of the user's own pickling
            named |= modules_named(pickles.dumps(batch.records[:RECORDS] if batch else []))
    for split in splits:
        if isinstance(split, MemorySplit) and split.data and not split.arrow:
            named |= modules_named(split.data)
    return named


def _to_blobs(splits: list[Split], blobs: dict[str, bytes]) -> list[Split]:
    out: list[Split] = []
    for split in splits:
        if isinstance(split, MemorySplit) and split.data and len(split.data) > INLINE_SPLIT:
            digest = hashlib.sha256(split.data).hexdigest()
            blobs[digest] = split.data
            out.append(msgspec.structs.replace(split, data=None, blob=digest))
        else:
            out.append(split)
    return out


def _reduce_tasks(functions: Functions, options: JobOptions, input_bytes: int, slots: int) -> int:
    if functions.reducer is None:
        return 0
    return options.reduce_tasks or default_reduce_tasks(input_bytes, slots)


def _described(function: Any) -> str:
    if function is None:
        return "none"
    return function if isinstance(function, str) else "function"


def _name_of(mapper: Any) -> str:
    return str(getattr(mapper, "__name__", type(mapper).__name__))


#: What was tried of late and passed: (functions, kind of records) → how, oldest first. A cell
#: that is run again, or a loop that submits the same job, need not be tried again.
_passed: OrderedDict[tuple[str, str], Preflight] = OrderedDict()
_PASSED_KEPT = 64


def _try_first_records(
    packed: bytes,
    digest: str,
    splits: list[Split],
    first: Callable[[], Batch | None],
    whole: Callable[[], bool],
    options: JobOptions,
    *,
    anew: bool = False,
) -> Preflight:
    """Try the functions apart.

    Args:
        first: reads the first records.
        whole: whether these are all that the job has.
        anew: what is known of other items of the same kind is not enough: their shape matters.
    """
    skip = most_skipped(options.on_error)
    key = (f"{digest} {options.batch} {bool(skip)}", _kind_of_records(splits, first))
    known = _passed.get(key)
    if known is not None and not anew:
        return known
    trial = partial(
        preflight,
        packed,
        first,
        check_key=normalise,
        make_values=Values,
        batch=options.batch,
        skip=skip,
        whole=whole,
    )
    try:
        tried = try_apart(trial)
    except UserCodeError as error:
        raise TaskFailedError(str(error), error.failure) from error
    if not tried.partly:  # which other records of the same kind may settle
        _passed[key] = tried
    while len(_passed) > _PASSED_KEPT:
        _passed.popitem(last=False)
    return tried


#: Digests of inputs that jobs of this program read of late, oldest first.
_read: OrderedDict[bytes, None] = OrderedDict()
_READ_KEPT = 16


def _read_before(splits: list[Split]) -> bool:
    """Whether a job of this program had this very input: a loop, which will read it again."""
    digest = hashlib.sha256(msgspec.msgpack.encode(splits)).digest()
    before = digest in _read
    _read[digest] = None
    _read.move_to_end(digest)
    while len(_read) > _READ_KEPT:
        _read.popitem(last=False)
    return before


class _PlainUnpickler(pickle.Unpickler):
    """Reads items of Python's own types only: nothing is imported, nothing is called."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain type")


def _kind_of_records(splits: list[Split], read: Callable[[], Batch | None]) -> str:
    """Say what the functions get: the same file, or items of the same types and columns.

    A loop that submits small jobs gives new items of one kind each time; a trial on twenty of them
    says as much as a trial on the next twenty.
    """
    first = splits[0] if splits else None
    if isinstance(first, PartSplit):
        return kind_of_pairs(read(), RECORDS)
    if isinstance(first, MemorySplit) and first.data and first.arrow:
        return f"table {stream_schema(first.data)}"
    if isinstance(first, MemorySplit) and first.data:
        try:
            items = _PlainUnpickler(io.BytesIO(first.data)).load()
        except pickle.UnpicklingError:
            items = None
        if items:
            kinds = {
                f"{type(item).__name__} {sorted(map(repr, item)) if type(item) is dict else ''}"
                for item in items[:RECORDS]
            }
            return "items " + "; ".join(sorted(kinds))
    return hashlib.sha256(msgspec.msgpack.encode(splits[:1])).hexdigest()


def _open_shortly(
    split: Split,
    options: JobOptions,
    columns: tuple[str, ...] | None,
    schemas: tuple[CsvSchema, ...],
    chained: Chained,
) -> RecordReader:
    """Open a split to look at its beginning only."""
    if isinstance(split, PartSplit):
        return chained.open(split)
    return open_split(
        split,
        encoding=options.encoding,
        errors=options.errors,
        block=PREFLIGHT_BYTES,
        columns=columns,
        schemas=schemas,
        unreadable=bool(most_skipped(options.on_error)),
    )


def _all_tried(splits: list[Split], look: Callable[[Split], RecordReader]) -> bool:
    """Whether a trial sees every record: there is one split, and it has few."""
    if len(splits) != 1:
        return False
    with look(splits[0]) as reader:
        records = 0
        for batch in reader:
            records += len(batch)
            if records > RECORDS:
                return False
    return True
