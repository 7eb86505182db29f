"""JobResult: what a user does with the pairs, wherever they are."""

from __future__ import annotations

import dataclasses
import gc
import math
import pickle
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from jobs import functions, keys, pairs_of, values

import mrkernel
from mrkernel.engines.result import SHOWN_CHARACTERS, SHOWN_ROWS, JobResult
from mrkernel.errors import ClusterError, JobSpecError

TEXT = ["the quick brown fox", "jumps over the lazy dog", "the end"]
COUNTS = {"brown": 1, "dog": 1, "end": 1, "fox": 1, "jumps": 1, "lazy": 1, "over": 1, "quick": 1}
COUNTS |= {"the": 3}


@pytest.fixture(scope="module")
def words(place: Any) -> JobResult:
    return mrkernel.run(functions.words, iter(TEXT), "sum", on=place, reduce_tasks=3)


def of(pairs: list[tuple[Any, Any]], place: Any, reducer: Any = functions.each_value) -> JobResult:
    return mrkernel.run(pairs_of, [pairs], reducer, on=place)


def big(key: int, some: Any) -> bytes:
    return bytes([key]) * 3_000_000


def test_it_iterates_by_key_over_all_parts_again_and_again(words: JobResult) -> None:
    assert list(words) == list(words) == sorted(COUNTS.items())
    assert len(words) == 9
    parts = [dict(words.part(number)) for number in range(3)]
    assert sum(map(len, parts)) == 9
    assert {**parts[0], **parts[1], **parts[2]} == COUNTS
    assert min(map(len, parts)) < 9  # the words are in more than one part
    first, second = iter(words), iter(words)
    assert [next(first), next(second), next(first)] == [("brown", 1), ("brown", 1), ("dog", 1)]


def test_lookup(words: JobResult, place: Any) -> None:
    assert words.lookup("the") == [3]
    assert words.lookup("cat") == []
    several = of([(1, "a"), (1.0, "b"), ("1", "c"), (math.nan, "d"), (-0.0, "e")], place)
    assert several.lookup(1) == several.lookup(True) == several.lookup(1.0) == ["a", "b"]
    assert several.lookup("1") == ["c"]
    assert several.lookup(math.nan) == ["d"]
    assert several.lookup(0) == ["e"]
    with pytest.raises(mrkernel.KeyTypeError, match="list"):
        several.lookup([1])


def test_to_dict_refuses_to_lose_values(words: JobResult, place: Any) -> None:
    assert words.to_dict() == COUNTS
    with pytest.raises(JobSpecError, match=r"^key 'b' has several values.* use list\(result\)$"):
        of([("a", 1), ("b", 2), ("b", 3)], place).to_dict()


def test_top_and_sorted(words: JobResult, place: Any) -> None:
    assert words.top(2) == [("the", 3), ("brown", 1)]
    assert words.top(0) == []
    assert len(words.top(100)) == 9
    with pytest.raises(JobSpecError, match=r"have no order \('<' not supported .*list\(result\)"):
        of([(1, "a"), (2, 2)], place).top()
    turned = of([("a", 1), ("b", 2), (3, 3)], place, functions.other_order_of_any)
    assert list(turned) != turned.sorted()
    assert turned.sorted() == sorted(turned, key=lambda pair: str(pair[0]))


def test_to_pandas(words: JobResult) -> None:
    frame = words.to_pandas()
    expected = pd.DataFrame({"key": sorted(COUNTS), "value": [COUNTS[k] for k in sorted(COUNTS)]})
    pd.testing.assert_frame_equal(frame, expected)


def test_to_arrow_and_to_anybody_who_reads_arrow_streams(words: JobResult) -> None:
    table = words.to_arrow()
    assert table.to_pylist() == [{"key": k, "value": v} for k, v in sorted(COUNTS.items())]
    assert pa.table(words) == table
    assert pa.RecordBatchReader.from_stream(words).read_all() == table
    wanted = pa.schema([("key", pa.large_string()), ("value", pa.int32())])
    assert pa.RecordBatchReader.from_stream(words, wanted).schema == wanted


@pytest.mark.parametrize(
    "pairs", [[(1, "a"), ("b", "b")], [(2**70, 1)], [("\ud800", 1)], [(1, values.Slotted(1))]]
)
def test_what_arrow_cannot_hold_is_said_in_a_sentence(place: Any, pairs: Any) -> None:
    with pytest.raises(JobSpecError, match=r"is no Arrow table \(.*use list\(result\)"):
        of(pairs, place).to_arrow()
    assert len(of(pairs, place).to_pandas()) == len(pairs)


def test_an_empty_result(place: Any, tmp_path: Path) -> None:
    empty = mrkernel.run(functions.words, [], "sum", on=place)
    assert (len(empty), list(empty), empty.to_dict(), empty.top(), empty.sorted()) == (
        0,
        [],
        {},
        [],
        [],
    )
    assert empty.to_pandas().shape == (0, 2)
    assert empty.to_arrow().column_names == ["key", "value"]
    assert empty.lookup("x") == []
    assert "0 pairs" in repr(empty)
    assert "0 pairs" in empty._repr_html_()
    assert "<p>1 pair</p>" in of([(1, 2)], place)._repr_html_()
    assert b"".join(path.read_bytes() for path in empty.save(tmp_path / "out")) == b""


def test_save_writes_what_output_would(words: JobResult, place: Any, tmp_path: Path) -> None:
    paths = words.save(tmp_path / "saved")
    assert [path.name for path in paths] == ["part-00000", "part-00001", "part-00002"]
    assert words.paths == []
    options = {"on": place, "reduce_tasks": 3, "output": str(tmp_path / "output")}
    written = mrkernel.run(functions.words, iter(TEXT), "sum", **options)
    assert [path.read_bytes() for path in written.paths] == [path.read_bytes() for path in paths]
    assert sorted(b"".join(path.read_bytes() for path in paths).decode().split("\n")[:-1]) == [
        f"{word}\t{count}" for word, count in sorted(COUNTS.items())
    ]
    with pytest.raises(mrkernel.OutputExistsError):
        words.save(tmp_path / "saved")
    assert words.save(tmp_path / "saved", overwrite=True) == paths


def test_it_is_shown_within_bounds_and_escaped(place: Any) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    pairs: list[tuple[Any, Any]] = [
        ("<script>alert(1)</script>", "<b>&"),
        ("x" * 10**6, "y" * 10**6),
    ]
    pairs += [("\ud800", Broken()), (b"z" * 10**6, ["w" * 10**5] * 10)]
    pairs += [((n, "<i>"), n) for n in range(500)]
    result = mrkernel.run(pairs_of, [pairs], "first", on=place, name="<u>" + "n" * 1000)
    shown = result._repr_html_()
    tags = set(re.findall(r"<(/?\w+)", shown))
    assert tags <= {
        t for n in ("table", "thead", "tbody", "tr", "th", "td", "p") for t in (n, "/" + n)
    }
    assert shown.count("<tr>") == SHOWN_ROWS + 1
    assert "504 pairs, 494 more" in shown
    assert "&lt;script&gt;" in shown
    assert len(shown) < 2 * SHOWN_ROWS * (SHOWN_CHARACTERS * 6 + 100)
    shown.encode()
    assert repr(result).startswith("<JobResult '<u>nnn")
    assert len(repr(result)) < 200
    result.release()
    assert "<u>" not in result._repr_html_()


def test_classes_of_the_notebook_come_back_as_themselves(place: Any) -> None:
    """Reading a result changes nothing of the classes here: neither methods nor what they see."""
    scale = [1]

    @dataclasses.dataclass(frozen=True)
    class Reading:
        value: int
        unit = "m"

        def scaled(self) -> int:
            return self.value * scale[0]

    def mapper(record: Reading) -> Iterator[tuple[str, Reading]]:
        assert isinstance(record, Reading)
        yield "a", dataclasses.replace(record, value=record.value + 1)

    scaled = Reading.scaled
    result = mrkernel.run(mapper, [Reading(1), Reading(2)], "list", on=place, reduce_tasks=1)
    scale[0], Reading.unit = 10, "cm"
    [(_, found)] = result
    assert found == [Reading(2), Reading(3)]
    assert type(found[0]) is Reading
    assert Reading.scaled is scaled
    assert [one.scaled() for one in found] == [20, 30]
    assert found[0].unit == "cm"


def test_a_large_result_stays_where_it_is_until_it_is_released(place: Any, tmp_path: Path) -> None:
    result = mrkernel.run(pairs_of, [[(n, n) for n in range(8)]], big, on=place, reduce_tasks=2)
    sizes = [(key, len(value), value[:1]) for key, value in result]
    assert sizes == [(n, 3_000_000, bytes([n])) for n in range(8)]
    assert result.lookup(3) == [bytes([3]) * 3_000_000]
    assert repr(result) == "<JobResult 'pairs_of': 8 pairs>"
    assert len(result._repr_html_()) < 5000
    result.release()
    result.release()
    assert len(result) == 8
    for use in (list, lambda gone: list(gone.part(0)), lambda gone: gone.save(tmp_path / "out")):
        with pytest.raises(ClusterError, match="was released: run the job again"):
            use(result)
    assert list(tmp_path.iterdir()) == []


def test_a_large_inline_result_leaves_no_files(tmp_path: Path) -> None:
    def folders() -> list[Path]:
        return list(Path(tempfile.gettempdir()).glob("mrkernel-inline-*"))

    assert folders() == []
    result = mrkernel.run(pairs_of, [[(n, n) for n in range(8)]], big, on="inline")
    (folder,) = folders()
    assert not list(folder.rglob("*.run"))
    assert len(list(result)) == 8
    del result
    gc.collect()
    assert folders() == []
    mrkernel.run(pairs_of, [[(n, n) for n in range(8)]], big, on="inline").release()
    assert folders() == []


def test_parts_of_any_size_are_read_back(place: Any) -> None:
    """Those that travel in a message, those that are fetched, and both in one result."""

    def sized(key: int, some: Any) -> bytes:
        return bytes([key % 256]) * (1 << key)

    result = mrkernel.run(pairs_of, [[(n, n) for n in range(19)]], sized, on=place, reduce_tasks=5)
    assert [(key, len(value)) for key, value in result] == [(n, 1 << n) for n in range(19)]


def test_a_result_outlives_its_cluster_or_says_that_it_is_gone() -> None:
    with mrkernel.LocalCluster(1) as cluster:
        small = cluster.run(functions.words, iter(TEXT), "sum")
        large = cluster.run(pairs_of, [[(n, n) for n in range(8)]], big)
    assert small.to_dict() == COUNTS
    with pytest.raises(ClusterError, match=r"its cluster has ended.*run the job again"):
        list(large)


def test_map_only_results_are_in_input_order(place: Any) -> None:
    pairs = [(key, at) for at, key in enumerate([3, 1, "b", None, 1, (2,), "a"])]
    result = mrkernel.run(pairs_of, [pairs[:4], pairs[4:]], "none", on=place, split_size=1)
    assert list(result) == pairs
    assert list(result.part(1)) == pairs[4:]
    assert result.sorted() == [pairs[i] for i in (3, 1, 4, 0, 6, 2, 5)]
    assert result.lookup(1) == [1, 4]


def test_keys_that_python_cannot_tell_apart_stay_one(place: Any) -> None:
    found = of([(key, 1) for key in keys.EVERY], place, "count").to_dict()
    assert found[1] == sum(1 for key in keys.EVERY if key == 1)
    assert sum(found.values()) == len(keys.EVERY)


def test_a_result_says_what_it_is_and_stays_here(words: JobResult) -> None:
    assert words.name == "words"
    assert words.seconds > 0
    assert re.fullmatch(r"<JobResult 'words': 9 pairs>", repr(words))
    with pytest.raises((pickle.PicklingError, TypeError, AttributeError)):
        pickle.dumps(words)
