"""Folders of jobs: made, emptied, used again; what one job left is never another's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mrkernel.worker import folders as module
from mrkernel.worker.folders import SPARES, Folders


def run(tmp_path: Path, test: Callable[[Folders], Awaitable[None]]) -> None:
    async def live() -> None:
        await test(Folders(tmp_path))

    asyncio.run(live())


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELETE_DELAY_S", 0.0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_of_an_ended_job_is_the_next_ones(tmp_path: Path) -> None:
    async def test(folders: Folders) -> None:
        folders.make("j1")
        (tmp_path / "j1" / "map-0.1.run").write_bytes(b"x")
        (tmp_path / "j1" / "part-0.1").write_bytes(b"x")
        number = (tmp_path / "j1").stat().st_ino
        folders.delete("j1", runs_only=True)
        await folders.settled()
        assert names(tmp_path / "j1") == ["part-0.1"]
        folders.delete("j1", runs_only=False)
        await folders.settled()
        assert not (tmp_path / "j1").exists()
        folders.make("j2")
        assert (tmp_path / "j2").stat().st_ino == number
        assert names(tmp_path / "j2") == []
        assert names(tmp_path) == ["j2"]

    run(tmp_path, test)


def test_what_somebody_left_behind_is_not_handed_on(tmp_path: Path) -> None:
    async def test(folders: Folders) -> None:
        folders.make("j1")
        folders.delete("j1", runs_only=False)
        await folders.settled()
        (spare,) = tmp_path.iterdir()
        (spare / "map-0.1.run").write_bytes(b"of j1")
        folders.make("j2")
        assert names(tmp_path / "j2") == []
        assert names(tmp_path) == ["j2"]

    run(tmp_path, test)


def test_folders_in_a_folder_go_with_it(tmp_path: Path) -> None:
    async def test(folders: Folders) -> None:
        folders.make("j1")
        (tmp_path / "j1" / "merge-x").mkdir()
        (tmp_path / "j1" / "merge-x" / "1").write_bytes(b"x")
        folders.delete("j1", runs_only=False)
        folders.delete("j9", runs_only=False)  # nothing was ever written for it here
        await folders.settled()
        assert names(tmp_path) == []

    run(tmp_path, test)


def test_few_are_kept(tmp_path: Path) -> None:
    async def test(folders: Folders) -> None:
        jobs = [f"j{n}" for n in range(3 * SPARES)]
        for job in jobs:
            folders.make(job)
        for job in jobs:
            folders.delete(job, runs_only=False)
        await folders.settled()
        assert len(names(tmp_path)) == SPARES

    run(tmp_path, test)


def test_one_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """A runner was faster, or the job was told of again."""

    async def test(folders: Folders) -> None:
        folders.make("j0")
        folders.delete("j0", runs_only=False)
        await folders.settled()
        (tmp_path / "j1").mkdir()
        (tmp_path / "j1" / "map-0.1.run").write_bytes(b"x")
        folders.make("j1")
        folders.make("j1")
        assert names(tmp_path / "j1") == ["map-0.1.run"]
        folders.let_go()
        assert not (tmp_path / "j1").exists()  # at once: the next job may have this name
        folders.make("j1")
        assert names(tmp_path / "j1") == []
        await folders.settled()
        assert "j1" in names(tmp_path)
        assert not list(tmp_path.glob("old-*"))

    run(tmp_path, test)
