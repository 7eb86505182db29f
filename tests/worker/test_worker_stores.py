"""Which directories a worker believes to be those of workers that died."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mrkernel.data.locks import LOCK, hold
from mrkernel.worker.stores import Stores, delete_directory, why_not


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return store(tmp_path / "spill" / "cluster" / "worker-1")


def store(path: Path) -> Path:
    path.mkdir(parents=True)
    os.close(hold(path))
    return path


def test_those_of_the_same_cluster_or_spill_folder_are_believed(own: Path) -> None:
    beside = store(own.parent / "worker-2")
    assert why_not(str(beside), own) == ""
    alone = store(own.parent.parent / "mrkernel-worker-x" / "worker")
    assert why_not(str(alone), own) == ""


def symlink(own: Path) -> Path:
    link = own.parent / "link"
    link.symlink_to(store(own.parent / "worker-2"))
    return link


def plain_file(own: Path) -> Path:
    path = own.parent / "file"
    path.touch()
    return path


def elsewhere(own: Path) -> Path:
    return store(own.parents[2] / "elsewhere" / "deep" / "worker")


def dots(own: Path) -> Path:
    elsewhere(own)
    return Path(f"{own.parent}/../../elsewhere/deep/worker")


def no_workers(own: Path) -> Path:
    path = own.parent / "data"
    path.mkdir()
    return path


@pytest.mark.fault(65)
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda own: own, "our own"),
        (lambda own: own.parent, "our own"),
        (lambda own: store(own / "j1"), "our own"),
        (lambda own: Path("/"), "our own"),
        (lambda own: own.parent / "nobody", "No such file"),
        (lambda own: Path("a\0b"), "null"),
        (symlink, "no directory"),
        (plain_file, "no directory"),
        (elsewhere, "does not lie where ours does"),
        (dots, "does not lie where ours does"),
        (no_workers, "no worker wrote it"),
        (lambda own: Path("/etc"), "does not lie where|another user"),
    ],
)
def test_what_is_not_believed(own: Path, make: Callable[[Path], Path], reason: str) -> None:
    path = make(own)
    with pytest.MonkeyPatch.context() as patch:
        assert reason.split("|")[0] in why_not(str(path), own) or any(
            part in why_not(str(path), own) for part in reason.split("|")
        )
        patch.setattr(os, "getuid", lambda: 4711)
        assert why_not(str(path), own)


def test_another_users_is_not_believed(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = store(own.parent / "worker-2")
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert why_not(str(beside), own) == "it is another user's"


def test_a_wrong_word_deletes_nothing(own: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = no_workers(own)
    (data / "j1").mkdir()
    stores = Stores(own)
    assert not stores.adopt(str(data))
    assert "is not adopted: no worker wrote it" in caplog.text
    stores.delete_all()
    assert (data / "j1").exists()


def test_what_is_adopted_is_deleted_with_the_folder_that_was_its_alone(own: Path) -> None:
    beside = store(own.parent / "worker-2")
    alone = store(own.parent.parent / "mrkernel-worker-x" / "worker")
    stores = Stores(own)
    served = stores.directories
    assert stores.adopt(str(beside))
    assert stores.adopt(str(alone))
    assert stores.adopt(str(alone))
    assert served == [beside, alone]
    stores.delete_all()
    assert served == []
    assert sorted(path.name for path in own.parent.iterdir()) == ["worker-1"]
    assert not alone.parent.exists()
    assert (own / LOCK).exists()


def test_whoever_lives_keeps_what_is_its_own(own: Path) -> None:
    """It stood still, so it was adopted; then the one who adopted it ends."""
    beside = store(own.parent / "worker-2")
    lock = hold(beside)
    stores = Stores(own)
    assert stores.adopt(str(beside))
    stores.delete_all()
    assert stores.directories == []
    assert beside.exists()
    assert stores.adopt(str(beside))
    os.close(lock)  # now it dies
    stores.delete_all()
    assert not beside.exists()


def test_what_nobody_needs_is_deleted_and_what_lives_is_not(own: Path) -> None:
    beside, alive = store(own.parent / "worker-2"), store(own.parent / "worker-3")
    lock = hold(alive)
    stores = Stores(own)

    async def disown() -> None:
        for path in (beside, alive):
            assert stores.adopt(str(path))
            stores.disown(str(path), delete=True)
        await stores.settled()

    asyncio.run(disown())
    assert stores.directories == []
    assert not beside.exists()
    assert alive.exists()
    os.close(lock)


def test_a_job_is_forgotten_in_all_of_them(own: Path) -> None:
    stores = Stores(own)
    for name in ("worker-2", "worker-3"):
        each = store(own.parent / name)
        for job in ("j1", "j2"):
            (each / job).mkdir()
            (each / job / "map-0.1.run").touch()
            (each / job / "part-0.1").touch()
        assert stores.adopt(str(each))

    def left() -> list[str]:
        found = [p for each in stores.directories for p in each.rglob("*") if p.is_file()]
        return sorted(str(p.relative_to(own.parent)) for p in found if p.name != LOCK)

    async def forget(runs_only: bool) -> None:
        stores.forget("j1", runs_only)
        await stores.settled()

    asyncio.run(forget(runs_only=True))
    others = [f"worker-{n}/j2/{name}" for n in (2, 3) for name in ("map-0.1.run", "part-0.1")]
    assert left() == sorted([*others, "worker-2/j1/part-0.1", "worker-3/j1/part-0.1"])
    asyncio.run(forget(runs_only=False))
    assert left() == sorted(others)
    stores.delete_all()


def test_the_lock_goes_last(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed meanwhile, it leaves what a sweep knows for that of a killed owner."""
    remove, left = shutil.rmtree, []

    def look(path: Path, ignore_errors: bool) -> None:
        left.append((path.relative_to(own.parent).as_posix(), (own / LOCK).exists()))
        remove(path, ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", look)
    for name in ("blobs", "j1"):
        (own / name).mkdir()
        (own / name / "file").touch()
    delete_directory(own)
    assert not own.exists()
    *folders, last = left
    assert sorted(folders) == [("worker-1/blobs", True), ("worker-1/j1", True)]
    assert last == ("worker-1", True)
    delete_directory(own)  # of which somebody else got rid
