"""What is wrong with a disk, in one sentence."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from mrkernel.shuffle.run import RunWriteError
from mrkernel.worker.disks import disk_failure, sentence_of


def error_of(number: int, path: Path | None = None) -> OSError:
    return OSError(number, os.strerror(number), *([str(path)] if path else []))


def test_each_cause_has_its_own_sentence(tmp_path: Path) -> None:
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EIO)
    failures = [disk_failure(error_of(n, tmp_path / "x"), tmp_path) for n in numbers]
    assert len({failure.sentence for failure in failures}) == len(numbers)
    assert {failure.kind for failure in failures} == {"environment"}
    assert all(str(tmp_path) in failure.sentence for failure in failures)


@pytest.mark.fault(24)
def test_a_full_disk_says_what_is_free_where(tmp_path: Path) -> None:
    said = sentence_of(error_of(errno.ENOSPC), tmp_path / "not/there/yet")
    assert re.match(r"its disk is full: [\d.]+ .?B free in .* \(file system /.*\)$", said)
    failed = RunWriteError(errno.ENOSPC, "full", str(tmp_path / "map-0.1.run"))
    failed.needed = 12_000_000
    assert sentence_of(failed, tmp_path).endswith(", and this run needs more than 12 MB")


@pytest.mark.fault(24)
def test_a_disk_without_room_for_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = SimpleNamespace(f_files=64, f_favail=0, f_bavail=1000, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: facts)
    said = sentence_of(error_of(errno.ENOSPC, tmp_path / "x"), tmp_path)
    assert said.startswith("its disk is full: no more files can be made in")


@pytest.mark.fault(32)
def test_too_many_open_files_names_the_limit(tmp_path: Path) -> None:
    failure = disk_failure(error_of(errno.EMFILE, tmp_path), tmp_path)
    assert re.match(r"it is at its limit of [\d,]+ open files", failure.sentence)
    assert "ulimit -n" in failure.hint
