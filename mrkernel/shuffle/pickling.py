"""Pickling blocks of values: fast where nothing can be shared, faithful where something is. Pure.

``Pickler.fast`` (no memo) is several times faster, but forgets that two parts of a value are one
object and never ends on a cycle. So it is used only for blocks that are seen to be trees of plain
values; the walk which sees it runs in C and costs less than it saves.
"""

from __future__ import annotations

import datetime
import io
import pickle
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from typing import Any

from mrkernel.data import pickles
from mrkernel.job.failure import Failure, UserCodeError, user_failure

#: Values without parts, or whose parts nobody can tell apart by identity.
_LEAVES = frozenset(
    {type(None), bool, int, float, complex, str, bytes, Decimal, Fraction}
    | {datetime.date, datetime.datetime, datetime.timedelta}
)
_MUTABLE = frozenset({list, dict, set, bytearray})
_FROZEN = frozenset({tuple, frozenset})
_CONTAINERS = _MUTABLE | _FROZEN
_DEPTH = 4


def dumps(values: list[Any], frozen: bool = False) -> bytes:
    """Pickle a block of values.

    Args:
        frozen: they were seen to be `is_frozen`.

    Raises:
        UserCodeError: a value cannot be pickled; the sentence names its type and its index, which
            is also in ``failure.where``.
    """
    if frozen or is_tree(values):
        out = io.BytesIO()
        pickler = pickle.Pickler(out, 5)
        pickler.fast = True
        pickler.dump(values)
        return out.getvalue()
    try:
        return pickle.dumps(values, 5)
    except Exception:  # noqa: BLE001 (a notebook's class or a lambda; cloudpickle reports the rest)
        return _by_value(values)


def loads(data: bytes | memoryview) -> list[Any]:
    """Unpickle a block written by `dumps`.

    Raises:
        UserCodeError: the code that makes a value again (``__setstate__`` and the like) raised.
    """
    try:
        return pickles.loads(data)  # type: ignore[no-any-return]
    except (Exception, SystemExit) as error:
        failure = user_failure(
            error,
            role="a value, when it was made again from what was sent,",
            hint="yield plain data, or mend its __reduce__ or __setstate__",
        )
        raise UserCodeError(failure) from error


def is_frozen(values: Sequence[Any]) -> bool:
    """Say whether values are plain, shallow, and cannot be changed: a tree whichever are taken.

    It costs 80 ns a tuple while the values are in the cache, `is_tree` 320 when they are to be
    written (measured).
    """
    level = values
    for _ in range(_DEPTH):
        types = set(map(type, level))
        if types <= _LEAVES:
            return True
        if not types - _LEAVES <= _FROZEN:
            return False
        if types & _LEAVES:
            level = [item for item in level if type(item) not in _LEAVES]
        level = list(chain.from_iterable(level))
    return False


def is_tree(values: Sequence[Any]) -> bool:
    """Say whether values are plain, shallow, and share no mutable part among or within them."""
    level: Sequence[Any] = values
    for depth in range(_DEPTH):
        types = set(map(type, level))
        if types <= _LEAVES:
            return True
        if not types - _LEAVES <= _CONTAINERS or depth == _DEPTH - 1:
            return False
        inner = level
        if types & _LEAVES:
            inner = [item for item in level if type(item) not in _LEAVES]
        if types & _MUTABLE:
            changeable = inner
            if not types - _LEAVES <= _MUTABLE:
                changeable = [item for item in inner if type(item) in _MUTABLE]
            if len(set(map(id, changeable))) != len(changeable):
                return False
        if bytearray in types:
            inner = [item for item in inner if type(item) is not bytearray]
        if dict in types:
            dicts = [item for item in inner if type(item) is dict]
            inner = [item for item in inner if type(item) is not dict]
            inner.extend(dicts)
            inner.extend(item.values() for item in dicts)
        level = list(chain.from_iterable(inner))
    return False


def _by_value(values: list[Any]) -> bytes:
    import cloudpickle

    try:
        return cloudpickle.dumps(values, 5)  # type: ignore[no-any-return]
    except Exception as error:
        for index, value in enumerate(values):
            try:
                cloudpickle.dumps(value, 5)
            except Exception as cause:
                raise _unpicklable(value, index, cause) from cause
        raise _unpicklable(values, 0, error) from error


def _unpicklable(value: Any, index: int, cause: Exception) -> UserCodeError:
    name = type(value).__name__
    hint = "yield plain data instead"
    if name == "generator":
        hint = "yield list(value) instead"
    elif hasattr(value, "read"):
        hint = "yield its name or its contents instead"
    return UserCodeError(
        Failure(
            kind="user",
            sentence=f"value {index} is a {name} and cannot be sent between processes: {hint}",
            error_type=type(cause).__name__,
            message=str(cause),
            where=f"value {index}",
            hint=hint,
        )
    )
