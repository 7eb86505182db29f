"""Topics and readers: who gets which snapshot or delta, and when. Pure: time is handed in.

One topic per job, named by its id, and ``CLUSTER``. The broker folds each event once, into the
cluster's view and into that of its job. A reader begins with a snapshot and then gets every delta;
one who is slow gets none meanwhile, and a fresh snapshot afterwards, so nothing piles up for it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

from mrkernel.ids import JobId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Json
from mrkernel.monitor.view import ClusterView, JobView

#: The topic of the cluster's own picture.
CLUSTER = "cluster"

#: Least seconds between two deltas of a topic: eyes are no faster.
INTERVAL_S = 0.1


class Broker:
    """Folds events and hands pictures to readers.

    Args:
        wall: seconds to add to the events' ``at`` for Unix time.
        interval_s: least seconds between two deltas of a topic.
    """

    def __init__(self, *, wall: float = 0.0, interval_s: float = INTERVAL_S) -> None:
        self.cluster = ClusterView(wall=wall)
        self.jobs: dict[JobId, JobView] = {}
        self._wall = wall
        self._interval_s = interval_s
        self._active: dict[JobId, JobView] = {}  #: those not ended: they hear of workers too
        #: per topic, its readers and whether each needs a snapshot
        self._readers: dict[str, dict[Hashable, bool]] = {}
        self._sent_at: dict[str, float] = {}
        self._urgent: set[str] = set()

    def publish(self, event: ev.Event) -> None:
        """Fold one event into the pictures it concerns."""
        if type(event) is ev.JobAccepted and event.job not in self.jobs:
            view = JobView(event.job, wall=self._wall, workers=self.cluster.workers())
            self.jobs[event.job] = self._active[event.job] = view
        self.cluster.fold(event)
        job: JobId | None = getattr(event, "job", None)
        if job is None:
            for view in self._active.values():
                view.fold(event)
            return
        found = self.jobs.get(job)
        if found is None:
            return
        found.fold(event)
        if isinstance(event, ev.JobEnded | ev.JobForgotten):
            self._active.pop(job, None)
            if job in self._readers:
                self._urgent.add(job)
            elif found.forgotten:
                del self.jobs[job]

    def subscribe(self, reader: Hashable, topic: str) -> None:
        """Begin, or begin anew: the next ``collect`` has a snapshot for the reader.

        A topic that does not exist yet is waited for.
        """
        self._readers.setdefault(topic, {})[reader] = True

    def unsubscribe(self, reader: Hashable, topic: str | None = None) -> None:
        """Send the reader nothing more about the topic; None: about anything."""
        for name in [topic] if topic is not None else list(self._readers):
            readers = self._readers.get(name)
            if readers is None:
                continue
            readers.pop(reader, None)
            if not readers:
                del self._readers[name]
                self._sent_at.pop(name, None)

    def snapshot(self, topic: str) -> Json | None:
        """The picture of a topic as it is now; None when there is no such topic."""
        view = self._view(topic)
        return None if view is None else view.snapshot()

    def due(self, now: float, slow: Collection[Hashable] = ()) -> float | None:
        """Seconds until ``collect`` has something to send; None: not before more events."""
        waits = []
        for topic, readers in self._readers.items():
            view = self._view(topic)
            if view is None:
                continue
            if all(reader in slow for reader in readers):
                continue
            if topic in self._urgent or any(
                needs and reader not in slow for reader, needs in readers.items()
            ):
                return 0.0
            if view.changed:
                last = self._sent_at.get(topic)
                waits.append(0.0 if last is None else last + self._interval_s - now)
        return max(0.0, min(waits)) if waits else None

    def collect(self, now: float, slow: Collection[Hashable] = ()) -> list[tuple[Hashable, Json]]:
        """What to send now, as ``(reader, payload)``.

        A payload is ``{"topic": .., "snapshot": ..}`` or ``{"topic": .., "delta": ..}``; readers of
        one topic share it, so it can be encoded once. New readers and ended jobs do not wait for
        the interval. A forgotten job's last payload says ``forgotten``; then its topic is gone.

        Args:
            now: seconds, of the clock of the events' ``at``.
            slow: readers who have not taken in what they were sent: they get a snapshot later.
        """
        out: list[tuple[Hashable, Json]] = []
        for topic in list(self._readers):
            view = self._view(topic)
            if view is None:
                continue
            readers = self._readers[topic]
            last = self._sent_at.get(topic)
            if topic in self._urgent or last is None or now - last >= self._interval_s:
                out += self._deltas(topic, view, readers, slow)
                self._sent_at[topic] = now
            behind = [reader for reader, needs in readers.items() if needs and reader not in slow]
            if behind:
                # Those in step must not miss what the snapshot shows: their delta comes first.
                if view.changed:
                    out += self._deltas(topic, view, readers, slow)
                    self._sent_at[topic] = now
                payload = {"topic": topic, "snapshot": view.snapshot()}
                out += [(reader, payload) for reader in behind]
                readers.update(dict.fromkeys(behind, False))
        for topic in self._urgent:
            view = self.jobs.get(JobId(topic))
            if view is not None and view.forgotten:
                del self.jobs[JobId(topic)]
                self._readers.pop(topic, None)
                self._sent_at.pop(topic, None)
        self._urgent.clear()
        return out

    def _deltas(
        self,
        topic: str,
        view: JobView | ClusterView,
        readers: dict[Hashable, bool],
        slow: Collection[Hashable],
    ) -> list[tuple[Hashable, Json]]:
        delta = view.take_delta()
        if delta is None:
            return []
        payload = {"topic": topic, "delta": delta}
        out: list[tuple[Hashable, Json]] = []
        for reader, needs in readers.items():
            if needs:
                continue
            if reader in slow:
                readers[reader] = True
            else:
                out.append((reader, payload))
        return out

    def _view(self, topic: str) -> JobView | ClusterView | None:
        return self.cluster if topic == CLUSTER else self.jobs.get(JobId(topic))
