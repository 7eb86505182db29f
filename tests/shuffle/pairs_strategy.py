"""Keys, values and segments as Hypothesis draws them, and the shuffle end to end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mrkernel.shuffle.run import RunWriter, SegmentReader, file_read, segment_readers
from mrkernel.shuffle.sort_buffer import SortBuffer

#: Numbers that meet each other at the edges of int, float and 64 bits.
numbers = (
    st.integers(-3, 3)
    | st.booleans()
    | st.floats()
    | st.sampled_from([0.0, -0.0, 1.0, 2.0, float("nan"), float("inf"), -float("inf"), 0.5])
    | st.sampled_from([2**53, 2**53 + 1, float(2**53), 2**63, -(2**63), 2**63 - 1, float(2**63)])
    | st.sampled_from([2**1023, 2**1024, -(2**1024), 2**2100, 2**1024 - 1, 1.7976931348623157e308])
    | st.integers(-(2**70), 2**70)
    | st.integers(-3, 3).map(float)
)
texts = (
    st.sampled_from(["", "a", "a\x00", "a\x00b", "ab", "abcdefgh", "abcdefgh\x00", "abcdefghi"])
    | st.text(max_size=12)
    | st.text(st.characters(categories=["Cs", "Ll"]), max_size=3)
)
scalars = st.none() | numbers | texts | texts.map(lambda t: t.encode("utf-8", "surrogatepass"))
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)
#: Tuples of plain items, of one width.
rows = st.tuples(st.integers(-5, 5), st.text(max_size=3), st.none() | st.floats() | st.booleans())
#: Columns of one kind and of many.
columns = st.one_of(
    *(st.lists(kind, max_size=30) for kind in (st.text(max_size=9), st.binary(max_size=9))),
    *(st.lists(kind, max_size=30) for kind in (rows, st.tuples(st.integers()), st.tuples())),
    *(st.lists(kind, max_size=30) for kind in (st.integers(), st.floats(), st.booleans(), values)),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30),
)
#: What one map task's keys are like: of one type mostly, as in life.
key_kinds = st.sampled_from(
    [
        keys,
        numbers,
        texts,
        st.integers(0, 5),
        st.integers(0, 5).map(float),
        st.tuples(st.sampled_from("ab"), st.integers(0, 2)),
        st.binary(max_size=2),
    ]
)
map_outputs = st.lists(
    key_kinds.flatmap(lambda kind: st.lists(st.tuples(kind, values), max_size=12)), max_size=4
)

_names = itertools.count()


def shuffled(
    outputs: Sequence[Sequence[tuple[Any, Any]]],
    folder: Path,
    *,
    partitions: int = 1,
    batch: int = 5,
    limit_bytes: int = 1 << 30,
    **options: Any,
) -> list[list[SegmentReader]]:
    """Write one run per map output; give each partition's segments."""
    segments: list[list[SegmentReader]] = [[] for _ in range(partitions)]
    for pairs in outputs:
        path = folder / f"run-{next(_names)}"
        writer = RunWriter(path, partitions)
        buffer = SortBuffer(partitions, writer=writer, limit_bytes=limit_bytes, **options)
        for start in range(0, len(pairs), batch):
            buffer.add(pairs[start : start + batch])
        index = buffer.close()
        for part, readers in enumerate(segments):
            readers.extend(segment_readers(file_read(path), str(path), index, part))
    return segments
