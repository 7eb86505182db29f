"""Output to a URL, whatever fsspec can write to; see ``url_places`` for what is where."""

from __future__ import annotations

import contextlib
import logging
import secrets
from typing import Any, Self

from mrkernel.data.manifest import FORMAT, MANIFEST, PART_ENDINGS, VERSION, Manifest, Part
from mrkernel.data.output_writers import PartFile
from mrkernel.data.outputs import Output
from mrkernel.data.url_places import Place, check_free, told
from mrkernel.errors import JobError

logger = logging.getLogger("mrkernel.data")


class UrlWriter:
    """Writes files to a URL; as ``OutputWriter``, which does so on this machine."""

    def __init__(self, output: Output, *, job: str) -> None:
        """Choose the names.

        Args:
            output: as ``check_output`` gave it.
            job: id of the job, for names and the manifest.
        """
        self.output = output
        self._job = job
        self._place = Place(output.url)
        self._tag = f"{job}-{secrets.token_hex(4)}"
        self._open: dict[int, PartFile] = {}
        self._parts: dict[int, Part] = {}
        self._begun: set[str] = set()
        self._committed = False
        if output.single:
            name = self._place.root.rpartition("/")[2]
            self._aside = self._place.beside(f".{name}.{self._tag}")
        with told(output.url), contextlib.suppress(FileExistsError):
            # Object stores have no directories; others want theirs first.
            folder = self._place.root.rpartition("/")[0] if output.single else self._place.root
            if folder and not self._place.fs.isdir(folder):
                self._place.fs.makedirs(folder, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()

    def open(self, index: int) -> PartFile:
        """Begin part ``index``, of one file always 0; one that was begun before is replaced."""
        begun = self._open.pop(index, None)
        if begun is not None:
            begun.discard()
        path = name = self._aside if self.output.single else ""
        if not self.output.single:
            name = f"part-{index:05d}-{self._tag}{PART_ENDINGS[self.output.format]}"
            path = self._place.path(name)
        self._begun.add(path)
        with told(self.output.url):
            file = self._place.fs.open(path, "wb")
        part = self._open[index] = PartFile(file, name, digest=not self.output.single)
        return part

    def finish(self, index: int) -> Part:
        """End part ``index``."""
        with told(self.output.url):
            part = self._parts[index] = self._open.pop(index).finish()
        return part

    def commit(self, columns: tuple[str, ...] | None = None) -> list[str]:
        """Let the output be there.

        Args:
            columns: their names, for the manifest; None: the format has none.

        Returns: the URLs of the files, in order.

        Raises:
            OutputExistsError: something was put there meanwhile; nothing of it was touched.
            JobError: somebody took away what was written.
        """
        place, fs = self._place, self._place.fs
        parts = [self._parts[index] for index in sorted(self._parts)]
        own = {part.name: part.bytes for part in parts}
        with told(self.output.url):
            replaced = check_free(
                place, single=self.output.single, overwrite=self.output.overwrite, own=own
            )
            if self.output.single:
                fs.mv(self._aside, place.root)
                self._committed = True
                return [place.link(place.root)]
            there = place.files()
            for name, size in own.items():
                if there.get(name) != size:
                    raise JobError(
                        f"{place.link(place.path(name))} was taken away or changed while the "
                        "job ran: run it again, alone"
                    )
            manifest = Manifest(
                format=FORMAT,
                version=VERSION,
                job=self._job,
                content=self.output.format,
                columns=None if columns is None else list(columns),
                parts=parts,
            )
            fs.pipe_file(place.path(MANIFEST), manifest.to_bytes())
            self._committed = True
        for name in replaced:
            _remove(fs, place.path(name))
        return [place.link(place.path(part.name)) for part in parts]

    def abort(self) -> None:
        """Remove what was written; nothing after a commit."""
        for file in self._open.values():
            with contextlib.suppress(Exception):  # the store may be what failed
                file.discard()
        if not self._committed:
            for path in self._begun:
                _remove(self._place.fs, path)


def _remove(fs: Any, path: str) -> None:
    try:
        fs.rm_file(path)
    except FileNotFoundError:
        pass
    except Exception as error:  # noqa: BLE001 - it is in nobody's way
        logger.warning("%s is left over: %s", path, error)
