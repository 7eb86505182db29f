"""Who runs what, judged alone."""

from __future__ import annotations

import pytest

from mrkernel.manager.policy import choose_worker, prefetch, smooth


@pytest.mark.parametrize(
    ("mean_s", "ahead"),
    [(None, 0), (60.0, 0), (0.26, 0), (0.25, 1), (0.03, 1), (0.02, 4), (0.003, 4), (0.002, 64)],
)
def test_short_tasks_are_sent_ahead_and_long_ones_never(mean_s: float | None, ahead: int) -> None:
    assert prefetch(mean_s) == ahead


def test_the_mean_moves_towards_what_was_seen() -> None:
    assert smooth(None, 3.0) == 3.0
    assert smooth(1.0, 2.0) == pytest.approx(1.2)
    mean = 1.0
    for _ in range(50):
        mean = smooth(mean, 0.001)
    assert mean == pytest.approx(0.001, rel=0.1)


FAILED, SLOW = (True, False), (False, True)


def choose(
    loads: dict[str, float], room: dict[str, int], **against: tuple[bool, bool]
) -> str | None:
    return choose_worker(
        loads,
        load=loads.__getitem__,
        room=room.__getitem__,
        against=lambda worker: against.get(worker, (False, False)),
    )


def test_the_least_loaded_with_room_is_taken() -> None:
    assert choose({"a": 2.0, "b": 1.0, "c": 0.0}, {"a": 1, "b": 1, "c": 0}) == "b"
    assert choose({"a": 1.0, "b": 1.0}, {"a": 1, "b": 1}) == "a"
    assert choose({"a": 0.0}, {"a": 0}) is None
    assert choose({}, {}) is None


def test_where_it_failed_is_only_the_last_resort() -> None:
    loads, free = {"a": 0.0, "b": 5.0}, {"a": 1, "b": 1}
    assert choose(loads, free, a=FAILED) == "b"
    assert choose(loads, {"a": 1, "b": 0}, a=FAILED) is None  # it waits for b
    assert choose(loads, free, a=FAILED, b=FAILED) == "a"
    assert choose(loads, {"a": 0, "b": 1}, a=FAILED, b=FAILED) == "b"
    assert choose(loads, free, a=FAILED, b=SLOW) == "b"
    assert choose(loads, {"a": 1, "b": 0}, a=FAILED, b=SLOW) is None
