"""Looking for a manager: often at first, spread, and not for ever."""

from __future__ import annotations

import random

import pytest

from mrkernel.worker.lease import FIRST_PAUSE_S, LONGEST_PAUSE_S, Lease


class No:
    """No chance at all: the longest pause each time."""

    def uniform(self, a: float, b: float) -> float:
        return b


def pauses(seconds: float, chance: object) -> list[float]:
    """All pauses of a search in vain, which takes no time itself."""
    now, found = 100.0, []
    lease = Lease(seconds, now, chance)  # type: ignore[arg-type]
    while (pause := lease.pause(now)) is not None:
        found.append(pause)
        now += pause
    assert now == pytest.approx(100.0 + seconds)
    return found


@pytest.mark.parametrize(("seconds", "longest"), [(30.0, 0.5), (600.0, LONGEST_PAUSE_S)])
def test_pauses_grow_to_a_bound(seconds: float, longest: float) -> None:
    found = pauses(seconds, No())
    assert found[0] == FIRST_PAUSE_S
    assert found[:-1] == sorted(found[:-1])
    assert max(found) == longest
    assert sum(found[:10]) < 5


@pytest.mark.fault(53)
def test_workers_that_lose_their_manager_at_once_look_for_it_at_different_times() -> None:
    first = pauses(30.0, random.Random(1))
    second = pauses(30.0, random.Random(2))
    assert first[:5] != second[:5]
    for pause, most in zip(first[:9], pauses(30.0, No())[:9], strict=True):
        assert most / 2 <= pause <= most


def test_a_lease_of_nothing_is_over() -> None:
    assert Lease(0.0, 5.0, No()).pause(5.0) is None


def test_only_the_search_counts_when_managers_come_and_go() -> None:
    """Thirty managers that live for most of a second each are not half a minute without one."""
    now = 100.0
    lease = Lease(2.0, now, No())
    for _ in range(30):
        lease.served(0.9)
        now += 0.9
        assert lease.pause(now) is not None
        now += 0.01
    assert lease.pause(now + 2.0) is None
