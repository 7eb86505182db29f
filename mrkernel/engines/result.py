"""JobResult: the pairs a job gave, read when they are asked for.

It lives above ``shuffle`` because iterating in key order is a merge of the parts, which are runs.
"""

from __future__ import annotations

import heapq
import html
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrkernel.engines.bad_records import BadRecords, skipped
from mrkernel.errors import ClusterError, JobSpecError
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import short
from mrkernel.monitor.quantities import exactly
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.keys import encode, normalise
from mrkernel.shuffle.merge import block_pairs, merge_blocks
from mrkernel.shuffle.pairs import pair_batches
from mrkernel.shuffle.run import Read, RunIndex, segment_readers

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyarrow import Table

    from mrkernel.data.outputs import Output
    from mrkernel.data.records import Batch
    from mrkernel.data.splits import PartSplit
    from mrkernel.engines.base import Engine
    from mrkernel.engines.job import Job

Pair = tuple[Any, Any]

#: Rows that the display of a result shows, and bytes one cell of it may take.
SHOWN_ROWS = 10
SHOWN_CHARACTERS = 60


class ResultPart:
    """One part of a result: a run file with one partition, wherever its bytes are.

    Args:
        index: its number, from 0.
        pairs: how many it has.
        read: reads a range of it.
        load_index: reads its index; called once, when the part is first read.
    """

    def __init__(
        self, index: int, pairs: int, nbytes: int, read: Read, load_index: Callable[[], RunIndex]
    ) -> None:
        self.index = index
        self.pairs = pairs
        self.nbytes = nbytes
        self._read = read
        self._load_index = load_index
        self._run: RunIndex | None = None

    def segments(self) -> list[Any]:
        """Return the part's sorted segments (or its one unsorted one, of a map-only job)."""
        return segment_readers(self._read, f"part {self.index} of the result", self._loaded(), 0)

    def batches(self, split: PartSplit) -> Iterator[Batch]:
        """Read some of its pairs as records, as the map task of a chained job does."""
        return pair_batches(split, self._read, self._loaded())

    def _loaded(self) -> RunIndex:
        if self._run is None:
            self._run = self._load_index()
        return self._run


class JobResult:
    """The pairs of a finished job: iterate it, look keys up, or turn it into a table.

    Attributes:
        job: id of the job.
        name: its name.
        counters: exact sums over the committed attempts.
        seconds: how long the job took.
        sample: which part of the input it is about, under ``--sample``; "": all of it.
        output: where ``--output`` went: a file, a directory, or a URL; None without it.
        paths: its files, in order, each a ``Path``, or the text of a URL; empty without it.
        bad_records: those that the job went on without (``--on-error skip``).
        engine: where it lies; None: nowhere but here.
    """

    def __init__(
        self,
        parts: Sequence[ResultPart],
        *,
        job: str,
        name: str,
        counters: dict[str, int] | None = None,
        seconds: float = 0.0,
        map_only: bool = False,
        release: Callable[[], None] | None = None,
        bad: Sequence[BadRecord] = (),
    ) -> None:
        self.job = job
        self.name = name
        self.counters = dict(counters or {})
        self.seconds = seconds
        self.sample = ""
        self.output: Path | str | None = None
        self.paths: list[Any] = []
        self.bad_records = BadRecords(bad)
        self.engine: Engine | None = None
        #: Submits a job there: (mapper, inputs, reducer, options).
        self.chain: Callable[..., Job] | None = None
        #: Submits them again: (the mended mapper, options); None: the job is somebody else's.
        self.retry: Callable[[Any, dict[str, Any]], Job] | None = None
        self._parts = sorted(parts, key=lambda part: part.index)
        self._pairs = sum(part.pairs for part in self._parts)
        self._map_only = map_only
        self._release = release
        self._released = False

    def __len__(self) -> int:
        return self._pairs

    def __iter__(self) -> Iterator[Pair]:
        """Yield all pairs by reduce key, then in the order the reducer gave them.

        Of a map-only job: in input order.
        """
        for block in self._blocks():
            yield from block_pairs(block)

    def _blocks(self) -> Iterable[Block]:
        parts = self._held()
        if self._map_only:
            return chain.from_iterable(merge_blocks(part.segments()) for part in parts)
        return merge_blocks([s for part in parts for s in part.segments()])

    def part(self, index: int) -> Iterator[Pair]:
        """Yield the pairs of one part (reduce task) in their order."""
        for part in self._held():
            if part.index == index:
                for block in merge_blocks(part.segments()):
                    yield from block_pairs(block)

    def mapreduce(self, mapper: Any, reducer: Any = None, **options: Any) -> JobResult:
        """Run a job whose records are these pairs, where they lie; return its result.

        They do not come through this program. Their order is part by part. As long as the job
        runs they are kept, also when this result is released meanwhile.

        Args:
            mapper: ``mapper(key, value)``, or ``mapper(pair)``.
            reducer: as for ``mrkernel.run``.
            **options: see ``mrkernel submit --help``: the same names with underscores.

        Raises:
            JobSpecError: something makes no sense; nothing ran.
            JobError: the job failed or was cancelled.
        """
        if options.get("on") is not None:
            raise JobSpecError(
                "mapreduce() runs where the result is: write mrkernel.run(mapper, result, reducer, "
                "on=...) to run elsewhere"
            )
        if self.chain is None:
            raise JobSpecError(f"nobody runs jobs where the result of {self.job} is")
        job = self.chain(mapper, self, reducer, **options)
        try:
            return job.result()
        except KeyboardInterrupt:
            job.settle()
            raise

    @property
    def parts(self) -> list[ResultPart]:
        """Its parts, by number.

        Raises:
            ClusterError: it was released.
        """
        return self._held()

    def _held(self) -> list[ResultPart]:
        if self._released:
            raise ClusterError(f"the result of job {self.job} was released: run the job again")
        return self._parts

    def lookup(self, key: Any) -> list[Any]:
        """Return the values of a key, in order; [] when it is not there."""
        wanted = encode(normalise(key))
        return [value for k, value in self if encode(k) == wanted]

    def to_dict(self) -> dict[Any, Any]:
        """Return key → value.

        Raises:
            JobSpecError: a key has several values; ``list(result)`` keeps them all.
        """
        pairs = list(self)
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[Any] = set()
            twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
            raise JobSpecError(
                f"key {twice!r} has several values, a dict would lose some: use list(result)"
            )
        return found

    def sorted(self) -> list[Pair]:
        """Return all pairs ordered by their own key, the same on every engine."""
        return sorted(self, key=lambda pair: encode(pair[0]))

    def top(self, n: int = 10) -> list[Pair]:
        """Return the ``n`` pairs with the largest values, largest first; ties in key order.

        Raises:
            JobSpecError: the values cannot be compared with each other.
        """
        try:
            return heapq.nlargest(n, self, key=itemgetter(1))
        except TypeError as error:
            raise JobSpecError(
                f"the values of this result have no order ({error}): use list(result), or let the "
                "reducer give values of one type"
            ) from error

    def to_pandas(self) -> DataFrame:
        """Return a DataFrame with the columns ``key`` and ``value``."""
        try:
            import pandas as pd
        except ImportError:
            raise JobSpecError("to_pandas needs pandas: pip install pandas") from None
        pairs = list(self)
        columns = {"key": [k for k, _ in pairs], "value": [v for _, v in pairs]}
        try:
            return pd.DataFrame(columns)
        except UnicodeError:  # lone surrogates, which Arrow's strings cannot hold
            return pd.DataFrame(columns, dtype=object)

    def to_arrow(self) -> Table:
        """Return an Arrow table with the columns ``key`` and ``value``.

        Raises:
            JobSpecError: Arrow has no type that holds all keys, or all values.
        """
        from mrkernel.engines.saving import to_table

        return to_table(self._blocks())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the table to polars, duckdb and others (Arrow PyCapsule interface)."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def save(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        output_format: str | None = None,
        columns: str | Sequence[str] | None = None,
    ) -> list[Any]:
        """Write all pairs, whole or not at all; return the files.

        Args:
            path: ending in ``.csv .jsonl .parquet .txt``: one file, in the order of iteration;
                else a new directory of ``part-00000 ...``; a URL that fsspec writes to is either.
            overwrite: replace such a file, or a directory that mrkernel wrote.
            output_format: of the part files: "text", "jsonl", "csv" or "parquet"; None: text.
            columns: names of the columns ("year,min,max", or a list); None: ``key`` and ``value``,
                numbered where they are tuples, and the fields of dicts.

        Raises:
            OutputExistsError: it is there and ``overwrite`` is False, or it is not ours.
            JobSpecError: the pairs do not fit the format or the columns; nothing is written.
        """
        from mrkernel.data.outputs import check_output

        output = check_output(path, overwrite, format=output_format, columns=columns)
        return self.write(output)

    def write(self, output: Output) -> list[Any]:
        """Write all pairs to a place that was checked (``data.outputs.check_output``)."""
        from mrkernel.engines.saving import save

        self._held()
        files = [(0, self._blocks)]
        if not output.single:
            files = [(part.index, partial(merge_blocks, part.segments())) for part in self._parts]
        return save(files, output, self.job)

    def lines(self) -> Iterator[bytes | memoryview]:
        """Yield all pairs as text, in order: many lines ``key TAB value`` at a time."""
        from mrkernel.engines.saving import text_lines

        return text_lines(self._blocks())

    def retry_bad_records(self, mapper: Any = None, **options: Any) -> Job:
        """Run a new job over the bad records and merge it with the rest; see ``Job``.

        Raises:
            JobSpecError: there are none, or they cannot be tried again; says why.
        """
        if not self.bad_records:
            raise JobSpecError(f"job {self.job} has no bad records: there is nothing to try again")
        if self.retry is None:
            raise JobSpecError(
                f"job {self.job} was submitted elsewhere: call retry_bad_records where it was "
                "submitted, or run it again"
            )
        return self.retry(mapper, options)

    def release(self) -> None:
        """Let the cluster delete it; no-op the second time."""
        if not self._released:
            self._released = True
            self._parts = []
            if self._release is not None:
                self._release()

    # --- display ----------------------------------------------------------------------------------

    def _shown(self) -> list[tuple[str, str]]:
        return [(_clip(k), _clip(v)) for k, v in islice(self, SHOWN_ROWS)]

    def __repr__(self) -> str:
        return f"<JobResult {_clip(repr(self.name))}: {exactly(len(self), 'pair')}{self._about()}>"

    def _about(self) -> str:
        """Where it is written, or that it is a sample; and what was left out."""
        about = "" if self.output is None else f", written to {self.output}"
        if self.sample:
            about = f" of a sample ({self.sample})"
        return f"{about}; {skipped(len(self.bad_records))}" if self.bad_records else about

    def _repr_html_(self) -> str:
        if self._released:
            return html.escape(repr(self))
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(k)}</td>"
            f"<td style='text-align:left'>{html.escape(v)}</td></tr>"
            for k, v in self._shown()
        )
        more = len(self) - SHOWN_ROWS
        shown = f", {more:,} more" if more > 0 else ""
        foot = f"<p>{exactly(len(self), 'pair')}{shown}{html.escape(self._about())}</p>"
        head = "<thead><tr><th>key</th><th>value</th></tr></thead>"
        return f"<table>{head}<tbody>{rows}</tbody></table>{foot}"


def _clip(thing: Any) -> str:
    text = thing if isinstance(thing, str) else short(thing)
    text = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode()  # no page can hold lone surrogates
