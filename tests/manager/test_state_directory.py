"""The state directory: one manager at a time, the same cluster again, nobody else may look."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mrkernel.errors import ClusterError, SecurityError
from mrkernel.ids import JobId
from mrkernel.manager.facts import JobGone
from mrkernel.manager.state_directory import StateDirectory

LARGE = b"large"
DIGEST = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "state"


def test_the_cluster_is_the_same_one_after_a_restart(path: Path) -> None:
    with StateDirectory.open(path) as first:
        first.journal.write([JobGone(JobId("j1"))])
    with StateDirectory.open(path, cluster="another", token=b"another") as second:
        assert (second.cluster, second.token) == (first.cluster, first.token)
        assert second.journal.facts == [JobGone(JobId("j1"))]
    assert len(first.token) == 32


def test_identity_is_given_or_made_up(path: Path, tmp_path: Path) -> None:
    with StateDirectory.open(path, cluster="c9", token=b"t" * 32) as given:
        assert (given.cluster, given.token) == ("c9", b"t" * 32)
    with StateDirectory.open(tmp_path / "other") as made:
        assert made.cluster not in ("", "c9")
        assert made.token != b"t" * 32


@pytest.mark.fault(52)
def test_a_second_manager_is_refused_by_the_name_of_the_first(path: Path) -> None:
    with (
        StateDirectory.open(path),
        pytest.raises(ClusterError, match=rf"process {os.getpid()}\) works in .*--state"),
    ):
        StateDirectory.open(path)
    StateDirectory.open(path).close()  # it has let go


def test_a_manager_that_died_without_a_word_leaves_no_lock(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; "
        "from mrkernel.manager.state_directory import StateDirectory as S; "
        "S.open(Path(sys.argv[1])); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
    assert (path / "lock").read_text().strip().isdigit()
    StateDirectory.open(path).close()


@pytest.mark.fault(63)
def test_nobody_else_can_read_it(path: Path) -> None:
    with StateDirectory.open(path) as directory:
        directory.keep_blob(DIGEST, b"x")
    modes = {each.name: each.stat().st_mode & 0o777 for each in (path, *path.iterdir())}
    assert modes == {
        "state": 0o700,
        "lock": 0o600,
        "identity.json": 0o600,
        "journal": 0o600,
        "blobs": 0o700,
    }


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_one_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    path.mkdir(parents=True)
    path.chmod(mode)
    with pytest.raises(SecurityError, match="chmod 700"):
        StateDirectory.open(path)
    assert list(path.iterdir()) == []  # no token was put there


def test_a_damaged_journal_is_told_and_lets_go_of_the_lock(path: Path) -> None:
    with StateDirectory.open(path) as directory:
        for name in ("j1", "j2"):
            directory.journal.write([JobGone(JobId(name))])
    data = bytearray((path / "journal").read_bytes())
    data[13] ^= 1
    (path / "journal").write_bytes(data)
    for _ in range(2):
        with pytest.raises(ClusterError, match="damaged at byte 0"):
            StateDirectory.open(path)


def test_a_damaged_identity_is_told(path: Path) -> None:
    StateDirectory.open(path).close()
    (path / "identity.json").write_bytes(b"{")
    with pytest.raises(ClusterError, match=r"identity\.json is damaged"):
        StateDirectory.open(path)


def test_a_half_written_identity_is_written_again(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    (path / "identity.new").write_bytes(b"{")
    StateDirectory.open(path).close()
    assert not (path / "identity.new").exists()


def test_blobs_are_kept_by_digest(path: Path) -> None:
    with StateDirectory.open(path) as directory:
        directory.keep_blob(DIGEST, b"large")
        directory.keep_blob("e" * 64, b"other")
        (path / "blobs" / "half.new").write_bytes(b"half")
    with StateDirectory.open(path) as directory:
        assert directory.read_blob(DIGEST) == LARGE
        assert directory.read_blob("e" * 64) == "is damaged"
        assert directory.read_blob("a" * 64) == "is not there"
        directory.drop_blob(DIGEST)
        directory.drop_blob(DIGEST)
        directory.keep_blob("a" * 64, b"third")
        directory.drop_blobs_but(["a" * 64])
        assert [each.name for each in (path / "blobs").iterdir()] == ["a" * 64]


def test_a_blob_that_does_not_fit_is_not_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with StateDirectory.open(path, durable=True) as directory:
        monkeypatch.setattr("mrkernel.manager.state_directory.os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            directory.keep_blob(DIGEST, b"large")
        assert directory.read_blob(DIGEST) == "is not there"
        assert list((path / "blobs").iterdir()) == []
