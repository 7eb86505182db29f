"""Which partition a key belongs to: the same on every machine, process and Python. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from mrkernel.job.evidence import evidence_of
from mrkernel.job.failure import Failure, UserCodeError, short, user_failure
from mrkernel.shuffle import keys as _keys
from mrkernel.shuffle.columns import ArrowColumn
from mrkernel.shuffle.key_column import KeyColumn

#: Keys hashed at once: their bytes objects stay in the cache, and few.
_SLICE = 1 << 14

Partitioner = Callable[[Any, int], int]


class ColumnPartitioner(Protocol):
    """Numbers whole columns of keys."""

    def of_column(self, keys: KeyColumn, partitions: int) -> Sequence[int] | Any:
        """Give a number from 0, below ``partitions``, for each key."""


AnyPartitioner = Partitioner | ColumnPartitioner


def partition_of(key: Any, partitions: int) -> int:
    """Number (from 0) of the partition of one key.

    Raises:
        KeyTypeError: it is none of the types a key may have.
    """
    return _keys.stable_hash(key) % partitions


def partitions_of(
    keys: KeyColumn, partitions: int, partitioner: AnyPartitioner | None = None
) -> Sequence[int] | Any:
    """Number the partition of every key of a column; agrees with `partition_of`.

    Args:
        partitions: how many there are; at least 1.
        partitioner: the user's own ``f(key, partitions)``, or one of whole columns; None: the
            stable hash.

    Returns:
        A list of ints, or a numpy array of integers where the column is typed.

    Raises:
        UserCodeError: the user's partitioner raised, or its result is no int in the range.
    """
    if partitioner is not None and hasattr(partitioner, "of_column"):
        return partitioner.of_column(keys, partitions)
    if partitioner is not None:
        return [_ask(partitioner, key, partitions) for key in keys.to_list()]
    return parts_of(hashes_of(keys), partitions)


def parts_of(hashes: Sequence[int] | Any, partitions: int) -> Sequence[int] | Any:
    """Number the partitions of keys with these hashes: a list, or an array, as they are."""
    if isinstance(hashes, list):
        return [number % partitions for number in hashes]
    array: Any = hashes
    return array % partitions


def hashes_of(keys: KeyColumn) -> Sequence[int] | Any:
    """Hash every key of a column; agrees with `keys.stable_hash`.

    Returns:
        A list of ints, or a numpy array of uint64 where the column is typed.
    """
    column = keys.column
    if isinstance(column, ArrowColumn):
        import numpy as np

        if keys.kind == "int":
            return _keys.hash_int64(column.numpy())
        if keys.kind == "float":
            return _keys.hash_float64(column.numpy())
        hash_all: Callable[[Iterable[bytes]], Iterable[int]]
        if keys.kind == "str":
            hash_all = _keys.hash_utf8
        elif keys.kind == "bytes":
            hash_all = _keys.hash_bytes
        else:
            hash_all = partial(map, _keys.hash_encoded)
        hashes = np.empty(len(column), np.uint64)
        for start in range(0, len(column), _SLICE):
            binaries = column.slice(start, min(start + _SLICE, len(column))).binaries()
            stop = start + len(binaries)
            hashes[start:stop] = np.fromiter(hash_all(binaries), np.uint64, len(binaries))
        return hashes
    of_key = _keys.hash_encoded if keys.kind == "encoded" else _keys.stable_hash
    return list(map(of_key, column.to_list()))


def _ask(partitioner: Partitioner, key: Any, partitions: int) -> int:
    try:
        answer: Any = partitioner(key, partitions)
    except (Exception, SystemExit) as error:
        failure = user_failure(
            error,
            role="partitioner",
            where=f"key {short(key)}",
            evidence=evidence_of(key, partitions),
        )
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
                role="partitioner",
                evidence=evidence_of(key, partitions),
                where=f"key {short(key)}",
                hint=f"return ... % {partitions}, or better: return ... % partitions, "
                "its second argument",
            )
        )
    return answer  # type: ignore[no-any-return]
