"""Facts: each comes back from a journal as it was; what a later version wrote is refused."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from desk import split

from mrkernel.data.splits import MemorySplit
from mrkernel.errors import ClusterError
from mrkernel.ids import JobId, TaskId, WorkerId
from mrkernel.job.bad_records import BadRecord
from mrkernel.job.failure import Failure, Frame
from mrkernel.job.spec import JobSpec
from mrkernel.manager.facts import (
    VERSION,
    AnyFact,
    Began,
    BlobKept,
    Fact,
    JobGone,
    JobLetGo,
    JobOver,
    JobTaken,
    Numbers,
    RetirementAsked,
    StoreGone,
    StoreTaken,
    TaskDone,
    TasksUndone,
    WorkerTaken,
    decode_facts,
    encode_facts,
)
from mrkernel.protocol.worker_messages import Finished, PartOutput, Register, RunOutput

J, T, W = JobId("j1"), TaskId("map-0"), WorkerId("w1")
SPEC = JobSpec(name="job", functions="f" * 64, reduce_tasks=2, python="3.11", skip=3)
BAD = BadRecord(task="map-0", index=4, file="/a", offset=9, record="'x'", error="ValueError: x")
FAILURE = Failure(
    kind="user", sentence="s", frames=(Frame("a.py", 3, "mapper", "x"),), evidence=b"pickled"
)
FINISHED = Finished(
    *(J, T, 1, 2, 3, 4, 0.5, RunOutput((1, 0), 7, b"run"), PartOutput("n", 1, 1), {"c": 1}),
    bad=(BAD,),
    peak_memory=5,
)

SAMPLES: list[AnyFact] = [
    Began(VERSION, "c1", "3.11", 2, 1000.5),
    Numbers(7, 8),
    WorkerTaken(W, 1, W, Register("h", "h1", 1, 2, "3.11", "::1", 5, "/d", "i", W, "c1"), 1.5),
    StoreTaken(W, "h1", "/d", "i"),
    StoreGone(W),
    RetirementAsked("i"),
    BlobKept("f" * 64, b"\x00functions"),
    JobTaken(
        *(J, 1, SPEC, (split(0), MemorySplit("x", 0, 1, b"p", blob="b", size=1)), ("b", "f"), "k"),
        extends=JobId("j0"),
        at=1.5,
        whole=True,
        skips={T: {4: "crashed (SIGSEGV)"}},
    ),
    TaskDone(W, FINISHED, 2.5, JobId("j0")),
    TasksUndone(J, (T,), "why", 3.5),
    JobOver(J, "failed", "sentence", FAILURE, 4.5),
    JobLetGo(J, True),
    JobGone(J),
]


def test_there_is_a_sample_of_every_fact() -> None:
    assert {type(fact) for fact in SAMPLES} == set(get_args(AnyFact)) == set(Fact.__subclasses__())


@pytest.mark.parametrize("fact", SAMPLES, ids=lambda fact: type(fact).__name__)
def test_there_and_back(fact: AnyFact) -> None:
    assert decode_facts(encode_facts([fact, fact])) == [fact, fact]
    assert decode_facts(encode_facts([])) == []


def test_a_field_from_the_future_is_passed_over() -> None:
    payload = msgspec.msgpack.encode([{"fact": "gone", "job": "j1", "why": "x"}])
    assert decode_facts(payload) == [JobGone(J)]


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x91\x01", msgspec.msgpack.encode([{"fact": "gone"}])],
)
def test_what_is_no_fact_is_refused_in_words(payload: bytes) -> None:
    with pytest.raises(ClusterError, match="start the version of mrkernel that wrote it"):
        decode_facts(payload)


def test_a_later_version_is_refused_by_its_number() -> None:
    later = Began(VERSION + 1, "c1", "3.11", 1, 0.0)
    with pytest.raises(ClusterError, match=f"reads up to {VERSION}"):
        decode_facts(encode_facts([later]))
