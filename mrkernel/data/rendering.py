"""Single keys and values as text, the way each output format writes them. Pure.

*Text* output has ``bytes`` and ``str`` as they are, as Hadoop's TextOutputFormat does: tabs and
line ends in them are kept, because quoting would make the common case (one word, one number)
surprising to ``cut`` and ``sort``. Who has line ends in keys or values yields
``json.dumps(value)``, or writes csv or jsonl. All else is JSON where JSON can say it, else
``repr``; elements of sets are sorted, so that the text does not depend on the hash seed.

A *csv* cell is empty for None, and has ``true`` and ``false``, which every reader takes for bools
(``True`` only some); containers are JSON, anything else is what ``str`` says of it, as Python's
``csv`` has it.

*JSON* is strict: what it cannot hold (bytes, nan, other objects) is refused, not guessed at. Sets
are arrays, sorted by their text.
"""

from __future__ import annotations

import json
import json.encoder
from typing import Any

#: A text as JSON has it, quotes and all.
quoted_json = json.encoder.encode_basestring
_encode_json = json.JSONEncoder(ensure_ascii=False).encode
_NEEDS_QUOTES = frozenset(b',"\r\n')


def render(item: Any) -> bytes:
    """A key or a value as text output has it."""
    kind = type(item)
    if kind is int or (kind is float and item - item == 0):
        return repr(item).encode()  # as JSON has it, at a tenth of the cost
    if isinstance(item, str):
        return encode_text(item)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    if is_numpy(item):
        item = item.tolist()  # a scalar or an array of plain numbers
    if not isinstance(item, (set, frozenset)):
        try:
            return encode_text(_encode_json(item))
        except (TypeError, ValueError, RecursionError):
            pass  # not JSON: repr says it
    return encode_text(_repr(item))


def render_csv(item: Any) -> bytes:
    """A key or a value as a csv cell, quoted where it must be."""
    kind = type(item)
    if kind is int or kind is float:
        return repr(item).encode()
    if item is None:
        return b""
    if kind is bool:
        return b"true" if item else b"false"
    if kind is not str and is_numpy(item):
        return render_csv(item.tolist())
    if isinstance(item, (str, bytes, bytearray, memoryview, dict, list, tuple, set, frozenset)):
        text = render(item)
    else:
        text = encode_text(str(item))
    if not text:
        return b'""'  # an empty text is not a missing value
    if _NEEDS_QUOTES.isdisjoint(text):
        return text
    return b'"%b"' % text.replace(b'"', b'""')


def render_json(item: Any) -> bytes:
    """A key or a value as strict JSON, without spaces.

    Raises:
        ValueError: JSON cannot hold it; says why.
    """
    kind = type(item)
    if kind is int:
        return b"%d" % item
    if kind is str:
        return _utf8(quoted_json(item))
    try:
        return _utf8(_encode_strictly(item))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except TypeError as error:
        raise ValueError(str(error)) from None


def encode_text(text: str) -> bytes:
    """UTF-8, and bytes again where ``surrogateescape`` made surrogates of them."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass  # lone surrogates
    try:
        # --errors surrogateescape on the way in: the same bytes on the way out.
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def is_numpy(item: Any) -> bool:
    """Whether it is a scalar or an array of numpy's."""
    return type(item).__module__ == "numpy" and hasattr(item, "tolist")


def _plain(item: Any) -> Any:
    """What the JSON encoder asks for an object it does not know."""
    if isinstance(item, (set, frozenset)):
        return sorted(item, key=render)
    if is_numpy(item):
        return item.tolist()
    raise TypeError(f"JSON has no {type(item).__name__}")


_encode_strictly = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
).encode


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Escaped surrogates are JSON; bytes that are no UTF-8 would be none.
        return text.encode("utf-8", "backslashreplace")


def _repr(item: Any) -> str:
    if not isinstance(item, (set, frozenset)):
        return repr(item)
    inside = ", ".join(sorted(map(_repr, item)))
    text = f"{{{inside}}}" if item else "set()"
    return text if isinstance(item, set) else f"frozenset({text if item else ''})"
