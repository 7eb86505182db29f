"""What attempts print is kept in a file for each, whole up to a limit, and served to who asks."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mrkernel.ids import JobId, TaskId
from mrkernel.protocol.store_messages import ListLogs, LogFile
from mrkernel.protocol.worker_messages import Printed, Start
from mrkernel.shuffle.log_files import list_logs
from mrkernel.shuffle.serving import RunServer
from mrkernel.worker.folders import Folders
from mrkernel.worker.printing import Printing
from mrkernel.worker.slot_output import END, LOG_BLOCK, PRINT_LIMIT
from mrkernel.worker.stores import Stores
from mrkernel.worker.task_logs import TaskLogs


def start(number: int, attempt: int = 1) -> Start:
    return Start(JobId("j1"), TaskId(f"map-{number}"), attempt, number)


@given(st.lists(st.lists(st.binary(max_size=12), max_size=4), min_size=1, max_size=6), st.data())
def test_each_attempt_has_all_that_it_printed(
    printed: list[list[bytes]], data: st.DataObject
) -> None:
    """Attempts end before or after the next one has printed, and output comes cut anywhere."""
    logs: dict[str, bytes] = {}

    def log(begun: Start, piece: bytes) -> None:
        logs[begun.task] = logs.get(begun.task, b"") + piece

    async def live() -> None:
        printing = Printing(1, lambda _: None, log)
        for number in range(len(printed)):
            printing.expect(0, start(number))
        stream = b"".join(b"".join(pieces) + END for pieces in printed)
        ends = 0
        while stream:
            # What belongs to an attempt is read before its end is told, and never half a mark.
            size = data.draw(st.integers(1, len(stream)))
            while size < len(stream) and any(
                END.startswith(stream[:size][-n:]) for n in range(1, len(END))
            ):
                size += 1
            piece, stream = stream[:size], stream[size:]
            printing.add(0, piece)
            ends += piece.count(END)
            while ends and (not stream or data.draw(st.booleans())):
                printing.ended(0)
                ends -= 1

    asyncio.run(live())
    expected = {f"map-{n}": b"".join(pieces) for n, pieces in enumerate(printed)}
    assert logs == {task: text for task, text in expected.items() if text}


def test_what_is_too_much_for_the_view_is_in_the_log(tmp_path: Path) -> None:
    sent: list[Printed] = []
    (tmp_path / "j1").mkdir()

    async def live() -> None:
        printing = Printing(1, sent.append, TaskLogs(tmp_path).write)
        printing.expect(0, start(0))
        for _ in range(3):
            printing.add(0, b"x" * LOG_BLOCK)  # written at once: it is held nowhere
        assert (tmp_path / "j1" / "map-0.1.log").stat().st_size == 3 * LOG_BLOCK
        printing.ended(0)

    asyncio.run(live())
    assert (len(sent[0].text), sent[0].dropped) == (PRINT_LIMIT, 3 * LOG_BLOCK - PRINT_LIMIT)


def test_a_log_has_a_limit_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "j1").mkdir()
    logs = TaskLogs(tmp_path, limit=10)
    for _ in range(5):
        logs.write(start(0), b"1234567")
    logs.write(start(0, 2), b"second\n")
    kept = (tmp_path / "j1" / "map-0.1.log").read_text()
    assert kept == "1234567123\n[what came after 10 bytes was not kept]\n"
    assert sorted(list_logs(tmp_path, "j1"), key=lambda log: log.attempt) == [
        LogFile("j1/map-0.1.log", "map-0", 1, len(kept)),
        LogFile("j1/map-0.2.log", "map-0", 2, 7),
    ]
    logs.write(Start(JobId("j2"), TaskId("map-0"), 1, 0), b"its folder is gone")
    assert list(list_logs(tmp_path, "j2")) == []


def test_only_what_is_served_is_listed(tmp_path: Path) -> None:
    for name in ("own", "adopted", "strange"):
        (tmp_path / name / "j1").mkdir(parents=True)
        TaskLogs(tmp_path / name).write(start(0), b"x")
        (tmp_path / name / "j1" / "part-0.1").write_bytes(b"x")
    server = RunServer(tmp_path / "own", b"t" * 32, [tmp_path / "adopted"])
    for name, logs in [("own", 1), ("adopted", 1), ("strange", 0)]:
        assert len(server._logs(ListLogs(JobId("j1"), str(tmp_path / name)))) == logs
    for job in ("..", "../strange/j1", "j2", ""):
        assert server._logs(ListLogs(JobId(job), str(tmp_path / "own"))) == ()


def test_logs_outlive_all_else_of_a_job_until_it_is_forgotten(tmp_path: Path) -> None:
    async def live() -> None:
        folders = Folders(tmp_path)
        folders.make("j1")
        TaskLogs(tmp_path).write(start(0), b"x")
        for name in ("map-0.1.run", "part-0.1"):
            (tmp_path / "j1" / name).write_bytes(b"x")
        (tmp_path / "j1" / "scratch").mkdir()
        folders.delete("j1", runs_only=False, keep_logs=True)
        await folders.settled()
        assert [path.name for path in (tmp_path / "j1").iterdir()] == ["map-0.1.log"]
        folders.delete("j1", runs_only=False)
        await folders.settled()
        assert not (tmp_path / "j1").exists()
        folders.make("j2")  # nothing was printed: its folder is of use for the next
        folders.delete("j2", runs_only=False, keep_logs=True)
        await folders.settled()
        assert not (tmp_path / "j2").exists()

    asyncio.run(live())


def test_an_adopted_store_keeps_its_logs_likewise(tmp_path: Path) -> None:
    (tmp_path / "dead" / "j1").mkdir(parents=True)
    TaskLogs(tmp_path / "dead").write(start(0), b"x")
    (tmp_path / "dead" / "j1" / "part-0.1").write_bytes(b"x")

    async def live() -> None:
        stores = Stores(tmp_path / "own")
        stores.directories.append(tmp_path / "dead")
        stores.forget("j1", runs_only=False, keep_logs=True)
        await stores.settled()
        assert [path.name for path in (tmp_path / "dead" / "j1").iterdir()] == ["map-0.1.log"]
        stores.forget("j1", runs_only=False)
        await stores.settled()
        assert not (tmp_path / "dead" / "j1").exists()

    asyncio.run(live())
