"""Stores: what workers wrote, and who keeps it for those who read. Pure.

A store is a directory on a host. Whoever wrote it keeps it; when that worker is gone another one of
its host does, at once: nothing moves, the files are served from where they lie. A store that nobody
keeps is an orphan. Its owner may come back (under another id: a worker that lost its connection is
a new incarnation), or a supervisor start another worker there; only when neither happens within
``GRACE_S`` is all that it holds lost. After a restart every store of the journal is one at first.
"""

from __future__ import annotations

from mrkernel.ids import WorkerId
from mrkernel.manager.books import Books
from mrkernel.manager.facts import StoreGone
from mrkernel.manager.instructions import Send
from mrkernel.manager.records import Store, Worker
from mrkernel.monitor import events as public
from mrkernel.protocol.client_messages import StorePlace
from mrkernel.protocol.worker_messages import Adopt, Disown, Register

#: Seconds a host that has gone silent gets before its map output is made again elsewhere.
GRACE_S = 10.0


class Stores:
    """The pages about stores."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def of(self, info: Register, name: WorkerId) -> Store:
        """Return the store that a worker writes: the one it wrote before, or a new one."""
        for store in self._books.stores.values():
            if store.host_id == info.host_id and store.directory == info.directory:
                return store
        store = Store(name, info.host_id, info.directory, info.instance)
        self._books.stores[store.id] = store
        return store

    def arrived(self, worker: Worker, now: float) -> None:
        """A worker is here: it keeps its own store, and the orphans of its host."""
        self._keep(worker.store, worker, now)
        for store in list(self._books.orphans.values()):
            ours = store.host_id == worker.info.host_id
            if ours and (store.directory in worker.info.adopted or self._needed(store)):
                self._keep(store, worker, now)

    def keeper_lost(self, worker: Worker, now: float) -> None:
        """A worker is gone: others of its host keep what it kept, or nobody does."""
        heirs = [
            other
            for other in self._books.workers.values()
            if other.info.host_id == worker.info.host_id and other is not worker
        ]
        for store in list(self._books.stores.values()):
            if store.keeper is not worker:
                continue
            store.keeper, store.orphan_since = None, now
            self._books.keepers_changed += 1
            if heirs:
                self._keep(store, min(heirs, key=lambda heir: heir.load), now)
                self._drop_unneeded(store)
            elif self._needed(store):
                self._books.orphans[store.id] = store
            else:
                self._drop(store)

    def _keep(self, store: Store, worker: Worker, now: float) -> None:
        before, store.keeper = store.keeper, worker
        self._books.keepers_changed += 1
        if before is not worker:
            store.kept_since = now
        self._books.orphans.pop(store.id, None)
        own = store is worker.store
        if before is worker or (own and store.id == worker.id):
            return
        if own and before is not None:
            self._books.say(Send(before.peer, Disown(store.directory)))
        if not own and store.directory not in worker.info.adopted:
            jobs, results = self._books.wanted()
            worker.may_hold.update(jobs)
            self._books.say(Send(worker.peer, Adopt(store.directory, jobs, results)))
        kept = sum(job.files_in(store.id) for job in self._books.jobs.values())
        if kept:
            self._books.publish(
                public.StoreAdopted(at=now, worker=store.id, by=worker.id, back=own, tasks=kept)
            )

    def places(self) -> tuple[StorePlace, ...]:
        """Say where all stores are, and who serves them."""
        found = []
        for store in self._books.stores.values():
            info = store.keeper.info if store.keeper is not None else None
            host, port = (info.data_host, info.data_port) if info is not None else ("", 0)
            found.append(StorePlace(store.id, store.host_id, store.directory, host, port))
        return tuple(found)

    def overdue(self, now: float, late: float) -> list[Store]:
        """Give up the orphans whose grace is over; return them: what they held is lost.

        Args:
            late: seconds that we stood still ourselves; nobody could come back to us then.
        """
        for store in self._books.orphans.values():
            store.orphan_since = min(now, store.orphan_since + late)
        lost = [
            store for store in self._books.orphans.values() if now - store.orphan_since > GRACE_S
        ]
        for store in lost:
            self._drop(store)
        return lost

    def tidy(self) -> None:
        """A job needs its files no more: whose writer is dead and whom nobody needs can go."""
        for store in list(self._books.stores.values()):
            self._drop_unneeded(store)

    def _drop_unneeded(self, store: Store) -> None:
        keeper = store.keeper
        if keeper is not None and keeper.store is store:
            return
        if self._needed(store):
            return
        if keeper is not None:
            self._books.say(Send(keeper.peer, Disown(store.directory, delete=True)))
        self._drop(store)

    def _drop(self, store: Store) -> None:
        del self._books.stores[store.id]
        self._books.orphans.pop(store.id, None)
        self._books.record(StoreGone(store.id))

    def _needed(self, store: Store) -> bool:
        """Whether somebody may still read something of it."""
        jobs = self._books.jobs
        return any(job in jobs for job in store.logs) or any(
            job.files_in(store.id) for job in jobs.values()
        )
