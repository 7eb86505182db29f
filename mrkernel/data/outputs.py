"""Output directories: written aside, whole or not at all, committed by one rename.

``part-00000 ...`` and ``_SUCCESS`` are named as Hadoop names them; ours is a JSON manifest, which
is also the proof that a directory may be replaced by ``--overwrite``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from mrkernel.errors import JobSpecError, OutputExistsError

MANIFEST = "_SUCCESS"
FORMAT = "mrkernel-output"
VERSION = 1
_FILE_SUFFIXES = {".csv", ".jsonl", ".json", ".parquet", ".tsv", ".txt"}
_BUFFER = 1 << 20
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Part(msgspec.Struct, frozen=True):
    """One part file, as the manifest lists it."""

    name: str
    records: int
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``_SUCCESS`` says."""

    format: str
    version: int
    job: str
    parts: list[Part]


def check_output(path: str | os.PathLike[str], overwrite: bool, cwd: Path | None = None) -> Path:
    """Check before the job that its output can be written; a job must not fail at its very end.

    Args:
        path: the directory to make.
        overwrite: whether one that carries our manifest may be replaced.
        cwd: where a relative path begins; None: this process's directory.

    Returns: the absolute path.

    Raises:
        OutputExistsError: something is there and may not be replaced.
        JobSpecError: the path makes no sense or the place is not writable.
    """
    text = os.fspath(path)
    if "://" in text:
        raise JobSpecError(f"--output {text} is a URL: name a directory on this machine")
    target = Path(os.path.abspath((cwd or Path.cwd()) / Path(text).expanduser()))  # noqa: PTH100
    if target.suffix.lower() in _FILE_SUFFIXES and not target.is_dir():
        raise JobSpecError(
            f"--output {text} looks like a file: the output is a directory of part files, "
            f"write --output {text.removesuffix(target.suffix)}"
        )
    _check_replaceable(target, overwrite)
    parent = _existing_parent(target)
    _probe(parent, text)
    return target


def _check_replaceable(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise OutputExistsError(f"{target} exists and is no directory: choose another --output")
    try:
        names = {entry.name for entry in os.scandir(target)}
    except OSError as error:
        raise OutputExistsError(
            f"{target} exists and cannot be read ({error.strerror}): choose another --output"
        ) from error
    if not overwrite:
        ours = "pass --overwrite to replace it, or " if _manifest(target) or not names else ""
        raise OutputExistsError(f"{target} exists already: {ours}choose another --output")
    if not names:
        return
    manifest = _manifest(target)
    if manifest is None:
        raise OutputExistsError(
            f"{target} was not written by mrkernel (no manifest in {MANIFEST}), so --overwrite "
            "leaves it alone: remove it yourself or choose another --output"
        )
    strangers = names - {MANIFEST} - {part.name for part in manifest.parts}
    if strangers:
        raise OutputExistsError(
            f"{target} also holds {min(strangers)}, which mrkernel did not write, so --overwrite "
            "leaves it alone: move that away or choose another --output"
        )


def _manifest(target: Path) -> Manifest | None:
    try:
        found = msgspec.json.decode((target / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.format == FORMAT else None


def _existing_parent(target: Path) -> Path:
    parent = target.parent
    while not os.path.lexists(parent) and parent != parent.parent:
        parent = parent.parent
    return parent


def _probe(parent: Path, text: str) -> None:
    """Make, rename and remove a directory: permissions alone do not tell of read-only mounts."""
    probe = parent / f".mrkernel-probe-{secrets.token_hex(4)}"
    moved = probe.with_name(probe.name + "x")
    try:
        probe.mkdir()
        try:
            probe.rename(moved)
        finally:
            (moved if moved.exists() else probe).rmdir()
    except NotADirectoryError:
        raise JobSpecError(
            f"--output {text} cannot be made: {parent} is a file, choose another directory"
        ) from None
    except OSError as error:
        raise JobSpecError(
            f"--output {text} cannot be written: {parent} refuses it ({error.strerror}); choose a "
            "directory you may write to"
        ) from error


class OutputWriter:
    """Writes part files into a directory aside and puts it in place whole.

    Use as a context manager: an error inside aborts; ``commit`` is called by hand at the end.
    """

    def __init__(self, target: Path, *, job: str, overwrite: bool = False) -> None:
        """Make the directory aside.

        Args:
            target: absolute path of the output, as ``check_output`` gave it.
            job: id of the job, for the manifest.
            overwrite: replace a directory that carries our manifest.

        Raises: JobSpecError: the place is not writable.
        """
        self.target = target
        self._job = job
        self._overwrite = overwrite
        self._parts: dict[int, Part] = {}
        # In the same directory, so that the rename stays on one file system.
        self.staging = target.parent / f".{target.name}.{job}-{secrets.token_hex(4)}"
        try:
            self.staging.mkdir(parents=True)
        except OSError as error:
            raise JobSpecError(
                f"{target} cannot be written ({error.strerror}): choose another --output"
            ) from error

    def __enter__(self) -> OutputWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()

    def write_part(self, index: int, lines: Iterable[bytes]) -> Part:
        """Write ``part-<index>``; ``lines`` are rendered pairs with their line ends.

        Parts may be written in any order; writing one again replaces it.
        """
        name = f"part-{index:05d}"
        digest = hashlib.sha256()
        records = size = 0
        with (self.staging / name).open("wb", buffering=0) as file:
            held: list[bytes] = []
            waiting = 0
            for line in lines:
                records += 1
                held.append(line)
                waiting += len(line)
                if waiting >= _BUFFER:
                    size += _write(file, held, digest)
                    waiting = 0
            size += _write(file, held, digest)
            os.fsync(file.fileno())
        part = self._parts[index] = Part(name, records, size, digest.hexdigest())
        return part

    def commit(self) -> Manifest:
        """Write the manifest and put the directory in place by one rename.

        Raises: OutputExistsError: something was put there meanwhile; nothing of it was touched.
        """
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
            job=self._job,
            parts=[self._parts[index] for index in sorted(self._parts)],
        )
        text = json.dumps(msgspec.to_builtins(manifest), indent=1) + "\n"
        with (self.staging / MANIFEST).open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(self.staging)
        _check_replaceable(self.target, self._overwrite)
        if self.target.exists():
            _exchange(self.staging, self.target)
            shutil.rmtree(self.staging)  # which is the old output now
        else:
            _rename_new(self.staging, self.target)
        _sync_directory(self.target.parent)
        return manifest

    def abort(self) -> None:
        """Remove what was written aside; nothing after a commit."""
        shutil.rmtree(self.staging, ignore_errors=True)


def _write(file: Any, held: list[bytes], digest: Any) -> int:
    data = b"".join(held)
    held.clear()
    digest.update(data)
    view = memoryview(data)
    while view:  # a raw write may be short
        view = view[file.write(view) :]
    return len(data)


def _sync_directory(path: Path) -> None:
    with contextlib.suppress(OSError):  # Windows cannot, and some network mounts will not
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _rename_new(staging: Path, target: Path) -> None:
    try:
        staging.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise OutputExistsError(
                f"{target} appeared while the job ran: choose another --output"
            ) from error
        raise


def _exchange(new: Path, old: Path) -> None:
    """Swap two directories, in one system call where there is one."""
    if _renameat2(new, old):
        return
    # Between the two renames a crash leaves the old output aside, whole, under its job's name.
    aside = new.with_name(new.name + "-old")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)


def _renameat2(new: Path, old: Path) -> bool:
    """``RENAME_EXCHANGE``; False where the system or file system has no such thing."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a libc older than glibc 2.28
        return False
    done: int = call(
        _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), ctypes.c_uint(_RENAME_EXCHANGE)
    )
    return done == 0
