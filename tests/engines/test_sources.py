"""Named inputs, for joins: ``mapper(source, record)``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mrkernel
from mrkernel.data.sources import Named, named, split_names
from mrkernel.errors import InputError, JobSpecError, TaskFailedError


def tagged(source: str, record: Any) -> Iterator[Any]:
    yield source, record


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "orders").mkdir()
    for month in (1, 2):
        lines = "".join(f"{n},{n % 3},{n * month}\n" for n in range(4))
        (tmp_path / "orders" / f"{month}.csv").write_text(f"id,customer,sum\n{lines}")
    (tmp_path / "people.csv").write_text("customer,name\n0,Ann\n1,Bob\n9,Zoe\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mapper(source: str, record: dict[str, Any]) -> Iterator[Any]:
    yield record["customer"], (source, record)


def joined(customer: int, records: Any) -> Iterator[Any]:
    """Every customer with the sum of the orders; those without any, too: a left join."""
    names = [record["name"] for source, record in records if source == "people"]
    for name in names:
        sums = [record["sum"] for source, record in records if source == "orders"]
        yield name, sum(sums)


WANTED = {"Ann": 0 + 3 + 0 + 6, "Bob": 1 + 2, "Zoe": 0}


def test_a_join_of_files(place: Any, folder: Path) -> None:
    inputs = ["orders=orders/*.csv", "people=people.csv"]
    assert mrkernel.run(mapper, inputs, joined, on=place).to_dict() == WANTED
    by_dict = {"orders": ["orders/1.csv", Path("orders/2.csv")], "people": "people.csv"}
    assert mrkernel.run(mapper, by_dict, joined, on=place).to_dict() == WANTED


def test_a_join_of_a_result_a_file_and_what_is_in_memory(place: Any, folder: Path) -> None:
    sums = mrkernel.run(
        lambda record: [(record["customer"], record["sum"])], "orders", "sum", on=place
    )
    inputs = {"sums": sums, "people": "people.csv", "extra": [(9, 5), (1, 2)]}

    def by_customer(source: str, record: Any) -> Iterator[Any]:
        if source == "people":
            yield record["customer"], (source, record["name"])
        else:
            yield record[0], (source, record[1])

    def reducer(customer: int, things: Any) -> Iterator[Any]:
        yield customer, sorted(things)

    found = mrkernel.run(by_customer, inputs, reducer, on=place).to_dict()
    assert found == {
        0: [("people", "Ann"), ("sums", 9)],
        1: [("extra", 2), ("people", "Bob"), ("sums", 3)],
        2: [("sums", 6)],
        9: [("extra", 5), ("people", "Zoe")],
    }


def test_a_mapper_of_one_parameter_need_not_know(place: Any, folder: Path) -> None:
    found = mrkernel.run(lambda r: [(r["customer"], 1)], ["o=orders", "p=people.csv"], "sum",
                         on=place)  # fmt: skip
    assert found.to_dict() == {0: 5, 1: 3, 2: 2, 9: 1}


def test_many_small_files_of_two_sources_in_one_task(place: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(40):
            (tmp_path / name / f"{number}.txt").write_text(f"{number}\n")
    inputs = [f"first={tmp_path}/a", f"second={tmp_path}/b/*.txt"]
    found = mrkernel.run(tagged, inputs, "list", on=place).to_dict()
    assert {name: sorted(map(int, each)) for name, each in found.items()} == {
        "first": list(range(40)),
        "second": list(range(40)),
    }


def test_every_format(place: Any, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.jsonl").write_text('{"n": 1}\n')
    (tmp_path / "b.csv").write_text("n\n2\n")
    (tmp_path / "c.txt").write_text("x\n")
    pq.write_table(pa.table({"n": [3]}), tmp_path / "d.parquet")
    inputs: dict[str, Any] = {path.suffix[1:]: path for path in sorted(tmp_path.iterdir())}
    inputs["table"] = pa.table({"n": [4]})
    assert mrkernel.run(tagged, inputs, "first", on=place).to_dict() == {
        "jsonl": {"n": 1},
        "csv": {"n": 2},
        "txt": "x",
        "parquet": {"n": 3},
        "table": {"n": 4},
    }


def test_where_it_fails_the_file_is_named_and_the_source_is_there_to_debug(
    cluster: Any, folder: Path
) -> None:
    def bad(source: str, record: dict[str, Any]) -> Iterator[Any]:
        yield source, record["name"]

    with pytest.raises(TaskFailedError, match=r"KeyError.*1.csv, byte 16"):
        cluster.run(bad, ["orders=orders", "people=people.csv"], "list")
    skipped = cluster.run(bad, ["orders=orders", "people=people.csv"], "list", on_error="skip")
    assert len(skipped.bad_records) == 8
    again = skipped.retry_bad_records(lambda source, record: [(source, record["id"])]).result()
    assert {name: len(list(each)) for name, each in again} == {"orders": 8, "people": 3}


def test_a_path_that_is_there_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "year=2024").mkdir()
    (tmp_path / "a=b.txt").write_text("x\n")
    inputs = ["year=2024/*.csv", "a=b.txt", "year=2024"]
    assert split_names(inputs, tmp_path) == (inputs, [""] * 3)
    assert split_names(["month=2024/*.csv"], tmp_path) == (["2024/*.csv"], ["month"])
    assert split_names(["url=s3://b/x=1.csv", "C=x"], tmp_path)[1] == ["url", "C"]
    assert split_names(["./a=b.txt", "x/y=z", "9=z"], tmp_path)[1] == [""] * 3


def test_names_of_a_dict() -> None:
    assert named({"a": "x", "b": ["y", Path("z")], "c": [1, 2]}) == [
        Named("a", "x"),
        Named("b", "y"),
        Named("b", Path("z")),
        Named("c", [1, 2]),
    ]
    for pairs in ({3: "x"}, {"": "x"}, {"a": 1}, {"a": None, "b": "x"}):
        with pytest.raises(InputError, match=r"is a dict: write {input.items\(\)} for its pairs"):
            named(pairs)


def test_what_makes_no_sense_is_one_sentence(folder: Path) -> None:
    with pytest.raises(InputError, match=r"some inputs have a name \(o=\) and people.csv has none"):
        mrkernel.run(mapper, ["o=orders", "people.csv"], "list", on="inline")
    with pytest.raises(JobSpecError, match="--batch mapper takes tables, which do not say"):
        mrkernel.run(lambda table: table, ["o=orders"], "list", on="inline", batch=True)
    with pytest.raises(InputError, match="no file matches nothing/"):
        mrkernel.run(mapper, ["o=nothing/*.csv"], "list", on="inline")
    with pytest.raises(JobSpecError, match="the job has no input"):
        mrkernel.run(mapper, {}, "list", on="inline")
