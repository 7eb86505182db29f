"""A worker server as a real process: heartbeats, reconnection, adopted stores, deaths, mischief."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from manager_side import TOKEN, Bench, Manager, Peer, bench_in, eventually, play

from mrkernel.errors import ClusterError
from mrkernel.ids import JobId, TaskId
from mrkernel.protocol.heartbeat import HeartbeatReceiver
from mrkernel.protocol.messages import (
    Adopt,
    Alive,
    Beat,
    BeatsHeard,
    CancelAttempt,
    Disown,
    Disturb,
    Failed,
    Finished,
    Forget,
    Offer,
    Printed,
    Register,
    Retire,
)
from mrkernel.shuffle.transfer import RunReader
from mrkernel.worker import memory
from mrkernel.worker.stores import take_lock

Pairs = Iterator[tuple[str, Any]]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


def words(line: str) -> Pairs:
    for word in line.split():
        yield word, 1


def files(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


# --- heartbeats -----------------------------------------------------------------------------------


@pytest.mark.fault(18)
def test_heartbeats_go_both_ways_until_the_manager_hears_the_datagrams(bench: Bench) -> None:
    bench.start()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.setblocking(False)

    async def test(manager: Manager) -> None:
        loop = asyncio.get_running_loop()
        facts = {"number": 7, "beat_port": udp.getsockname()[1], "beat_s": 0.01, "dead_s": 1.0}
        peer, _ = await manager.worker(**facts)
        receiver = HeartbeatReceiver()
        receiver.expect(7, peer.connection.session_key)

        async def datagram() -> None:
            assert receiver.accept(await loop.sock_recv(udp, 1000)) == 7

        await datagram()
        await peer.hear(Alive, 3)
        peer.say(BeatsHeard(True))
        await peer.hear(Alive)
        while True:  # those under way arrive; then only datagrams do
            before = peer.count(Alive)
            for _ in range(20):
                await datagram()
            if peer.count(Alive) == before:
                break
        peer.say(BeatsHeard(False))
        await peer.hear(Alive, before + 3)
        assert receiver.dropped == 0

    with udp:
        play(bench, test)


@pytest.mark.fault(18)
def test_a_host_without_datagrams_is_no_trouble(bench: Bench) -> None:
    """Nobody listens at the port: what comes back is an error, and no matter."""
    bench.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    async def test(manager: Manager) -> None:
        peer, _ = await manager.worker(number=1, beat_port=port, beat_s=0.005, report_s=0.01)
        await peer.hear(Alive, 20)
        await peer.hear(Beat, 3)
        assert not peer.gone

    play(bench, test)


# --- reconnection ---------------------------------------------------------------------------------


async def finish_a_map(bench: Bench, peer: Peer, number: int = 0, job: str = "j1") -> Finished:
    """Have it run a map task whose run becomes a file."""
    peer.say(*bench.job(words, name=job), bench.map(number, job))
    return await peer.hear(Finished, peer.count(Finished) + 1)


@pytest.mark.fault(8)
def test_a_worker_comes_back_as_another_with_what_it_has(bench: Bench) -> None:
    bench.start()
    run = bench.root / "one/j1/map-0.1.run"

    async def test(manager: Manager) -> None:
        peer, first = await manager.worker("w1")
        assert (first.previous, first.cluster, first.adopted) == ("", "", ())
        done = await finish_a_map(bench, peer)
        await finish_a_map(bench, peer, job="j2")
        peer.say(Forget(JobId("j2")))
        peer.say(bench.map(1, attempt=3))
        await peer.hear(Finished, 3)
        before = bench.runners()
        await peer.hang_up()
        # As good as never journaled: the manager that is back is told again.
        peer, second = await manager.worker("w2", keep=True)
        assert (second.instance, second.previous, second.cluster) == (first.instance, "w1", "c1")
        assert second.data_port == first.data_port
        offered = (await peer.hear(Offer)).finished
        assert [(each.job, each.task, each.attempt) for each in offered] == [
            ("j1", "map-0", 1),
            ("j1", "map-1", 3),
        ]
        assert offered[0] == done
        assert run.exists()
        assert not any(runner.is_running() for runner in before)
        # It goes on with the same job, of which it is told again.
        assert (await finish_a_map(bench, peer, 2)).task == "map-2"
        await peer.hang_up()
        peer, third = await manager.worker("w3", keep=True)
        assert third.previous == "w2"
        assert len((await peer.hear(Offer)).finished) == 3
        peer.say(Forget(JobId("j1")))
        await eventually(lambda: not run.exists())

    play(bench, test)


def test_what_is_offered_is_there(bench: Bench) -> None:
    bench.start()

    async def test(manager: Manager) -> None:
        peer, _ = await manager.worker()
        await finish_a_map(bench, peer)
        await peer.hang_up()
        shutil.rmtree(bench.root / "one")  # somebody adopted it, and ended
        peer, _ = await manager.worker(keep=True)
        assert (await peer.hear(Offer)).finished == ()
        assert (await finish_a_map(bench, peer, 1)).task == "map-1"

    play(bench, test)


@pytest.mark.fault(8, 49)
def test_to_the_manager_of_another_cluster_a_worker_is_new(bench: Bench) -> None:
    """Its jobs have the same names: nothing of the old ones may be taken for theirs."""
    bench.start()
    left = bench.root / "left"

    async def test(manager: Manager) -> None:
        peer, _ = await manager.worker()
        await finish_a_map(bench, peer)
        (left / "j1").mkdir(parents=True)
        os.close(take_lock(left))
        peer.say(Adopt(str(left), (JobId("j1"),)))
        await peer.hear(Beat)
        await peer.hang_up()
        peer, register = await manager.worker(cluster="c2", keep=False, report_s=0.01)
        assert register.adopted == (str(left),)
        await finish_a_map(bench, peer, 5)
        await eventually(lambda: files(bench.root / "one") == ["j1/map-5.1.run", "lock"])
        await eventually(lambda: not left.exists())
        await peer.hang_up()
        peer, register = await manager.worker(cluster="c2", keep=True)
        assert (register.cluster, register.adopted) == ("c2", ())
        assert [each.task for each in (await peer.hear(Offer)).finished] == ["map-5"]

    play(bench, test)


@pytest.mark.fault(8)
def test_what_ran_when_the_manager_died_leaves_no_half_file(bench: Bench, tmp_path: Path) -> None:
    bench.start()
    mark = tmp_path / "mark"

    def mapper(line: str) -> Pairs:
        for number in range(1000):
            yield str(number), os.urandom(1000)
        mark.touch()
        while line == "c d":
            time.sleep(0.01)

    async def test(manager: Manager) -> None:
        peer, _ = await manager.worker()
        peer.say(*bench.job(mapper, slot_memory=1, timeout_s=60.0), bench.map(0))
        await eventually(lambda: mark.exists() and list((bench.root / "one/j1").glob("*.run")))
        await peer.hang_up()
        peer, _ = await manager.worker(keep=True)
        assert (await peer.hear(Offer)).finished == ()
        assert files(bench.root / "one") == ["lock"]

    play(bench, test)


@pytest.mark.fault(16)
def test_the_lease_is_the_managers_word_and_then_all_is_gone(bench: Bench) -> None:
    bench.start(lease_s=3600.0)

    async def test(manager: Manager) -> None:
        peer, _ = await manager.worker(lease_s=0.3)
        await finish_a_map(bench, peer)
        manager.stop()
        bench.listener.close()
        await peer.hang_up()
        await eventually(lambda: not (bench.root / "one").exists())

    play(bench, test)
    assert bench.wait() == 70
    assert "no manager answers at" in bench.log()


def test_a_manager_that_does_not_know_the_token_is_not_the_one_that_was_lost(bench: Bench) -> None:
    bench.start()

    async def test(manager: Manager) -> None:
        peer, _ = await manager.worker()
        manager._token = b"x" * 32
        await peer.hang_up()
        await eventually(lambda: "looking for it" in bench.log())
        manager._token = TOKEN
        _, register = await manager.worker("w2")
        assert register.previous == "w1"

    play(bench, test)


# --- stores ---------------------------------------------------------------------------------------


def read(register: Register, name: str) -> bytes:
    reader = RunReader((register.data_host, register.data_port), TOKEN)
    try:
        return reader.read(name, 0, -1)
    finally:
        reader.close()


@pytest.mark.fault(3, 65)
def test_runs_of_a_dead_worker_are_adopted_served_and_deleted(bench: Bench) -> None:
    bench.start("one")
    bench.start("two")
    one = bench.root / "one"

    async def test(manager: Manager) -> None:
        some, a = await manager.worker("w1", report_s=0.01)
        other, b = await manager.worker("w2", report_s=0.01)
        if Path(a.directory).name == "two":
            some, a, other, b = other, b, some, a
        await finish_a_map(bench, some)
        await finish_a_map(bench, some, job="j2")
        data = await asyncio.to_thread(read, a, "j1/map-0.1.run")
        os.kill(a.pid, signal.SIGKILL)
        assert bench.wait("one") == -signal.SIGKILL
        await some.until(lambda: some.gone)
        with pytest.raises(ClusterError, match="No such file"):
            await asyncio.to_thread(read, b, "j1/map-0.1.run")
        adopt = Adopt(a.directory, (JobId("j1"), JobId("j2")))
        other.say(adopt, adopt)
        await other.hear(Beat, other.count(Beat) + 2)
        assert await asyncio.to_thread(read, b, "j1/map-0.1.run") == data
        with pytest.raises(OSError, match="unavailable"):
            take_lock(one)  # so nobody sweeps it away
        # Its own comes first.
        (bench.root / "two/j1").mkdir()
        (bench.root / "two/j1/map-0.1.run").write_bytes(b"own")
        assert await asyncio.to_thread(read, b, "j1/map-0.1.run") == b"own"
        # A link leads nowhere.
        (bench.root / "secret").write_text("secret")
        (one / "j1/link").symlink_to(bench.root / "secret")
        with pytest.raises(ClusterError, match="link"):
            await asyncio.to_thread(read, b, "j1/link")
        other.say(Forget(JobId("j1"), runs_only=True))
        await eventually(lambda: not (one / "j1/map-0.1.run").exists())
        other.say(Forget(JobId("j1")))
        await eventually(lambda: not (one / "j1").exists())
        assert (one / "j2/map-0.1.run").exists()
        assert await asyncio.to_thread(read, b, "j2/map-0.1.run")
        # It tells the next manager of it, and deletes it when it ends.
        await other.hang_up()
        other, b = await manager.worker("w3", keep=True)
        assert b.adopted == (str(one),)
        other.say(Retire("enough"))
        await other.until(lambda: other.gone)

    play(bench, test)
    assert bench.wait("two") == 1
    assert not one.exists()
    assert not (bench.root / "two").exists()


@pytest.mark.fault(5)
def test_a_store_whose_owner_is_back_is_let_alone(bench: Bench) -> None:
    bench.start()
    left = bench.root / "left"
    (left / "j1").mkdir(parents=True)
    (left / "j1/map-0.1.run").write_bytes(b"run")
    lock = take_lock(left)  # its owner stands still, and lives

    async def test(manager: Manager) -> None:
        peer, register = await manager.worker(report_s=0.01)
        peer.say(Adopt(str(left), (JobId("j1"),)))
        await peer.hear(Beat, 3)
        assert await asyncio.to_thread(read, register, "j1/map-0.1.run") == b"run"
        peer.say(Disown(str(left)), Disown("/no/such"))
        await peer.hear(Beat, peer.count(Beat) + 2)
        with pytest.raises(ClusterError, match="No such file"):
            await asyncio.to_thread(read, register, "j1/map-0.1.run")
        peer.say(Forget(JobId("j1")), Retire("enough"))
        await peer.until(lambda: peer.gone)

    play(bench, test)
    assert bench.wait() == 1
    assert files(left) == ["j1/map-0.1.run", "lock"]
    os.close(lock)


def test_the_lock_of_a_directory_is_held_as_long_as_its_worker_server_lives(bench: Bench) -> None:
    bench.start()

    async def test(manager: Manager) -> None:
        peer, register = await manager.worker()
        with pytest.raises(OSError, match="unavailable"):
            take_lock(bench.root / "one")
        await eventually(bench.runners)
        os.kill(register.pid, signal.SIGKILL)
        await peer.until(lambda: peer.gone)

    play(bench, test)
    bench.wait()
    os.close(take_lock(bench.root / "one"))


# --- deaths ---------------------------------------------------------------------------------------


def deadly(way: str) -> Callable[[str], Pairs]:
    def mapper(line: str) -> Pairs:
        yield line, 1
        if line != "b c":
            return
        print("the last word", flush=True)
        if way == "segfault":
            import ctypes

            ctypes.string_at(0)
        if way == "exit":
            os._exit(3)
        if way == "memory":
            hoard = []
            while True:
                hoard.append(bytearray(50_000_000))
                time.sleep(0.02)
        while True:
            time.sleep(0.01)

    return mapper


async def die_of(bench: Bench, manager: Manager, way: str, **spec: Any) -> Failed:
    peer, _ = await manager.worker(report_s=0.02)
    peer.say(*bench.job(deadly(way), **spec), bench.map(7))
    if way == "kill":
        await peer.hear(Printed)
        (runner,) = bench.runners()
        runner.kill()
    return await peer.hear(Failed)


@pytest.mark.fault(4, 26, 34, 35)
@pytest.mark.parametrize(
    ("way", "said", "spec"),
    [
        ("segfault", "its Python process crashed (SIGSEGV), it used memory", {}),
        ("exit", "its Python process ended itself with exit status 3 after", {}),
        ("kill", "its Python process was killed (SIGKILL) from outside after", {}),
        ("timeout", "no record was finished for 0.2 s", {"timeout_s": 0.2}),
        ("memory", "MB of 537 MB at record ", {"slot_memory": 1}),
    ],
)
def test_each_way_to_die_has_its_own_true_sentence(
    bench: Bench, way: str, said: str, spec: dict[str, Any]
) -> None:
    bench.start()

    async def test(manager: Manager) -> None:
        failed = await die_of(bench, manager, way, **spec)
        failure = failed.failure
        assert (failed.job, failed.task, failed.attempt) == ("j1", "map-7", 1)
        assert said in failure.sentence
        assert failure.kind == ("timeout" if way == "timeout" else "crash")
        assert "input.txt" in failure.where
        assert failure.hint
        if way == "segfault":
            assert failure.frames[-1].function.rpartition(".")[2] == "mapper"
        if way == "exit":
            assert failure.message == "the last word"  # heard before the end
        if way == "memory":
            assert "of input.txt" in failure.sentence
            assert "--slot-memory" in failure.hint
        elif way != "timeout":
            assert "its peak memory was" in failure.sentence
        if way == "timeout":
            assert (failure.index, "byte 4" in failure.where) == (1, True)
            assert failure.frames[-1].function.rpartition(".")[2] == "mapper"  # where it hangs
            assert failure.error_type == ""
        assert files(bench.root / "one") == ["lock"]

    play(bench, test)


def test_what_is_printed_is_booked_on_who_printed_it(bench: Bench) -> None:
    """Many short attempts stand in one runner's pipe: each prints at its beginning and end."""
    bench.start()

    class Loud:
        def __call__(self, line: str) -> Pairs:
            if line == "a b":
                print(f"begin {counter()}")
            yield line, 1

        def finish(self) -> Pairs:
            os.write(1, b"raw ")
            print("end", end="")
            yield "end", 1

    def counter() -> str:
        import random

        return str(random.random())

    count = 60

    async def test(manager: Manager) -> None:
        peer, _ = await manager.worker()
        peer.say(*bench.job(Loud), *[bench.map(n, carry=10_000) for n in range(count)])
        await peer.hear(Finished, count)
        await peer.until(lambda: peer.count(Printed) >= count)
        texts: dict[str, str] = {}
        for message in peer.heard:
            if isinstance(message, Printed):
                texts[message.task] = texts.get(message.task, "") + message.text
        assert len(texts) == count
        for text in texts.values():
            assert re.fullmatch(r"begin [\d.e-]+\nraw end", text)
        assert len(set(texts.values())) == count

    play(bench, test)


@pytest.fixture
def small_group() -> Iterator[Path | None]:
    """A control group of 150 MB; None where none can be made."""
    root = Path("/sys/fs/cgroup/memory")
    if not os.access(root / "cgroup.procs", os.W_OK):
        yield None
        return
    group = root / f"mrkernel-test-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(150_000_000))
    yield group
    deadline = time.monotonic() + 5
    while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.005)
    group.rmdir()


@pytest.mark.fault(26)
def test_a_victim_of_the_kernel_is_told_from_one_of_people(
    bench: Bench, small_group: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a real shortage where root may make one; else the kernel's counter is written by us."""
    counter = tmp_path / "proc" / "vmstat"
    if small_group is None:
        counter.parent.mkdir()
        counter.write_text("oom_kill 7\n")
        monkeypatch.setattr(memory, "_PROC", counter.parent)
    bench.start()

    def mapper(line: str) -> Pairs:
        print("here", flush=True)
        hoard = [bytearray(1_000_000) for _ in range(400)]
        yield line, len(hoard)
        while True:
            time.sleep(0.01)

    async def test(manager: Manager) -> None:
        peer, _ = await manager.worker()
        (runner,) = await eventually(bench.runners)
        if small_group is not None:
            (small_group / "cgroup.procs").write_text(str(runner.pid))
        peer.say(*bench.job(mapper), bench.map())
        await peer.hear(Printed)
        if small_group is None:
            counter.write_text("oom_kill 8\n")
            runner.kill()
        failure = (await peer.hear(Failed)).failure
        assert "was killed (SIGKILL) by the kernel, because memory ran out" in failure.sentence
        assert "its peak memory was" in failure.sentence
        assert "--slot-memory" in failure.hint
        # The next one who is killed is no victim of the kernel.
        peer.say(bench.map(1))
        await peer.hear(Printed, 2)
        (runner,) = bench.runners()
        runner.kill()
        assert "from outside" in (await peer.hear(Failed, 2)).failure.sentence

    play(bench, test)


# --- mischief -------------------------------------------------------------------------------------


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
        assert await standing(pid) > 0.6
        # A slowed one is cancelled at once, and the next is slow as well.
        began = time.monotonic()
        peer.say(CancelAttempt(JobId("j1"), TaskId("map-0"), 1))
        await eventually(lambda: not psutil.pid_exists(pid))
        assert time.monotonic() - began < 1.0
        mark.unlink()
        peer.say(bench.map(1))
        await eventually(lambda: mark.exists() and mark.read_text())
        pid = int(mark.read_text())
        assert await standing(pid) > 0.6
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
        peer.say(Disturb("freeze", 0.5))
        for process in family:
            await eventually(lambda p=process: p.status() == psutil.STATUS_STOPPED)  # type: ignore[misc]
        alarms = [p for p in family[0].children() if p.pid != family[1].pid]
        said = len(peer.heard)
        await peer.until(lambda: len(peer.heard) > said)
        assert 0.4 < time.monotonic() - began < 5.0
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
