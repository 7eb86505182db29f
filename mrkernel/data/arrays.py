"""Arrow arrays from numpy arrays and bytes, and back, without a copy. Pure.

Not by ``pa.array``, ``pa.scalar`` and ``Array.to_numpy``: all three import pandas where it is
installed, which takes longer than most tasks.
"""

from __future__ import annotations

from typing import Any


def of_lengths(lengths: Any, data: Any, kind: Any, valid: Any = None) -> Any:
    """Make an array of texts or binaries from their contents, one after the other.

    Args:
        lengths: of each in bytes, a numpy array.
        data: bytes, or a buffer of them.
        kind: ``pa.large_string()`` or ``pa.large_binary()``.
        valid: Arrow's bitmap of those that are not null; None: all.
    """
    import numpy as np
    import pyarrow as pa

    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(lengths), buffers)


def of_bits(bits: Any, valid: Any = None) -> Any:
    """Make an array of bools from a numpy array of them; ``valid`` as in `of_lengths`."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.bool_(), len(bits), [valid, packed(bits)])


def packed(bits: Any) -> Any:
    """Make Arrow's bitmap of a numpy array of bools."""
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(bits, bitorder="little"))


def as_numpy(array: Any, dtype: str) -> Any:
    """See an Arrow array of numbers, none of them null, as a numpy array."""
    import numpy as np

    values = array.buffers()[1]
    if values is None or not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(values, dtype)[array.offset : array.offset + len(array)]
