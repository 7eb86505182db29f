"""A real worker server that is slowed, frozen or killed, as `%mr_chaos` asks."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from manager_side import (
    Bench,
    Manager,
    Pairs,
    eventually,
    finish_a_map,
    play,
)

from mrkernel.ids import JobId, TaskId
from mrkernel.protocol.worker_messages import Beat, CancelAttempt, Disturb

#: Nine tenths of its time, when nobody else wants the processor; nothing when it is not slowed.
STANDS = 0.3


async def standing(pid: int) -> float:
    """How much of the time a process is stopped; processor time would tell who else is busy."""
    process, looks = psutil.Process(pid), 60
    seen = 0
    for _ in range(looks):
        seen += process.status() == psutil.STATUS_STOPPED
        await asyncio.sleep(0.011)
    return seen / looks


@pytest.mark.fault(7)
def test_slow_means_slow_and_is_undone(bench: Bench, tmp_path: Path) -> None:
    bench.start()
    mark = tmp_path / "mark"

    def mapper(line: str) -> Pairs:
        mark.write_text(str(os.getpid()))
        while line:
            sum(range(1000))
        yield line, 1

    async def test(manager: Manager) -> None:
        peer, _ = await manager.worker(report_s=0.02)
        peer.say(Disturb("slow", 10.0), *bench.job(mapper), bench.map())
        await eventually(lambda: mark.exists() and mark.read_text())
        pid = int(mark.read_text())
        assert await standing(pid) > STANDS
        # A slowed one is cancelled at once, and the next is slow as well.
        began = time.monotonic()
        peer.say(CancelAttempt(JobId("j1"), TaskId("map-0"), 1))
        await eventually(lambda: not psutil.pid_exists(pid))
        assert time.monotonic() - began < 5.0
        mark.unlink()
        peer.say(bench.map(1))
        await eventually(lambda: mark.exists() and mark.read_text())
        pid = int(mark.read_text())
        assert await standing(pid) > STANDS
        peer.say(Disturb("slow", 1.0))
        count = peer.count(Beat)
        await peer.hear(Beat, count + 2)
        assert await standing(pid) == 0

    play(bench, test)


def test_a_slowed_worker_that_dies_leaves_nobody_standing(bench: Bench) -> None:
    bench.start()
    pids: list[int] = []

    async def test(manager: Manager) -> None:
        peer, register = await manager.worker()
        await eventually(bench.runners)
        peer.say(Disturb("slow", 1000.0))
        await eventually(lambda: bench.runners()[0].status() == psutil.STATUS_STOPPED)
        pids.extend(p.pid for p in psutil.Process(register.pid).children(recursive=True))
        os.kill(register.pid, signal.SIGKILL)
        await eventually(lambda: not any(map(psutil.pid_exists, pids)))

    play(bench, test)
    bench.wait()
    assert len(pids) == 2


@pytest.mark.fault(5)
def test_freeze_stands_still_and_wakes_up(bench: Bench) -> None:
    bench.start()

    async def test(manager: Manager) -> None:
        peer, register = await manager.worker(beat_s=0.01, report_s=0.02)
        (runner,) = await eventually(bench.runners)
        family = [psutil.Process(register.pid), psutil.Process(runner.ppid()), runner]
        began = time.monotonic()
        peer.say(Disturb("freeze", 2.0))
        for process in family:
            await eventually(lambda p=process: p.status() == psutil.STATUS_STOPPED)  # type: ignore[misc]
        alarms = [p for p in family[0].children() if p.pid != family[1].pid]
        said = len(peer.heard)
        await peer.until(lambda: len(peer.heard) > said)
        assert 1.9 < time.monotonic() - began < 8.0
        for process in family:
            await eventually(lambda p=process: p.status() != psutil.STATUS_STOPPED)  # type: ignore[misc]
        assert len(alarms) == 1
        assert not alarms[0].is_running()
        assert (await finish_a_map(bench, peer)).task == "map-0"

    play(bench, test)


def test_a_frozen_worker_that_is_killed_leaves_nobody_behind(bench: Bench) -> None:
    bench.start()
    pids: list[int] = []

    async def test(manager: Manager) -> None:
        peer, register = await manager.worker()
        await eventually(bench.runners)
        peer.say(Disturb("freeze", 3600.0))
        server = psutil.Process(register.pid)
        await eventually(lambda: server.status() == psutil.STATUS_STOPPED)
        pids.extend(p.pid for p in server.children(recursive=True))
        os.kill(register.pid, signal.SIGKILL)
        await eventually(lambda: not any(map(psutil.pid_exists, pids)))

    play(bench, test)
    assert bench.wait() == -signal.SIGKILL
    assert len(pids) == 3  # the alarm among them


@pytest.mark.fault(1)
def test_kill_takes_the_runners_along(bench: Bench) -> None:
    bench.start(slots=2)
    pids: list[int] = []

    async def test(manager: Manager) -> None:
        peer, register = await manager.worker()
        await eventually(lambda: len(bench.runners()) == 2)
        pids.extend(p.pid for p in psutil.Process(register.pid).children(recursive=True))
        peer.say(Disturb("kill"))
        await peer.until(lambda: peer.gone)
        await eventually(lambda: not any(map(psutil.pid_exists, pids)))

    play(bench, test)
    assert bench.wait() == -signal.SIGKILL
