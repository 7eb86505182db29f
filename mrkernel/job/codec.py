"""Pairs as lines of text: ``key TAB value``. Pure.

``bytes`` and ``str`` are written as they are, as Hadoop's TextOutputFormat does: tabs and line ends
in them are kept, because quoting would make the common case (one word, one number) surprising to
``cut`` and ``sort``. Who has line ends in keys or values yields ``json.dumps(value)``. All else is
JSON where JSON can say it, else ``repr``; elements of sets are sorted, so that the text does not
depend on the hash seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

_encode_json = json.JSONEncoder(ensure_ascii=False).encode


def render_pair(key: Any, value: Any) -> bytes:
    """One line of text output, with its line end."""
    return b"%b\t%b\n" % (render(key), render(value))


def render_pairs(pairs: Iterable[tuple[Any, Any]]) -> Iterator[bytes]:
    """Lines of text output; same as ``render_pair`` for each, faster for (str, int)."""
    for key, value in pairs:
        if type(key) is str and type(value) is int:
            try:
                yield f"{key}\t{value}\n".encode()
                continue
            except UnicodeEncodeError:
                pass  # surrogates: bytes that were no UTF-8; render_pair gives them back
        yield render_pair(key, value)


def render(item: Any) -> bytes:
    """A key or a value as text output has it."""
    kind = type(item)
    if kind is int or (kind is float and item - item == 0):
        return repr(item).encode()  # as JSON has it, at a tenth of the cost
    if isinstance(item, str):
        return _encode_surrogates(item)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    if type(item).__module__ == "numpy" and hasattr(item, "tolist"):
        item = item.tolist()  # a scalar or an array of plain numbers
    if not isinstance(item, (set, frozenset)):
        try:
            return _encode_surrogates(_encode_json(item))
        except (TypeError, ValueError, RecursionError):
            pass  # not JSON: repr says it
    return _encode_surrogates(_repr(item))


def _encode_surrogates(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass  # lone surrogates
    try:
        # --errors surrogateescape on the way in: the same bytes on the way out.
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _repr(item: Any) -> str:
    if not isinstance(item, (set, frozenset)):
        return repr(item)
    inside = ", ".join(sorted(map(_repr, item)))
    text = f"{{{inside}}}" if item else "set()"
    return text if isinstance(item, set) else f"frozenset({text if item else ''})"
