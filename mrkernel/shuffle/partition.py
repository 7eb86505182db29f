"""Which partition a key belongs to: the same on every machine, process and Python. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mrkernel.job.failure import Failure, UserCodeError, short, user_failure
from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle.columns import ArrowColumn
from mrkernel.shuffle.key_column import KeyColumn

Partitioner = Callable[[Any, int], int]


def partition_of(key: Any, partitions: int) -> int:
    """Number (from 0) of the partition of one key.

    Raises:
        KeyTypeError: it is none of the types a key may have.
    """
    return _keys.stable_hash(key) % partitions


def partitions_of(
    keys: KeyColumn, partitions: int, partitioner: Partitioner | None = None
) -> Sequence[int] | Any:
    """Number the partition of every key of a column; agrees with `partition_of`.

    Args:
        partitions: how many there are; at least 1.
        partitioner: the user's own ``f(key, partitions)``; None: the stable hash.

    Returns:
        A list of ints, or a numpy array of uint64 where the column is typed.

    Raises:
        UserCodeError: the user's partitioner raised, or its result is no int in the range.
    """
    if partitioner is not None:
        return [_ask(partitioner, key, partitions) for key in keys.to_list()]
    column = keys.column
    if isinstance(column, ArrowColumn):
        import numpy as np

        if keys.kind == "int":
            return _keys.hash_int64(column.numpy()) % np.uint64(partitions)
        if keys.kind == "float":
            return _keys.hash_float64(column.numpy()) % np.uint64(partitions)
        binaries = column.binaries()
        if keys.kind == "str":
            hashes = _keys.hash_utf8(binaries)
        elif keys.kind == "bytes":
            hashes = _keys.hash_bytes(binaries)
        else:
            hashes = map(_keys.hash_encoded, binaries)
        return np.fromiter(hashes, np.uint64, len(binaries)) % np.uint64(partitions)
    of_key = _keys.hash_encoded if keys.kind == "encoded" else _keys.stable_hash
    return [of_key(key) % partitions for key in column.to_list()]


def _ask(partitioner: Partitioner, key: Any, partitions: int) -> int:
    try:
        answer: Any = partitioner(key, partitions)
    except (Exception, SystemExit) as error:
        failure = user_failure(error, role="the partitioner", where=f"key {short(key)}")
        raise UserCodeError(failure) from error
    kind = type(answer)
    # numpy integers are ints to their users; a bool or a float is a slip.
    whole = kind is not bool and hasattr(answer, "__index__")
    answer = answer.__index__() if whole else None
    if answer is None or not 0 <= answer < partitions:
        said = short(answer) if answer is not None else f"a {kind.__name__}"
        raise UserCodeError(
            Failure(
                kind="user",
                sentence=f"the partitioner gave {said} for key {short(key)}: "
                f"it must return an int from 0 to {partitions - 1}",
                where=f"key {short(key)}",
                hint=f"return ... % {partitions}, or better: return ... % partitions, "
                "its second argument",
            )
        )
    return answer  # type: ignore[no-any-return]
