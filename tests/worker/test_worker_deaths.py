"""Each way a runner can die is told in another sentence, and each says what to do next."""

from __future__ import annotations

import pytest

from mrkernel.data.splits import FileSplit
from mrkernel.ids import JobId, TaskId
from mrkernel.protocol.worker_messages import Start
from mrkernel.worker.deaths import Death, crash, over_limit, timed_out

MAP = Start(JobId("j1"), TaskId("map-7"), 2, 7, FileSplit("/d/a.txt", 0, 99, 99, 1))
REDUCE = Start(JobId("j1"), TaskId("reduce-3"), 1, 3)

WAYS = {
    "exit": Death(3),
    "SIGKILL": Death(signal="SIGKILL"),
    "OOM": Death(signal="SIGKILL", out_of_memory=True),
    "SIGSEGV": Death(signal="SIGSEGV"),
    "SIGBUS": Death(signal="SIGBUS"),
    "SIGABRT": Death(signal="SIGABRT"),
    "SIGTERM": Death(signal="SIGTERM"),
    "unknown": Death(signal="signal 40"),
}


def test_no_two_sentences_are_alike() -> None:
    failures = [crash(MAP, death).failure for death in WAYS.values()]
    failures += [over_limit(MAP, Death(), 3, 2).failure, timed_out(MAP, Death(), 2.0).failure]
    assert len({failure.sentence for failure in failures}) == len(failures)
    assert all(failure.hint for failure in failures)
    assert {failure.kind for failure in failures} == {"crash", "timeout"}


@pytest.mark.parametrize(
    ("death", "sentence"),
    [
        (Death(3), "its Python process ended itself with exit status 3 after 0 finished records"),
        (
            Death(signal="SIGSEGV", records=5512, place="a.txt, byte 70", index=5512),
            "its Python process crashed (SIGSEGV), it used memory that is not its own, after 5,512 "
            "finished records; it was at a.txt, byte 70",
        ),
        (
            Death(signal="SIGSEGV", records=5000, place="a.txt, byte 70"),
            "its Python process crashed (SIGSEGV), it used memory that is not its own, after 5,000 "
            "finished records; it was at a.txt, byte 70 or soon after",
        ),
        (
            Death(signal="SIGILL", records=9, place="a.txt, after byte 70"),
            "its Python process crashed (SIGILL), code for another processor, after 9 finished "
            "records; it was at a.txt, after byte 70",
        ),
        (
            Death(signal="SIGKILL", out_of_memory=True, records=1, peak_bytes=2_100_000_000),
            "its Python process was killed (SIGKILL) by the kernel, because memory ran out after 1 "
            "finished records; its peak memory was 2.1 GB",
        ),
        (
            Death(signal="SIGKILL"),
            "its Python process was killed (SIGKILL) from outside after 0 finished records",
        ),
    ],
)
def test_sentences(death: Death, sentence: str) -> None:
    failed = crash(MAP, death)
    assert (failed.job, failed.task, failed.attempt) == ("j1", "map-7", 2)
    assert failed.failure.sentence == sentence
    assert (failed.failure.index, failed.failure.where) == (death.index, death.place)
    assert failed.failure.role == "mapper"


def test_a_reducer_has_groups() -> None:
    death = Death(signal="SIGABRT", records=2, place="group 'the' or one after it", index=None)
    failure = crash(REDUCE, death).failure
    assert failure.sentence.endswith(
        "after 2 finished groups; it was at group 'the' or one after it"
    )
    assert failure.role == "reducer"
    failure = over_limit(REDUCE, death, 3_000_000_000, 2_000_000_000).failure
    assert failure.sentence == (
        "used 3.0 GB of 2.0 GB at group 3 of partition 3, or soon after "
        "(group 'the' or one after it)"
    )
    assert timed_out(REDUCE, Death(), 1.5).failure.sentence == "no group was finished for 1.5 s"


def test_last_words_are_the_last_lines() -> None:
    lines = "".join(f"line {n}\n" for n in range(20))
    assert crash(MAP, Death(1, stderr=lines)).failure.message.splitlines() == [
        f"line {n}" for n in range(12, 20)
    ]
