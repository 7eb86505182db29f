"""The meaning of a job in twenty lines: one process, one dict, no columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mrkernel.shuffle.keys import decode, encode, spelling


def group(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, list[Any]]]:
    """Group pairs: keys ascending in their simplest spelling, values in the order of the pairs."""
    groups: dict[bytes, tuple[list[bytes], list[Any]]] = {}
    for key, value in pairs:
        spellings, values = groups.setdefault(encode(key), ([], []))
        spellings.append(spelling(key))
        values.append(value)
    return [
        (decode(encoded, min(spellings)), values)
        for encoded, (spellings, values) in sorted(groups.items())
    ]


#: A ``repr`` of these, alone or in a list, says their types as well.
PLAIN = {int, float, bool, str, bytes, type(None)}


def exactly(value: Any) -> Any:
    """Make something that is equal only if types agree too: 1 is not True, -0.0 is not 0.0."""
    if isinstance(value, list | tuple):
        if set(map(type, value)) <= PLAIN:
            return (type(value).__name__, repr(value))
        return (type(value).__name__, [exactly(item) for item in value])
    if isinstance(value, dict):
        return ("dict", [(exactly(k), exactly(v)) for k, v in value.items()])
    return (type(value).__name__, repr(value))
