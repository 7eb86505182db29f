"""What killed owners leave is removed; what somebody holds, or may still want, is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrkernel.data.locks import LOCK, hold
from mrkernel.deploy.sweep import (
    CLUSTER,
    DRAFT,
    LEASE_S,
    UNLOCKED_LEASE_S,
    WORKER,
    make_cluster_directory,
    make_worker_directory,
    remove,
    spill_root,
    sweep,
)

#: Makes a directory, says which, and waits.
OWNER = """
import os, sys, time
from mrkernel.deploy.sweep import make_cluster_directory
print(make_cluster_directory(), flush=True)
if sys.argv[1:] == ["fork"] and os.fork():
    os._exit(0)
sys.stdin.read()
"""


def left_behind(root: Path, name: str, *inside: str) -> Path:
    """A directory that nobody holds, as a killed owner leaves it."""
    path = root / name
    for folder in (path, *(path / each for each in inside)):
        folder.mkdir()
        os.close(hold(folder))
    (path / "run-1").write_bytes(b"spilled")
    return path


def grow_old(path: Path, seconds: float) -> None:
    """Let its files be so old."""
    then = time.time() - seconds
    for each in (*path.rglob("*"), path):
        os.utime(each, (then, then))


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()
    sweep()


def test_a_clusters_directory_goes_as_soon_as_its_owner_is_killed(
    owner: subprocess.Popen[str],
) -> None:
    assert owner.stdout is not None
    path = Path(owner.stdout.readline().strip())
    assert path.parent == spill_root()
    assert path.stat().st_mode & 0o777 == 0o700
    assert sweep() == []
    owner.kill()
    owner.wait()
    assert sweep() == [path]
    assert not path.exists()


def test_it_stays_while_a_child_of_its_dead_owner_lives() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, "fork"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    path = Path(process.stdout.readline().strip())
    assert process.wait() == 0
    assert sweep() == []
    process.communicate()  # its child reads the same input, and holds the same output
    assert sweep() == [path]


def test_what_a_killed_remover_left_goes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is gone with the first files: the rest must not be taken for somebody's."""
    directory = tmp_path / f"{CLUSTER}x"
    for name in (LOCK, "a.run", "b.run"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).touch()

    def killed(path: Path) -> None:
        (path / LOCK).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("mrkernel.deploy.sweep.shutil.rmtree", killed)
        remove(directory)
    assert len(list(tmp_path.iterdir())) == 1
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_workers_files_stay_for_its_lease(tmp_path: Path) -> None:
    path = left_behind(tmp_path, f"{WORKER}1")
    assert sweep(tmp_path) == []
    grow_old(path, LEASE_S - 60)
    assert sweep(tmp_path) == []
    grow_old(path, LEASE_S + 60)
    assert sweep(tmp_path) == [path]
    assert list(tmp_path.iterdir()) == []


def test_files_that_another_worker_serves_stay(tmp_path: Path) -> None:
    path = left_behind(tmp_path, f"{WORKER}1", "worker")
    grow_old(path, LEASE_S + 60)
    lock = hold(path / "worker")  # who serves them holds them
    assert sweep(tmp_path) == []
    os.close(lock)
    grow_old(path, LEASE_S + 60)
    assert sweep(tmp_path) == [path]


def test_what_a_version_without_locks_made_stays_for_a_week(tmp_path: Path) -> None:
    """Its cluster may well run; nothing says that it does."""
    path = tmp_path / f"{CLUSTER}old"
    (path / "worker-1").mkdir(parents=True)
    grow_old(path, UNLOCKED_LEASE_S - 60)
    assert sweep(tmp_path) == []
    assert not (path / LOCK).exists()
    grow_old(path, UNLOCKED_LEASE_S + 60)
    assert sweep(tmp_path) == [path]


def test_a_draft_is_swept_when_it_is_old(tmp_path: Path) -> None:
    path = tmp_path / f"{DRAFT}abc"
    path.mkdir()  # killed between making and locking it
    assert sweep(tmp_path) == []
    grow_old(path, LEASE_S + 60)
    assert sweep(tmp_path) == [path]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / f"{CLUSTER}file").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{CLUSTER}link").symlink_to(tmp_path / "elsewhere")
    assert sweep(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 4


def test_what_cannot_be_removed_is_said_and_the_rest_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    bad, good = left_behind(tmp_path, f"{CLUSTER}1"), left_behind(tmp_path, f"{CLUSTER}2")
    remove = shutil.rmtree

    def rmtree(path: Path) -> None:
        if path.name.endswith(bad.name):
            raise PermissionError(13, "Permission denied", str(path))
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    assert sweep(tmp_path) == [good]
    assert "cannot be removed" in caplog.text
    assert str(bad) in caplog.text


def test_nobody_else_gets_a_directory_that_is_held(tmp_path: Path) -> None:
    lock = hold(tmp_path)
    with pytest.raises(BlockingIOError):
        hold(tmp_path)
    os.close(lock)
    os.close(hold(tmp_path))


def test_a_directory_is_held_from_the_first_moment_that_it_has_its_name() -> None:
    path = make_cluster_directory()
    try:
        assert sweep() == []
        with pytest.raises(BlockingIOError):
            hold(path)
    finally:
        # Held as long as this process lives; so it is taken away by hand.
        (path / LOCK).unlink()
        path.rmdir()


def test_a_workers_folder_is_its_alone_and_is_not_swept_while_it_starts() -> None:
    path = make_worker_directory()
    assert path.stat().st_mode & 0o777 == 0o700
    assert sweep() == []
    path.rmdir()
