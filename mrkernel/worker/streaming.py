"""Tasks whose mapper, reducer, combiner or partitioner is a program: bytes in, bytes out.

Whole blocks of text go to a program and come from it; a line is looked at by numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mrkernel.data.batches import LineBatch, PairBatch
from mrkernel.data.lines import LINE_FORMATS
from mrkernel.data.manifest import PLAIN
from mrkernel.data.records import Batch
from mrkernel.job.failure import Failure, UserCodeError, short
from mrkernel.job.program import Program
from mrkernel.shuffle.block import Block
from mrkernel.shuffle.columns import ListColumn
from mrkernel.shuffle.grouping import join
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.line_pairs import block_lines, cut_lines
from mrkernel.shuffle.line_writer import LineWriter
from mrkernel.worker.map_records import Done, Sink
from mrkernel.worker.pipes import Data
from mrkernel.worker.programs import TaskPrograms
from mrkernel.worker.progress import ProgressCell

#: Files are read as this: every byte is a character of it, so none is lost or refused.
ANY_BYTES = "latin-1"
_ITEM = LINE_FORMATS[PLAIN](("item",))
_PAIR = LINE_FORMATS[PLAIN](("key", "value"))


def map_program(
    program: Program,
    programs: TaskPrograms,
    split: object,
    batches: Iterable[Batch],
    sink: Sink,
    done: Done,
    progress: ProgressCell,
    sample: int | None,
) -> None:
    """Let a program map a split.

    Args:
        batches: its records, lines read as `ANY_BYTES`.
        sample: only so many of them; None: all.
    """
    first: list[int] = []  # where its first line is

    def texts() -> Iterator[Data]:
        left = sample
        for batch in batches:
            text = _text_of(batch)
            if isinstance(batch, LineBatch) and not first:
                first.append(batch.key(0)[1])
            if left is not None:
                text = _first_lines(text, left)
            lines = _count_lines(text)
            progress.at(f"{batch.near(0)} or soon after in {program.__name__}")
            done.records += lines
            done.bytes_in += len(text)
            yield text
            progress.add(lines, len(text))
            if left is not None:
                left -= lines
                if left <= 0:
                    return

    def take(lines: bytearray) -> None:
        keys, rests = cut_lines(lines, program.cut)
        sink.add_columns(keys, rests)
        done.pairs += len(keys)

    programs.run(
        program, "mapper", texts(), take, split=split, first=lambda: first[0] if first else 0
    )


def reduce_program(
    program: Program,
    programs: TaskPrograms,
    blocks: Iterable[Block],
    writer: LineWriter,
    done: Done,
    progress: ProgressCell,
) -> None:
    """Let a program reduce a partition.

    Args:
        blocks: all its groups, by key.
    """

    def texts() -> Iterator[Data]:
        for block in blocks:
            if not block.pairs:
                continue
            group = short(block.keys.slice(0, 1).to_list()[0])
            progress.at(f"group {group} or one after it in {program.__name__}")
            done.records += block.groups - block.continues
            yield block_lines(block)
            progress.add(block.groups - block.continues, 0)

    def take(lines: bytearray) -> None:
        keys, rests = cut_lines(lines, program.cut)
        writer.add(keys, rests)
        done.pairs += len(keys)

    programs.run(program, "reducer", texts(), take)


def combining(program: Program, programs: TaskPrograms) -> Callable[[Block], Block]:
    """Make of a program what combines the groups of a block."""

    def combine(block: Block) -> Block:
        made: list[Block] = []

        def take(lines: bytearray) -> None:
            keys, rests = cut_lines(lines, program.cut)
            made.append(Block(KeyColumn.of_column(keys), None, [rests]))

        programs.run(program, "combiner", iter((block_lines(block),)), take)
        return join(made) if made else Block(block.keys.slice(0, 0), None, [ListColumn([])])

    return combine


class ProgramPartitioner:
    """A program that prints, for each line, the number of its partition.

    It gets each distinct key once, as a line ``key TAB``, and the number of partitions as its last
    argument, as Madoop has it.
    """

    def __init__(self, program: Program, programs: TaskPrograms) -> None:
        self._program = program
        self._programs = programs

    def of_column(self, keys: KeyColumn, partitions: int) -> Any:
        """Number the partition of every key.

        Raises:
            UserCodeError: it fails, or gives other than one such number for each key.
        """
        import numpy as np

        given = bytearray()
        lines = block_lines(Block(keys, None, [ListColumn([b""] * len(keys), "bytes")]))
        arguments = (str(partitions),)
        self._programs.run(
            self._program, "partitioner", iter((lines,)), given.extend, arguments=arguments
        )
        answers = given.split()
        name = self._program.__name__
        if len(answers) != len(keys):
            raise self._wrong(
                f"the partitioner {name} printed {len(answers):,} numbers for {len(keys):,} keys: "
                "it must print one for every line that it reads"
            )
        try:
            numbers = np.fromiter(map(int, answers), np.int64, len(answers))
        except (ValueError, OverflowError):
            odd = (answer for answer in answers if not answer.isdigit())
            bad = bytes(next(odd, max(answers, key=len)))
            numbers = np.full(1, -1)
        else:
            wrong = np.flatnonzero((numbers < 0) | (numbers >= partitions))
            bad = bytes(answers[wrong[0]]) if len(wrong) else b""
        if bad:
            said = bad.decode("utf-8", "replace")
            raise self._wrong(
                f"the partitioner {name} printed {short(said)}: it must print a number from 0 to "
                f"{partitions - 1} for every line that it reads"
            )
        return numbers

    @staticmethod
    def _wrong(sentence: str) -> UserCodeError:
        return UserCodeError(Failure(kind="user", sentence=sentence, role="partitioner"))


def _text_of(batch: Batch) -> Data:
    """Give the records of a batch as lines: those of a text file as they are there."""
    if isinstance(batch, LineBatch):
        raw = batch.raw
        if len(raw) and raw[-1] != 0x0A:  # the last line of a file: programs expect its end
            return bytes(raw) + b"\n"
        return raw
    if isinstance(batch, PairBatch):
        keys, values = batch.arguments(0, len(batch))
        return _PAIR.rows([list(keys), list(values)])
    return _ITEM.rows([batch.records])


def _count_lines(text: Data) -> int:
    import numpy as np

    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == 0x0A))


def _first_lines(text: Data, count: int) -> Data:
    import numpy as np

    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == 0x0A)
    return text if len(ends) <= count else memoryview(text)[: int(ends[count - 1]) + 1]
