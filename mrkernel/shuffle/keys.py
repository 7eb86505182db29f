"""Keys: what may be one, their one order, and a hash that is the same everywhere. Pure.

Every part of the shuffle follows one encoding, ``encode``: bytes that compare (``memcmp``) as the
keys do. Top level: one tag byte, then

* ``None``: nothing;
* a number: the double nearest to it towards zero, 8 bytes, then what is missing to the exact value
  (one zero byte if nothing is). Negative numbers have a lower tag and every byte inverted, so
  that ints and floats of any size compare exactly, and 1, 1.0 and True are the same bytes;
* ``str`` and ``bytes``: the bytes themselves (UTF-8 sorts as code points do);
* a tuple: its items, nested.

Inside a tuple strings are escaped and ended as in FoundationDB's tuple layer (``00`` becomes
``00 ff``, the end is ``00``, every tag is above ``00``), so a tuple sorts after its prefixes.

Equal numbers have one encoding, but the reducer must see ``1`` where all maps said ``1``: the
*spelling* has one byte per number of the key (bool < int < float). The smallest spelling in a
group is the one shown.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any
from zlib import crc32

from mrkernel.errors import KeyTypeError

Scalar = None | bool | int | float | str | bytes
#: What `normalise` returns: a scalar of exactly one of these types, or a plain tuple of such.
Key = Scalar | tuple[Any, ...]

NUMBERS = frozenset({bool, int, float})
SCALARS = frozenset({type(None), bool, int, float, str, bytes})
PLAIN = SCALARS | {tuple}

NONE, NEGATIVE, POSITIVE, NAN, TEXT, BINARY, TUPLE = 0x05, 0x10, 0x11, 0x12, 0x30, 0x40, 0x50
_NONE = bytes([NONE])
_ZERO = bytes([POSITIVE]) + bytes(9)
_NAN = bytes([NAN])
_TEXT = bytes([TEXT])
_BINARY = bytes([BINARY])
_TUPLE = bytes([TUPLE])
_INVERT = bytes(range(255, -1, -1))
_pack_double = struct.Struct(">d").pack
_DEEPEST = 50
_TOO_DEEP = f"a mapper's key is a tuple nested more than {_DEEPEST} deep: write a flat tuple"
_unpack_double = struct.Struct(">d").unpack_from
_pack_exact = struct.Struct(">Bdx").pack
_LARGEST = float.fromhex("0x1.fffffffffffffp+1023")
_LARGEST_INT = int(_LARGEST)
_EXACT = 1 << 53
_SPELLINGS = {bool: b"\x00", int: b"\x01", float: b"\x02"}

#: One per kind of key, so that "1", b"1" and 1 part ways; arbitrary but fixed for ever.
_TEXT_SEED, _BINARY_SEED, _OTHER_SEED = 0x6D726B31, 0x6D726B32, 0x6D726B33
_MASK = (1 << 64) - 1
_MIX_1, _MIX_2, _FLOAT_SALT = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15


def encode(key: Any) -> bytes:
    """Encode a key so that bytes compare as keys do: None < numbers < str < bytes < tuple.

    Raises:
        KeyTypeError: it is none of the types a key may have.
    """
    kind = type(key)
    if kind is str:
        return _TEXT + _utf8(key)
    if kind in NUMBERS:
        return _encode_number(key)
    if kind is tuple:
        try:
            return _TUPLE + b"".join(map(_encode_nested, key))
        except RecursionError:
            raise KeyTypeError(_TOO_DEEP) from None
    if kind is bytes:
        return b"".join((_BINARY, key))
    if key is None:
        return _NONE
    return encode(normalise(key))


def spelling(key: Any) -> bytes:
    """Spell the numbers of a key, in order: 0 for bool, 1 for int, 2 for float; b"" without any."""
    kind = type(key)
    if kind in NUMBERS:
        return _SPELLINGS[kind]
    if kind is tuple:
        return b"".join(map(spelling, key))
    if kind in SCALARS:
        return b""
    return spelling(normalise(key))


def decode(encoded: bytes, spelled: bytes) -> Key:
    """Give back the key of an encoding, its numbers spelled as ``spelled`` says.

    -0.0 comes back as 0.0 and every NaN as one NaN.
    """
    tag = encoded[0]
    if tag == TEXT:
        return _from_utf8(encoded[1:])
    if tag == BINARY:
        return encoded[1:]
    if tag == TUPLE:
        items, _, _ = _decode_items(encoded, 1, spelled, 0)
        return items
    scalar: Key = _decode_scalar(encoded, 0, spelled, 0)[0]
    return scalar


def normalise(key: Any) -> Key:
    """Make a key plain: numpy scalars, enums that are numbers or text, named tuples and the like.

    Raises:
        KeyTypeError: the key is not one of the types a key may have; says what to write instead.
    """
    kind = type(key)
    if kind in SCALARS:
        return key  # type: ignore[no-any-return]
    try:
        if isinstance(key, tuple):
            return tuple(map(normalise, key))
    except RecursionError:
        raise KeyTypeError(_TOO_DEEP) from None
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, int):
        return int.__index__(key)
    if isinstance(key, float):
        return float.__float__(key)
    if isinstance(key, bytes):
        return b"".join((key, b""))
    if kind.__module__ == "numpy" and kind.__name__ not in ("ndarray", "datetime64", "timedelta64"):
        item = key.item() if hasattr(key, "item") else key
        if type(item) in SCALARS:
            return item  # type: ignore[no-any-return]
    raise KeyTypeError(f"a mapper's key is {_article(kind.__name__)}: {_instead(key)}")


def check(keys: Sequence[Any]) -> tuple[Sequence[Any], set[type]]:
    """Check a batch of keys at C speed.

    Returns:
        The keys, normalised where one was not plain, and the exact types of all their leaves
        (of the keys themselves, or of the items of tuples, however deep); an empty tuple adds none.

    Raises:
        KeyTypeError: with ``index``, the position of the first bad key.
    """
    kinds = set(map(type, keys))
    if kinds <= SCALARS:
        return keys, kinds
    plain: list[Key] = []
    try:
        if kinds <= PLAIN:
            leaves = leaf_types(keys)
            if leaves <= SCALARS:
                return keys, leaves
        for key in keys:
            plain.append(normalise(key))
        return plain, leaf_types(plain)
    except KeyTypeError:
        for index, key in enumerate(keys):
            try:
                leaf_types([normalise(key)])
            except KeyTypeError as error:
                raise KeyTypeError(str(error), index) from None
        raise


def leaf_types(keys: Iterable[Any]) -> set[type]:
    """Collect the exact types of keys and, for plain tuples, of what is in them.

    Raises:
        KeyTypeError: a tuple is nested deeper than any key that is meant.
    """
    kinds = set(map(type, keys))
    if tuple in kinds:
        kinds.remove(tuple)
        level = [key for key in keys if type(key) is tuple]
        # Only exact tuples are opened: a named tuple stays a leaf and is normalised by the caller.
        for _ in range(_DEEPEST):
            kinds.update(map(type, chain.from_iterable(level)))
            if tuple not in kinds:
                return kinds
            kinds.remove(tuple)
            level = [item for item in chain.from_iterable(level) if type(item) is tuple]
        raise KeyTypeError(_TOO_DEEP)
    return kinds


def encode_all(keys: Sequence[Any]) -> tuple[list[bytes], list[bytes]]:
    """Encode and spell plain keys; each distinct key once where Python's equality allows it."""
    flat = _encode_flat(keys)
    if flat is not None:
        return flat
    if len(leaf_types(keys) & NUMBERS) <= 1:
        # One type of number at most: keys which Python finds equal have one spelling too.
        distinct = set(keys)
        if 2 * len(distinct) < len(keys):
            codes = {key: encode(key) for key in distinct}
            spellings = {key: spelling(key) for key in distinct}
            return list(map(codes.__getitem__, keys)), list(map(spellings.__getitem__, keys))
    return list(map(encode, keys)), list(map(spelling, keys))


def _encode_flat(keys: Sequence[Any]) -> tuple[list[bytes], list[bytes]] | None:
    """Encode tuples of one length, each place of one scalar type, place by place; None for others.

    Ten times faster than key by key: such keys are (word, document) or (year, month, city), whose
    places have few distinct values.
    """
    if set(map(type, keys)) != {tuple} or len(widths := set(map(len, keys))) != 1:
        return None
    if not next(iter(widths)):
        return None
    parts: list[Iterable[bytes]] = [repeat(_TUPLE)]
    spelled = b""
    for place in zip(*keys, strict=True):
        kinds = set(map(type, place))
        if len(kinds) != 1 or not kinds <= SCALARS:
            return None
        kind = kinds.pop()
        spelled += _SPELLINGS.get(kind, b"")
        # NaN is not equal to itself, but found by identity here: these are the same objects.
        codes = {item: _encode_nested(item) for item in set(place)}
        parts.append(map(codes.__getitem__, place))
    return list(map(b"".join, zip(*parts, strict=False))), [spelled] * len(keys)


def stable_hash(key: Any) -> int:
    """Hash a key to 32 bits, alike on every machine, Python and process.

    Equal keys have equal hashes: 1, 1.0 and True; every NaN.
    """
    kind = type(key)
    if kind is str:
        return crc32(_utf8(key), _TEXT_SEED)
    if kind is int or kind is bool:
        if -0x8000000000000000 <= key < 0x8000000000000000:
            return _mix(key & _MASK)
    elif kind is float:
        if -9.223372036854775808e18 <= key < 9.223372036854775808e18:
            whole = int(key)
            if whole == key:
                return _mix(whole & _MASK)
            return _mix(int.from_bytes(_pack_double(key), "big") ^ _FLOAT_SALT)
    elif kind is bytes:
        return crc32(key, _BINARY_SEED)
    return crc32(encode(key), _OTHER_SEED)


def hash_encoded(encoded: bytes) -> int:
    """Hash a key from its encoding; the same number as ``stable_hash`` of the key."""
    tag = encoded[0]
    if tag == TEXT:
        return crc32(encoded[1:], _TEXT_SEED)
    if tag == BINARY:
        return crc32(encoded[1:], _BINARY_SEED)
    if tag in (NEGATIVE, POSITIVE):
        number, _, _ = _decode_scalar(encoded, 0, b"\x01", 0, exact=True)
        return stable_hash(number)
    return crc32(encoded, _OTHER_SEED)


def hash_utf8(texts: Iterable[bytes]) -> Iterable[int]:
    """Hash text keys given as UTF-8."""
    return map(crc32, texts, repeat(_TEXT_SEED))


def hash_bytes(binaries: Iterable[bytes]) -> Iterable[int]:
    """Hash bytes keys."""
    return map(crc32, binaries, repeat(_BINARY_SEED))


def hash_int64(numbers: Any) -> Any:
    """Hash an int64 array: ``stable_hash`` of each, as an array of uint64."""
    import numpy as np

    return _mix_array(numbers.view(np.uint64))


def hash_float64(numbers: Any) -> Any:
    """Hash a float64 array without NaN: ``stable_hash`` of each, as an array of uint64."""
    import numpy as np

    small = (numbers >= -9.223372036854775808e18) & (numbers < 9.223372036854775808e18)
    safe = np.where(small, numbers, 0.0)
    whole = safe.astype(np.int64)
    bits = np.where(
        whole == safe, whole.view(np.uint64), safe.view(np.uint64) ^ np.uint64(_FLOAT_SALT)
    )
    hashes = _mix_array(bits)
    for place in np.flatnonzero(~small).tolist():
        hashes[place] = stable_hash(float(numbers[place]))
    return hashes


def _mix(bits: int) -> int:
    """Finish as splitmix64 does (Steele, Lea, Flood: Fast splittable PRNGs, 2014), upper half."""
    bits = ((bits ^ (bits >> 30)) * _MIX_1) & _MASK
    bits = ((bits ^ (bits >> 27)) * _MIX_2) & _MASK
    return bits >> 32


def _mix_array(bits: Any) -> Any:
    import numpy as np

    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_MIX_1)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_MIX_2)
    return bits >> np.uint64(32)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _from_utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogatepass")


def _encode_number(number: int | float) -> bytes:
    if isinstance(number, float):
        if number > 0.0:
            return _pack_exact(POSITIVE, number)
        if number == 0.0:
            return _ZERO
        if number != number:
            return _NAN
        return bytes([NEGATIVE]) + (_pack_double(-number) + b"\x00").translate(_INVERT)
    if 0 < number <= _EXACT:
        return _pack_exact(POSITIVE, number)
    if number == 0:
        return _ZERO
    magnitude = _encode_magnitude(abs(number))
    if number > 0:
        return bytes([POSITIVE]) + magnitude
    return bytes([NEGATIVE]) + magnitude.translate(_INVERT)


def _encode_magnitude(number: int) -> bytes:
    """Encode a positive int: a double not above it, then the rest with its length before it."""
    bits = number.bit_length()
    if bits <= 53:
        return _pack_double(number) + b"\x00"
    if bits > 1024:
        base, rest = _LARGEST, number - _LARGEST_INT
    else:
        top = number >> (bits - 53) << (bits - 53)
        base, rest = float(top), number - top
    size = (rest.bit_length() + 7) // 8
    length = bytes([size]) if size < 255 else b"\xff" + size.to_bytes(8, "big")
    return _pack_double(base) + length + rest.to_bytes(size, "big")


def _encode_nested(key: Any) -> bytes:
    kind = type(key)
    if kind is str:
        return _TEXT + _utf8(key).replace(b"\x00", b"\x00\xff") + b"\x00"
    if kind in NUMBERS:
        return _encode_number(key)
    if kind is tuple:
        return _TUPLE + b"".join(map(_encode_nested, key)) + b"\x00"
    if kind is bytes:
        return b"".join((_BINARY, key.replace(b"\x00", b"\x00\xff"), b"\x00"))
    if key is None:
        return _NONE
    return _encode_nested(normalise(key))


def _decode_items(
    encoded: bytes, at: int, spelled: bytes, number: int
) -> tuple[tuple[Any, ...], int, int]:
    """Decode the items of a tuple up to its end mark or the end of the key."""
    items: list[Any] = []
    end = len(encoded)
    while at < end:
        tag = encoded[at]
        if tag == 0:
            return tuple(items), at + 1, number
        item: Any
        if tag in (TEXT, BINARY):
            stop = encoded.index(b"\x00", at + 1)
            escaped = False
            while encoded[stop + 1 : stop + 2] == b"\xff":
                escaped = True
                stop = encoded.index(b"\x00", stop + 2)
            item = encoded[at + 1 : stop]
            if escaped:
                item = item.replace(b"\x00\xff", b"\x00")
            if tag == TEXT:
                item = _from_utf8(item)
            at = stop + 1
        elif tag == TUPLE:
            item, at, number = _decode_items(encoded, at + 1, spelled, number)
        else:
            item, at, number = _decode_scalar(encoded, at, spelled, number)
        items.append(item)
    return tuple(items), at, number


def _decode_scalar(
    encoded: bytes, at: int, spelled: bytes, number: int, exact: bool = False
) -> tuple[Any, int, int]:
    """Decode None or a number; ``exact`` gives an int or float by value, whatever the spelling."""
    tag = encoded[at]
    if tag == NONE:
        return None, at + 1, number
    if tag == NAN:
        return math.nan, at + 1, number + 1
    at += 1
    flip = 0xFF if tag == NEGATIVE else 0
    head = encoded[at : at + 9]
    if flip:
        head = head.translate(_INVERT)
    base: float = _unpack_double(head)[0]
    size = head[8]
    at += 9
    rest = 0
    if size:
        if size == 255:
            size = int.from_bytes(_flipped(encoded[at : at + 8], flip), "big")
            at += 8
        rest = int.from_bytes(_flipped(encoded[at : at + size], flip), "big")
        at += size
    kind = spelled[number]
    value: int | float
    value = base if kind == 2 or (exact and not rest) else int(base) + rest
    if flip:
        value = -value
    if kind == 0 and not exact:
        value = bool(value)
    return value, at, number + 1


def _flipped(data: bytes, flip: int) -> bytes:
    return data.translate(_INVERT) if flip else data


def _article(name: str) -> str:
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def _instead(key: Any) -> str:
    """Say what to write for a key that cannot be one."""
    name = type(key).__name__
    if isinstance(key, list):
        return "write tuple(key)"
    if isinstance(key, set | frozenset):
        return "write tuple(sorted(key))"
    if isinstance(key, dict):
        return "write tuple(sorted(key.items()))"
    if isinstance(key, bytearray | memoryview):
        return "write bytes(key)"
    if hasattr(key, "isoformat"):
        return "write key.isoformat()"
    if name == "ndarray":
        return "write tuple(key.tolist())"
    if hasattr(type(key), "__members__"):
        return "write key.name"
    if hasattr(type(key), "__dataclass_fields__"):
        return "write dataclasses.astuple(key)"
    return "keys are None, bool, int, float, str, bytes and tuples of these; write str(key)"
