"""Runners as real processes: forked, spoken to, killed with all they started, buried."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from pathlib import Path

import psutil
import pytest
from runner_bench import Bench, act, alive, eventually, gone, live_by, run

from mrkernel.protocol.framing import pack_frame
from mrkernel.worker import runners as module
from mrkernel.worker.progress import make_cell
from mrkernel.worker.runners import OUTPUT_TAIL, start_template
from mrkernel.worker.template import signal_name


def test_each_slot_has_a_process_of_its_own() -> None:
    async def test(bench: Bench) -> None:
        for slot in range(3):
            await bench.up(slot)
        pids = [int(await bench.ask(slot, b"pid")) for slot in range(3)]
        assert bench.runners.pids() == pids
        assert len({os.getpid(), *pids}) == 4
        assert {os.getpgid(pid) for pid in pids} == set(pids)  # each leads a group

    run(test, slots=3)


def test_large_frames_both_ways() -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        payload = os.urandom(5_000_000)
        assert await bench.ask(0, b"echo " + payload) == payload
        for number in range(50):
            bench.runners.send(0, pack_frame(b"echo " + bytes([number]) * 100_000))
        for number in range(50):
            assert (await bench.heard.get())[2] == bytes([number]) * 100_000

    run(test)


def test_what_is_printed_arrives_from_both_outputs() -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        bench.runners.send(0, pack_frame("print grüße".encode()))
        await bench.ask(0, b"echo x")
        bench.runners.read_output(0)
        assert bench.printed[0].decode() == "grüße\nto stderr\n"
        assert await bench.ask(0, b"flood") == b"flooded"
        bench.runners.read_output(0)
        assert len(bench.printed[0]) > 100_000

    run(test)


def test_progress_is_read_without_asking() -> None:
    async def test(bench: Bench) -> None:
        assert bench.runners.progress(0) == (0, 0, 0, 0)
        await bench.up(0)
        assert await bench.ask(0, b"progress") == b"counted"
        assert bench.runners.progress(0) == (1, 7, 70, 0)

    run(test)


@pytest.mark.parametrize(
    ("order", "cause", "tail"),
    [
        (b"exit 3", "ended itself with exit status 3", "bye\n"),
        (b"exit 0", "ended itself with exit status 0", "bye\n"),
        (b"raise", "ended itself with exit status 1", "ValueError: on its own\n"),
        (b"signal 11", "crashed (SIGSEGV), it used memory that is not its own,", ""),
        (b"signal 6", "crashed (SIGABRT), a C library gave up,", ""),
        (b"signal 9", "was killed (SIGKILL) from outside", ""),
        (b"signal 15", "was ended by a signal (SIGTERM)", ""),
        (b"signal 40", "crashed (signal 40)", ""),
    ],
)
def test_a_death_tells_how_and_with_which_last_words(order: bytes, cause: str, tail: str) -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        await bench.ask(0, b"progress")
        bench.runners.send(0, pack_frame(order))
        kind, slot, death = await bench.heard.get()
        assert (kind, slot, death.cause) == ("died", 0, cause)
        assert (death.records, death.place, death.index) == (7, "a.txt, byte 70", 7)
        assert death.stderr.endswith(tail)
        assert 1 << 20 < death.peak_bytes < 1 << 32
        assert death.hint
        assert bench.runners.pids() == []
        await bench.up(0)  # the slot is free again
        assert await bench.ask(0, b"echo x") == b"x"

    run(test)


def test_what_it_said_before_it_died_is_heard_first() -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        bench.runners.send(0, pack_frame(b"echo last word") + pack_frame(b"exit 3"))
        assert await bench.heard.get() == ("said", 0, b"last word")
        assert (await bench.heard.get())[0] == "died"

    run(test)


def test_only_the_end_of_its_output_is_kept() -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        await bench.ask(0, b"flood")
        bench.runners.kill(0)
        tail = (await bench.heard.get())[2].stderr
        assert len(tail) == OUTPUT_TAIL
        assert tail.endswith("xthe end")

    run(test)


def test_a_kill_takes_what_it_started_and_no_other_slot() -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        await bench.up(1)
        program, other = int(await bench.ask(0, b"start")), int(await bench.ask(1, b"start"))
        (runner, _) = bench.runners.pids()
        bench.runners.kill(0)
        kind, slot, death = await bench.heard.get()
        assert (kind, slot, death.signal) == ("died", 0, "SIGKILL")
        await gone(program, runner)
        assert alive(other)

    run(test, slots=2)


@pytest.mark.fault(35)
@pytest.mark.parametrize("order", [b"hang", b"deaf"])
def test_who_hangs_is_asked_where_before_it_is_killed(
    order: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_WORDS_S", 0.5 if order == b"deaf" else 3600.0)

    async def test(bench: Bench) -> None:
        await bench.up(0)
        await bench.ask(0, b"progress")
        bench.runners.send(0, pack_frame(order))
        await eventually(lambda: b"hanging" in bench.printed.get(0, b""))
        bench.runners.kill(0, tell=True)
        _, _, death = await bench.heard.get()
        assert death.signal == ("SIGKILL" if order == b"deaf" else "SIGABRT")
        assert ("in hang" in death.stderr) == (order == b"hang")

    run(test)


def test_a_runner_that_speaks_nonsense_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        bench.runners.send(0, pack_frame(b"echo last word") + pack_frame(b"babble"))
        assert await bench.heard.get() == ("said", 0, b"last word")
        kind, _, death = await bench.heard.get()
        assert (kind, death.signal) == ("died", "SIGKILL")
        assert death.stderr.endswith(
            "wrote into the connection to its worker, which is no file of its own\n"
        )
        await bench.up(0)
        assert await bench.ask(0, b"echo x") == b"x"

    run(test)
    (record,) = caplog.records
    assert "does not speak mrkernel's protocol" in record.getMessage()


def test_a_runner_that_ends_leaves_no_program_behind() -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        program = int(await bench.ask(0, b"start"))
        bench.runners.send(0, pack_frame(b"exit 3"))
        await bench.heard.get()
        await gone(program)

    run(test)


def test_orders_to_the_dead_are_no_error() -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        os.kill(bench.runners.pids()[0], signal.SIGKILL)
        for _ in range(20):
            bench.runners.send(0, pack_frame(bytes(1_000_000)))
        assert (await bench.heard.get())[:2] == ("died", 0)

    run(test)


def test_runners_do_not_pile_up_descriptors() -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        first = int(await bench.ask(0, b"descriptors"))
        ours = psutil.Process().num_fds()
        for _ in range(20):
            bench.runners.kill(0)
            assert (await bench.heard.get())[0] == "died"
            await bench.up(0)
        assert int(await bench.ask(0, b"descriptors")) == first
        assert psutil.Process().num_fds() == ours

    run(test)


def test_without_its_template_a_runner_dies_and_the_server_is_told() -> None:
    async def test(bench: Bench) -> None:
        await bench.up(0)
        (runner,) = bench.runners.pids()
        os.kill(psutil.Process(runner).ppid(), signal.SIGKILL)
        assert await bench.heard.get() == ("template lost",)
        await gone(runner)

    run(test)


def test_the_server_is_gone_and_so_are_template_runners_and_programs(tmp_path: Path) -> None:
    """The server dies without a word: no destructor, no goodbye."""
    pids: list[int] = []

    async def test(bench: Bench) -> None:
        await bench.up(0)
        program = int(await bench.ask(0, b"start"))
        (runner,) = bench.runners.pids()
        pids.extend([program, runner, psutil.Process(runner).ppid()])

    run(test)  # hangs up at its end, as a dead server's kernel would

    async def all_gone() -> None:
        async with asyncio.timeout(2):
            await gone(*pids)

    asyncio.run(all_gone())
    assert len(pids) == 3


def test_the_peak_is_the_runners_own() -> None:
    """Told by what it grew: a runner is born with the memory of its template, here pytest's."""
    fill, slack = 200_000_000, 20_000_000  # bytes

    async def test(bench: Bench) -> None:
        await bench.up(0)
        await bench.up(1)
        born = bench.runners.weigh([0, 1])
        assert min(born) > 0
        assert await bench.ask(0, b"fill %d" % fill) == b"filled"
        full = bench.runners.weigh([0, 1])
        assert full[0] - born[0] > fill - slack
        assert full[1] - born[1] < slack
        assert bench.runners.weigh([1])[0] == 0  # not asked
        assert await bench.ask(0, b"free") == b"freed"
        assert bench.runners.weigh([0])[0] - born[0] < slack
        for slot in (0, 1):
            bench.runners.kill(slot)
        peaks = [0, 0]
        for _ in range(2):
            _, slot, death = await bench.heard.get()
            peaks[slot] = death.peak_bytes
        assert peaks[0] - born[0] > fill - slack
        assert abs(peaks[1] - born[1]) < slack

    run(test, slots=2)


def test_all_are_killed_and_buried_and_the_slots_are_free() -> None:
    async def test(bench: Bench) -> None:
        for slot in range(3):
            await bench.up(slot)
        before = bench.runners.pids()
        await bench.runners.kill_all()
        assert not any(map(alive, before))
        assert {(await bench.heard.get())[:2] for _ in before} == {("died", n) for n in range(3)}
        await bench.up(1)
        assert bench.runners.pids()[0] not in before

    run(test, slots=3)


@pytest.mark.fault(32)
def test_without_descriptors_a_runner_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of open files is reached for a moment: no slot stays empty, nothing leaks."""
    monkeypatch.setattr(module, "AGAIN_S", 0.0)

    async def test(bench: Bench) -> None:
        await bench.up(0)
        before = psutil.Process().num_fds()
        real, tries = make_cell, 0

        def failing() -> int:
            nonlocal tries
            tries += 1
            if tries < 4:
                raise OSError(errno.EMFILE, "Too many open files")
            return real()

        monkeypatch.setattr(module, "make_cell", failing)
        bench.runners.kill(0)
        assert (await bench.heard.get())[0] == "died"
        await bench.up(0)
        assert tries == 4
        assert psutil.Process().num_fds() == before

    run(test)


def test_the_server_dies_while_its_template_is_stopped(tmp_path: Path) -> None:
    """The kernel wakes the template, which ends the stopped runner and what that started."""
    marks = tmp_path / "pids"
    server = os.fork()
    if not server:
        template = start_template(lambda: None, live_by(act))

        async def live() -> None:
            bench = Bench(template, 1)
            await bench.up(0)
            program = int(await bench.ask(0, b"start"))
            pids = [program, *bench.runners.pids(), template.pid]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            marks.with_suffix(".draft").write_text(" ".join(map(str, pids)))
            marks.with_suffix(".draft").rename(marks)
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(live())
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]) == -signal.SIGKILL
    pids = list(map(int, marks.read_text().split()))
    assert len(pids) == 3

    async def all_gone() -> None:
        async with asyncio.timeout(5):
            await gone(*pids)

    asyncio.run(all_gone())


def test_signals_by_name() -> None:
    assert signal_name(0) == signal_name(3) == ""
    assert signal_name(-9) == "SIGKILL"
    assert signal_name(-11) == "SIGSEGV"
    assert signal_name(-200) == "signal 200"
