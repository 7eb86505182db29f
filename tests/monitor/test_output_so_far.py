"""Partition sizes and top keys while maps run."""

from __future__ import annotations

from typing import Any

from mrkernel.ids import JobId, WorkerId, map_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.output_so_far import KEYS_KEPT, KEYS_SHOWN, PARTITIONS_SHOWN, TopKeys
from mrkernel.monitor.view import JobView

JOB, W1, W2 = JobId("j-1"), WorkerId("w1"), WorkerId("w2")


def finished(number: int, **fields: Any) -> ev.AttemptFinished:
    return ev.AttemptFinished(
        at=2.0, job=JOB, task=map_task(number), attempt=1, worker=W1, records=1, pairs=1,
        bytes_in=1, bytes_out=1, seconds=1.0, **fields,
    )  # fmt: skip


def view(*events: ev.Event, top: Any = "count") -> dict[str, Any]:
    job = JobView(JOB)
    job.fold(
        ev.JobAccepted(
            at=1.0, job=JOB, name="x", maps=4, reduces=3, input_bytes=0, functions="", top=top
        )
    )
    for event in events:
        job.fold(event)
    return job.fields()


def test_the_biggest_partitions_first_and_only_what_is_there() -> None:
    fields = view()
    assert (fields["parts"], fields["partitions"]) == ([], 0)
    fields = view(finished(0, sizes=(5, 0, 7)), finished(1, sizes=(5, 0, 0)))
    assert (fields["parts"], fields["partitions"]) == ([[0, 10], [2, 7]], 3)
    fields = view(finished(0, sizes=tuple(range(1, 21))))
    assert fields["parts"] == [[19 - n, 20 - n] for n in range(PARTITIONS_SHOWN)]
    assert fields["partitions"] == 20


def test_what_was_lost_is_taken_out_until_it_is_done_again() -> None:
    lost = ev.OutputLost(at=3.0, job=JOB, worker=W1, tasks=(map_task(0), map_task(0)))
    first = finished(0, sizes=(5, 1), top=(("the", 9.0), ("a", 2.0)))
    second = finished(1, sizes=(1, 1), top=(("the", 1.0), ("b", 3.0)))
    fields = view(first, second, lost)
    assert fields["parts"] == [[0, 1], [1, 1]]
    assert fields["top"] == {"kind": "count", "rows": [["b", 3], ["the", 1]], "maps": 1}


def test_the_keys_so_far_by_what_their_numbers_are() -> None:
    assert view(finished(0))["top"] is None
    both = (
        finished(0, top=(("x", 2.0), ("y", 1.5))),
        finished(1, top=(("x", 1.0), ("z", 4.0))),
    )
    rows = {
        "count": [["z", 4], ["x", 3], ["y", 1.5]],
        "sum": [["z", 4], ["x", 3], ["y", 1.5]],
        "max": [["z", 4], ["x", 2], ["y", 1.5]],
        "min": [["x", 1], ["y", 1.5], ["z", 4]],
    }
    for kind, expected in rows.items():
        top = view(*both, top=kind)["top"]
        assert top["rows"] == expected
        assert top["kind"] == kind
        assert top["maps"] == 2


def test_a_key_that_stands_out_stays_however_many_others_come() -> None:
    top = TopKeys()
    for number in range(50):
        rare = tuple((f"rare {number} {n}", 1.0) for n in range(200))
        top.count_in(finished(number, top=(("often", 10.0), *rare)))
    picture = top.picture(50)
    assert picture is not None
    assert picture["rows"][0] == ["often", 500]
    assert len(picture["rows"]) == KEYS_SHOWN
    assert len(top._numbers) <= KEYS_KEPT
