"""Keeping: the journal and the blobs of a manager, between its state and its state directory."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from mrkernel.manager.facts import VERSION, AnyFact, Began, BlobKept, JobOver, JobTaken
from mrkernel.manager.instructions import Instruction
from mrkernel.manager.journal import Journal
from mrkernel.manager.state import ManagerState
from mrkernel.manager.state_directory import StateDirectory
from mrkernel.monitor.quantities import names_text

logger = logging.getLogger("mrkernel.manager")

#: Blobs up to this size are in the journal; larger ones in a file each.
SMALL_BLOB = 64 << 10
#: A journal larger than this, and than so many times what a snapshot takes, is written anew.
LARGE_JOURNAL = 64 << 20
GROWN = 4


class Records:
    """What is kept for the next manager; nothing at all without a directory.

    Args:
        directory: where; None: nowhere.
    """

    def __init__(self, directory: StateDirectory | None) -> None:
        self._directory = directory
        self._unwritten: list[AnyFact] = []
        self._kept: set[str] = set()  # digests of blobs that are on the disk
        self._dropped: set[str] = set()  # those still there that nobody needs any more
        before = directory.journal.facts if directory is not None else []
        began = [fact for fact in before if isinstance(fact, Began)]
        self.start = began[-1].start + 1 if began else 1
        self._wall = self._now = 0.0  # as it began

    @property
    def cluster(self) -> str:
        """The cluster's id; "" without a directory."""
        return self._directory.cluster if self._directory is not None else ""

    @property
    def path(self) -> Path | None:
        """The directory."""
        return self._directory.path if self._directory is not None else None

    def restore(
        self, state: ManagerState, blobs: dict[str, bytes], now: float, wall: float
    ) -> list[Instruction]:
        """Make a fresh state, and the blobs, as the journal has them.

        Args:
            wall: time of day minus ``now``.

        Returns: what the views are to be told.
        """
        self._wall, self._now = wall, now
        if self._directory is None:
            return []
        journal = self._directory.journal
        facts, journal.facts = journal.facts, []
        kept = {fact.digest: fact.data for fact in facts if isinstance(fact, BlobKept)}
        told = state.replay(facts, now, wall)
        gone: dict[str, str] = {}
        for digest in sorted(state.blobs):
            data = kept[digest] if digest in kept else self._directory.read_blob(digest)
            if isinstance(data, bytes):
                blobs[digest] = data
                continue
            gone[digest] = f"blobs/{digest} {data}"
            jobs = names_text([job.id for job in state.jobs.values() if digest in job.blobs])
            logger.error("%s in %s: %s cannot run again", gone[digest], self.path, jobs)
        if gone:
            told += state.miss(gone, now)
        self._kept = set(state.blobs)
        for digest in blobs.keys() - self._kept:
            del blobs[digest]
        self._unwritten = [self._began(), *state.take_facts()]
        try:
            journal.rewrite(self._snapshot(state, blobs))
        except OSError as error:
            # It can still be asked for what it knows; it hands nothing out until there is room.
            logger.warning("the journal cannot be written: %s", error.strerror or error)
            return told
        self._unwritten = []
        self._directory.drop_blobs_but(self._kept)
        return told

    def write(self, state: ManagerState, blobs: dict[str, bytes]) -> None:
        """Write the facts since the last call.

        Raises:
            OSError: they are not in the journal, or may not stay there; the next call tries again.
        """
        facts = state.take_facts()
        if self._directory is None:
            return
        self._unwritten += facts
        journal = self._directory.journal
        if journal.doubtful:
            self._write_anew(journal, state, blobs)
        elif self._unwritten:
            self._append(journal, state, blobs)
        else:
            return
        for digest in self._dropped - self._kept:
            try:
                self._directory.drop_blob(digest)
            except OSError as error:  # the next manager sweeps it
                logger.warning("blob %s is left over: %s", digest, error)
        self._dropped.clear()

    def _append(self, journal: Journal, state: ManagerState, blobs: dict[str, bytes]) -> None:
        facts = self._unwritten
        taken = [fact for fact in facts if isinstance(fact, JobTaken)]
        for job in taken:
            facts = [*self._keep_blobs(job, blobs), *facts]
        journal.write(facts)
        self._unwritten = []
        self._kept.update(fact.digest for fact in facts if isinstance(fact, BlobKept))
        if taken or any(isinstance(fact, JobOver) for fact in facts):
            journal.sync()
        if journal.size > LARGE_JOURNAL and journal.size > GROWN * journal.snapshot_size:
            self._shorten(state, blobs)

    def _write_anew(self, journal: Journal, state: ManagerState, blobs: dict[str, bytes]) -> None:
        """Write all that is known into a new file: what is in the old one may not stay there.

        So may what was written since its last sync that went well, which nobody was told yet.
        """
        for fact in self._unwritten:
            if isinstance(fact, JobTaken):
                for kept in self._keep_blobs(fact, blobs):
                    self._kept.add(kept.digest)
        journal.rewrite(self._snapshot(state, blobs))
        self._unwritten = []

    def _shorten(self, state: ManagerState, blobs: dict[str, bytes]) -> None:
        """Write the journal anew; it may as well stay as it is."""
        assert self._directory is not None
        journal = self._directory.journal
        try:
            journal.rewrite(self._snapshot(state, blobs))
        except OSError as error:
            if journal.doubtful:
                raise
            logger.warning("the journal stays long: %s", error.strerror or error)
            journal.snapshot_size = journal.size  # try again when it has grown as much again

    def drop_blob(self, digest: str) -> None:
        """Nobody needs a blob any more: it goes when that is written down."""
        if digest in self._kept:
            self._kept.discard(digest)
            self._dropped.add(digest)

    def _keep_blobs(self, job: JobTaken, blobs: dict[str, bytes]) -> Iterator[BlobKept]:
        assert self._directory is not None
        for digest in job.blobs:
            data = blobs.get(digest)
            if digest in self._kept or data is None:
                continue  # kept for another job, or this one is over already
            if len(data) <= SMALL_BLOB:
                yield BlobKept(digest, data)
            else:
                self._directory.keep_blob(digest, data)
                self._kept.add(digest)

    def _snapshot(self, state: ManagerState, blobs: dict[str, bytes]) -> Iterator[AnyFact]:
        yield self._began()
        for digest in sorted(state.blobs & blobs.keys()):
            if len(blobs[digest]) <= SMALL_BLOB:
                yield BlobKept(digest, blobs[digest])
        yield from state.snapshot()

    def _began(self) -> Began:
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return Began(VERSION, self.cluster, python, self.start, self._wall, self._now)
