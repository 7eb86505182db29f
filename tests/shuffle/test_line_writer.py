"""Lines of programs as parts: byte for byte, and in one order where they have one."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mrkernel.job.program import Cut
from mrkernel.shuffle.line_pairs import block_lines, cut_lines
from mrkernel.shuffle.line_writer import LineWriter
from mrkernel.shuffle.merge import merge_blocks
from mrkernel.shuffle.run import SegmentReader, memory_index, memory_read, segment_readers

lines = st.lists(st.text("ab\t", max_size=4).map(str.encode), max_size=12)


def part(pieces: list[list[bytes]]) -> list[SegmentReader]:
    """Write pieces of lines as a part, and open it."""
    writer = LineWriter(Path("unused"), inline=1 << 20)
    for piece in pieces:
        text = b"".join(line + b"\n" for line in piece)
        writer.add(*cut_lines(text, Cut()))
    index = writer.close()
    if writer.data is None:
        assert not index.nbytes
        return []
    assert memory_index(writer.data).sorted == index.sorted
    return segment_readers(memory_read(writer.data), "a part", index, 0)


def text_of(parts: list[SegmentReader]) -> bytes:
    return b"".join(bytes(block_lines(block)) for block in merge_blocks(parts))


def key_of(line: bytes) -> bytes:
    return line.partition(b"\t")[0]


@given(st.lists(lines, max_size=4))
def test_lines_come_back_as_they_were_written(pieces: list[list[bytes]]) -> None:
    expected = b"".join(line + b"\n" for piece in pieces for line in piece)
    assert text_of(part(pieces)) == expected


@given(st.lists(lines, max_size=4))
def test_a_part_is_sorted_exactly_if_its_keys_ascend(pieces: list[list[bytes]]) -> None:
    keys = [key_of(line) for piece in pieces for line in piece]
    for reader in part(pieces):
        assert reader.sorted == (keys == sorted(keys))


@given(lines, lines, st.integers(0, 12), st.integers(0, 12))
def test_sorted_parts_are_merged_by_their_keys(
    some: list[bytes], others: list[bytes], cut: int, other_cut: int
) -> None:
    some, others = sorted(some, key=key_of), sorted(others, key=key_of)
    first = part([some[:cut], some[cut:]])
    second = part([others[:other_cut], others[other_cut:]])
    merged = sorted([*some, *others], key=key_of)
    assert text_of([*first, *second]) == b"".join(line + b"\n" for line in merged)
