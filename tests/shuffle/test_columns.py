from __future__ import annotations

import subprocess
import sys
import types
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import exactly
from pairs_strategy import columns, values

from mrkernel.job.failure import UserCodeError
from mrkernel.shuffle import pickling
from mrkernel.shuffle.assembly import concat, load
from mrkernel.shuffle.columns import (
    ArrowColumn,
    Column,
    ListColumn,
    from_arrow,
    pack,
    weigh,
)
from mrkernel.shuffle.dict_column import DictColumn, encode_repeats, repeated

either = st.sampled_from([0, 10**9])


@given(columns, either)
@settings(max_examples=200)
def test_values_come_back_identical(some: list[Any], typed_from: int) -> None:
    column = pack(list(some), least=typed_from)
    for back in (column, load(column.dump()), load(memoryview(b"x" + column.dump())[1:])):
        assert exactly(back.to_list()) == exactly(some)
        assert len(back) == len(some)

        assert all(exactly(back.at(i)) == exactly(value) for i, value in enumerate(some))


@given(columns, either, st.data())
@settings(max_examples=200)
def test_slices_takes_and_joins_are_those_of_lists(
    some: list[Any], typed_from: int, data: st.DataObject
) -> None:
    column = pack(list(some), least=typed_from)
    a, b = sorted(data.draw(st.tuples(*[st.integers(0, len(some))] * 2)))
    order = data.draw(st.permutations(range(len(some))))
    assert exactly(column.slice(a, b).to_list()) == exactly(some[a:b])
    assert exactly(column.take(order).to_list()) == exactly([some[i] for i in order])
    inner = column.slice(a, b)
    assert exactly(load(inner.dump()).to_list()) == exactly(some[a:b])
    other = pack(list(some[:b]), least=10**9 - typed_from)
    joined = concat([inner, other, column])
    assert exactly(joined.to_list()) == exactly(some[a:b] + some[:b] + some)


@given(st.lists(columns, min_size=1, max_size=4), either)
def test_columns_of_any_kinds_join(several: list[list[Any]], typed_from: int) -> None:
    joined = concat([pack(list(some), least=typed_from) for some in several])
    assert exactly(joined.to_list()) == exactly([value for some in several for value in some])


class Text(str):
    pass


@pytest.mark.parametrize(
    ("some", "kind"),
    [
        (["a"], "str"),
        ([b"a"], "bytes"),
        ([1], "int"),
        ([1.0], "float"),
        ([True], "bool"),
        ([True, 1], "object"),
        ([1, 1.0], "object"),
        ([None], "object"),
        ([Text("a")], "object"),
        ([2**64], "object"),
        (["\ud800"], "object"),
    ],
)
def test_only_values_of_exactly_one_type_are_typed(some: list[Any], kind: str) -> None:
    column = pack(some, least=0)
    assert column.kind == kind
    assert isinstance(column, ListColumn if kind == "object" else ArrowColumn)


def test_a_small_job_needs_neither_arrow_nor_numpy() -> None:
    program = (
        "import sys, mrkernel.shuffle.merge as m, mrkernel.shuffle.sort_buffer as s,"
        "mrkernel.shuffle.run as r, tempfile, os\n"
        "with tempfile.TemporaryDirectory() as d:\n"
        "    path = os.path.join(d, 'run')\n"
        "    b = s.SortBuffer(2, writer=r.RunWriter(path, 2), limit_bytes=10**8)\n"
        "    b.add([(str(i % 7), i) for i in range(1000)])\n"
        "    index = b.close()\n"
        "    for part in range(2):\n"
        "        readers = r.segment_readers(r.file_read(path), path, index, part)\n"
        "        for batch in m.merge_groups(readers):\n"
        "            list(batch)\n"
        "assert not {'pyarrow', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_typed_columns_do_not_import_pandas() -> None:
    program = (
        "import sys\n"
        "from mrkernel.shuffle import assembly as a, columns as c, dict_column as d, order, fold\n"
        "from mrkernel.shuffle.block import Block\n"
        "from mrkernel.shuffle.grouping import join, split_groups\n"
        "from mrkernel.shuffle.key_column import KeyColumn\n"
        "from mrkernel.shuffle.partition import partitions_of\n"
        "long = 'x' * 99\n"
        "for keys in ([long + str(i % 9) for i in range(5000)], list(range(5000)),\n"
        "             [i / 7 for i in range(5000)], [b'%d' % i for i in range(5000)]):\n"
        "    for values in (keys, [i % 2 == 0 for i in range(5000)]):\n"
        "        block = join([Block(KeyColumn.of(keys), None, [c.pack(values)])] * 2)\n"
        "        assert isinstance(a.load(block.columns[0].dump()), c.ArrowColumn)\n"
        "        fold.fold_block(block, 'max')\n"
        "        split_groups(block, partitions_of(block.keys, 3), 3)\n"
        "        block.columns[0].to_list(), a.concat([block.columns[0]] * 2).take([3])\n"
        "twice = d.encode_repeats(c.pack(['a', 'b'] * 3000))\n"
        "a.concat([twice, d.DictColumn(twice.codes, c.pack(['c', 'd'], least=1))]).dump()\n"
        "assert 'pyarrow' in sys.modules and 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_parts_of_one_value_stay_one_object() -> None:
    part = [1]
    cycle: list[Any] = []
    cycle.append(cycle)
    column = load(pack([(part, part), cycle, {"deep": [[[[part]]]]}]).dump())
    pair, ring, _ = column.to_list()
    assert pair[0] is pair[1]
    assert ring[0] is ring


def test_doubling_sharing_does_not_explode() -> None:
    value: Any = []
    for _ in range(60):
        value = [value, value]
    assert len(pack([value]).dump()) < 10_000


@given(st.lists(values))
def test_trees_and_others_pickle_alike(some: list[Any]) -> None:
    assert exactly(pickling.loads(pickling.dumps(some))) == exactly(some)


def test_values_of_a_notebooks_class_travel_by_value() -> None:
    notebook = types.ModuleType("__main__")
    exec("class Point:\n    def __init__(self, x): self.x = x", notebook.__dict__)
    data = pack([notebook.Point(1), notebook.Point(2)]).dump()
    points = load(data).to_list()
    assert [point.x for point in points] == [1, 2]
    assert type(points[0]) is type(points[1])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((i for i in "ab"), "value 1 is a generator .* yield list"),
        (types.SimpleNamespace(x=(i for i in "ab")), "value 1 is a SimpleNamespace"),
        (sys.stdout.buffer, "value 1 is a .* yield its name or its contents"),
    ],
)
def test_a_value_that_cannot_be_pickled_is_named(value: Any, said: str) -> None:
    with pytest.raises(UserCodeError, match=said):
        pack([1, value]).dump()


def test_weights_are_near_the_truth() -> None:
    assert 60_000 < weigh(["x" * 10] * 1000) < 80_000
    assert weigh([["x" * 1000] * 10]) > 10_000
    assert weigh([]) == 0


def test_nbytes_of_a_slice_is_its_own() -> None:
    column: Column = pack(["x" * 100] * 5000)
    assert isinstance(column, ArrowColumn)
    assert column.slice(0, 50).nbytes < 20_000


def test_arrow_arrays_become_columns() -> None:
    import pyarrow as pa

    typed: list[tuple[Any, str]] = [
        (pa.array(["a", "ä"]), "str"),
        (pa.array(["a", "b"], pa.string_view()), "str"),
        (pa.array([b"a"], pa.binary(1)), "bytes"),
        (pa.array([1, 2, 3], pa.uint8()).slice(1), "int"),
        (pa.array([1, 2**63 - 1], pa.uint64()), "int"),
        (pa.array([0.5, 1.5], pa.float32()), "float"),
        (pa.array([True, False, True]).slice(1), "bool"),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "str"),
        (pa.chunked_array([["a"], ["b", "c"]]), "str"),
        (pa.chunked_array([["a"], ["b", "a"]]).dictionary_encode(), "str"),
        (pa.chunked_array([], pa.int64()), "int"),
    ]
    for array, kind in typed:
        column = from_arrow(array)
        assert isinstance(column, ArrowColumn)
        assert (column.kind, len(column)) == (kind, len(array))
        assert exactly(column.to_list()) == exactly(array.to_pylist())
        assert exactly(load(column.dump()).to_list()) == exactly(array.to_pylist())
    for array in (
        pa.array([1, None]),
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([{"a": [1]}]),
        pa.array([None, "a"]).dictionary_encode(),
    ):
        column = from_arrow(array)
        assert isinstance(column, ListColumn)
        assert exactly(column.to_list()) == exactly(array.to_pylist())


few = st.sampled_from([["a", "b", ""], ["\ud800", "ä"], [b"x", b"yy"], ["only"]])


@given(few.flatmap(lambda words: st.lists(st.sampled_from(words), min_size=1)), either, st.data())
@settings(max_examples=150)
def test_repeats_are_values_like_any(some: list[Any], typed_from: int, data: st.DataObject) -> None:
    column: Column = repeated(some, [1] * len(some))
    assert (column.kind, len(column)) == (type(some[0]).__name__, len(some))
    if typed_from == 0:
        column = encode_repeats(pack(some, least=0))
    cut = data.draw(st.integers(0, len(some)))
    order = data.draw(st.permutations(range(len(some))))
    plain = pack(list(some), least=typed_from)
    for left, right in [
        (column, some),
        (load(column.dump()), some),
        (column.slice(0, cut), some[:cut]),
        (load(column.slice(0, cut).dump()), some[:cut]),
        (column.take(order), [some[i] for i in order]),
        (concat([column, column.slice(0, cut), column]), some + some[:cut] + some),
        (concat([column, repeated(some[::-1], [1] * len(some))]), some + some[::-1]),
        (concat([plain, column]), some + some),
        (concat([column, pack([1])]), [*some, 1]),
    ]:
        assert exactly(left.to_list()) == exactly(right)
        assert [left.at(i) for i in range(len(left))] == right


def test_repeats_take_little_room() -> None:
    names = [f"a long name of a file {i // 1000}" for i in range(20_000)]
    column = encode_repeats(pack(names))
    assert isinstance(column, DictColumn)
    assert len(column.dump()) < 21_000
    assert len(column.slice(3_000, 5_000).dump()) < 2_200
    assert len(concat([column] * 3).dump()) < 61_000
    apart = encode_repeats(pack([f"{i // 2}" for i in range(20_000)]))
    assert isinstance(apart, ArrowColumn)
    back = load(column.dump()).to_list()
    assert back[0] is back[999]
