from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mrkernel.data.arrays import as_numpy, of_bits, of_lengths, packed


@pytest.mark.parametrize("texts", [[], [""], ["a", "", "größer", "日本"]])
def test_texts_and_binaries_of_their_lengths(texts: list[str]) -> None:
    binaries = [text.encode() for text in texts]
    lengths = np.array(list(map(len, binaries)), np.int64)
    data = b"".join(binaries)
    for kind, want in ((pa.large_string(), texts), (pa.large_binary(), binaries)):
        array = of_lengths(lengths, data, kind)
        array.validate(full=True)
        assert (array.type, array.to_pylist()) == (kind, want)


@pytest.mark.parametrize("size", [0, 1, 8, 9])
def test_bools(size: int) -> None:
    bits = np.arange(size) % 3 == 0
    assert of_bits(bits).to_pylist() == bits.tolist()


def test_nulls_are_where_the_bitmap_says() -> None:
    there = np.array([True, False, True])
    assert of_bits(there, packed(there)).to_pylist() == [True, None, True]
    texts = of_lengths(np.array([1, 0, 2]), b"abc", pa.large_string(), packed(there))
    assert texts.to_pylist() == ["a", None, "bc"]


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 5), (2, 4)])
def test_numbers_of_a_slice(start: int, stop: int) -> None:
    array = pa.array([3, 1, 4, 1, 5], pa.int64())
    assert as_numpy(array.slice(start, stop - start), "<i8").tolist() == [3, 1, 4, 1, 5][start:stop]
