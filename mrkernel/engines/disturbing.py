"""Making a cluster's workers fail on purpose, now or when a job is so far."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal, Protocol

from mrkernel.engines.job import done_share
from mrkernel.errors import ClusterError, JobSpecError, ManagerUnreachableError
from mrkernel.monitor.live import LivePicture
from mrkernel.monitor.workers import HERE

How = Literal["kill", "freeze", "slow"]

#: What is said of it before, and when it was done.
_WORDS = {
    "kill": ("kill {worker}", "killed {worker}"),
    "freeze": ("freeze {worker} for {amount:g} s", "froze {worker} for {amount:g} s"),
    "slow": ("make {worker} {amount:g} times slower", "made {worker} {amount:g} times slower"),
    "let go": ("let {worker} run at full speed", "{worker} runs at full speed"),
}


def disturbance_text(how: How, worker: str, amount: float = 0.0, *, done: bool = True) -> str:
    """Say in a few words what is to be done to a worker, or was done."""
    words = _WORDS["let go" if (how, amount) == ("slow", 1) else how]
    return words[done].format(worker=worker, amount=amount)


class Manager(Protocol):
    """What disturbing needs of a client of the manager."""

    @property
    def cluster(self) -> LivePicture: ...
    @property
    def closed(self) -> bool: ...
    def look(self, topic: str) -> dict[str, Any]: ...
    def watch(self, topic: str) -> LivePicture: ...
    def disturb(self, worker: str, how: How, amount: float = 0.0) -> None: ...


class Disturbance:
    """A fault that waits for its moment.

    Attributes:
        sentence: what will happen, or what happened in the end.
        happened: whether it was done.
    """

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        self.happened = False
        self._over = threading.Event()

    def __repr__(self) -> str:
        return f"<{self.sentence}>"

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it was done, or cannot be any more; False when that took too long."""
        return self._over.wait(timeout)

    def end(self, sentence: str, *, happened: bool) -> None:
        """Say what came of it."""
        self.sentence, self.happened = sentence, happened
        self._over.set()


class Disturbable:
    """A cluster whose workers can be killed, frozen and slowed down: for lectures and tests.

    Each takes ``at``: do it when a job has reached that share of its progress, 0 to 1; the job is
    ``job`` (its id), else the newest that runs, else the next to be submitted. Then it returns a
    ``Disturbance`` at once; None means that it was done.
    """

    def _manager(self) -> Manager:
        """Return the client to ask."""
        raise NotImplementedError

    def _disturb(self, worker: str, how: How, amount: float) -> None:
        self._manager().disturb(worker, how, amount)

    def living_workers(self) -> dict[str, dict[str, Any]]:
        """Return the rows of the workers that are here, by id, in the order they joined."""
        rows = self._manager().look("cluster")["workers"]
        return {name: row for name, row in rows.items() if row["state"] in HERE}

    def kill(
        self, worker: str, *, at: float | None = None, job: str | None = None
    ) -> Disturbance | None:
        """Kill a worker server with SIGKILL, and its runners; a local cluster replaces it.

        Args:
            worker: its id, "w2".

        Raises:
            ClusterError: there is no such living worker.
        """
        return self._disturb_at("kill", worker, 0.0, at, job)

    def freeze(
        self,
        worker: str,
        seconds: float = 5.0,
        *,
        at: float | None = None,
        job: str | None = None,
    ) -> Disturbance | None:
        """Stop a worker server and its runners (SIGSTOP), and let them go on after a while.

        Args:
            worker: its id, "w2".
            seconds: how long.

        Raises:
            ClusterError: there is no such living worker.
            JobSpecError: ``seconds`` is no such number.
        """
        if not 0 < seconds < 3600:
            raise JobSpecError(f"seconds={seconds!r}: write how long, up to an hour")
        return self._disturb_at("freeze", worker, seconds, at, job)

    def slow(
        self,
        worker: str,
        factor: float = 10.0,
        *,
        at: float | None = None,
        job: str | None = None,
    ) -> Disturbance | None:
        """Let a worker's runners have one ``factor``-th of the time, from now on.

        Args:
            worker: its id, "w2".
            factor: 10: a tenth of the time; 1: all of it again.

        Raises:
            ClusterError: there is no such living worker.
            JobSpecError: ``factor`` is no such number.
        """
        if not 1 <= factor <= 1000:
            raise JobSpecError(f"factor={factor!r}: write how many times slower, from 1 to 1,000")
        return self._disturb_at("slow", worker, factor, at, job)

    def _disturb_at(
        self, how: How, worker: str, amount: float, at: float | None, job: str | None
    ) -> Disturbance | None:
        if at is None:
            self._disturb_now(how, worker, amount)
            return None
        self._check_lives(worker)  # a slip is better told now than in the middle of a job
        will = disturbance_text(how, worker, amount, done=False)
        return self._when(at, job, will, lambda: self._disturb_now(how, worker, amount))

    def _disturb_now(self, how: How, worker: str, amount: float) -> str:
        self._check_lives(worker)
        self._disturb(worker, how, amount)
        return disturbance_text(how, worker, amount)

    def _check_lives(self, worker: str) -> None:
        """Refuse the name of a worker that is not here.

        Raises:
            ClusterError: it is dead, or was never here; says who lives.
        """
        living = self.living_workers()
        if worker not in living:
            listed = ", ".join(living) or "none"
            raise ClusterError(f"no worker {worker!r} lives here; living: {listed}")

    # --- later ------------------------------------------------------------------------------------

    def _when(self, at: float, job: str | None, will: str, act: Callable[[], str]) -> Disturbance:
        """Do something when a job has reached a share of its progress.

        Raises:
            JobSpecError: ``at`` is no share, or there is no such job.
        """
        if not 0 <= at <= 1:
            raise JobSpecError(f"at={at!r}: write a share of the progress, from 0 to 1")
        manager = self._manager()
        jobs = manager.look("cluster")["jobs"]
        if job is None:
            job = next((j for j in reversed(jobs) if jobs[j]["state"] == "running"), None)
        elif job not in jobs:
            raise JobSpecError(f"there is no job {job!r} here; known: {', '.join(jobs) or 'none'}")
        known = frozenset(jobs)
        planned = Disturbance(f"at {at:.0%} of {job or 'the next job'}: {will}")

        def run() -> None:
            try:
                chosen = job or _next_job(manager, known)
                if chosen and _reached(manager, chosen, at):
                    planned.end(f"at {at:.0%} of {chosen}: {act()}", happened=True)
                else:
                    late = f"{chosen} ended before {at:.0%}" if chosen else "the cluster is gone"
                    planned.end(f"nothing was done: {late}", happened=False)
            except (ClusterError, JobSpecError) as error:
                planned.end(f"nothing was done: {error}", happened=False)

        threading.Thread(target=run, name="mrk-disturb", daemon=True).start()
        return planned


def _next_job(manager: Manager, known: frozenset[str]) -> str | None:
    """Wait for a job that is not known; None: the cluster is gone."""
    found: list[str] = []

    def there(picture: dict[str, Any]) -> bool:
        found[:] = [job for job in picture.get("jobs", ()) if job not in known]
        return bool(found) or manager.closed

    manager.cluster.wait_for(there)
    return found[0] if found else None


def _reached(manager: Manager, job: str, share: float) -> bool:
    """Wait until a running job is so far; False when it ended before."""
    picture = manager.watch(job)

    def there(seen: dict[str, Any]) -> bool:
        return manager.closed or _over(seen) or (bool(seen) and done_share(seen) >= share)

    picture.wait_for(there)
    if manager.closed:
        raise ManagerUnreachableError("the cluster is gone")
    return not _over(picture.snapshot())


def _over(picture: dict[str, Any]) -> bool:
    return bool(picture) and (picture["ended"] is not None or picture["forgotten"])
