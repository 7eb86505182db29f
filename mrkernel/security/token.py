"""The cluster's secret, and the connection file that hands it to programs of the same user.

A connection file ``mrkernel-<id>.json`` lies in the Jupyter runtime directory, readable by its
owner only, beside those of Jupyter's kernels and guarded like them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

import msgspec

from mrkernel.errors import ManagerUnreachableError, SecurityError

TOKEN_SIZE = 32


class ConnectionFile(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a manager of this user on this machine."""

    id: str
    host: str
    port: int
    token: str  #: hexadecimal
    pid: int
    embedded: bool = False  #: it belongs to one kernel: other programs do not choose it
    state: str = ""  #: its state directory, with the journal; "": not known
    web_port: int = 0  #: where its web page is, on the same host; 0: it has none

    def __repr__(self) -> str:
        return f"ConnectionFile({self.id}, {self.host}:{self.port}, pid={self.pid}, token=…)"

    @property
    def secret(self) -> bytes:
        return bytes.fromhex(self.token)

    def web_url(self, path: str = "/") -> str:
        """The address of its web page, with what lets one in: for the owner's eyes only.

        Raises:
            ManagerUnreachableError: it has no web page.
        """
        if not self.web_port:
            raise ManagerUnreachableError(f"manager {self.id} was started without a web page")
        host = f"[{self.host}]" if ":" in self.host else self.host
        token = derived(self.secret, "web page")
        return f"http://{host}:{self.web_port}{path}?token={token}"


def make_token() -> bytes:
    """Return a fresh secret."""
    return secrets.token_bytes(TOKEN_SIZE)


def derived(secret: bytes, purpose: str) -> str:
    """Return a secret for one purpose, from which the cluster's own cannot be found."""
    digest = hmac.digest(secret, f"mrkernel {purpose}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def make_id() -> str:
    """Return a name for a cluster: short, and unlikely to meet another of the same user."""
    return secrets.token_hex(4)


def runtime_directory() -> Path:
    """Return Jupyter's runtime directory, where kernels keep their connection files too."""
    from jupyter_core.paths import jupyter_runtime_dir

    return Path(jupyter_runtime_dir())


def write_connection_file(connection: ConnectionFile, directory: Path | None = None) -> Path:
    """Write the file so that nobody else could ever read it; return its path."""
    directory = directory or runtime_directory()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / f"mrkernel-{connection.id}.json"
    draft = directory / f".{path.name}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(connection))
    draft.rename(path)
    return path


def read_connection_file(path: Path) -> ConnectionFile:
    """Read a connection file.

    Raises:
        SecurityError: others may read it, or it is not ours.
        ManagerUnreachableError: it is gone, or not a connection file.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())  # of what is read, whatever the path means by then
            data = file.read()
    except FileNotFoundError as error:
        raise ManagerUnreachableError(f"{path} is gone: its manager has ended") from error
    except OSError as error:
        raise ManagerUnreachableError(f"{path} cannot be read: {error.strerror}") from error
    if hasattr(os, "getuid") and (
        status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077
    ):
        raise SecurityError(
            f"{path} can be read by others, so its token is no secret: stop that manager, "
            "delete the file and start it again"
        )
    try:
        return msgspec.json.decode(data, type=ConnectionFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManagerUnreachableError(f"{path} is not a connection file: {error}") from error


def running_managers(
    directory: Path | None = None, *, embedded: bool = False
) -> list[ConnectionFile]:
    """List the managers of this user on this machine that are alive.

    Args:
        embedded: also those that belong to one program, which others must name to use.

    A file whose process is gone is what a killed manager left behind; it is removed.
    """
    found = []
    for path in sorted((directory or runtime_directory()).glob("mrkernel-*.json")):
        try:
            connection = read_connection_file(path)
        except (ManagerUnreachableError, SecurityError):
            continue
        if not _is_alive(connection.pid):
            path.unlink(missing_ok=True)
        elif embedded or not connection.embedded:
            found.append(connection)
    return found


def find_manager(address: str | None = None, directory: Path | None = None) -> ConnectionFile:
    """Find the manager at ``host:port``, of a name (its id), or my only one when None.

    Raises:
        ManagerUnreachableError: there is none, or more than one to choose from.
    """
    managers = running_managers(directory)
    if address is None:
        if len(managers) == 1:
            return managers[0]
        if not managers:
            raise ManagerUnreachableError(
                "no manager of yours runs on this machine: start one with `mrkernel manager`"
            )
        listed = ", ".join(f"{m.host}:{m.port}" for m in managers)
        raise ManagerUnreachableError(f"you have {len(managers)} managers: choose one of {listed}")
    for manager in running_managers(directory, embedded=True):
        if address in (f"{manager.host}:{manager.port}", manager.id):
            return manager
        if address.replace("localhost", "127.0.0.1") == f"{manager.host}:{manager.port}":
            return manager
    listed = ", ".join(f"{m.host}:{m.port}" for m in managers)
    instead = f"choose one of {listed}" if listed else "start one with `mrkernel manager`"
    raise ManagerUnreachableError(f"no manager of yours at {address} on this machine: {instead}")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
