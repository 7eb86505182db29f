"""``--on-error skip`` on whole jobs, here and on a cluster; and the bad ones tried again."""

from __future__ import annotations

import ctypes
import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mrkernel
from mrkernel.config import JobOptions
from mrkernel.engines.bad_records import SHOWN_ROWS, BadRecords
from mrkernel.engines.job import Job
from mrkernel.engines.prepare import prepare
from mrkernel.errors import JobSpecError, TaskFailedError
from mrkernel.job.bad_records import BadRecord


def submit(engine: Any, mapper: Any, inputs: Any, reducer: Any = "sum", **options: Any) -> Job:
    given = {"on_error": "skip", **options}
    prepared, chosen = prepare(
        mapper, [inputs], reducer, JobOptions.from_keywords(given), lambda: engine, cwd=Path.cwd()
    )
    return chosen.submit_prepared(prepared)  # type: ignore[no-any-return]


def number(line: str) -> Iterator[tuple[int, int]]:
    mrkernel.counter("begun").add(1)
    yield int(line) % 3, int(line)
    mrkernel.counter("ended").add(1)


def mended(line: str) -> Iterator[tuple[int, int]]:
    mrkernel.counter("mended").add(1)
    text = line.lstrip("x")
    yield int(text) % 3, int(text)


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """Ten thousand lines in several splits, ten of which are no numbers."""
    lines = [f"x{n}" if n % 1000 == 500 else str(n) for n in range(10_000)]
    path = tmp_path / "numbers.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


TOTALS = {r: sum(n for n in range(r, 10_000, 3)) for r in range(3)}
LEFT = {r: TOTALS[r] - sum(n for n in range(500, 10_000, 1000) if n % 3 == r) for r in range(3)}


@pytest.mark.fault(33)
@pytest.mark.parametrize("reducer", ["sum", lambda key, values: sum(values)])
def test_a_job_goes_on_without_its_bad_records_and_names_each(
    place: Any, numbers: Path, reducer: Any
) -> None:
    result = submit(place, number, numbers, reducer, split_size=10_000).result(60)
    assert result.to_dict() == LEFT
    assert result.counters == {"begun": 9_990, "ended": 9_990}
    data = numbers.read_bytes()
    assert [bad.record for bad in result.bad_records] == [
        f"'x{n}'" for n in range(500, 10_000, 1000)
    ]
    for bad in result.bad_records:
        assert bad.file == str(numbers)
        assert data[bad.offset :].startswith(bad.record.strip("'").encode() + b"\n")
        assert bad.error.startswith("ValueError: invalid literal for int() with base 10: 'x")
        assert "yield int(line) % 3, int(line)" in bad.traceback
    assert repr(result).endswith("3 pairs; 10 records were skipped: see result.bad_records>")


def test_one_bad_record_too_many_fails_the_job(place: Any, numbers: Path) -> None:
    said = r"10 bad records, and --on-error skip:9 |10 records of map-\d+ are bad, and --on-error "
    with pytest.raises(TaskFailedError, match=said):
        submit(place, number, numbers, split_size=10_000, on_error="skip:9").result(60)
    assert submit(place, number, numbers, on_error="skip:10").result(60).to_dict() == LEFT


def test_nothing_is_skipped_unless_it_is_asked_for(place: Any, numbers: Path) -> None:
    with pytest.raises(TaskFailedError, match="invalid literal"):
        submit(place, number, numbers, on_error="fail").result(60)


def test_lines_that_are_no_json_are_bad_records(place: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 1}\n{"n": \n\n{"m": 3}\n{"n": 4}\n')
    result = submit(place, lambda row: [("n", row["n"])], path).result(60)
    assert result.to_dict() == {"n": 5}
    assert [(bad.offset, bad.error.partition(":")[0]) for bad in result.bad_records] == [
        (9, "not JSON, character 7 (Expecting value)"),
        (17, "KeyError"),
    ]
    with pytest.raises(JobSpecError, match=r"^1 bad record of job .* could not be kept"):
        submit(place, lambda row: [("n", row["n"])], path).retry_bad_records(lambda row: [])


def test_groups_are_never_skipped(place: Any) -> None:
    def fails(key: int, values: Any) -> int:
        return 1 // key

    said = "--on-error skip leaves out records on which the mapper fails, and nothing else"
    numbers = range(100, -1, -1)  # what fails comes last, after all that is tried beforehand
    with pytest.raises(TaskFailedError, match=said):
        submit(place, lambda n: [(n, n)], numbers, fails).result(60)
    with pytest.raises(TaskFailedError, match=said):
        submit(place, lambda n: [(n, n)], numbers, "list", combiner=fails).result(60)


def test_a_batch_mapper_has_no_records_to_skip(place: Any) -> None:
    with pytest.raises(
        JobSpecError, match=r"^--on-error skip goes record by record, and a --batch"
    ):
        submit(place, lambda table: table, range(3), batch=True)


def test_output_is_written_as_ever(place: Any, numbers: Path, tmp_path: Path) -> None:
    submit(place, number, numbers, output=str(tmp_path / "sums.csv")).result(60)
    found = dict(
        map(int, line.split(",")) for line in (tmp_path / "sums.csv").read_text().split()[1:]
    )
    assert found == LEFT


# --- records that end their process ---------------------------------------------------------------


@pytest.mark.fault(34, 35)
@pytest.mark.parametrize("how", ["SIGSEGV", "exit", "loop"])
def test_a_record_that_ends_or_stops_its_process_is_found_and_left_out(
    cluster: Any, tmp_path: Path, how: str
) -> None:
    def deadly(line: str) -> Iterator[tuple[str, int]]:
        if line == "bad":
            if how == "SIGSEGV":
                ctypes.string_at(0)
            elif how == "exit":
                os._exit(3)
            while how == "loop":
                time.sleep(0.01)
        yield line[0], 1

    path = tmp_path / "lines.txt"
    path.write_text("good\n" * 3000 + "bad\n" + "good\n" * 3000)
    options = {"timeout": 1.5} if how == "loop" else {}
    result = submit(cluster, deadly, path, **options).result(60)
    assert result.to_dict() == {"g": 6000}
    (bad,) = result.bad_records
    assert (bad.offset, bad.index, bad.record) == (15_000, 3000, "'bad'")
    assert {"SIGSEGV": "SIGSEGV", "exit": "3", "loop": "1.5 s"}[how] in bad.error


# --- once more ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reducer", ["sum", lambda key, values: sum(values)])
def test_bad_records_are_tried_again_and_merged_with_the_rest(
    place: Any, numbers: Path, reducer: Any, tmp_path: Path
) -> None:
    job = submit(place, number, numbers, reducer, split_size=10_000)
    again = job.retry_bad_records(mended, output=str(tmp_path / "out.csv"))
    result = again.result(60)
    assert result.to_dict() == TOTALS
    assert not result.bad_records
    assert result.counters["mended"] == 10  # only those
    assert (tmp_path / "out.csv").exists()
    assert job.result().to_dict() == LEFT


def test_what_is_still_bad_can_be_tried_once_more(place: Any, numbers: Path) -> None:
    def half(line: str) -> Iterator[tuple[int, int]]:
        if line == "x500":
            raise KeyError(line)
        yield from mended(line)

    job = submit(place, number, numbers)
    again = job.retry_bad_records(half)
    (bad,) = again.result(60).bad_records
    assert (bad.offset, bad.file, bad.error) == (
        job.result().bad_records[0].offset,
        str(numbers),
        "KeyError: 'x500'",
    )
    assert bad.where == f"{numbers}, byte {bad.offset}"
    assert again.retry_bad_records(mended).result(60).to_dict() == TOTALS


def test_a_result_alone_is_enough_to_try_again(place: Any, numbers: Path) -> None:
    result = submit(place, number, numbers).result(60)
    again = result.retry_bad_records(mended, on_error="fail").result(60)
    assert again.to_dict() == TOTALS
    with pytest.raises(JobSpecError, match="has no bad records: there is nothing to try again"):
        again.retry_bad_records(mended)


def test_a_retry_may_fail_and_be_done_again(cluster: Any, numbers: Path) -> None:
    job = submit(cluster, number, numbers)
    with pytest.raises(TaskFailedError, match="invalid literal"):
        job.retry_bad_records(number, on_error="fail").result(60)
    assert job.retry_bad_records(mended).result(60).to_dict() == TOTALS


def test_the_mapper_sees_the_keys_that_the_records_had(place: Any, numbers: Path) -> None:
    job = submit(place, number, numbers, "list")
    again = job.retry_bad_records(lambda key, line: [(3, (key, line))])
    seen = again.result(60).to_dict()[3]
    assert sorted(seen) == sorted(
        ((bad.file, bad.offset), bad.record.strip("'")) for bad in job.bad_records
    )


def test_a_job_without_reducer_has_nothing_to_merge_with(place: Any) -> None:
    job = submit(place, lambda n: [(n, 6 // n)], [3, 0, 2, 1], "none")
    assert list(job.result(60)) == [(3, 2), (2, 3), (1, 6)]
    assert len(job.bad_records) == 1
    with pytest.raises(JobSpecError, match="has no reducer"):
        job.retry_bad_records(lambda n: [(n, None)])


def test_the_function_of_the_same_name_is_taken(
    place: Any, numbers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import __main__

    job = submit(place, number, numbers)
    with pytest.raises(JobSpecError, match="nothing in this notebook is called number"):
        job.retry_bad_records()
    monkeypatch.setattr(__main__, "number", mended, raising=False)
    assert job.retry_bad_records().result(60).to_dict() == TOTALS


def test_what_cannot_be_tried_again_is_said(place: Any, numbers: Path) -> None:
    good = submit(place, mended, numbers)
    with pytest.raises(JobSpecError, match="has no bad records: there is nothing to try again"):
        good.retry_bad_records(mended)
    job = submit(place, number, numbers)
    with pytest.raises(JobSpecError, match="takes no reduce_tasks: it takes output, "):
        job.retry_bad_records(mended, reduce_tasks=3)
    with pytest.raises(JobSpecError, match="mapper"):
        job.retry_bad_records(3)
    assert job.result(60).to_dict() == LEFT
    sample = submit(place, number, numbers, sample=700)
    assert len(sample.result(60).bad_records) > 0
    with pytest.raises(JobSpecError, match="was a sample: run the mended mapper on the sample"):
        sample.retry_bad_records(mended)
    job.retry = job.result().retry = None
    with pytest.raises(JobSpecError, match="was submitted elsewhere"):
        job.retry_bad_records(mended)


# --- the table ------------------------------------------------------------------------------------


def record(n: int) -> BadRecord:
    return BadRecord(
        task="map-0",
        index=n,
        file="a.txt",
        offset=1000 * n,
        record=f"'<b>{n}'",
        error="ValueError: \ud800",
        traceback="  cell 3, line 2\n<b>",
        where=f"a.txt, byte {1000 * n}",
    )


def test_the_table_is_bounded_and_escaped() -> None:
    from rich.console import Console

    bad = BadRecords([record(n) for n in range(25)])
    page = bad._repr_html_()
    assert page.count("<tr>") == SHOWN_ROWS + 1
    assert "25 bad records, 15 more: to_pandas() has them all" in page
    assert "<b>" not in page
    page.encode()
    assert "9,000" in page
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(bad)
    assert "'<b>9'" in console.export_text()
    assert repr(bad).splitlines()[0] == "25 bad records:"
    assert len(repr(bad).splitlines()) == SHOWN_ROWS + 2
    assert list(bad.to_pandas().columns) == [
        *("file", "offset", "record", "error", "traceback", "task")
    ]
    assert len(bad.to_pandas()) == 25
    assert bad[1] == record(1)
    assert bad[:2] == BadRecords([record(0), record(1)])


def test_no_bad_records() -> None:
    bad = BadRecords()
    assert (len(bad), repr(bad), bad._repr_html_()) == (
        0,
        "no bad records",
        "<p>no bad records</p>",
    )
    assert len(bad.to_pandas()) == 0
    assert json.loads(bad.to_pandas().to_json()) == {name: {} for name in bad.to_pandas().columns}
