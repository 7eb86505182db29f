"""Time left, judged over jobs whose end is known: how often it is right, and how wide.

``python tests/monitor/test_eta_judged.py`` prints the figures.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import NamedTuple

import pytest
from histories import Plan, Said, Work, asked, history

from mrkernel.ids import map_task, reduce_task
from mrkernel.monitor import events as ev

MAP_BYTES = 16_000_000
#: Bytes of map output that one map makes, and what one of them costs a reduce: built-ins, Python.
MAP_OUTPUT = (200_000, 4_000_000, 16_000_000)
REDUCE_COSTS = (10e-9, 20e-9, 40e-9)


class Job(NamedTuple):
    """A plan, and from when on what befalls it can be known."""

    plan: Plan
    known: Callable[[list[ev.Event]], float] = lambda _: 0.0


def maps(chance: random.Random, spread: float) -> tuple[Work, ...]:
    count, seconds = chance.choice([16, 40, 100, 400]), chance.choice([0.5, 2.0, 8.0])
    return tuple(
        Work(map_task(n), MAP_BYTES, seconds * chance.lognormvariate(0.0, spread))
        for n in range(count)
    )


def whole(chance: random.Random, cost: float = 0.0, *, skew: bool = False) -> Plan:
    """Maps and reduces, partitions all alike or the first n times as large as the n-th."""
    ours = maps(chance, 0.15)
    count = chance.choice([2, 8, 16])
    total = len(ours) * chance.choice(MAP_OUTPUT)
    cost = cost or chance.choice(REDUCE_COSTS) * chance.lognormvariate(0.0, 0.3)
    shares = [1 / (n + 1) if skew else 1.0 for n in range(count)]
    chance.shuffle(shares)
    sizes = [round(total * share / sum(shares)) for share in shares]
    return Plan(
        ours,
        tuple(
            Work(reduce_task(n), size, max(0.02, size * cost * chance.lognormvariate(0.0, 0.1)))
            for n, size in enumerate(sizes)
        ),
    )


def usual_s(plan: Plan) -> float:
    return median(work.seconds for work in plan.maps)


def changed(plan: Plan, change: Callable[[int], float]) -> Plan:
    """The same with some maps that take longer, by their number."""
    ours = (replace(work, seconds=work.seconds * change(n)) for n, work in enumerate(plan.maps))
    return replace(plan, maps=tuple(ours))


def even(chance: random.Random) -> Job:
    return Job(Plan(maps(chance, 0.1)))


def uneven(chance: random.Random) -> Job:
    return Job(Plan(maps(chance, 0.5)))


def unsized(chance: random.Random) -> Job:
    return Job(Plan(maps(chance, 0.2), sizes=False))


def with_reduces(chance: random.Random) -> Job:
    return Job(whole(chance))


def skewed(chance: random.Random) -> Job:
    plan = whole(chance, skew=True)
    return Job(changed(plan, lambda _: min(8.0, chance.paretovariate(2.5))))


def late(plan: Plan, task: str) -> Callable[[list[ev.Event]], float]:
    """From when on a task takes clearly longer than others do."""

    def known(events: list[ev.Event]) -> float:
        starts = (e.at for e in events if isinstance(e, ev.AttemptStarted) and e.task == task)
        return next(starts) + 3 * usual_s(plan)

    return known


def slow_attempt(chance: random.Random) -> Job:
    """One map takes ten times as long where it runs first; a backup does not."""
    plan = whole(chance)
    task = chance.choice(plan.maps[-8:] if chance.random() < 0.5 else plan.maps).task
    return Job(replace(plan, slow={(task, 1): 10.0}), late(plan, task))


def slow_task(chance: random.Random) -> Job:
    """One map takes ten times as long wherever it runs."""
    plan = whole(chance)
    number = chance.randrange(len(plan.maps))
    slow = changed(plan, lambda n: 10.0 if n == number else 1.0)
    return Job(slow, late(plan, map_task(number)))


def death(chance: random.Random) -> Job:
    plan = whole(chance)
    at = sum(work.seconds for work in plan.maps) / 8 * chance.uniform(0.2, 1.2)
    return Job(replace(plan, death=at), lambda _: at)


def warming_up(chance: random.Random) -> Job:
    """The first task of each slot takes longer."""
    return Job(changed(whole(chance), lambda n: 2.5 if n < 8 else 1.0))


def slowing_down(chance: random.Random) -> Job:
    plan = whole(chance)
    half = len(plan.maps) // 2

    def known(events: list[ev.Event]) -> float:
        ends = (e.at for e in events if isinstance(e, ev.AttemptFinished))
        return list(ends)[half + 4]

    return Job(changed(plan, lambda n: 1.0 if n < half else 1.5), known)


def hard_reduces(chance: random.Random) -> Job:
    """Reduces that do more than most: nobody can know until they run."""

    def known(events: list[ev.Event]) -> float:
        return next(
            e.at - e.seconds / 2
            for e in events
            if isinstance(e, ev.AttemptFinished) and e.task.startswith("r")
        )

    return Job(whole(chance, 250e-9), known)


class Verdict(NamedTuple):
    """Over all jobs of a kind."""

    known: float  #: part of all times it was asked that it said something
    right: float  #: part of these that the truth was within, from when on that could be known
    width: float  #: median of the range's width, as part of what was left
    surprised: float  #: part that was right, the time before it could be known included


def judged(kind: Callable[[random.Random], Job], jobs: int) -> Verdict:
    times = 0
    said: list[tuple[Said, bool]] = []
    for seed in range(jobs):
        job = kind(random.Random(f"{kind.__name__} {seed}"))
        events = history(job.plan)
        known = job.known(events)
        answers = asked(events)
        times += len(answers)
        said += [(one, one.at >= known) for one in answers if one.range is not None]
    rights = [one.right for one, known in said if known]
    return Verdict(
        len(said) / times,
        sum(rights) / len(rights),
        median(one.width for one, _ in said),
        sum(one.right for one, _ in said) / len(said),
    )


#: How often the range is to hold, and how wide it may be: as measured, and a little worse.
KINDS: dict[Callable[[random.Random], Job], tuple[float, float]] = {
    even: (0.95, 0.6),
    uneven: (0.9, 0.9),
    unsized: (0.94, 0.7),
    with_reduces: (0.95, 1.0),
    skewed: (0.87, 1.4),
    slow_attempt: (0.87, 1.1),
    slow_task: (0.87, 1.4),
    death: (0.9, 1.0),
    warming_up: (0.82, 1.7),
    slowing_down: (0.9, 1.0),
    hard_reduces: (0.95, 0.7),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_end_lies_in_a_range_that_is_not_wide(kind: Callable[[random.Random], Job]) -> None:
    verdict = judged(kind, 25)
    right, width = KINDS[kind]
    assert verdict.known >= 0.8
    assert verdict.right >= right
    assert verdict.width <= width


def main() -> None:
    """Print the figures."""
    print(f"{'':16}  known  right  width  right, surprises included")
    for kind in KINDS:
        known, right, width, surprised = judged(kind, 50)
        print(f"{kind.__name__:16}  {known:.2f}   {right:.3f}  {width:.2f}   {surprised:.3f}")


if __name__ == "__main__":
    main()
