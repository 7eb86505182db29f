from __future__ import annotations

import pickle

import pytest

from mrkernel.job import counters
from mrkernel.job.counters import counter


def test_a_task_begins_at_zero_and_takes_its_counts() -> None:
    counter("stale").add()
    counters.begin()
    bad = counter("bad lines")
    bad.add()
    bad.add(2)
    counter("other").add(-1)
    assert counters.take() == {"bad lines": 3, "other": -1}
    assert counters.take() == {}


def test_a_counter_travels() -> None:
    counters.begin()
    pickle.loads(pickle.dumps(counter("a"))).add(2)
    assert counters.take() == {"a": 2}


def test_counting_apart_keeps_what_was_there() -> None:
    counters.begin()
    counter("a").add(5)
    with counters.collect() as counted:
        counter("a").add(1)
    assert counted == {"a": 1}
    assert counters.take() == {"a": 5}


def test_what_is_no_whole_number() -> None:
    with pytest.raises(TypeError, match=r"counts whole numbers, write add\(1\) or add\(int\(x\)\)"):
        counter("a").add(1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name is a str"):
        counter(3)  # type: ignore[arg-type]


def test_what_came_since_does_not_count() -> None:
    with counters.collect() as counted:
        counter("kept").add(2)
        before = counters.saved()
        counter("kept").add(1)
        counter("lost").add(1)
        counters.restore(before)
    assert counted == {"kept": 2}
