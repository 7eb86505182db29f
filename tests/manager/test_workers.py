"""Workers at the manager: let in, silent, suspect, dead, back as somebody else."""

from __future__ import annotations

from typing import Any

import pytest
from desk import Desk, sent, two_workers

from mrkernel.ids import WorkerId
from mrkernel.manager.events import Heartbeat, PeerId, PeerLost
from mrkernel.manager.instructions import Close, ExpectHeartbeats, Send
from mrkernel.manager.transitions import TaskState, WorkerLiveness
from mrkernel.manager.workers import CAUSE_KEPT_S, FLAP_BAR_S, OFFER_S
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import Agreed, DisturbWorker, Refused, RetireWorker
from mrkernel.protocol.worker_messages import BeatsHeard, Disturb, JobInfo, Registered, Retire


@pytest.mark.fault(39)
def test_another_python_is_refused_at_the_door(desk: Desk) -> None:
    out = desk.join(python="3.12")
    reason = (
        "this cluster runs Python 3.11, the worker on h1 Python 3.12: start it with Python 3.11"
    )
    assert out == [Send(PeerId(2), Retire(reason)), Close(PeerId(2))]
    assert desk.state.workers == {}
    assert desk.published(public.Noted)[-1].sentence == f"a worker was refused: {reason}"


@pytest.mark.fault(5)
def test_silence_makes_a_suspect_and_a_word_clears_it(desk: Desk) -> None:
    desk.join()
    desk.silence(1.4)
    assert desk.worker("w1").state is WorkerLiveness.ALIVE
    desk.silence(0.2)
    assert desk.worker("w1").state is WorkerLiveness.SUSPECT
    (suspect,) = desk.published(public.WorkerSuspect)
    assert suspect.silent_s == pytest.approx(1.6, abs=0.11)
    assert desk.starts(desk.submit(maps=1)) == []  # no new work for it
    assert desk.starts(desk.beat("w1")) == [("w1", "map-0", 1)]
    assert desk.published(public.WorkerAlive)[-1].worker == "w1"


def test_a_suspect_keeps_what_it_has(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    desk.silence(2.0, "w2")
    assert desk.worker("w1").state is WorkerLiveness.SUSPECT
    assert desk.running() == {"w1": ["map-0"], "w2": ["map-1"]}
    assert desk.starts(desk.finish("w1", "map-0")) == [("w1", "map-2", 1)]  # it spoke


@pytest.mark.fault(5, 20)
def test_long_silence_is_death(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=2)
    peer = desk.peers["w1"]
    out = desk.silence(5.2, "w2")
    assert Close(peer) in out
    assert list(desk.state.workers) == ["w2"]
    (lost,) = desk.published(public.WorkerLost)
    assert lost.cause.startswith("frozen, or its network is down: nothing was heard of it for 5.")
    assert desk.starts(desk.finish("w2", "map-1")) == [("w2", "map-0", 2)]
    assert desk.handle(PeerLost(peer, "closed by us")) == []  # the echo of our own closing
    assert len(desk.published(public.WorkerLost)) == 1


@pytest.mark.fault(9)
def test_a_pause_of_our_own_kills_nobody(desk: Desk) -> None:
    desk.join()
    desk.tick()
    desk.tick(3600.0)  # a laptop's night
    assert desk.worker("w1").state is WorkerLiveness.ALIVE
    desk.silence(2.0)
    assert desk.worker("w1").state is WorkerLiveness.SUSPECT


def test_a_word_before_the_late_tick_gives_no_credit_for_later(desk: Desk) -> None:
    desk.join()
    desk.tick()
    desk.now += 3600.0
    desk.beat("w1")  # what had piled up is read before the timer fires
    desk.tick(0.0)
    desk.silence(5.2)
    assert desk.state.workers == {}


@pytest.mark.fault(49)
def test_the_dead_come_back_as_somebody_else(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.silence(5.2)
    out = desk.join()
    assert desk.starts(out) == [("w2", "map-0", 2)]
    # Blobs and job are sent again: to us it has nothing.
    assert [type(i).__name__ for i in out].count("SendBlob") == 1
    assert len(sent(out, JobInfo)) == 1


# --- barred ---------------------------------------------------------------------------------------


def test_a_full_disk_bars_its_worker_longer_each_time(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1, attempts=20)
    for seconds in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        desk.fail("w1", "map-0", "environment")
        barred = desk.published(public.WorkerBarred)[-1]
        assert (barred.worker, barred.cause, barred.seconds) == (
            "w1",
            "it had a environment",
            seconds,
        )
        assert desk.starts(desk.wait(seconds - 0.2)) == []
        assert desk.starts(desk.wait(0.4))
        assert desk.published(public.WorkerBarred)[-1].cause == ""  # it may work again


def test_a_barred_worker_ends_what_it_has(desk: Desk) -> None:
    desk.join(slots=2)
    desk.submit(maps=3)
    desk.fail("w1", "map-0", "environment")
    assert desk.starts(desk.finish("w1", "map-1")) == []
    assert desk.task("map-1").state is TaskState.DONE


@pytest.mark.fault(53)
def test_who_is_lost_three_times_within_a_minute_gets_no_work_for_a_while(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    for name in ("w1", "w2", "w3"):
        desk.wait(5.0)
        desk.lose(name)
        desk.return_of(name)
        desk.offer(f"w{int(name[1:]) + 1}")
    (barred,) = desk.published(public.WorkerBarred)
    assert barred == public.WorkerBarred(
        at=barred.at,
        worker=WorkerId("w4"),
        cause="it was lost 3 times within a minute",
        seconds=FLAP_BAR_S,
    )
    assert desk.running() == {"w4": []}
    assert desk.starts(desk.wait(FLAP_BAR_S + 0.2)) == [("w4", "map-0", 4)]


def test_who_is_lost_now_and_then_works_on(desk: Desk) -> None:
    desk.join()
    for number in range(1, 6):
        desk.wait(31.0)
        desk.lose(f"w{number}")
        desk.return_of(f"w{number}")
    assert desk.published(public.WorkerBarred) == []


# --- back again -----------------------------------------------------------------------------------


def test_who_is_back_gets_no_work_before_its_offer(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=2, reduces=1)
    desk.restart()
    out = desk.return_of("w1")
    assert (desk.starts(out), desk.published(public.WorkerBarred)) == ([], [])
    out = desk.offer("w2", desk.finished("map-0", 1))
    assert [task for _, task, _ in desk.starts(out)] == ["map-1"]
    assert desk.task("map-0").winner == 1


def test_an_offer_that_does_not_come_is_not_waited_for(desk: Desk) -> None:
    desk.join()
    desk.submit(maps=1)
    desk.restart()
    desk.return_of("w1")
    assert [task for _, task, _ in desk.starts(desk.wait(OFFER_S + 0.2))] == ["map-0"]
    assert desk.published(public.WorkerBarred) == []


# --- datagrams ------------------------------------------------------------------------------------


def beats_heard(out: list[Any]) -> list[bool]:
    return [message.heard for message in sent(out, BeatsHeard)]


def test_a_registration_says_where_datagrams_go() -> None:
    desk = Desk(beat_port=9)
    out = desk.join()
    (expected,) = [i for i in out if isinstance(i, ExpectHeartbeats)]
    (registered,) = sent(out, Registered)
    assert (registered.number, registered.beat_port) == (expected.number, 9)
    assert out.index(expected) < out.index(Send(expected.peer, registered))


def test_datagrams_that_arrive_are_enough() -> None:
    desk = Desk(beat_port=9)
    desk.join()
    assert beats_heard(desk.heartbeat("w1")) == [True]
    for _ in range(100):
        assert beats_heard(desk.heartbeat("w1")) == []
        assert beats_heard(desk.tick(0.1)) == []
    assert desk.worker("w1").state is WorkerLiveness.ALIVE
    assert desk.published(public.WorkerSuspect) == []


@pytest.mark.fault(18)
def test_blocked_datagrams_are_told_once_and_replaced_by_tcp() -> None:
    desk = Desk(beat_port=9)
    desk.join()
    assert beats_heard(desk.wait(30.0)) == [False]
    (note,) = desk.published(public.Noted)
    assert note.sentence == (
        "w1: its UDP heartbeats do not arrive (a firewall?), they come over TCP"
    )
    assert desk.worker("w1").state is WorkerLiveness.ALIVE
    assert beats_heard(desk.heartbeat("w1")) == [True]
    assert beats_heard(desk.heartbeat("w1")) == []
    assert beats_heard(desk.wait(30.0)) == [False]
    assert len(desk.published(public.Noted)) == 1


@pytest.mark.fault(19)
def test_two_datagrams_lost_in_a_row_are_no_firewall() -> None:
    desk = Desk(beat_port=9)
    desk.join()
    for _ in range(20):
        desk.heartbeat("w1")
        assert beats_heard(desk.wait(1.2)) == []
    assert desk.published(public.Noted) == []


def test_without_datagrams_nothing_is_said_of_them(desk: Desk) -> None:
    desk.join()
    assert beats_heard(desk.wait(60.0)) == []


def test_a_heartbeat_of_nobody_is_nothing(desk: Desk) -> None:
    desk.join()
    peer = desk.peers["w1"]
    desk.lose("w1")
    assert desk.handle(Heartbeat(peer)) == []
    assert desk.handle(Heartbeat(desk.client)) == []
    assert desk.state.workers == {}


# --- how a process ended --------------------------------------------------------------------------


KILLED = "was killed (SIGKILL)"


@pytest.mark.fault(1)
def test_a_cause_that_comes_first_is_the_cause(desk: Desk) -> None:
    desk.join()
    assert desk.process_ended(desk.infos["w1"].pid, KILLED) == []
    desk.lose("w1", "connection reset")
    (lost,) = desk.published(public.WorkerLost)
    assert lost.cause == KILLED
    assert desk.published(public.WorkerCause) == []


def test_a_cause_that_comes_later_is_told_later(desk: Desk) -> None:
    desk.join()
    desk.lose("w1", "connection reset")
    desk.wait(1.0)
    desk.process_ended(desk.infos["w1"].pid, KILLED)
    (cause,) = desk.published(public.WorkerCause)
    assert (cause.worker, cause.cause) == ("w1", KILLED)
    desk.process_ended(desk.infos["w1"].pid, KILLED)
    assert len(desk.published(public.WorkerCause)) == 1


def test_a_cause_that_is_too_old_is_nobodys(desk: Desk) -> None:
    desk.join()
    pid = desk.infos["w1"].pid
    desk.lose("w1", "connection reset")
    desk.wait(CAUSE_KEPT_S + 1.0)
    desk.process_ended(pid, KILLED)  # another process of that number
    assert desk.published(public.WorkerCause) == []
    desk.wait(CAUSE_KEPT_S + 1.0)
    desk.join(pid=pid)
    desk.lose("w2", "connection reset")
    assert desk.published(public.WorkerLost)[-1].cause == "connection reset"


def test_a_process_that_came_back_dies_under_its_new_name(desk: Desk) -> None:
    desk.join()
    desk.lose("w1", "connection reset")
    desk.return_of("w1")
    desk.process_ended(desk.infos["w1"].pid, KILLED)
    desk.lose("w2", "connection reset")
    assert desk.published(public.WorkerCause) == []
    assert [e.cause for e in desk.published(public.WorkerLost)] == ["connection reset", KILLED]


def test_a_process_of_that_number_on_another_host_is_another(desk: Desk) -> None:
    desk.join(host="elsewhere")
    pid = desk.infos["w1"].pid
    desk.process_ended(pid, KILLED)
    desk.lose("w1", "connection reset")
    desk.process_ended(pid, KILLED)
    assert desk.published(public.WorkerLost)[0].cause == "connection reset"
    assert desk.published(public.WorkerCause) == []


# --- retired --------------------------------------------------------------------------------------


def test_who_retires_ends_what_it_has_and_goes_with_the_next_tick(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    assert desk.ask(RetireWorker(3, WorkerId("w2"))) == [Send(desk.client, Agreed(3))]
    assert desk.starts(desk.wait(60.0)) == []
    assert desk.starts(desk.finish("w2", "map-1")) == []  # no new work for it
    goodbye = [Send(desk.peers["w2"], Retire("retired")), Close(desk.peers["w2"])]
    assert desk.wait(0.2)[:2] == goodbye
    (lost,) = desk.published(public.WorkerLost)
    assert (lost.worker, lost.cause) == ("w2", "retired")
    assert desk.published(public.AttemptLost) == []
    assert desk.running() == {"w1": ["map-0"]}


def test_who_is_idle_retires_at_once_and_twice_is_once(desk: Desk) -> None:
    two_workers(desk)
    for ticket in (3, 4):
        desk.ask(RetireWorker(ticket, WorkerId("w1")))
    assert len(desk.published(public.WorkerBarred)) == 1
    desk.wait(0.2)
    assert list(desk.state.workers) == ["w2"]
    (refused,) = sent(desk.ask(RetireWorker(5, WorkerId("w1"))), Refused)
    assert refused == Refused(5, "no worker 'w1' lives here; living: w2")


def test_who_was_asked_to_go_goes_also_after_a_restart(desk: Desk) -> None:
    two_workers(desk)
    desk.submit(maps=3)
    desk.ask(RetireWorker(3, WorkerId("w2")))
    desk.restart()
    for name in ("w1", "w2"):
        desk.return_of(name)
    assert list(desk.starts([*desk.offer("w4"), *desk.offer("w3")])) == [("w3", "map-0", 1001)]
    assert desk.state.workers[WorkerId("w4")].retiring
    desk.wait(0.2)
    assert list(desk.state.workers) == ["w3"]


def test_who_was_asked_to_go_goes_also_when_its_connection_broke(desk: Desk) -> None:
    """It says first what it has; if it does not, it goes all the same."""
    two_workers(desk)
    desk.submit(maps=3)
    desk.ask(RetireWorker(3, WorkerId("w2")))
    desk.lose("w2", "connection reset")
    desk.return_of("w2")
    desk.wait(OFFER_S / 2)
    assert list(desk.state.workers) == ["w1", "w3"]
    desk.wait(OFFER_S)
    desk.wait(0.2)
    assert list(desk.state.workers) == ["w1"]
    barred = [(event.worker, event.cause) for event in desk.published(public.WorkerBarred)]
    assert barred[-1] == ("w3", "it retires")


# --- failing on purpose ---------------------------------------------------------------------------


def test_a_worker_is_disturbed_as_a_client_asks(desk: Desk) -> None:
    desk.join()
    out = desk.ask(DisturbWorker(3, WorkerId("w1"), "freeze", 2.0))
    assert out == [
        Send(desk.peers["w1"], Disturb("freeze", 2.0)),
        Send(desk.client, Agreed(3)),
    ]
    (refused,) = sent(desk.ask(DisturbWorker(4, WorkerId("w9"), "kill")), Refused)
    assert refused == Refused(4, "no worker 'w9' lives here; living: w1")
