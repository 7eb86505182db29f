"""Runners of a real worker server die in every way: each has its own true sentence."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from manager_side import (
    Bench,
    Manager,
    Pairs,
    eventually,
    files,
    play,
)

from mrkernel.protocol.worker_messages import Failed, Finished, Printed
from mrkernel.worker import memory


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
        # What it printed is all that it leaves behind.
        assert set(files(bench.root / "one")) <= {"lock", "j1/map-7.1.log"}

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
