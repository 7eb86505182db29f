"""The state directory: what a manager needs to be the same one after a restart.

::

    lock            held by the living manager (flock); its process id, for people
    identity.json   the cluster's id and token, readable by its owner only
    journal         see ``journal``
    blobs/          functions and inputs that only a client had, each named by its sha256
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from mrkernel.data.locks import LOCK, hold
from mrkernel.errors import ClusterError, SecurityError
from mrkernel.manager.journal import Journal, sync_directory
from mrkernel.security.token import make_id, make_token

JOURNAL = "journal"


class _Identity(msgspec.Struct, frozen=True):
    cluster: str
    token: str  #: hexadecimal


class StateDirectory:
    """A state directory that is ours alone as long as this lives; a context manager.

    Attributes:
        cluster: the cluster's id.
        token: its secret.
        journal: open for writing.
    """

    def __init__(self, path: Path, lock: int, identity: _Identity, journal: Journal) -> None:
        self.path = path
        self.cluster = identity.cluster
        self.token = bytes.fromhex(identity.token)
        self.journal = journal
        self._lock = lock

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        durable: bool = True,
        cluster: str | None = None,
        token: bytes | None = None,
    ) -> StateDirectory:
        """Take a directory, and make it if it is not there.

        Args:
            durable: whether its facts must survive the machine, not only the manager.
            cluster, token: of a new one; None: made up.

        Raises:
            ClusterError: another manager has it, or its journal is damaged.
            SecurityError: others can read it.
            OSError: it cannot be made or read.
        """
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if hasattr(os, "getuid") and (
            path.stat().st_uid != os.getuid() or path.stat().st_mode & 0o077
        ):
            raise SecurityError(
                f"{path} can be read by others, so its token is no secret: "
                "`chmod 700` it, or give another --state"
            )
        lock = _lock(path)
        try:
            identity = _read_identity(path)
            if identity is None:
                made = (token or make_token()).hex()
                identity = _Identity(cluster or make_id(), made)
                _write_identity(path, identity, durable=durable)
            (path / "blobs").mkdir(exist_ok=True, mode=0o700)
            return cls(path, lock, identity, Journal(path / JOURNAL, durable=durable))
        except BaseException:
            os.close(lock)
            raise

    # --- blobs ------------------------------------------------------------------------------------

    def keep_blob(self, digest: str, data: bytes) -> None:
        """Write a blob, whole or not at all.

        Raises:
            OSError: it is not there.
        """
        path = self.path / "blobs" / digest
        draft = path.with_suffix(".new")
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                if self.journal.durable:
                    os.fsync(file.fileno())
            draft.rename(path)
            if self.journal.durable:
                sync_directory(path.parent)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def read_blob(self, digest: str) -> bytes | str:
        """Return a blob that has a file of its own, or why it cannot be: "is not there"."""
        try:
            data = (self.path / "blobs" / digest).read_bytes()
        except FileNotFoundError:
            return "is not there"
        except OSError as error:
            return f"cannot be read ({error.strerror or error})"
        return data if hashlib.sha256(data).hexdigest() == digest else "is damaged"

    def drop_blob(self, digest: str) -> None:
        """Delete a blob, if it is here."""
        (self.path / "blobs" / digest).unlink(missing_ok=True)

    def drop_blobs_but(self, wanted: Iterable[str]) -> None:
        """Delete the blobs that nobody needs, and what a dying manager left half written."""
        keep = set(wanted)
        for path in (self.path / "blobs").iterdir():
            if path.name not in keep:
                path.unlink()

    # --- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Let another manager have it."""
        self.journal.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _lock(path: Path) -> int:
    """Return the descriptor that holds the lock; it is let go when the process ends, however."""
    try:
        lock = hold(path)
    except BlockingIOError as error:
        holder = (path / LOCK).read_text(errors="replace").strip()
        raise ClusterError(
            f"another manager (process {holder or 'unknown'}) works in {path}: connect to that "
            "one, end it, or give another --state"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _read_identity(path: Path) -> _Identity | None:
    try:
        return msgspec.json.decode((path / "identity.json").read_bytes(), type=_Identity)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path / 'identity.json'} is damaged: {error}") from error


def _write_identity(path: Path, identity: _Identity, *, durable: bool) -> None:
    draft = path / "identity.new"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(identity))
        if durable:
            file.flush()
            os.fsync(descriptor)  # half of it would lock everybody out of what the journal has
    draft.rename(path / "identity.json")
