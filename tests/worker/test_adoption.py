"""Stores of worker servers that died: another real one of the host adopts and serves them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from manager_side import (
    TOKEN,
    Bench,
    Manager,
    eventually,
    files,
    finish_a_map,
    play,
)

from mrkernel.data.locks import hold
from mrkernel.errors import ClusterError
from mrkernel.ids import JobId
from mrkernel.protocol.worker_messages import Adopt, Beat, Disown, Forget, Register, Retire
from mrkernel.shuffle.transfer import RunReader


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
            hold(one)  # so nobody sweeps it away
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


@pytest.mark.fault(13)
def test_a_supervised_worker_that_is_told_to_end_leaves_its_runs_to_others(bench: Bench) -> None:
    bench.start("one", supervised=True)
    bench.start("two", supervised=True)
    third = bench.root / "three"

    async def test(manager: Manager) -> None:
        some, a = await manager.worker("w1", report_s=0.01)
        other, b = await manager.worker("w2", report_s=0.01)
        await finish_a_map(bench, some)
        data = await asyncio.to_thread(read, a, "j1/map-0.1.run")
        (third / "j1").mkdir(parents=True)
        os.close(hold(third))
        some.say(Adopt(str(third), (JobId("j1"),)))
        await some.hear(Beat, some.count(Beat) + 2)
        os.kill(a.pid, signal.SIGTERM)
        assert bench.wait(Path(a.directory).name) == 0
        other.say(Adopt(a.directory, (JobId("j1"),)), Adopt(str(third), (JobId("j1"),)))
        await other.hear(Beat, other.count(Beat) + 2)
        assert await asyncio.to_thread(read, b, "j1/map-0.1.run") == data
        other.say(Disown(a.directory, delete=True), Disown(str(third), delete=True))
        await eventually(lambda: not Path(a.directory).exists() and not third.exists())

    play(bench, test)


@pytest.mark.fault(5)
def test_a_store_whose_owner_is_back_is_let_alone(bench: Bench) -> None:
    bench.start()
    left = bench.root / "left"
    (left / "j1").mkdir(parents=True)
    (left / "j1/map-0.1.run").write_bytes(b"run")
    lock = hold(left)  # its owner stands still, and lives

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
            hold(bench.root / "one")
        await eventually(bench.runners)
        os.kill(register.pid, signal.SIGKILL)
        await peer.until(lambda: peer.gone)

    play(bench, test)
    bench.wait()
    os.close(hold(bench.root / "one"))
