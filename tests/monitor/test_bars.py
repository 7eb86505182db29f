"""The timeline: every state of a bar, and its lane."""

from __future__ import annotations

from typing import Any

from events_strategy import JOB

from mrkernel.ids import TaskId, WorkerId, map_task, reduce_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.lanes import bars_of
from mrkernel.monitor.picture import Changes
from mrkernel.monitor.timeline import SPECIAL_KEPT, Timeline
from mrkernel.monitor.view import JobView

W1, W2, W3 = WorkerId("w1"), WorkerId("w2"), WorkerId("w3")
M0, M1, M2, M3 = (map_task(n) for n in range(4))


class Story:
    """A job view, told short sentences."""

    def __init__(self, workers: dict[WorkerId, int] | None = None, **accepted: Any) -> None:
        workers = {W1: 1, W2: 1} if workers is None else workers
        self.view = JobView(
            JOB,
            workers={
                name: ev.WorkerJoined(at=0.0, worker=name, host="h", pid=1, slots=slots)
                for name, slots in workers.items()
            },
        )
        fields = {"maps": 4, "reduces": 1, "input_bytes": 400, **accepted}
        self.tell(
            ev.JobAccepted(at=0.0, job=JOB, name="count", functions="cell", **fields)  # type: ignore[arg-type]
        )

    def tell(self, event: ev.Event) -> None:
        self.view.fold(event)

    def start(
        self, at: float, task: TaskId, worker: WorkerId = W1, attempt: int = 1, **fields: Any
    ) -> None:
        self.tell(
            ev.AttemptStarted(
                at=at, job=JOB, task=task, attempt=attempt, worker=worker, input="a.txt", **fields
            )
        )

    def finish(
        self, at: float, task: TaskId, worker: WorkerId = W1, attempt: int = 1, **fields: Any
    ) -> None:
        numbers = {"records": 10, "pairs": 5, "bytes_in": 100, "bytes_out": 50, "seconds": 1.0}
        self.tell(
            ev.AttemptFinished(
                at=at, job=JOB, task=task, attempt=attempt, worker=worker, **{**numbers, **fields}
            )
        )

    def fail(self, at: float, task: TaskId, worker: WorkerId = W1, attempt: int = 1) -> None:
        self.tell(
            ev.AttemptFailed(
                at=at, job=JOB, task=task, attempt=attempt, worker=worker, sentence="it raised"
            )
        )

    def lose(
        self, at: float, task: TaskId, worker: WorkerId, attempt: int = 1, cause: str = "cancelled"
    ) -> None:
        self.tell(
            ev.AttemptLost(at=at, job=JOB, task=task, attempt=attempt, worker=worker, cause=cause)
        )

    def kill(self, at: float, worker: WorkerId, cause: str = "was killed (SIGKILL)") -> None:
        self.tell(ev.WorkerLost(at=at, worker=worker, cause=cause))

    def bars(self) -> dict[str, list[Any]]:
        return dict(self.view.snapshot()["bars"])

    def shape(self) -> dict[str, tuple[Any, ...]]:
        """Lane, begin, end and state of each bar."""
        return {key: tuple(row[:4]) for key, row in self.bars().items()}


def test_a_bar_tells_all_about_its_attempt() -> None:
    story = Story()
    story.start(1.0, M0)
    assert story.bars() == {
        "map-0/1": ["w1·0", 1.0, None, "running", "map-0", 1, 1, 0, 0, "a.txt", ""]
    }
    story.tell(ev.Progress(at=1.5, job=JOB, task=M0, attempt=1, worker=W1, records=4, bytes=40))
    assert story.bars()["map-0/1"][7:9] == [4, 40]
    story.finish(2.0, M0)
    assert story.bars() == {
        "map-0/1": ["w1·0", 1.0, 2.0, "done", "map-0", 1, 1, 10, 100, "a.txt", ""]
    }
    assert story.view.snapshot()["timeline"] == {"from": 1.0, "step": 0.0, "dropped": 0}


def test_what_is_handed_over_ahead_begins_when_a_slot_is_free() -> None:
    story = Story({W1: 2})
    for n, task in enumerate((M0, M1, M2, M3)):
        story.start(1.0 + n / 100, task)
    assert story.shape() == {
        "map-0/1": ("w1·0", 1.0, None, "running"),
        "map-1/1": ("w1·1", 1.01, None, "running"),
    }
    story.finish(3.0, M1)
    story.finish(3.5, M0)
    assert story.shape() == {
        "map-0/1": ("w1·0", 1.0, 3.5, "done"),
        "map-1/1": ("w1·1", 1.01, 3.0, "done"),
        "map-2/1": ("w1·1", 3.0, None, "running"),
        "map-3/1": ("w1·0", 3.5, None, "running"),
    }


def test_what_is_told_to_be_over_at_once_is_in_the_order_it_ran() -> None:
    """Ends that come in one message: all but the first seem to have taken no time."""
    story = Story({W1: 1})
    for task in (M0, M2, M3, M1):
        story.start(1.0, task)
    for task in (M0, M2, M3):
        story.finish(2.0, task)
    for end in (None, 3.0):
        if end:
            story.finish(end, M1)
        bars = bars_of(story.view.snapshot())
        assert [(bar.task, bar.begin, bar.end) for bar in bars] == [
            (M0, 1.0, 2.0),
            (M2, 2.0, 2.0),
            (M3, 2.0, 2.0),
            (M1, 2.0, end),
        ]


def test_an_idle_lane_is_used_from_the_first_on() -> None:
    story = Story({W1: 3})
    for n, task in enumerate((M0, M1, M2)):
        story.start(1.0, task)
        story.finish(2.0 + n, task)
        story.start(2.5 + n, M3, attempt=n + 1)
        story.lose(3.0 + n, M3, W1, attempt=n + 1)
    assert {row[0] for row in story.shape().values()} == {"w1·0"}


def test_a_death_leaves_lost_bars_and_the_next_attempts_begin_elsewhere() -> None:
    story = Story({W1: 1, W2: 2})
    for task in (M0, M1, M2):  # map-2 waits in w2 for a slot: it never ran
        story.start(1.0, task, W2)
    story.kill(2.0, W2, "connection reset")
    story.lose(2.0, M0, W2, cause="worker w2 died")  # the manager's word changes nothing
    story.start(2.1, M0, W1, attempt=2)
    story.start(2.1, M1, W1, attempt=2)
    assert story.shape() == {
        "map-0/1": ("w2·0", 1.0, 2.0, "lost"),
        "map-1/1": ("w2·1", 1.0, 2.0, "lost"),
        "map-0/2": ("w1·0", 2.1, None, "running"),
    }
    assert story.bars()["map-0/1"][10] == "w2 died: connection reset"
    story.view.take_delta()
    story.tell(ev.WorkerCause(at=2.2, worker=W2, cause="was killed (SIGKILL)"))
    delta = story.view.take_delta()
    assert delta is not None
    assert delta["put"]["bars"]["map-1/1"][10] == "w2 was killed (SIGKILL)"
    story.finish(4.0, M0, attempt=2)
    assert story.shape()["map-1/2"] == ("w1·0", 4.0, None, "running")
    # The arrow is drawn from task and attempt: each bad bar has its successor, alone in its bar.
    rows = story.bars()
    assert [rows[key][4:7] for key in ("map-0/1", "map-0/2")] == [["map-0", 1, 1], ["map-0", 2, 1]]


def test_a_failure_and_its_second_try() -> None:
    story = Story()
    story.start(1.0, M0)
    story.fail(1.5, M0)
    story.start(1.6, M0, W2, attempt=2)
    assert story.shape() == {
        "map-0/1": ("w1·0", 1.0, 1.5, "failed"),
        "map-0/2": ("w2·0", 1.6, None, "running"),
    }
    assert story.bars()["map-0/1"][10] == "it raised"


def test_a_backup_that_wins_and_one_that_does_not() -> None:
    story = Story({W1: 2, W2: 2})
    story.start(1.0, M0)
    story.start(1.0, M1)
    story.start(5.0, M0, W2, attempt=2, backup=True)
    story.start(5.0, M1, W2, attempt=2, backup=True)
    assert story.shape()["map-0/2"] == ("w2·0", 5.0, None, "running+")
    story.finish(6.0, M0, W2, attempt=2)
    story.lose(6.0, M0, W1)
    story.finish(7.0, M1)
    story.lose(7.0, M1, W2, attempt=2)
    assert {key: (row[3], row[10]) for key, row in story.bars().items()} == {
        "map-0/1": ("killed", "w2 was faster"),
        "map-0/2": ("done+", ""),
        "map-1/1": ("done", ""),
        "map-1/2": ("killed+", "w1 was faster"),
    }


def test_output_that_is_lost_turns_its_bar_and_the_task_runs_again() -> None:
    story = Story()
    story.start(1.0, M0, W2)
    story.finish(2.0, M0, W2)
    story.kill(3.0, W2)
    story.tell(ev.OutputLost(at=3.0, job=JOB, worker=W2, tasks=(M0,)))
    story.start(3.1, M0, W1, attempt=2)
    story.finish(4.0, M0, W1, attempt=2)
    assert story.shape() == {
        "map-0/1": ("w2·0", 1.0, 2.0, "gone"),
        "map-0/2": ("w1·0", 3.1, 4.0, "done"),
    }
    assert story.bars()["map-0/1"][10] == "its output was lost with w2"


def test_a_cancelled_job_kills_what_runs_and_nothing_that_waits_appears() -> None:
    story = Story()
    story.start(1.0, M0)
    story.start(1.0, M1)
    story.tell(ev.JobEnded(at=2.0, job=JOB, outcome="cancelled", sentence="interrupted"))
    assert story.shape() == {"map-0/1": ("w1·0", 1.0, 2.0, "killed")}
    assert story.bars()["map-0/1"][10] == "the job was cancelled"
    one_by_one = Story()
    one_by_one.start(1.0, M0)
    one_by_one.start(1.0, M1)
    one_by_one.lose(2.0, M0, W1)
    one_by_one.lose(2.0, M1, W1)
    assert one_by_one.shape() == {"map-0/1": ("w1·0", 1.0, 2.0, "killed")}


def test_an_attempt_taken_for_lost_may_count_after_all() -> None:
    story = Story()
    story.start(1.0, M0, W2)
    story.lose(2.0, M0, W2, cause="worker w2 died")
    assert story.shape()["map-0/1"][3] == "lost"
    story.finish(2.5, M0, W2)
    assert story.shape() == {"map-0/1": ("w2·0", 1.0, 2.0, "done")}


def test_a_worker_that_runs_another_one_first_is_believed() -> None:
    story = Story()
    story.start(1.0, M0)
    story.start(1.0, M1)
    story.finish(3.0, M1, seconds=1.5)  # map-0 was taken to run
    assert story.shape() == {
        "map-0/1": ("w1·0", 3.0, None, "running"),
        "map-1/1": ("w1·0", 1.5, 3.0, "done"),
    }


def test_slots_that_become_known_late_hold_no_more_than_there_are() -> None:
    story = Story({})
    for task in (M0, M1, M2):
        story.start(1.0, task)
    assert len(story.shape()) == 3
    story.tell(ev.WorkerJoined(at=1.1, worker=W1, host="h", pid=1, slots=2))
    assert set(story.shape()) == {"map-0/1", "map-1/1"}
    story.finish(2.0, M0)
    assert story.shape()["map-2/1"] == ("w1·0", 2.0, None, "running")


def test_a_manager_that_was_restarted_tells_what_it_knows() -> None:
    """Finishes without starts, by workers that were never announced; then work goes on."""
    story = Story({})
    story.finish(2.0, M0, seconds=1.0)
    story.finish(2.5, M1, seconds=1.4)  # it ran beside the first
    story.finish(3.0, M2, seconds=0.99)
    story.tell(ev.ManagerRestarted(at=4.0, job=JOB, maps_kept=3, maps=4, down_s=0.4))
    story.tell(ev.WorkerJoined(at=4.1, worker=W3, host="h", pid=3, slots=1))
    story.start(4.2, M3, W3, attempt=1001)
    assert story.shape() == {
        "map-0/1": ("w1·0", 1.0, 2.0, "done"),
        "map-1/1": ("w1·1", 1.1, 2.5, "done"),
        "map-2/1": ("w1·0", 2.01, 3.0, "done"),
        "map-3/1001": ("w3·0", 4.2, None, "running"),
    }
    story.finish(5.0, M3, W3, attempt=1001)
    assert story.view.snapshot()["timeline"]["from"] == 1.0


def test_short_neighbours_become_one_bar_and_nothing_else_does() -> None:
    timeline = Timeline(Changes(), kept=8)
    timeline.announced(W1, 1)

    def run(at: float, task: TaskId, attempt: int = 1, *, fails: bool = False) -> None:
        names = {"job": JOB, "task": task, "attempt": attempt, "worker": W1}
        timeline.started(ev.AttemptStarted(at=at, input="x", **names))  # type: ignore[arg-type]
        end = at + 0.001
        if fails:
            failed = ev.AttemptFailed(at=end, sentence="no", **names)  # type: ignore[arg-type]
            timeline.ended(failed, "failed", failed.sentence)
            return
        timeline.finished(
            ev.AttemptFinished(
                at=end,
                records=1,
                pairs=1,
                bytes_in=2,
                bytes_out=1,
                seconds=0.001,
                **names,  # type: ignore[arg-type]
            )
        )

    run(0.0, map_task(0))
    run(0.001, map_task(1), fails=True)
    run(0.002, map_task(1), 2)
    for n in range(2, 12):
        run(0.001 * (n + 1), map_task(n))
    run(0.013, reduce_task(0))
    rows = [bar.row() for bar in timeline.bars.values()]
    assert timeline.step > 0
    states = {(row[4], row[5]): (row[3], row[6]) for row in rows}
    assert states["map-1", 1] == ("failed", 1)
    assert states["map-1", 2] == ("done", 1)
    assert states["reduce-0", 1] == ("done", 1)
    joined = [row for row in rows if row[6] > 1]
    assert joined
    assert all(row[7] == row[6] and row[8] == 2 * row[6] for row in joined)
    assert sum(row[6] for row in rows) == 14


def test_what_is_lost_of_a_joined_bar_is_cut_out_of_it() -> None:
    story = Story({W1: 1})
    story.view._timeline = timeline = Timeline(Changes(), kept=2)
    timeline.announced(W1, 1)
    timeline.step = 1.0
    for n in range(4):
        story.start(1.0 + n / 10, map_task(n))
        story.finish(1.1 + n / 10, map_task(n))
    assert [row[4:7] for row in story.bars().values()] == [["map-0", 1, 4]]
    story.tell(ev.OutputLost(at=2.0, job=JOB, worker=W1, tasks=(M0, M2)))
    assert {key: (*row[1:4], *row[6:9]) for key, row in story.bars().items()} == {
        "map-1/1": (1.0, 1.2, "done", 2, 20, 200),
        "map-0/1": (1.2, 1.4, "gone", 2, 20, 200),
    }
    story.tell(ev.OutputLost(at=2.0, job=JOB, worker=W1, tasks=(M1, M3)))
    assert {row[3] for row in story.bars().values()} == {"gone"}


def test_of_what_went_wrong_the_newest_stay() -> None:
    story = Story({W1: 1}, maps=3000)
    for n in range(SPECIAL_KEPT + 100):
        story.start(float(n), map_task(n))
        story.fail(n + 0.5, map_task(n))
    picture = story.view.snapshot()
    assert picture["timeline"]["dropped"] == 100
    assert len(picture["bars"]) == SPECIAL_KEPT
    assert "map-99/1" not in picture["bars"]
    assert "map-100/1" in picture["bars"]
