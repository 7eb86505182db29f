from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mrkernel.errors import CorruptRunError, JobSpecError
from mrkernel.job.failure import Failure, UserCodeError
from mrkernel.job.moments import mean_of, mean_states
from mrkernel.job.reducing import ReduceCall


class Values:
    """What a group has, as far as a reducer is concerned."""

    def __init__(self, *items: Any) -> None:
        self.items: Any = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def close(self) -> None:
        self.items = None


def failure(reducer: Any, *groups: tuple[Any, Any], role: str = "reducer") -> Failure:
    with pytest.raises(UserCodeError) as caught:
        ReduceCall(reducer, role).reduce(groups)
    return caught.value.failure


GROUPS = [("a", [1, 2]), ("b", [3])]


def test_a_generator_yields_pairs() -> None:
    def reducer(key: str, values: list[int]) -> Iterator[tuple[str, int]]:
        yield key, sum(values)

    assert ReduceCall(reducer).reduce(GROUPS) == (["a", "b"], [1, 1], None, [3, 3])


def test_other_keys_and_other_counts() -> None:
    def swap(key: str, values: list[int]) -> Iterator[tuple[Any, Any]]:
        for value in values:
            yield value, key

    def each(key: str, values: list[int]) -> Iterator[tuple[Any, Any]]:
        for value in values:
            yield key, value

    assert ReduceCall(swap).reduce(GROUPS) == (["a", "b"], [2, 1], [1, 2, 3], ["a", "a", "b"])
    assert ReduceCall(each).reduce(GROUPS) == (["a", "b"], [2, 1], None, [1, 2, 3])


def test_an_equal_key_of_another_type_is_kept() -> None:
    def reducer(key: int, values: Any) -> Iterator[tuple[Any, Any]]:
        yield float(key), 1

    reduced = ReduceCall(reducer).reduce([(1, [0])])
    assert reduced.out_keys is not None
    assert type(reduced.out_keys[0]) is float


def test_a_returned_value_is_the_value_also_a_tuple() -> None:
    assert ReduceCall(lambda key, values: (key, 1)).pairs("a", [1]) == [("a", ("a", 1))]
    assert ReduceCall(lambda key, values: sum(values)).reduce(GROUPS) == (
        ["a", "b"],
        [1, 1],
        None,
        [3, 3],
    )


def test_none_is_refused_for_the_first_group_only() -> None:
    def reducer(key: str, values: list[int]) -> Any:
        if key != "b":
            return None
        return 1

    found = failure(reducer, *GROUPS)
    assert found.sentence == (
        "the reducer gave back None for its first group: did you forget return? Write return "
        "sum(values), or yield key, sum(values) (group 'a')"
    )
    assert ReduceCall(reducer).reduce(GROUPS[::-1]).values == [1, None]


def forgets(key: Any, values: Any) -> None:
    sum(values)


def prints(key: Any, values: Any) -> None:
    print(key, sum(values))


@pytest.mark.parametrize(
    ("reducer", "sentence"),
    [
        (
            forgets,
            "the reducer forgets has no return, so it gives nothing back: end it with return",
        ),
        (prints, "the reducer prints prints and gives nothing back: write yield key, value"),
        (lambda values: 1, "the reducer lambda takes 1 argument: write lambda key, values: …"),
        (sum, "the reducer sum"),
        (
            list,
            'Python\'s own list: write def reducer(key, values): yield key, sum(values), or "list"',
        ),
        ("summ", "there is no built-in reducer 'summ': did you mean 'sum'?"),
        ("top:0", "write top:N with N from 1, such as top:10"),
        (3, "the reducer is an int and cannot be called: write def reducer(key, values)"),
    ],
)
def test_what_is_no_reducer(reducer: Any, sentence: str) -> None:
    with pytest.raises(JobSpecError) as caught:
        ReduceCall(reducer)
    assert sentence in str(caught.value)


def test_a_failure_names_the_group() -> None:
    def reducer(key: str, values: list[int]) -> Iterator[Any]:
        yield key, 1 / (values[0] - 3)

    found = failure(reducer, *GROUPS)
    assert found.where == "group 'b'"
    assert found.record == "1 value: 3"
    assert found.sentence.startswith("reducer raised ZeroDivisionError: ")
    assert [frame.function.rpartition(".")[2] for frame in found.frames] == ["reducer"]


def yields(item: Any) -> Any:
    def reducer(key: str, values: Any) -> Iterator[Any]:
        yield key, 1
        if key == "b":
            yield item

    return reducer


@pytest.mark.parametrize(
    ("item", "hint"),
    [
        ("ab", "write yield key, 1 instead of yield key"),
        (7, "write yield key, value (or return value without the key)"),
        (("a", 1, 2), "put the values together: write yield key, (value1, value2)"),
        ({"a": 1}, "write yield from counts.items()"),
    ],
)
def test_a_reducer_that_yields_no_pair(item: Any, hint: str) -> None:
    found = failure(yields(item), *GROUPS)
    assert found.where == "group 'b'"
    assert hint in found.hint


def test_values_given_on_are_kept_and_their_life_ends() -> None:
    def same(key: str, values: Any) -> Iterator[Any]:
        yield key, values

    for reducer in (same, lambda key, values: values):
        values = Values(1, 2)
        assert ReduceCall(reducer).reduce([("a", values)]).values == [[1, 2]]
        assert values.items is None


def test_lazy_results_are_refused() -> None:
    found = failure(lambda key, values: map(str, values), *GROUPS)
    assert "the reducer gives a map, which cannot be kept: write return list(…)" in found.sentence
    found = failure(yields(("b", zip("a", "b"))), *GROUPS)  # noqa: B905
    assert found.where == "group 'b'"
    assert found.hint == "write yield key, list(…)"


def test_a_class_gathers_and_finishes() -> None:
    class Top:
        def __init__(self) -> None:
            self.best: list[tuple[int, str]] = []

        def __call__(self, key: str, values: list[int]) -> None:
            self.best = sorted([*self.best, (sum(values), key)])[-1:]

        def finish(self) -> Iterator[tuple[str, int]]:
            for count, key in self.best:
                yield key, count

    call = ReduceCall(Top)
    assert call.reduce([("a", [1]), ("b", [5])]) == (["a", "b"], [0, 0], None, [])
    assert call.finish() == [("b", 5)]


def test_states_of_a_built_in() -> None:
    call = ReduceCall("mean", finish_states=mean_of)
    states = [*mean_states([1, 2]), *mean_states([6])]
    assert call.reduce([("a", states)]) == (["a"], [1], None, [3.0])
    with pytest.raises(UserCodeError) as caught:
        call.reduce([("a", mean_states(["1", "2"]))])
    assert "let the mapper yield int(x) or float(x)" in caught.value.failure.hint
    assert caught.value.failure.record == "2 values: '1', '2'"


def test_built_ins_by_name() -> None:
    call = ReduceCall("sum")
    assert call.reduce(GROUPS) == (["a", "b"], [1, 1], None, [3, 3])
    found = failure("sum", ("a", ["1", "2"]))
    assert "let the mapper yield int(x) or float(x)" in found.hint
    assert found.where == "group 'a'"
    assert found.record == "2 values: '1', '2'"


def test_combiners() -> None:
    def combiner(key: str, values: Any) -> Iterator[Any]:
        yield key, sum(values)

    assert ReduceCall(combiner, "combiner").combine("a", [1, 2]) == [3]
    assert ReduceCall("max", "combiner").combine("a", [1, 2]) == [2]
    assert ReduceCall(lambda key, values: sum(values), "combiner").combine("a", [1, 2]) == [3]

    def other(key: str, values: Any) -> Iterator[Any]:
        yield key.upper(), 1

    with pytest.raises(UserCodeError, match="yields the key 'A' in the group 'a': a combiner must"):
        ReduceCall(other, "combiner").combine("a", [1])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("count", "count is no combiner, it would count counts: leave the combiner out"),
        ("mean", "mean is no combiner, because mean of several means is not mean of all"),
    ],
)
def test_built_ins_that_are_no_combiners(name: str, sentence: str) -> None:
    with pytest.raises(JobSpecError) as caught:
        ReduceCall(name, "combiner")
    assert sentence in str(caught.value)


def test_hints() -> None:
    assert "sum(map(int, values))" in failure(lambda k, values: sum(values), ("a", ["1"])).hint


def test_a_corrupt_run_is_not_the_users_fault() -> None:
    def groups() -> Iterator[tuple[str, list[int]]]:
        yield "a", [1]
        raise CorruptRunError("block 7 of run.1 is damaged", "run.1", 7)

    with pytest.raises(CorruptRunError):
        ReduceCall(lambda key, values: sum(values)).reduce(groups())
