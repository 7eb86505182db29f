"""Where output goes, and whether it may: one file, or a directory of part files.

A path that ends in ``.csv .jsonl .parquet .txt`` is one file, any other a directory. What may be
replaced with ``--overwrite`` is a narrow question, because it cannot be undone:

* a directory only if ``_SUCCESS`` in it is our manifest and nothing else is in it: the user names
  the directory, not what may have gathered in it;
* a file of these endings always, whoever wrote it: the user names this very file and says to
  replace it, and no other can be lost. A link is left alone, for what it points to was not named.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mrkernel.data.addresses import is_url
from mrkernel.data.manifest import MANIFEST, PLAIN, Manifest, read_manifest
from mrkernel.data.url_places import check_url
from mrkernel.errors import JobSpecError, OutputExistsError

#: What a path that is one file may end in, and the format of that file.
FILE_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".txt": "text"}
#: Nobody means a directory by these.
_OTHER_FILES = {
    *(".json", ".ndjson", ".tsv", ".tab", ".gz", ".bz2", ".xz", ".zst", ".zip", ".xlsx"),
    *(".feather", ".arrow", ".pq", ".orc", ".avro", ".dat", ".log", ".md", ".html", ".db"),
}


@dataclass(frozen=True, slots=True)
class Output:
    """Where a result is to be written, and how.

    Attributes:
        path: absolute; of a URL its last name.
        single: whether it is one file, all pairs in order; else a directory of part files.
        format: "text", "csv", "jsonl" or "parquet".
        columns: names of the columns; None: by what keys and values are.
        overwrite: replace what is there, where that is ours to replace.
        url: where fsspec writes it; "": a path of this machine.
    """

    path: Path
    single: bool = False
    format: str = PLAIN
    columns: tuple[str, ...] | None = None
    overwrite: bool = False
    url: str = ""

    @property
    def place(self) -> Path | str:
        """Where it is, for people and programs: a path, or a URL."""
        return self.url or self.path

    def check_free(self) -> None:
        """Check that nothing is there that may not be replaced.

        Raises: OutputExistsError: there is.
        """
        if not os.path.lexists(self.path):
            return
        (self._check_file if self.single else self._check_directory)()

    def _check_file(self) -> None:
        path = self.path
        if path.is_symlink() or not path.is_file():
            what = "a link" if path.is_symlink() else "a directory"
            if not path.is_symlink() and not path.is_dir():
                what = "no plain file"
            raise OutputExistsError(
                f"{path} exists and is {what}, and a path ending in {path.suffix} is written as "
                "one file: choose another output"
            )
        if not self.overwrite:
            raise OutputExistsError(
                f"{path} exists already: pass --overwrite to replace it, or choose another output"
            )

    def _check_directory(self) -> None:
        target = self.path
        if target.is_symlink() or not target.is_dir():
            raise OutputExistsError(f"{target} exists and is no directory: choose another output")
        try:
            names = {entry.name for entry in os.scandir(target)}
        except OSError as error:
            raise OutputExistsError(
                f"{target} exists and cannot be read ({error.strerror}): choose another output"
            ) from error
        manifest = _manifest(target)
        if not self.overwrite:
            ours = "pass --overwrite to replace it, or " if manifest or not names else ""
            raise OutputExistsError(f"{target} exists already: {ours}choose another output")
        if not names:
            return
        if manifest is None:
            raise OutputExistsError(
                f"{target} was not written by mrkernel (no manifest in {MANIFEST}), so --overwrite "
                "leaves it alone: remove it yourself or choose another output"
            )
        strangers = names - {MANIFEST} - {part.name for part in manifest.parts}
        if strangers:
            raise OutputExistsError(
                f"{target} also holds {min(strangers)}, which mrkernel did not write, so "
                "--overwrite leaves it alone: move that away or choose another output"
            )


def check_output(
    path: str | os.PathLike[str],
    overwrite: bool = False,
    cwd: Path | None = None,
    *,
    format: str | None = None,
    columns: str | Sequence[str] | None = None,
) -> Output:
    """Check before the job that its output can be written; a job must not fail at its very end.

    Args:
        path: the directory or file to make, or a URL of one.
        overwrite: whether an output that is there may be replaced.
        cwd: where a relative path begins; None: this process's directory.
        format: of the part files; None: text. A single file's ending says it.
        columns: names of the columns, or one text with commas between; None: by default.

    Raises:
        OutputExistsError: something is there and may not be replaced.
        JobSpecError: the path or the options make no sense, or the place is not writable.
    """
    text = os.fspath(path).removeprefix("file://")
    url = text.rstrip("/") if is_url(text) else ""
    target = Path(text)
    if not url:
        target = Path(os.path.abspath((cwd or Path.cwd()) / target.expanduser()))  # noqa: PTH100
    ending = target.suffix.lower()
    own = FILE_FORMATS.get(ending)
    if own is None and ending in _OTHER_FILES and (url or not target.is_dir()):
        raise JobSpecError(
            f"--output {text} looks like a file: one file may end in {' '.join(FILE_FORMATS)}, "
            "anything else is a directory of part files"
        )
    if own is not None and format not in (None, own):
        raise JobSpecError(
            f"--output {text} is one file, written as {own}: leave --output-format {format} out, "
            f"or name it {target.stem}.{format if format != PLAIN else 'txt'}"
        )
    format = own or format or PLAIN
    names = column_names(columns)
    if names is not None and format == PLAIN:
        raise JobSpecError(
            "--columns names the columns of csv, jsonl and parquet output, and text has none: "
            + ("end --output in .csv" if own else "add --output-format csv")
        )
    output = Output(target, own is not None, format, names, overwrite, url)
    if url:
        check_url(url, single=output.single, overwrite=overwrite)
        return output
    output.check_free()
    _probe(_existing_parent(target), text)
    return output


def column_names(columns: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Read the names of columns: a list of them, or one text with commas between.

    Raises: JobSpecError: they are no names, or one is there twice.
    """
    if columns is None:
        return None
    names = columns.split(",") if isinstance(columns, str) else list(columns)
    names = [name.strip() if isinstance(name, str) else name for name in names]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise JobSpecError(f"--columns {columns!r}: write names with commas between, such as a,b,c")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise JobSpecError(f"--columns has {min(twice)} twice: give each column a name of its own")
    return tuple(names)


def _manifest(target: Path) -> Manifest | None:
    try:
        return read_manifest((target / MANIFEST).read_bytes())
    except OSError:
        return None


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
