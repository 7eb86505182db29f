"""The reader's end of the line."""

from __future__ import annotations

import pickle
from functools import partial

import pytest

from mrkernel.ids import JobId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import (
    DELTAS_KEPT,
    FEED_LIMIT,
    Changes,
    Feed,
    Pace,
    Picture,
    PictureGap,
    apply,
)
from mrkernel.monitor.view import JobView

JOB = JobId("j-1")


def note(view: JobView, text: str) -> dict[str, object]:
    view.fold(ev.Noted(at=1.0, job=JOB, level="info", sentence=text))
    delta = view.take_delta()
    assert delta is not None
    return delta


def test_a_gap_is_an_error_that_says_what_to_do() -> None:
    view = JobView(JOB)
    start = view.snapshot()
    note(view, "lost on the way")
    second = note(view, "arrives")
    with pytest.raises(PictureGap, match="delta 2 does not follow picture 0: ask for a snapshot"):
        apply(start, second)
    copy = pickle.loads(pickle.dumps(PictureGap(0, 2)))
    assert (copy.have, copy.got) == (0, 2)


def test_a_picture_receives_and_is_asked_what_changed() -> None:
    view, picture = JobView(JOB), Picture()
    assert not picture.ready
    assert picture.snapshot() == {}
    assert picture.changed_since(0) == []
    with pytest.raises(PictureGap):
        picture.receive({"delta": {"seq": 1}})
    picture.receive({"topic": JOB, "snapshot": view.snapshot()})
    assert picture.ready
    deltas = [note(view, str(number)) for number in range(DELTAS_KEPT + 10)]
    for delta in deltas:
        picture.receive({"topic": JOB, "delta": delta})
    newest = DELTAS_KEPT + 10
    assert picture.snapshot() == view.snapshot()
    assert picture.changed_since(newest) == []
    assert picture.changed_since(newest - 3) == deltas[-3:]
    assert picture.changed_since(newest - DELTAS_KEPT) == deltas[10:]
    assert picture.changed_since(newest - DELTAS_KEPT - 1) is None
    assert picture.changed_since(newest + 1) is None


def test_applying_leaves_the_picture_before_as_it_was() -> None:
    view = JobView(JOB)
    start = view.snapshot()
    again = dict(start)
    view.fold(ev.WorkerJoined(at=1.0, worker="w1", host="h", pid=1, slots=1))
    delta = view.take_delta()
    assert delta is not None
    assert apply(start, delta)["workers"]["w1"]["slots"] == 1
    assert start == again
    assert start["workers"] == {}


def test_of_the_feed_only_what_changed_is_sent() -> None:
    feed = Feed()
    for number in range(FEED_LIMIT + 1):
        feed.add(number / 10, "info", f"line {number}")
    old = {"feed": feed.take(), "older": 1, "seq": 0}
    assert len(old["feed"]) == FEED_LIMIT
    feed.edit(7, "info", "line 7, and more")
    feed.edit(9, "info", "line 9")  # as it was
    feed.edit(0, "info", "too old")
    feed.add(90.0, "error", "new")
    lines = feed.take()
    assert [line["text"] for line in lines] == ["line 7, and more", "new"]
    assert feed.take() == []
    after = apply(old, {"seq": 1, "feed": lines})
    assert after["feed"] == feed.lines()
    assert after["older"] == 2


def test_a_line_that_changes_often_is_written_when_somebody_looks() -> None:
    feed = Feed()
    feed.add(0.0, "info", "done: 0")
    written = []

    def write(done: int) -> str:
        written.append(done)
        return f"done: {done}"

    for done in range(1, 1001):
        feed.edit_later(0, "info", partial(write, done))
    assert written == []
    assert [line["text"] for line in feed.lines()] == ["done: 1000"]
    assert [line["text"] for line in feed.take()] == ["done: 1000"]
    assert written == [1000]
    for number in range(1, FEED_LIMIT + 2):  # nobody looks: no more wait than there are lines
        feed.add(1.0, "info", "")
        feed.edit_later(number, "info", partial(write, number))
    assert len(written) == FEED_LIMIT + 2


def test_changes_wait_their_turn_the_first_first() -> None:
    changes = Changes(Pace(each=2, burst=3))
    for key in "abcdef":
        changes.note(key)
    changes.note_first("e")
    changes.note("a")  # it keeps its turn
    taken = [list(changes.take(row, hurry=False)[0]) for _ in range(2)]
    assert taken == [["e", "a", "b"], ["c", "d"]]
    assert list(changes.take(row, hurry=True)[0]) == ["f"]
    assert not changes


def test_the_newest_first_and_what_is_only_said_otherwise_last() -> None:
    changes = Changes(Pace(each=2, burst=2, newest_first=True))
    for key in "abc":
        changes.note(key)
    changes.note_later("x")
    changes.note("a")
    assert [list(changes.take(row, hurry=False)[0]) for _ in range(2)] == [["a", "c"], ["b", "x"]]


def test_what_a_reader_has_is_put_right_before_it_gets_more() -> None:
    changes = Changes(Pace(each=2, burst=2, newest_first=True))
    changes.note("old")
    assert list(changes.take(row, hurry=False)[0]) == ["old"]
    for key in ("old", "a", "b"):
        changes.note(key)
    assert list(changes.take(row, hurry=False)[0]) == ["old", "b"]


def test_a_row_that_came_and_went_between_two_deltas_is_never_sent() -> None:
    changes = Changes(Pace(each=9, burst=9))
    changes.note("seen")
    changes.note("brief")
    changes.seen(["seen"])
    changes.note_gone("brief")
    changes.note_gone("seen", later=True)
    assert changes.take(lambda key: None, hurry=False) == ({}, ["seen"])
    changes.note_gone("seen")
    assert not changes


def row(key: str) -> dict[str, object]:
    return {"key": key}
