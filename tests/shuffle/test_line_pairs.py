"""Lines cut into keys and rests by the block, against one line at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.job.program import Cut
from mrkernel.shuffle.assembly import concat
from mrkernel.shuffle.block import Block, load_block
from mrkernel.shuffle.columns import ListColumn
from mrkernel.shuffle.dict_column import DictColumn
from mrkernel.shuffle.field_partition import FieldPartitioner
from mrkernel.shuffle.grouping import join
from mrkernel.shuffle.key_column import KeyColumn
from mrkernel.shuffle.line_pairs import block_lines, cut_lines, whole_lines
from mrkernel.shuffle.partition import partition_of, partitions_of
from mrkernel.shuffle.rest_column import RestColumn

lines = st.lists(st.text("ab\t, \r\0é", max_size=6).map(str.encode), min_size=1, max_size=30)
cuts = st.builds(Cut, st.sampled_from([9, 44]), st.integers(1, 3), st.sampled_from([9, 44]))


def one_by_one(line: bytes, cut: Cut) -> tuple[bytes, bytes]:
    """Key and value of a line."""
    mark = bytes([cut.separator])
    fields = line.split(mark)
    if len(fields) <= cut.fields:
        return line, b""
    return mark.join(fields[: cut.fields]), mark.join(fields[cut.fields :])


def block_of(some: list[bytes], cut: Cut) -> Block:
    keys, rests = cut_lines(b"".join(line + b"\n" for line in some), cut)
    return Block(KeyColumn.of_column(keys), None, [rests])


@given(lines, cuts)
def test_keys_and_values_are_those_of_each_line(some: list[bytes], cut: Cut) -> None:
    keys, rests = cut_lines(b"".join(line + b"\n" for line in some), cut)
    pairs = list(zip(keys.to_list(), rests.to_list(), strict=True))
    assert pairs == [one_by_one(line, cut) for line in some]
    assert [rests.at(place) for place in range(len(rests))] == rests.to_list()


@given(lines, st.integers(1, 3))
def test_the_lines_come_back_byte_for_byte(some: list[bytes], fields: int) -> None:
    block = block_of(some, Cut(fields=fields))
    text = b"".join(line + b"\n" for line in some)
    assert bytes(block_lines(block)) == text
    assert bytes(block_lines(load_block(block.dump()))) == text


@given(lines, lines, st.integers(1, 3))
def test_joined_blocks_have_the_lines_of_each_key_in_their_order(
    some: list[bytes], others: list[bytes], fields: int
) -> None:
    cut = Cut(fields=fields)
    joined = join([block_of(some, cut), block_of(others, cut)])
    expected = sorted([*some, *others], key=lambda line: one_by_one(line, cut)[0])
    assert bytes(block_lines(joined)) == b"".join(line + b"\n" for line in expected)


def test_a_joiner_takes_the_place_of_the_separator_behind_the_key_only() -> None:
    block = block_of([b"a.b.c.d", b"a.b", b"a.b.", b"."], Cut(ord("."), 2, 9))
    assert bytes(block_lines(block)) == b"a.b\tc.d\na.b\na.b\t\n.\n"


def test_values_that_repeat_are_kept_once_and_stay_so() -> None:
    block = block_of([b"k%d\t1" % number for number in range(5000)], Cut())
    (rests,) = block.columns
    assert isinstance(rests, RestColumn)
    assert isinstance(rests.rests, DictColumn)
    both = concat([rests, rests.slice(0, 10)])
    assert isinstance(both, RestColumn)
    assert isinstance(both.rests, DictColumn)
    assert both.to_list() == [b"1"] * 5010
    assert bytes(block_lines(block)) == b"".join(b"k%d\t1\n" % number for number in range(5000))


def test_pairs_of_functions_are_rendered() -> None:
    block = Block(KeyColumn.of(["a", "b"]), [2, 1], [ListColumn([1, 2.5, None])])
    assert whole_lines(block) is None
    assert bytes(block_lines(block)) == b"a\t1\na\t2.5\nb\tnull\n"


@pytest.mark.parametrize("least", [0, 1 << 20], ids=["arrow", "list"])
@pytest.mark.parametrize("fields", [1, 2])
def test_a_key_goes_where_its_first_fields_go(least: int, fields: int) -> None:
    keys = [b"a\t1", b"a\t2", b"a", b"", b"\t", b"bc\t1\t2", b"bc\t1\t3", b"bc\t2"] * 3
    column = KeyColumn.of(keys, least=least)
    found = partitions_of(column, 7, FieldPartitioner(fields, 9))
    firsts = [b"\t".join(key.split(b"\t")[:fields]) for key in keys]
    assert [int(number) for number in found] == [partition_of(first, 7) for first in firsts]
