"""The output of one job is the input of the next: the same pairs as by way of the program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import exactly

import mrkernel
from mrkernel import LocalCluster
from mrkernel.data.splits import MemorySplit, PartSplit
from mrkernel.engines.inline import InlineEngine
from mrkernel.errors import ClusterError, JobSpecError, TaskFailedError

LINES = [f"{word} {word * 2} {n}" for n in range(60) for word in ("a", "b", "c")]


def words(line: str) -> Iterator[Any]:
    for word in line.split():
        yield word, 1


def by_count(word: str, count: int) -> Iterator[Any]:
    yield count, word


def by_count_of_pair(pair: Any) -> Iterator[Any]:
    yield pair[1], pair[0]


def in_parts(result: mrkernel.JobResult) -> list[Any]:
    """The pairs part by part: the order in which a chained job reads them."""
    return [pair for part in result.parts for pair in result.part(part.index)]


@pytest.mark.parametrize("reducer", ["list", "count", lambda key, values: (key, list(values))])
def test_it_is_as_if_the_pairs_came_through_the_program(engine: Any, reducer: Any) -> None:
    counts = mrkernel.run(words, iter(LINES), "sum", on=engine, reduce_tasks=3)
    through = mrkernel.run(by_count_of_pair, in_parts(counts), reducer, on=engine, reduce_tasks=2)
    wanted = exactly(list(through))
    assert exactly(list(counts.mapreduce(by_count, reducer, reduce_tasks=2))) == wanted
    assert exactly(list(counts.mapreduce(by_count_of_pair, reducer, reduce_tasks=2))) == wanted


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=4,
)
keys = st.integers() | st.text(max_size=3) | st.tuples(st.integers(0, 3), st.text(max_size=2))


@given(
    st.lists(st.tuples(keys, values), max_size=40),
    st.sampled_from(["list", "identity", "none"]),
    st.integers(1, 4),
    st.integers(1, 3000),
)
@settings(max_examples=15)
def test_any_pairs_come_whole_and_in_order(
    place: Any, pairs: list[Any], reducer: str, parts: int, split_size: int
) -> None:
    options = {} if reducer == "none" else {"reduce_tasks": parts}
    first = mrkernel.run(lambda pair: [pair], pairs, reducer, on=place, **options)
    second = first.mapreduce(lambda key, value: [(0, (key, value))], "list", split_size=split_size)
    found = [pair for _, several in second for pair in several]
    assert exactly(found) == exactly(in_parts(first))


def finishing() -> Any:
    class Summing:
        def __init__(self) -> None:
            self.total = 0

        def __call__(self, key: int, ones: Any) -> Iterator[Any]:
            self.total += 1
            yield key, sum(ones)

        def finish(self) -> Iterator[Any]:
            yield 7, f"{self.total} groups"

    return Summing


def test_what_a_reducer_gives_at_its_end_is_in_its_place(place: Any) -> None:
    first = mrkernel.run(lambda n: [(n % 20, 1)], range(100), finishing(), on=place, reduce_tasks=2)
    found = first.mapreduce(lambda pair: [(0, pair)], "list", split_size=40).to_dict()[0]
    assert found == in_parts(first)


def test_nothing_is_a_result_too(place: Any) -> None:
    nothing = mrkernel.run(lambda n: [], range(3), "sum", on=place)
    assert list(nothing.mapreduce(by_count, "list")) == []


def test_a_large_result_is_cut_for_the_slots_and_stays_where_it_is(cluster: Any) -> None:
    large = cluster.run(lambda n: [(n, "x" * 5000)], range(4000), "first", reduce_tasks=1)
    job = cluster.submit(lambda key, text: [(key % 3, len(text))], large, "sum")
    assert job.result().to_dict() == {n: 5000 * len(range(n, 4000, 3)) for n in range(3)}
    assert job.last_picture()["map"]["total"] > 2


def test_a_chain_of_many_with_releases_on_the_way(place: Any) -> None:
    result = mrkernel.run(lambda n: [(n, n)], range(50), "sum", on=place)
    for _ in range(8):
        following = result.mapreduce(lambda key, value: [(key // 2, value)], "sum")
        result.release()
        result = following
    assert list(result) == [(0, sum(range(50)))]


@pytest.mark.parametrize("when", [0.0, 0.3, 0.8])
def test_a_worker_that_dies_in_mid_pipeline_changes_nothing(cluster: Any, when: float) -> None:
    counts = cluster.run(lambda n: [(n % 5000, "y" * 60)], range(20_000), "list", reduce_tasks=4)
    through = [(key % 11, len(texts)) for key, texts in in_parts(counts)]
    wanted = {key: [size for k, size in through if k == key] for key in range(11)}
    victim = min(cluster.living_workers())
    killed = cluster.kill(victim, at=when) if when else cluster.kill(victim)
    found = counts.mapreduce(lambda key, texts: [(key % 11, len(texts))], "list", split_size=20_000)
    assert found.to_dict() == wanted
    if killed is not None:
        killed.wait()
    cluster.wait_for_workers()


def test_the_result_of_another_cluster_comes_through_here(cluster: Any) -> None:
    here = mrkernel.run(words, iter(LINES), "sum", on="inline", reduce_tasks=3)
    wanted = list(here.mapreduce(by_count, "list"))
    assert list(mrkernel.run(by_count, here, "list", on=cluster)) == wanted
    there = cluster.run(words, iter(LINES), "sum", reduce_tasks=3)
    assert list(mrkernel.run(by_count, there, "list", on="inline")) == wanted
    with LocalCluster(1, slots=1) as other:
        job = other.submit(by_count, there, "list")
        assert list(job.result()) == wanted
        assert "is the result of another cluster (a local cluster)" in job.notes[0]


def test_a_job_runs_where_its_input_is_if_nobody_says(cluster: Any) -> None:
    counts = cluster.run(words, iter(LINES), "sum")
    result = mrkernel.run(by_count, counts, "list")
    assert result.engine is counts.engine
    assert int(result.job[1:]) > int(counts.job[1:])


def test_a_result_outlives_its_cluster_and_is_an_input_elsewhere(cluster: Any) -> None:
    with LocalCluster(1, slots=1) as gone:
        counts = gone.run(words, iter(LINES), "sum", reduce_tasks=3)
    here = mrkernel.run(words, iter(LINES), "sum", on="inline", reduce_tasks=3)
    wanted = list(here.mapreduce(by_count, "list"))
    assert list(cluster.run(by_count, counts, "list")) == wanted
    with pytest.raises(ClusterError):
        counts.mapreduce(by_count, "list")


def test_the_place_of_a_pair_is_named(cluster: Any) -> None:
    counts = cluster.run(words, iter(LINES), "sum", reduce_tasks=1, name="counts")
    with pytest.raises(TaskFailedError, match=r"ZeroDivisionError.*counts part 0\[0\]") as raised:
        counts.mapreduce(lambda word, count: [(word, count / 0)], "sum")
    assert raised.value.failure is not None


def test_bad_pairs_are_skipped_and_tried_again(place: Any) -> None:
    counts = mrkernel.run(words, iter(LINES), "sum", on=place, reduce_tasks=1)

    def strict(word: str, count: int) -> Iterator[Any]:
        yield count, word[int(word == "bb") * 9]

    first = counts.mapreduce(strict, "list", on_error="skip")
    (bad,) = first.bad_records
    assert (bad.record, bad.file.endswith("part 0")) == ("('bb', 60)", place.cluster_id != "")
    again = first.retry_bad_records(lambda word, count: [(count, word[0])]).result()
    wanted = counts.mapreduce(lambda word, count: [(count, word[0])], "list")
    assert sorted(again.to_dict()[60]) == sorted(wanted.to_dict()[60])


def test_ranges_of_keys_that_come_in_order(cluster: Any) -> None:
    """The first pairs of a part are no sample of it."""
    first = cluster.run(lambda n: [(n, "x" * 50)], range(20_000), "first", reduce_tasks=1)
    second = first.mapreduce(
        lambda key, text: [(key, text)], "first", partitioner="range", reduce_tasks=4
    )
    sizes = [part.pairs for part in second.parts]
    assert sum(sizes) == 20_000
    assert max(sizes) < 10_000
    assert in_parts(second) == list(first)


def test_tables_of_pairs(place: Any) -> None:
    counts = mrkernel.run(words, iter(LINES), "sum", on=place)

    def mapper(table: Any) -> Any:
        return table["value"], table["key"]

    found = counts.mapreduce(mapper, "count", batch=True)
    assert found.to_dict() == counts.mapreduce(by_count, "count").to_dict()


def test_a_sample_of_a_result(cluster: Any) -> None:
    counts = cluster.run(lambda n: [(n, 1)], range(1000), "sum", reduce_tasks=2)
    sample = counts.mapreduce(lambda key, one: [(0, one)], "sum", sample=5)
    assert sample.to_dict()[0] <= 10


def test_what_cannot_be_is_one_sentence(cluster: Any) -> None:
    counts = cluster.run(words, iter(LINES), "sum")
    with pytest.raises(JobSpecError, match=r"mrkernel.run\(mapper, result, reducer, on=...\)"):
        counts.mapreduce(by_count, "list", on="inline")
    counts.release()
    with pytest.raises(ClusterError, match="was released: run the job again"):
        counts.mapreduce(by_count, "list")
    with pytest.raises(JobSpecError, match="did you mean"):
        counts.mapreduce(by_count, "list", reduce_taks=2)


@pytest.mark.parametrize("batch", [False, True])
def test_a_loop_over_one_input_reads_what_is_there_now(
    place: Any, tmp_path: Any, batch: bool
) -> None:
    """What a mapper does to its records, and who held the input before, changes nothing."""

    def by_record(record: dict[str, int]) -> Iterator[Any]:
        yield record["n"] % 3, record.pop("m")

    def by_table(table: Any) -> Iterator[Any]:
        yield [n % 3 for n in table["n"].to_pylist()], table["m"]

    path = tmp_path / "a.csv"
    for rows in (500, 400):
        path.write_text("n,m\n" + "".join(f"{n},{n}\n" for n in range(rows)))
        for _ in range(4):
            found = mrkernel.run(
                *(by_table if batch else by_record, path, "sum"),
                on=place,
                split_size=1000,
                batch=batch,
            )
            assert found.to_dict() == {k: sum(range(k, rows, 3)) for k in range(3)}


def test_no_pair_travels_to_the_program_and_back(cluster: Any) -> None:
    """What is sent are places; of a result elsewhere, pairs."""
    from mrkernel.engines.chaining import Chained

    result = cluster.run(lambda n: [(n, "x" * 100)], range(5000), "first", reduce_tasks=2)
    splits = Chained(cluster).cut(result, "r", None, 2, None).splits
    assert {type(split) for split in splits} == {PartSplit}
    assert sum(split.count for split in splits) == 5000
    through = Chained(InlineEngine()).cut(result, "r", None, 2, None).splits
    assert {type(split) for split in through} == {MemorySplit}
