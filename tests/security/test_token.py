"""The secret and its file: nobody else can read it, and nothing shows it by accident."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mrkernel.errors import ManagerUnreachableError, SecurityError
from mrkernel.security.token import (
    TOKEN_SIZE,
    ConnectionFile,
    find_manager,
    make_id,
    make_token,
    read_connection_file,
    running_managers,
    runtime_directory,
    write_connection_file,
)


def connection(name: str = "aaaa", port: int = 6000, **facts: object) -> ConnectionFile:
    known = {"id": name, "host": "127.0.0.1", "port": port, "token": "ab" * 32, "pid": os.getpid()}
    return ConnectionFile(**{**known, **facts})  # type: ignore[arg-type]


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {make_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {TOKEN_SIZE} == {32}
    assert len({make_id() for _ in range(100)}) == 100


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)  # whatever the user's umask is
    try:
        path = write_connection_file(connection(), tmp_path / "runtime")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.name == "mrkernel-aaaa.json"
    assert read_connection_file(path) == connection()
    assert list(path.parent.iterdir()) == [path]  # no draft is left


def test_by_default_it_lies_with_those_of_the_kernels() -> None:
    path = write_connection_file(connection())
    try:
        assert path.parent == runtime_directory() == Path(os.environ["JUPYTER_RUNTIME_DIR"])
    finally:
        path.unlink()


def test_a_file_that_others_could_read_is_not_believed(tmp_path: Path) -> None:
    path = write_connection_file(connection(), tmp_path)
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(SecurityError, match=r"can be read by others.*start it again"):
            read_connection_file(path)
    assert running_managers(tmp_path) == []


def test_a_file_of_somebody_else_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_connection_file(connection(), tmp_path)
    somebody_else = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: somebody_else)
    with pytest.raises(SecurityError):
        read_connection_file(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"id": "a"}', b'{"id": "\xff"}', b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "cut", "array", "fields", "text", "binary", "nested"],
)
def test_other_peoples_files_do_not_disturb(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mrkernel-zzzz.json").write_bytes(content)
    (tmp_path / "mrkernel-zzzz.json").chmod(0o600)
    with pytest.raises(ManagerUnreachableError, match="is not a connection file"):
        read_connection_file(tmp_path / "mrkernel-zzzz.json")
    write_connection_file(connection(), tmp_path)
    assert find_manager(None, tmp_path) == connection()


def test_a_file_that_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(ManagerUnreachableError, match="is gone: its manager has ended"):
        read_connection_file(tmp_path / "mrkernel-gone.json")
    (tmp_path / "mrkernel-dir.json").mkdir()
    with pytest.raises(ManagerUnreachableError, match="cannot be read: Is a directory"):
        read_connection_file(tmp_path / "mrkernel-dir.json")


def test_no_repr_shows_the_token() -> None:
    for text in (repr(connection()), str(connection()), f"{connection()}"):
        assert "abab" not in text
        assert "127.0.0.1:6000" in text


def test_the_dead_are_swept_away(tmp_path: Path, dead_pid: int) -> None:
    path = write_connection_file(connection(pid=dead_pid), tmp_path)
    assert running_managers(tmp_path) == []
    assert not path.exists()


def test_managers_are_found_by_address_by_name_or_alone(tmp_path: Path) -> None:
    with pytest.raises(ManagerUnreachableError, match=r"no manager of yours.*`mrkernel manager`"):
        find_manager(None, tmp_path)
    write_connection_file(connection("aaaa", 6000), tmp_path)
    assert find_manager(None, tmp_path).id == "aaaa"
    write_connection_file(connection("bbbb", 6001), tmp_path)
    with pytest.raises(ManagerUnreachableError, match=r"choose one of 127\S+:6000, 127\S+:6001"):
        find_manager(None, tmp_path)
    assert find_manager("127.0.0.1:6001", tmp_path).id == "bbbb"
    assert find_manager("localhost:6000", tmp_path).id == "aaaa"
    assert find_manager("bbbb", tmp_path).id == "bbbb"
    with pytest.raises(ManagerUnreachableError, match=r"at 127\.0\.0\.1:7000 on this machine"):
        find_manager("127.0.0.1:7000", tmp_path)


def test_an_embedded_one_is_only_taken_by_name(tmp_path: Path) -> None:
    write_connection_file(connection("eeee", 6000, embedded=True), tmp_path)
    with pytest.raises(ManagerUnreachableError):
        find_manager(None, tmp_path)
    assert running_managers(tmp_path) == []
    assert [m.id for m in running_managers(tmp_path, embedded=True)] == ["eeee"]
    assert find_manager("eeee", tmp_path).id == "eeee"
