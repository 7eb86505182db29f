"""How much a run does: the real one within some minutes, the smoke run within half of one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Sizes and limits of a run.

    Attributes:
        judged: whether its figures may be held against the goals.
        megabytes: of each of the four text files.
        rounds: of each figure, at most.
        cold_s, small_s, empty_s, count_s, killed_s: seconds a figure's rounds may take; a round
            that would not fit is left out, the first never is.
        small_jobs: small jobs on each side.
        empty_tasks: tasks of the job of empty tasks.
        share: of the six jobs' inputs; 1 is the real size.
        job_s: seconds the rounds of one of the six jobs may take.
        timeout_s: of one run of one contestant there.
        hand_overs: workers killed to see how soon their tasks go on elsewhere; a quarter as many
            are frozen.
        second_tasks: how many tasks of how many seconds one process of which is killed.
        recovery_tasks: the same of the jobs of which a worker is killed, or slow.
        recovery_s: seconds the rounds of one of these may take.
        restarts: managers killed; None: one at every boundary of the journal's records.
        deaths_s: seconds without a false death.
    """

    judged: bool
    megabytes: float
    rounds: int
    cold_s: float
    small_s: float
    empty_s: float
    count_s: float
    killed_s: float
    small_jobs: int
    empty_tasks: int
    share: float
    job_s: float
    timeout_s: float
    hand_overs: int
    second_tasks: tuple[int, float]
    recovery_tasks: tuple[int, float]
    recovery_s: float
    restarts: int | None
    deaths_s: float


WHOLE = Plan(
    judged=True,
    megabytes=22.5,
    rounds=5,
    cold_s=15,
    small_s=15,
    empty_s=15,
    count_s=50,  # twice: with and without a combiner
    killed_s=40,
    small_jobs=200,
    empty_tasks=10_000,
    share=1.0,
    job_s=30,
    timeout_s=150,
    hand_overs=200,
    second_tasks=(40, 1.0),
    recovery_tasks=(120, 0.2),
    recovery_s=90,
    restarts=225,
    deaths_s=300,
)

QUICK = Plan(
    judged=False,
    megabytes=2,
    rounds=1,
    cold_s=3,
    small_s=3,
    empty_s=3,
    count_s=5,
    killed_s=6,
    small_jobs=40,
    empty_tasks=2_000,
    share=0.02,
    job_s=4,
    timeout_s=30,
    hand_overs=4,
    second_tasks=(8, 0.2),
    recovery_tasks=(24, 0.1),
    recovery_s=5,
    restarts=2,
    deaths_s=5,
)
