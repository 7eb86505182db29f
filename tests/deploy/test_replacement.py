"""When a child that died is started again, and when not any more."""

from __future__ import annotations

from mrkernel.deploy.restarts import FIRST_PAUSE_S, LONGEST_PAUSE_S, SHORT_LIFE_S, Restarts

LONG, SHORT = SHORT_LIFE_S, SHORT_LIFE_S / 2


def test_who_lived_a_while_is_replaced_at_once_however_often_it_dies() -> None:
    restarts = Restarts()
    assert [restarts.died(LONG) for _ in range(1000)] == [0.0] * 1000


def test_pauses_grow_with_each_short_life_in_a_row_up_to_a_limit() -> None:
    restarts = Restarts()
    pauses = [restarts.died(SHORT) for _ in range(100)]
    assert pauses[:4] == [0.0, FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert pauses == sorted(pauses, key=lambda pause: pause or 0.0)


def test_one_long_life_makes_up_for_all_short_ones() -> None:
    restarts = Restarts(limit=3)
    for _ in range(10):
        assert restarts.died(SHORT) == 0.0
        assert restarts.died(SHORT) == FIRST_PAUSE_S
        assert restarts.died(LONG) == 0.0


def test_it_is_given_up_after_so_many_short_lives() -> None:
    restarts = Restarts(limit=3)
    assert restarts.died(SHORT) is not None
    assert restarts.died(SHORT) is not None
    assert restarts.died(SHORT) is None
    assert restarts.died(SHORT) is None


def test_pauses_of_a_child_that_dies_for_days_are_still_numbers() -> None:
    restarts = Restarts()
    restarts.short_lives = 1_000_000
    assert restarts.died(0.0) == LONGEST_PAUSE_S
