"""Disks: what lies in the directories of a host's workers; it outlives them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .jobs import Made


@dataclass
class File:
    """A run or a part; it may be damaged, which its checksums tell."""

    made: Made
    damaged: bool = False


@dataclass
class Folder:
    """A worker's directory: (job id, file name) → file."""

    files: dict[tuple[str, str], File] = field(default_factory=dict)

    def forget(self, job: str, *, runs_only: bool) -> None:
        """Delete what it has of a job, or only runs."""
        for place in [place for place in self.files if place[0] == job]:
            if not runs_only or place[1].endswith(".run"):
                del self.files[place]


class Disks:
    """Directories by host and path."""

    def __init__(self) -> None:
        self.folders: dict[tuple[str, str], Folder] = {}

    def runs(self) -> list[tuple[Folder, tuple[str, str]]]:
        """Return all runs, in order of their folders' making."""
        return [
            (folder, place)
            for folder in self.folders.values()
            for place in folder.files
            if place[1].endswith(".run")
        ]

    def make(self, host: str, path: str) -> Folder:
        """Return a directory, made if it is not there."""
        return self.folders.setdefault((host, path), Folder())

    def at(self, host: str, path: str) -> Folder | None:
        """Return a directory, or None: it is not there."""
        return self.folders.get((host, path))

    def remove(self, host: str, path: str) -> None:
        """Remove a directory with all that is in it."""
        self.folders.pop((host, path), None)


def run_name(index: int, attempt: int) -> str:
    """Name the run of a map attempt."""
    return f"map-{index}.{attempt}.run"
