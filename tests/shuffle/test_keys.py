from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle import exactly
from pairs_strategy import keys, numbers

from mrkernel.errors import KeyTypeError
from mrkernel.shuffle.keys import (
    check,
    decode,
    encode,
    encode_all,
    hash_encoded,
    normalise,
    spelling,
    stable_hash,
)


def rank(key: Any) -> Any:
    """Order keys without encoding them: by kind, then exactly by value."""
    if key is None:
        return (0,)
    if isinstance(key, bool | int | float):
        if key != key:
            return (1, 2)
        if isinstance(key, float) and math.isinf(key):
            return (1, 1 if key > 0 else -1)
        return (1, 0, Fraction(key))
    if isinstance(key, str):
        return (2, [ord(character) for character in key])
    if isinstance(key, bytes):
        return (3, list(key))
    return (4, [rank(item) for item in key])


@given(keys, keys)
@example(("a",), ("a\x00",))
@example(("a", "b"), ("a\x00b",))
@example(((), "a"), ((), ()))
@example((b"",), (None,))
@settings(max_examples=150)
def test_encodings_compare_as_keys_do(left: Any, right: Any) -> None:
    a, b = rank(left), rank(right)
    assert (encode(left) < encode(right)) == (a < b)
    assert (encode(left) == encode(right)) == (a == b)


@given(keys)
@settings(max_examples=150)
def test_a_key_comes_back_in_its_spelling(key: Any) -> None:
    back = decode(encode(key), spelling(key))
    plain = _without_negative_zero(key)
    assert exactly(back) == exactly(plain)


def _without_negative_zero(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(map(_without_negative_zero, key))
    return key + 0.0 if type(key) is float else key


@pytest.mark.parametrize("same", [(1, 1.0, True), (0, -0.0, 0.0, False), (2**70, float(2**70))])
def test_equal_numbers_are_one_key(same: tuple[Any, ...]) -> None:
    assert len({encode(number) for number in same}) == 1
    assert len({encode((("x", number),)) for number in same}) == 1
    assert len({stable_hash(number) for number in same}) == 1
    assert min(map(spelling, same)) == spelling(sorted(same, key=spelling)[0])


def test_the_simplest_spelling_is_bool_then_int_then_float() -> None:
    assert spelling(True) < spelling(1) < spelling(1.0)
    assert decode(encode(1.0), spelling(True)) is True
    assert exactly(decode(encode((1.0, "a")), spelling((1, "a")))) == exactly((1, "a"))


def test_nan_is_one_key_after_infinity() -> None:
    odd = float(np.uint64(0xFFF8000000000001).view(np.float64))
    assert encode(math.nan) == encode(odd) == encode(-math.nan)
    assert stable_hash(math.nan) == stable_hash(odd)
    assert encode(math.inf) < encode(math.nan) < encode("")


@given(keys)
@settings(max_examples=150)
def test_the_hash_is_32_bits_and_agrees_with_the_encoding(key: Any) -> None:
    assert 0 <= stable_hash(key) < 1 << 32
    assert hash_encoded(encode(key)) == stable_hash(key)


@given(numbers, numbers)
def test_equal_keys_hash_alike(left: Any, right: Any) -> None:
    if left == right:
        assert stable_hash(left) == stable_hash(right)


def test_hashes_never_change() -> None:
    """Written down: a run written by another version, Python or machine must agree."""
    some = ["the", "", "é", "\ud800", b"the", 1, 0.5, -7, 2**70, None, ("the", 1), math.nan]
    assert [stable_hash(key) for key in some] == HASHES


HASHES = [
    569262160,
    1836215089,
    305749806,
    7309470,
    598277641,
    1452414493,
    3099314944,
    3684446745,
    2757279463,
    500500607,
    1070342862,
    2651229624,
]


def test_hashes_do_not_depend_on_the_process() -> None:
    program = "from mrkernel.shuffle.keys import stable_hash as h; print(h('the'), h(('a', 1)))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "42")
    }
    assert outputs == {f"{stable_hash('the')} {stable_hash(('a', 1))}\n".encode()}


@pytest.mark.parametrize("numbers", [range(64_000), range(0, 64_000_000, 1000)])
def test_the_hash_spreads_numbers(numbers: range) -> None:
    for partitions in (2, 7, 64):
        sizes = collections.Counter(stable_hash(number) % partitions for number in numbers)
        mean = len(numbers) / partitions
        assert len(sizes) == partitions
        assert all(0.8 * mean < size < 1.2 * mean for size in sizes.values())


class Colour(str, enum.Enum):  # noqa: UP042 (as people write it)
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Unit(enum.Enum):
    METRE = 1


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Data:
    x: int


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.bytes_(b"a"), b"a"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Point(1, np.int32(2)), (1, 2)),
        (("a", Point(1, 2)), ("a", (1, 2))),
    ],
)
def test_what_looks_plain_is_made_plain(key: Any, plain: Any) -> None:
    assert exactly(normalise(key)) == exactly(plain)
    assert encode(key) == encode(plain)
    assert spelling(key) == spelling(plain)
    checked, _ = check(["b", key] if isinstance(plain, str) else [plain, key])
    assert exactly(checked[1]) == exactly(plain)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ([1], "a list: write tuple(key)"),
        ({1}, "a set: write tuple(sorted(key))"),
        ({"a": 1}, "a dict: write tuple(sorted(key.items()))"),
        (bytearray(b"a"), "a bytearray: write bytes(key)"),
        (np.zeros(2), "a ndarray: write tuple(key.tolist())"),
        (np.datetime64("2020-01-01"), "a datetime64: keys are None, bool, int, float, str"),
        (datetime.date(2020, 1, 1), "a date: write key.isoformat()"),
        (Unit.METRE, "an Unit: write key.name"),
        (Data(1), "a Data: write dataclasses.astuple(key)"),
        (decimal.Decimal(1), "a Decimal: keys are None, bool, int, float, str, bytes and tuples"),
        (object(), "an object: keys are"),
    ],
)
def test_other_keys_are_refused_with_what_to_write(key: Any, advice: str) -> None:
    for wrong in (key, ("a", key), ("a", (key,))):
        with pytest.raises(KeyTypeError) as caught:
            encode(wrong)
        assert f"a mapper's key is {advice}" in str(caught.value)
        with pytest.raises(KeyTypeError) as caught:
            check(["a", ("b",), wrong, [1]])
        assert caught.value.index == 2


def test_a_bottomless_tuple_is_refused() -> None:
    deep: Any = ()
    for _ in range(100_000):
        deep = (deep,)
    with pytest.raises(KeyTypeError, match="nested more than 50 deep"):
        encode(deep)
    with pytest.raises(KeyTypeError) as caught:
        check(["a", deep])
    assert caught.value.index == 1


@given(st.lists(keys, max_size=20))
def test_whole_lists_encode_as_each_key_does(some: list[Any]) -> None:
    some = [*some, *some, *some]
    assert encode_all(some) == (list(map(encode, some)), list(map(spelling, some)))


@given(st.lists(st.tuples(st.text(max_size=3), st.integers()) | st.just(("a", 1)), max_size=20))
def test_whole_lists_of_like_tuples_encode_as_each_key_does(some: list[Any]) -> None:
    assert encode_all(some) == (list(map(encode, some)), list(map(spelling, some)))
