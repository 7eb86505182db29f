"""A worker server as a real process: its heartbeats, and how it comes back to its manager."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import time
from pathlib import Path

import pytest
from manager_side import (
    TOKEN,
    Bench,
    Manager,
    Pairs,
    eventually,
    files,
    finish_a_map,
    play,
)

from mrkernel.data.locks import hold
from mrkernel.ids import JobId
from mrkernel.protocol.heartbeat import HeartbeatReceiver
from mrkernel.protocol.worker_messages import (
    Adopt,
    Alive,
    Beat,
    BeatsHeard,
    Finished,
    Forget,
    Offer,
)

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
        os.close(hold(left))
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


def test_a_manager_that_hangs_up_each_time_is_not_found(bench: Bench) -> None:
    bench.start(lease_s=3600.0)

    async def test(manager: Manager) -> None:
        for number in range(1, 1000):
            peer, register = await manager.worker(f"w{number}", lease_s=0.3)
            assert register.previous == (f"w{number - 1}" if number > 1 else "")
            await peer.hang_up()
            if not (bench.root / "one").exists():
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await eventually(lambda: manager._peers.qsize())
                    continue
            break

    play(bench, test)
    assert bench.wait() == 70
    assert "hangs up each time" in bench.log()


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
