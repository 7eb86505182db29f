"""URLs that output goes to: what is there, and whether it may be replaced.

Object stores cannot rename a directory. So each try at a part has a name of its own, such as
``part-00000-j3-91ab22f0``, and nothing that was begun is ever mixed with what is there. What counts
is listed in ``_SUCCESS``, which is written last, in one go: without it there is no result.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from typing import Any

from mrkernel.data.addresses import hidden, scrubbed
from mrkernel.data.file_systems import reach
from mrkernel.data.manifest import MANIFEST, Manifest, read_manifest
from mrkernel.errors import JobError, JobSpecError, OutputExistsError

_OURS = re.compile(r"part-[0-9]{5,}-[\w.]+-[0-9a-f]{8}(\.\w+)?")


class Place:
    """A file or directory on a file system of fsspec.

    Attributes:
        url: as people may see it.

    Raises: JobSpecError: there is no such file system, or its package is missing.
    """

    def __init__(self, url: str) -> None:
        try:
            self.fs, root = reach(url)
        except JobSpecError as error:
            raise JobSpecError(f"--output {error}") from None
        self.url = hidden(url)
        self.root: str = root.rstrip("/")

    def path(self, name: str) -> str:
        """A file in it."""
        return f"{self.root}/{name}"

    def link(self, path: str) -> str:
        """The URL of a file."""
        link: str = self.fs.unstrip_protocol(path)
        return link

    def beside(self, name: str) -> str:
        """A file beside it."""
        return f"{self.root.rpartition('/')[0]}/{name}"

    def files(self) -> dict[str, int]:
        """What is in it by name, with sizes; nothing when it is not there."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self.root, detail=True)
        except FileNotFoundError:
            return {}
        rows = [(PurePosixPath(row["name"].rstrip("/")), row.get("size") or 0) for row in found]
        # Some list a directory as a file of no bytes in itself.
        return {path.name: size for path, size in rows if str(path) != self.root}

    def manifest(self) -> Manifest | None:
        """What ``_SUCCESS`` in it says; None: it is not there, or not ours."""
        try:
            return read_manifest(self.fs.cat_file(self.path(MANIFEST)))
        except (OSError, NotImplementedError):
            return None


def check_url(url: str, *, single: bool, overwrite: bool) -> None:
    """Check that a URL is free, or may be replaced, and can be written to.

    Raises:
        OutputExistsError: something is there and may not be replaced.
        JobSpecError: it cannot be written.
    """
    place = Place(url)
    with told(url):
        check_free(place, single=single, overwrite=overwrite)
        probe = place.beside(f".mrkernel-probe-{secrets.token_hex(4)}")
        _write_once(place.fs, probe, b"?")
        place.fs.rm_file(probe)


def check_free(
    place: Place, *, single: bool, overwrite: bool, own: Collection[str] = ()
) -> set[str]:
    """See that nothing is there that may not be replaced; return what a commit replaces.

    Args:
        own: parts that were written for this very output.
    """
    url = place.url
    place.fs.invalidate_cache()
    if single:
        if place.fs.isdir(place.root):
            raise OutputExistsError(f"{url} exists and is a directory: choose another output")
        if place.fs.exists(place.root) and not overwrite:
            raise OutputExistsError(
                f"{url} exists already: pass --overwrite to replace it, or choose another output"
            )
        return set()
    if place.fs.isfile(place.root):
        raise OutputExistsError(f"{url} exists and is no directory: choose another output")
    names = place.files().keys() - set(own)
    manifest = place.manifest() if MANIFEST in names else None
    listed = {part.name for part in manifest.parts} if manifest is not None else set()
    begun = {name for name in names if _OURS.fullmatch(name)} - listed
    strangers = names - {MANIFEST} - listed - begun
    if manifest is None and (strangers or MANIFEST in names):
        raise OutputExistsError(
            f"{url} holds {min(strangers or {MANIFEST})}, which mrkernel did not write: choose "
            "another --output"
        )
    if strangers:
        raise OutputExistsError(
            f"{url} also holds {min(strangers)}, which mrkernel did not write, so nothing there is "
            "replaced: move that away or choose another output"
        )
    if manifest is not None and not overwrite:
        raise OutputExistsError(
            f"{url} exists already: pass --overwrite to replace it, or choose another output"
        )
    # What others begin at this moment stays, unless somebody says that it may go.
    return names - {MANIFEST} if overwrite else set()


@contextlib.contextmanager
def told(url: str) -> Iterator[None]:
    """Say that it was the URL which failed, in whatever way its file system fails."""
    try:
        yield
    except (JobSpecError, OutputExistsError, JobError):
        raise
    except Exception as error:  # noqa: BLE001 - each file system has its own
        reason = scrubbed(str(error) or type(error).__name__, url)
        raise JobSpecError(
            f"--output {hidden(url)} cannot be written ({reason}): check the address and your "
            "credentials, or choose another"
        ) from (error if hidden(url) == url else None)


def _write_once(fs: Any, path: str, data: bytes) -> None:
    """Write a small file in one go; make its directory where there are such."""
    try:
        fs.pipe_file(path, data)
    except FileNotFoundError:
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        fs.pipe_file(path, data)
