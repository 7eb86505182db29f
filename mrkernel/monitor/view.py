"""The picture of a job; ``cluster_view`` draws that of the cluster. Pure.

The manager folds each event once; what the notebook, the web page and the terminal show are these
pictures (see ``picture`` for how they travel). Folding only counts (``job_fold``): rows, sentences
and rates are drawn when a picture or a delta is taken, at most ten times a second.

A fold accepts any order of events. What it counts is exact all the same: each attempt ends once,
each task is done at most once, and work whose output was lost is taken out of the sums until it is
done again. After ``JobEnded`` a job's counts stay as they are.

The fields of a job's picture (times are ``at``, the manager's clock; ``wall`` is to be added for
Unix time; None = not yet):

    job name functions state sentence
        state: waiting, running, done, failed, cancelled
    wall at started ended forgotten
        at: time of the newest event
    input_bytes slots
        0 = unknown; slots of the workers alive
    records bytes pairs
        read and given out by maps; records and bytes with those of running attempts
    groups pairs_out bytes_out
        reduced and given out by reduces (given out by maps, when map only)
    bytes_per_s records_per_s
        read by maps: of the last seconds while maps run, then of the whole job
    eta
        seconds left, [from, to]; None: not known, or the job is over
    map reduce: total done running part retry
        running: in a slot; part: how much of the running tasks is done, in tasks; retry: tasks of
        which an attempt failed or was lost, or the output, and that are not done (again)
    shuffle: total expected done
        bytes; total: given out by maps so far; expected: when all maps are done; done: fetched
    parts partitions
        the biggest partitions of what maps gave out so far, [[partition, bytes]], largest first;
        how many partitions there are, 0 = not known
    top: kind rows maps
        keys that stand out so far, never the result: rows are [[key, number]], first those that do
        most; kind says what the numbers are, count: how often the key came; sum, min, max: of its
        values; maps: that are done; None: not known
    lost_workers restarts failed moved redone
        workers that died; restarts of the manager; attempts that failed; tasks taken up again after
        an attempt failed or was lost; finished tasks that have to run again
    bad
        records that were skipped
    banner
        what everybody must see now, {kind level text}, kind being waits, restarted, or, set by a
        reader, away or gone (the manager); None: nothing
    timeline: from step dropped
        of the bars: the begin of the first, None: there is none; seconds below which neighbours
        were put together; attempts that are in no bar any more
    workers: rows state cause end host pid slots cpu memory beat shuffled lost_at maps reduces
             failed records bytes seconds tasks more
        state: alive, suspect, barred (gets no new work), dead, retired, unknown (never announced);
        end: what became of it, "died" or "was killed (SIGKILL)"; shuffled: bytes of map output that
        its reduces took; failed: attempts, by their own doing; seconds: spent in finished attempts;
        tasks: handed to it {task attempt at input part backup}, and so many more; those beyond its
        slots wait there
    troubles: rows by "task/attempt" task attempt worker at state sentence next
        the newest failed and lost attempts; next: the worker that took the task up, "" = nobody yet
    bars: lists, by "task/attempt" lane begin end state task attempt count records bytes input cause
        one attempt each, see ``timeline``; lane: "w2·0", worker and slot; begin: when it had the
        slot; end: None while it runs; count: tasks in it, more than 1 when short neighbours were
        put together: then task and attempt are the first's and records and bytes are sums
        state: running; done; failed, by its own doing; lost, with its worker; killed: cancelled, or
        another attempt was faster; gone: was done, but its output was lost; and "+" behind it: a
        backup. A task of which a bar is failed, lost or gone has its next attempt in a bar of its
        own, once that runs
"""

from __future__ import annotations

from collections.abc import Iterable

from mrkernel.ids import TaskId, reduce_task
from mrkernel.monitor import eta
from mrkernel.monitor.cluster_view import ClusterView
from mrkernel.monitor.job_fold import JobFold
from mrkernel.monitor.picture import Json, Row
from mrkernel.monitor.tally import MAP, REDUCE
from mrkernel.monitor.workers import TASKS_SHOWN

__all__ = ["ClusterView", "JobView"]

#: How long everybody is told that the manager was restarted (seconds).
BANNER_S = 10.0


class JobView(JobFold):
    """One job: header, three bars, its workers and timeline, what went wrong, the event feed."""

    def fields(self) -> Json:
        """The picture's plain fields; see the module."""
        accepted, ended, tally = self._accepted, self._ended, self._tally
        setbacks, timeline = self._setbacks, self._timeline
        maps, reduces = (accepted.maps, accepted.reduces) if accepted else (0, 0)
        last = REDUCE if reduces else MAP
        bytes_per_s, records_per_s = 0, 0
        if accepted is not None:
            whole = ended is not None or tally.done[MAP] >= maps
            bytes_per_s, records_per_s = tally.rates(self._at, accepted.at, whole=whole)
        state: str = "running" if tally.tasks else "waiting"
        if ended is not None:
            state = ended.outcome
        made = tally.bytes_out[MAP] if reduces else 0
        expected = made
        if 0 < tally.done[MAP] < maps:
            expected = round(made * maps / tally.done[MAP])
        return {
            "job": self.job,
            "name": accepted.name if accepted else self.job,
            "functions": accepted.functions if accepted else "",
            "state": state,
            "sentence": ended.sentence if ended else "",
            "wall": self._wall,
            "at": round(self._at, 3),
            "started": round(accepted.at, 3) if accepted else None,
            "ended": round(ended.at, 3) if ended else None,
            "forgotten": self._forgotten,
            "input_bytes": accepted.input_bytes if accepted else 0,
            "slots": sum(row.slots for row in self._workers.values() if not row.gone),
            "records": tally.read_records,
            "bytes": tally.read_bytes,
            "pairs": tally.pairs[MAP],
            "groups": tally.records[REDUCE],
            "pairs_out": tally.pairs[last],
            "bytes_out": tally.bytes_out[last],
            "bytes_per_s": bytes_per_s,
            "records_per_s": records_per_s,
            "eta": eta.rounded(self._time_left(maps, reduces, made, expected)),
            **self._phases(maps, reduces),
            "shuffle": {"total": made, "expected": expected, "done": tally.fetched_bytes},
            "parts": self._sizes.largest(),
            "partitions": self._sizes.count,
            "top": self._top.picture(tally.done[MAP]),
            "lost_workers": sum(row.life == "dead" for row in self._workers.values()),
            "restarts": self._restarts,
            "failed": setbacks.failures,
            "moved": setbacks.moved,
            "redone": setbacks.redone,
            "bad": tally.bad,
            "banner": self._banner(),
            "timeline": {
                "from": None if timeline.since is None else round(timeline.since, 3),
                "step": timeline.step,
                "dropped": timeline.dropped,
            },
        }

    def keys(self, collection: str) -> Iterable[str]:
        """Workers in the order they joined; troubles, oldest first; bars in no order."""
        if collection == "bars":
            return self._timeline.bars
        return self._workers if collection == "workers" else self._setbacks.rows

    def row(self, collection: str, key: str) -> Row | None:
        """One worker, one failed or lost attempt, or one bar."""
        if collection == "bars":
            bar = self._timeline.bars.get(key)
            return None if bar is None else bar.row()
        if collection == "troubles":
            return self._setbacks.rows.get(key)
        worker = self._workers[key]
        shown = [
            {
                "task": a.task,
                "attempt": a.attempt,
                "at": round(a.at, 3),
                "input": a.input,
                "part": round(a.part, 3),
                "backup": a.backup,
            }
            for a in list(worker.running.values())[:TASKS_SHOWN]
        ]
        return {**worker.row(), "tasks": shown, "more": max(0, len(worker.running) - TASKS_SHOWN)}

    def _phases(self, maps: int, reduces: int) -> Json:
        running, part = [0, 0], [0.0, 0.0]
        for row in self._workers.values():
            for attempt in row.in_slots():
                running[attempt.phase] += 1
                part[attempt.phase] += attempt.part
        return {
            name: {
                "total": total,
                "done": self._tally.done[phase],
                "running": running[phase],
                "part": round(part[phase], 3),
                "retry": self._tally.retry[phase],
            }
            for phase, (name, total) in enumerate((("map", maps), ("reduce", reduces)))
        }

    def _banner(self) -> Json | None:
        if self._ended is not None:
            return None
        if self._wait is not None:
            return {"kind": "waits", "level": "warning", "text": self._wait.why}
        if self._restarted is not None:
            since, text = self._restarted
            if self._at - since < BANNER_S:
                return {"kind": "restarted", "level": "info", "text": text}
        return None

    def _time_left(self, maps: int, reduces: int, made: int, expected: int) -> eta.Range | None:
        """See ``eta``; nobody knows how long what waits for something will wait.

        Args:
            made, expected: bytes that maps gave out, and all will have.
        """
        accepted, tally = self._accepted, self._tally
        if accepted is None or self._ended is not None or self._wait is not None:
            return None
        running = self._in_slots()
        waiting: list[float] = []
        if len(self._sizes.bytes) == reduces > tally.done[REDUCE] and made:
            waiting = sorted(
                (
                    size * expected / made
                    for number, size in enumerate(self._sizes.bytes)
                    if (name := reduce_task(number)) not in running[REDUCE]
                    and not tally.is_done(name)
                ),
                reverse=True,
            )
        return eta.time_left(
            eta.Phase(
                self._durations[MAP], maps, tally.done[MAP], accepted.input_bytes,
                tally.read_bytes, tuple(running[MAP].values()),
            ),
            eta.Phase(
                self._durations[REDUCE], reduces, tally.done[REDUCE], expected,
                tally.fetched_bytes, tuple(running[REDUCE].values()), waiting,
            ),
            sum(row.slots for row in self._workers.values() if not row.gone),
            builtin=accepted.builtin,
        )  # fmt: skip

    def _in_slots(self) -> tuple[dict[TaskId, eta.Running], dict[TaskId, eta.Running]]:
        """The maps and the reduces that run; of two attempts of one, that with the better pace."""
        found: tuple[dict[TaskId, eta.Running], dict[TaskId, eta.Running]] = ({}, {})
        for row in self._workers.values():
            for attempt in row.in_slots():
                elapsed = max(0.0, self._at - self._timeline.begun(attempt.task, attempt.attempt))
                size = self._sizes.of(attempt.task) if attempt.phase == REDUCE else 0
                twin = found[attempt.phase].get(attempt.task)
                if twin is None or attempt.part * twin.elapsed > twin.part * elapsed:
                    running = eta.Running(elapsed, attempt.part, size)
                    found[attempt.phase][attempt.task] = running
        return found
