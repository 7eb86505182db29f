"""The table of options: one spelling for all doors, and a sentence for what makes no sense."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrkernel.config import (
    API,
    CLI,
    EVERYWHERE,
    MAGIC,
    JobOptions,
    add_options,
    most_skipped,
    parse_bytes,
    parse_count,
    parse_format,
    parse_on_error,
    parse_output_format,
    parse_seconds,
)
from mrkernel.errors import JobSpecError

NAMES = [field.name for field in fields(JobOptions)]
#: What DESIGN says the table of this release has.
PROMISED = {
    *("mapper", "reducer", "combiner", "partitioner", "reduce_tasks", "split_size", "encoding"),
    "format",
    *("batch", "sample", "output_format", "columns"),
    *("errors", "sort_values", "output", "overwrite", "into", "name", "background", "quiet", "on"),
    *("attempts", "timeout", "slot_memory", "on_error", "no_backup"),
    *("file", "define", "cmdenv"),
}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(f"MRKERNEL_{name.upper()}", raising=False)


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("1", 1), ("500000", 500_000), ("64M", 64 << 20), ("64m", 64 << 20), ("64MB", 64 << 20)),
        *(("64 MiB", 64 << 20), ("1.5g", 3 << 29), ("2K", 2048), ("1e6", 10**6), (" 8 kB ", 8192)),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "M", "1T", "many", "1,000", "0.5", "nan", "inf", "1 2"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="a size in bytes, such as 500000, 64M or 1G"):
        parse_bytes(text)


@given(st.integers(1, 10**15))
def test_a_number_is_a_size_in_bytes(size: int) -> None:
    assert parse_bytes(str(size)) == size


def test_counts() -> None:
    assert [parse_count(text) for text in ("1", " 20 ", "+3")] == [1, 20, 3]
    for text in ("0", "-1", "1.0", "", "two", "1e3"):
        with pytest.raises(ValueError, match="a whole number from 1"):
            parse_count(text)


def test_seconds() -> None:
    assert [parse_seconds(text) for text in ("1", "0.5", "1e3")] == [1.0, 0.5, 1000.0]
    for text in ("0", "-1", "", "nan", "soon"):
        with pytest.raises(ValueError, match="a number of seconds greater than 0"):
            parse_seconds(text)


@pytest.mark.parametrize("text", ["text", "jsonl", " CSV ", "parquet"])
def test_output_formats(text: str) -> None:
    assert parse_output_format(text) == text.strip().lower()


def test_what_is_no_output_format() -> None:
    for text in ("", "xml", "txt"):
        with pytest.raises(ValueError, match="text, jsonl, csv or parquet"):
            parse_output_format(text)


@pytest.mark.parametrize(
    ("text", "most"),
    [("fail", 0), ("skip", 1000), (" SKIP:7 ", 7), ("skip:1", 1), ("skip:50000", 50_000)],
)
def test_how_many_bad_records_may_be_skipped(text: str, most: int) -> None:
    assert most_skipped(text) == most
    assert most_skipped(parse_on_error(text)) == most


@pytest.mark.parametrize("text", ["", "ignore", "fail:3", "skip:", "skip:0", "skip:few", "skip:-1"])
def test_what_is_no_way_to_go_on(text: str) -> None:
    with pytest.raises(ValueError, match=r"skip, or skip:N where N|fail, skip or skip:N"):
        parse_on_error(text)


# --- keywords -------------------------------------------------------------------------------------


def test_the_table_is_what_was_promised() -> None:
    assert set(NAMES) == PROMISED


def test_nothing_given_is_the_default() -> None:
    options = JobOptions.from_keywords({})
    assert options == JobOptions()
    assert (options.encoding, options.errors, options.attempts) == ("utf-8", "strict", 4)
    assert not (options.overwrite or options.sort_values or options.background)


def test_values_are_turned_into_what_they_mean() -> None:
    given_ = {"reduce_tasks": "3", "split_size": "2K", "timeout": 5, "slot_memory": 4096}
    options = JobOptions.from_keywords(given_)
    found = (options.reduce_tasks, options.split_size, options.timeout, options.slot_memory)
    assert found == (3, 2048, 5.0, 4096)


def test_functions_and_paths_stay_what_they_are() -> None:
    options = JobOptions.from_keywords({"combiner": max, "partitioner": hash, "name": "count"})
    assert (options.combiner, options.partitioner, options.name) == (max, hash, "count")


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"reduce_tasks": 0}, "^reduce_tasks=0: write a whole number from 1$"),
        ({"split_size": "x"}, "^split_size='x': write a size in bytes"),
        ({"timeout": -1}, "^timeout=-1: write a number of seconds"),
        ({"reduce_task": 1}, "^there is no option 'reduce_task': did you mean reduce_tasks"),
        ({"outputs": "x"}, "did you mean output"),
        ({"xyz": 1}, "^there is no option 'xyz': there are combiner, partitioner, "),
        ({"mapper": len}, "there is no option 'mapper'"),
        ({"into": "x"}, "there is no option 'into'"),
    ],
)
def test_what_makes_no_sense_is_refused(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(JobSpecError, match=said):
        JobOptions.from_keywords(given_, API)


@pytest.mark.parametrize("door", EVERYWHERE)
def test_every_door_takes_what_it_offers_and_nothing_else(door: str) -> None:
    for field in fields(JobOptions):
        text = {parse_bytes: "1M", parse_count: "2", parse_seconds: "3"}
        text |= {parse_format: "csv", parse_output_format: "csv", parse_on_error: "skip"}
        value = text.get(field.metadata["parse"], "x") if field.metadata["metavar"] else "on"
        if door in field.metadata["doors"]:
            made = JobOptions.from_keywords({field.name: value}, door)
            assert getattr(made, field.name) is not None
        else:
            with pytest.raises(JobSpecError, match=f"no option '{field.name}'"):
                JobOptions.from_keywords({field.name: value}, door)


# --- the environment ------------------------------------------------------------------------------


def test_a_variable_is_used_where_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRKERNEL_REDUCE_TASKS", "7")
    monkeypatch.setenv("MRKERNEL_SLOT_MEMORY", "1M")
    options = JobOptions.from_keywords({})
    assert (options.reduce_tasks, options.slot_memory) == (7, 1 << 20)
    assert JobOptions.from_keywords({"reduce_tasks": 2}).reduce_tasks == 2
    assert JobOptions.from_keywords({"reduce_tasks": None}).reduce_tasks is None


def test_a_variable_that_makes_no_sense_is_called_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MRKERNEL_ATTEMPTS", "often")
    with pytest.raises(JobSpecError, match=r"^MRKERNEL_ATTEMPTS='often': write a whole number"):
        JobOptions.from_keywords({})


@pytest.mark.parametrize(
    ("text", "on"), [("1", True), ("true", True), ("yes", True), ("0", False), ("no", False)]
)
def test_a_switch_in_a_variable(monkeypatch: pytest.MonkeyPatch, text: str, on: bool) -> None:
    monkeypatch.setenv("MRKERNEL_SORT_VALUES", text)
    assert JobOptions.from_keywords({}).sort_values is on


def test_a_switch_that_says_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "='nope': write 1, true, yes or on; or 0, false, no or off"
    with pytest.raises(JobSpecError, match=f"^sort_values{said}"):
        JobOptions.from_keywords({"sort_values": "nope"})
    monkeypatch.setenv("MRKERNEL_SORT_VALUES", "nope")
    with pytest.raises(JobSpecError, match=f"^MRKERNEL_SORT_VALUES{said}"):
        JobOptions.from_keywords({})


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRKERNEL_REDUCE_TASKS", "")
    assert JobOptions.from_keywords({}).reduce_tasks is None


def test_a_variable_counts_only_at_the_doors_of_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRKERNEL_INTO", "counts")
    assert JobOptions.from_keywords({}, API).into is None
    assert JobOptions.from_keywords({}, CLI).into is None
    assert JobOptions.from_keywords({}, MAGIC).into == "counts"


# --- flags ----------------------------------------------------------------------------------------


def parsed(door: str, *words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    add_options(parser, door)
    return vars(parser.parse_args(words))


@pytest.mark.parametrize("door", [MAGIC, CLI])
def test_flags_are_the_names_with_dashes(door: str) -> None:
    assert parsed(door) == {}
    words = ["--reduce-tasks", "3", "--sort-values", "--slot-memory", "1M", "--name", "n"]
    options = JobOptions.from_keywords(parsed(door, *words), door)
    found = (options.reduce_tasks, options.sort_values, options.slot_memory, options.name)
    assert found == (3, True, 1 << 20, "n")


def test_the_short_spellings() -> None:
    assert parsed(CLI, "--map", "m.py", "--reduce", "sum", "--combine", "sum") == {
        "mapper": "m.py",
        "reducer": "sum",
        "combiner": "sum",
    }
