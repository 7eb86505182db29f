"""Output, written aside and put in place whole by one rename, or not at all.

``part-00000 ...`` and ``_SUCCESS`` are named as Hadoop names them; ours is a JSON manifest, which
is also the proof that a directory may be replaced by ``--overwrite``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import io
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Any, Self

from mrkernel.data.manifest import FORMAT, MANIFEST, PART_ENDINGS, VERSION, Manifest, Part
from mrkernel.data.outputs import Output
from mrkernel.errors import JobSpecError, OutputExistsError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class PartFile:
    """A file that is being written; counts, and sums up what it is given.

    Args:
        file: open for writing; closed here.
        name: of the part, for a manifest.
        digest: whether to sum its bytes up, for a manifest.

    Attributes:
        records: set by who writes.
    """

    def __init__(self, file: Any, name: str, *, digest: bool) -> None:
        self._name = name
        self.records = 0
        self._size = 0
        self._digest = hashlib.sha256() if digest else None
        self._file = file

    @property
    def closed(self) -> bool:
        """Whether it is; asked by pyarrow."""
        return bool(self._file.closed)

    def write(self, data: bytes | memoryview) -> int:
        """Write all of ``data``."""
        view = memoryview(data).cast("B")
        if self._digest is not None:
            self._digest.update(view)
        self._size += len(view)
        while view:  # a raw write may be short
            view = view[self._file.write(view) :]
        return len(data)

    def flush(self) -> None:
        """Nothing is held back; asked by pyarrow."""

    def tell(self) -> int:
        """Give the number of bytes written so far."""
        return self._size

    def close(self) -> None:
        """Leave the closing to `finish`; asked by pyarrow."""

    def finish(self) -> Part:
        """Bring it to the disk and close it."""
        if isinstance(self._file, io.FileIO):
            os.fsync(self._file.fileno())
        self._file.close()
        digest = "" if self._digest is None else self._digest.hexdigest()
        return Part(self._name, self.records, self._size, digest)

    def discard(self) -> None:
        """Close it, whatever is in it."""
        self._file.close()


class OutputWriter:
    """Writes files aside and puts them in place whole.

    Use as a context manager: an error inside aborts; ``commit`` is called by hand at the end.
    """

    def __init__(self, output: Output, *, job: str) -> None:
        """Choose the place aside.

        Args:
            output: as ``check_output`` gave it.
            job: id of the job, for the manifest.

        Raises: JobSpecError: the place is not writable.
        """
        self.output = output
        self._job = job
        target = output.path
        # In the same directory, so that the rename stays on one file system.
        self.staging = target.parent / f".{target.name}.{job}-{secrets.token_hex(4)}"
        self._open: dict[int, PartFile] = {}
        self._parts: dict[int, Part] = {}
        try:
            (target.parent if output.single else self.staging).mkdir(
                parents=True, exist_ok=output.single
            )
        except OSError as error:
            raise _unwritable(target, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()

    def open(self, index: int) -> PartFile:
        """Begin part ``index``, of one file always 0; one that was begun before is replaced."""
        begun = self._open.pop(index, None)
        if begun is not None:
            begun.discard()
        path = self.staging
        if not self.output.single:
            path = path / f"part-{index:05d}{PART_ENDINGS[self.output.format]}"
        try:
            file = self._open[index] = PartFile(
                path.open("wb", buffering=0), path.name, digest=not self.output.single
            )
        except OSError as error:
            raise _unwritable(self.output.path, error) from error
        return file

    def finish(self, index: int) -> Part:
        """End part ``index``."""
        part = self._parts[index] = self._open.pop(index).finish()
        return part

    def commit(self, columns: tuple[str, ...] | None = None) -> list[Path]:
        """Put the output in place by one rename.

        Args:
            columns: their names, for the manifest; None: the format has none.

        Returns: the files, in order.

        Raises: OutputExistsError: something was put there meanwhile; nothing of it was touched.
        """
        target = self.output.path
        if self.output.single:
            self._commit_file()
            files = [target]
        else:
            self._commit_directory(columns)
            files = [target / self._parts[index].name for index in sorted(self._parts)]
        _sync_directory(target.parent)
        return files

    def abort(self) -> None:
        """Remove what was written aside; nothing after a commit."""
        for file in self._open.values():
            file.discard()
        if self.output.single:
            self.staging.unlink(missing_ok=True)
        else:
            shutil.rmtree(self.staging, ignore_errors=True)

    def _commit_file(self) -> None:
        self.output.check_free()
        target = self.output.path
        if self.output.overwrite:
            self.staging.replace(target)
            return
        try:
            os.link(self.staging, target)  # unlike a rename it never replaces what is there
        except FileExistsError:
            raise _appeared(target) from None
        except OSError:  # a file system without links
            self.staging.rename(target)
        else:
            self.staging.unlink()

    def _commit_directory(self, columns: tuple[str, ...] | None) -> None:
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
            job=self._job,
            content=self.output.format,
            columns=None if columns is None else list(columns),
            parts=[self._parts[index] for index in sorted(self._parts)],
        )
        with (self.staging / MANIFEST).open("wb") as file:
            file.write(manifest.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(self.staging)
        self.output.check_free()
        target = self.output.path
        if target.exists():
            _exchange(self.staging, target)
            shutil.rmtree(self.staging)  # which is the old output now
        else:
            _rename_new(self.staging, target)


def _unwritable(target: Path, error: OSError) -> JobSpecError:
    return JobSpecError(f"{target} cannot be written ({error.strerror}): choose another output")


def _appeared(target: Path) -> OutputExistsError:
    return OutputExistsError(f"{target} appeared while the job ran: choose another output")


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
            raise _appeared(target) from error
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
