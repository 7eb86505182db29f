from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs_strategy import columns, keys, values

from mrkernel.shuffle import digest as digests
from mrkernel.shuffle.columns import pack
from mrkernel.shuffle.dict_column import encode_repeats
from mrkernel.shuffle.digest import number_of
from mrkernel.shuffle.run import RunWriter, read_index
from mrkernel.shuffle.sort_buffer import SortBuffer

PAIRS: list[tuple[Any, Any]] = [(f"k{i % 700}", i * 31 % 997) for i in range(5_000)]


def digest_of(pairs: list[tuple[Any, Any]], folder: Path, **options: Any) -> int:
    """Digest of a run; ``batch`` pairs at a time."""
    batch = options.pop("batch", 1000)
    parts = options.pop("parts", 2)
    writer = RunWriter(folder / "run", parts)
    buffer = SortBuffer(parts, writer=writer, **{"limit_bytes": 1 << 30, **options})
    for start in range(0, len(pairs), batch):
        buffer.add(pairs[start : start + batch])
    return buffer.close().digest


@given(columns)
@settings(max_examples=200)
def test_every_form_of_a_column_has_the_same_numbers(some: list[Any]) -> None:
    want = [number_of(value) for value in some]
    for column in (
        pack(some, least=10**9),
        pack(some, least=0),
        encode_repeats(pack(some, least=0)),
    ):
        assert digests._numbers(column).tolist() == want


@given(st.lists(st.tuples(keys, values), max_size=20), st.randoms(), st.integers(1, 7))
@settings(max_examples=60)
def test_order_and_spills_do_not_matter(
    pairs: list[tuple[Any, Any]], chance: random.Random, batch: int
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        once = digest_of(pairs, Path(name))
        chance.shuffle(pairs)
        assert digest_of(pairs, Path(name), batch=batch, limit_bytes=1) == once


def test_forms_and_spills_do_not_matter(tmp_path: Path) -> None:
    once = digest_of(PAIRS, tmp_path)
    assert once
    assert read_index(tmp_path / "run").digest == once
    assert digest_of(PAIRS[::-1], tmp_path, batch=37, limit_bytes=20_000) == once
    assert digest_of(PAIRS, tmp_path, combine=lambda key, values: [sum(values)]) == once
    assert digest_of(PAIRS, tmp_path, batch=5_000, parts=5) == once
    few = [(key, f"{value % 3}") for key, value in PAIRS]
    assert digest_of(few, tmp_path) == digest_of(few[::-1], tmp_path, batch=11, limit_bytes=9_000)
    same = [(key, "x") for key, _ in PAIRS]
    assert digest_of(same, tmp_path) == digest_of(same, tmp_path, batch=3)


@pytest.mark.parametrize(
    "other",
    [
        ("k3", 5),
        ("k4", 4),
        (b"k3", 4),
        ("k3", 4.0),
        ("k3", "4"),
        ("k3", True),
        ("k3", -4),
        ("k33", 4),
    ],
)
@pytest.mark.parametrize("many", [0, 5_000])
def test_another_pair_has_another_digest(other: Any, many: int, tmp_path: Path) -> None:
    pairs = PAIRS[:many]
    once = digest_of([*pairs, ("k3", 4)], tmp_path)
    assert digest_of([*pairs, other], tmp_path) != once
    assert digest_of(pairs, tmp_path) != once
    assert digest_of([*pairs, ("k3", 4), ("k3", 4)], tmp_path) != once


def test_strings_are_seen_at_both_ends() -> None:
    long = "x" * 40
    seen = {
        number_of(text) for text in (long, long + "x", "y" + long[1:], long[1:] + "y", "", "\0")
    }
    assert len(seen) == 6
    assert number_of(long.encode()) not in seen


FOLDS = ["sum", "count", "min", "max", "mean", "stats", "first", "set", "top:3"]


@pytest.mark.parametrize("fold", FOLDS)
@given(
    pairs=st.lists(st.tuples(keys, st.one_of(st.integers(), st.floats(), values)), max_size=20),
    chance=st.randoms(),
    batch=st.integers(1, 7),
    parts=st.integers(1, 3),
)
@settings(max_examples=20)
def test_the_digest_of_what_is_folded_does_not_depend_on_how(
    fold: str, pairs: list[tuple[Any, Any]], chance: random.Random, batch: int, parts: int
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        options = {"fold": fold, "parts": parts}
        once = digest_of(pairs, Path(name), **options)
        assert once or not pairs
        chance.shuffle(pairs)
        assert digest_of(pairs, Path(name), batch=batch, limit_bytes=1, **options) == once


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("repeat", [1, 8])  # one by one, and as columns
def test_ways_to_fold_agree_on_the_digest(tmp_path: Path, fold: str, repeat: int) -> None:
    for change in (int, float, lambda n: n % 2 == 0, lambda n: n << 70, str):
        if change is str and fold in ("sum", "mean", "stats"):
            continue
        pairs = [(key, change(value)) for key, value in PAIRS[:1500] * repeat]
        once = digest_of(pairs, tmp_path, fold=fold)
        assert digest_of(pairs[::-1], tmp_path, fold=fold, batch=97, limit_bytes=30_000) == once
        assert digest_of(pairs, tmp_path, fold=fold, batch=40_000) == once
    many = [(f"k{n}", n + 1) for n in range(5_000 * repeat)] * 2
    once = digest_of(many, tmp_path, fold=fold)
    assert digest_of(many[::-1], tmp_path, fold=fold, batch=501, limit_bytes=200_000) == once
    assert digest_of(many, tmp_path, fold=fold, parts=5) == once
    assert digest_of([*many[1:], ("other", 1)], tmp_path, fold=fold) != once


@pytest.mark.parametrize("fold", FOLDS)
def test_other_pairs_have_another_digest_also_when_they_are_folded(
    tmp_path: Path, fold: str
) -> None:
    once = digest_of(PAIRS, tmp_path, fold=fold)
    assert digest_of(PAIRS[1:], tmp_path, fold=fold) != once
    assert digest_of([*PAIRS, PAIRS[0]], tmp_path, fold=fold) != once
    renamed = [(key if key != "k3" else "other", value) for key, value in PAIRS]
    assert digest_of(renamed, tmp_path, fold=fold) != once
    if fold == "sum":
        assert digest_of([("k0", 1), *PAIRS[1:]], tmp_path, fold=fold) != once
        swapped = [("k0", PAIRS[1][1]), ("k1", PAIRS[0][1]), *PAIRS[2:]]
        assert digest_of(swapped, tmp_path, fold=fold) != once
    if fold == "count":
        assert digest_of([("k0", 1), *PAIRS[1:]], tmp_path, fold=fold) == once
        assert digest_of([("k1", 1), *PAIRS[1:]], tmp_path, fold=fold) != once
