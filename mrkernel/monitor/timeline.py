"""A job's timeline: which attempt ran when in which slot of which worker. Pure.

A bar is one attempt, from the moment its worker had a slot for it; an attempt that was taken away
before it had one never ran, and has no bar. Which slot a worker used is not told to anybody: what
is handed to it first gets its first free slot, as in the worker itself, so that no lane has two
bars at a time. An attempt whose end is told and not its start (it ended while no manager heard it)
gets a bar as long as it took, where there is room.

However many tasks there are, the bars stay few: once there are more than ``BARS_KEPT``, ``step``
doubles, and short neighbours of a lane that were done, of one phase and together no longer than
that, become one bar with their sums. Whatever a reader may look for stays as it is: what runs, went
wrong, was a backup, or is another try of what went wrong; of these the newest ``SPECIAL_KEPT``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf
from operator import attrgetter
from typing import Any, Literal

from mrkernel.ids import TaskId
from mrkernel.monitor import events as ev
from mrkernel.monitor.picture import Changes

State = Literal["running", "done", "failed", "lost", "killed", "gone"]

#: Bars of a picture, which make it half a megabyte at most.
BARS_KEPT = 6000
#: Of them, those that are never put together with others and run no more.
SPECIAL_KEPT = 2000
#: The first step; ones below it would put together what nobody could tell apart anyway.
_STEP_S = 0.001
#: Lanes made for a worker that never said how many slots it has, as after a manager's restart.
_LANES_GUESSED = 64
#: What an attempt took by its worker's clock may reach so far into the bar before it.
_SLACK_S = 0.05


class Lane:
    """One slot of one worker."""

    __slots__ = ("bar", "free_at", "index", "last", "name", "number", "slots")

    def __init__(self, slots: Slots, index: int, number: int) -> None:
        self.slots = slots
        self.index = index
        self.number = number  #: among all lanes, to sort by
        self.name = f"{slots.worker}·{index}"
        self.free_at = 0.0  #: the end of its last bar
        self.bar: Bar | None = None  #: what runs
        self.last: Bar | None = None  #: what ran last


class Slots:
    """The lanes of one worker, and what waits there for one of them."""

    __slots__ = ("busy", "count", "free", "lanes", "waiting", "worker")

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.count = 0  #: 0: not known
        self.busy = 0
        self.lanes: list[Lane] = []
        self.free: list[int] = []  #: a heap, so that the first lanes are used most
        self.waiting: deque[Bar] = deque()


class Bar:
    """One attempt, or several that were short and done."""

    __slots__ = (
        "begin", "bytes", "cause", "done", "end", "key", "lane", "plain", "records", "special",
        "start", "state",
    )  # fmt: skip

    def __init__(self, key: str, start: ev.AttemptStarted) -> None:
        self.key = key
        self.start = start
        self.lane = NOWHERE
        self.begin = 0.0
        self.end: float | None = None
        self.state: State = "running"
        self.cause = ""
        self.records = 0
        self.bytes = 0
        #: The finished attempts in it whose output counts, or did when it got lost: one or more.
        self.done: list[ev.AttemptFinished] = []
        self.plain = False  #: may be put together with its neighbours
        self.special = False  #: counted among those that may not

    def row(self) -> list[Any]:
        """Draw it as the picture has it; see ``view``."""
        start, count = self.start, len(self.done) or 1
        return [
            self.lane.name,
            round(self.begin, 3),
            None if self.end is None else round(self.end, 3),
            self.state + "+" if start.backup else self.state,
            start.task,
            start.attempt,
            count,
            self.records,
            self.bytes,
            _short(start.input, 80) if count == 1 else "",
            _short(self.cause, 200),
        ]


#: Where an attempt is that has no slot yet.
NOWHERE = Lane(Slots(""), 0, 0)


class Timeline:
    """The bars of one job.

    Each method is told of what the job's tally took as news: no start and no end comes twice.

    Args:
        changes: what to note changed bars in.
        kept, special: bounds, see the module.
    """

    def __init__(
        self, changes: Changes, *, kept: int = BARS_KEPT, special: int = SPECIAL_KEPT
    ) -> None:
        self.bars: dict[str, Bar] = {}
        self.step = 0.0  #: seconds below which neighbours were put together
        self.dropped = 0  #: attempts that are in no bar any more
        self.since: float | None = None  #: the begin of the first bar
        self._latest = 0.0
        self._changes = changes
        self._kept = self._limit = kept
        self._special_kept = special
        self._slots: dict[str, Slots] = {}
        self._lanes = 0
        self._open: dict[str, Bar] = {}  #: what runs or waits for a slot
        self._special: deque[Bar] = deque()
        self._done: dict[TaskId, Bar] = {}  #: of each done task
        self._again: set[TaskId] = set()  #: tasks of which something went wrong

    # --- what happens -----------------------------------------------------------------------------

    def announced(self, worker: str, count: int) -> None:
        """A worker has so many slots; what was taken to run beyond them waits, as it turns out."""
        slots = self._of(worker)
        slots.count = count
        if not count or slots.busy <= count:
            return
        running = [bar for bar in self._open.values() if bar.lane.slots is slots]
        for bar in running[count:]:
            lane, bar.lane = bar.lane, NOWHERE
            lane.bar = None
            slots.busy -= 1
            heappush(slots.free, lane.index)
            self._remove(bar)
            slots.waiting.append(bar)

    def started(self, event: ev.AttemptStarted) -> None:
        """An attempt was handed to a worker, which has a slot for it now or later."""
        key = f"{event.task}/{event.attempt}"
        bar = self._open[key] = Bar(key, event)
        slots = self._slots.get(event.worker) or self._of(event.worker)
        if slots.busy < slots.count or not slots.count:
            slots.busy += 1
            lane = slots.lanes[heappop(slots.free)] if slots.free else self._add_lane(slots)
            self._begin(bar, lane, event.at)
        else:
            slots.waiting.append(bar)

    def progress(self, event: ev.Progress) -> None:
        """How far an attempt is."""
        bar = self._open.get(f"{event.task}/{event.attempt}")
        if bar is not None:
            bar.records, bar.bytes = event.records, event.bytes
            if bar.lane is not NOWHERE:
                self._changes.note_later(bar.key)  # all that runs does so, twice a second

    def begun(self, task: TaskId, attempt: int) -> float:
        """When a running attempt had its slot."""
        return self._open[f"{task}/{attempt}"].begin

    def finished(self, event: ev.AttemptFinished) -> float:
        """A task is done by this attempt; returns how long it had a slot."""
        key = f"{event.task}/{event.attempt}"
        bar = self._open.pop(key, None)
        if bar is None or bar.lane is NOWHERE:
            # One that had ended badly, as it seemed, may count after all.
            bar = self.bars.get(key) or self._unseen(key, event, bar, event.seconds)
        else:
            self._leave(bar, event.at)
        bar.state, bar.cause = "done", ""
        bar.records, bar.bytes = event.records, event.bytes_in
        bar.done = [event]
        assert bar.end is not None
        took = bar.end - bar.begin
        last = bar.lane.last
        if bar.start.backup or bar.special or event.task in self._again:
            self._done[event.task] = bar
            self._mark(bar)
        elif (
            self.step
            and last is not None
            and bar.end - last.begin <= self.step
            and _alike(last, bar)
        ):
            self._join(last, bar)
            self._changes.note(last.key)
        else:
            self._done[event.task] = bar
            bar.plain = True
            bar.lane.last = bar
            self._changes.note(key)
            if len(self.bars) > self._limit:
                self._thin()
        return took

    def ended(
        self,
        event: ev.AttemptFinished | ev.AttemptFailed | ev.AttemptLost,
        state: Literal["failed", "lost", "killed"],
        cause: str,
    ) -> None:
        """An attempt ended otherwise; one that was taken away before it ran leaves no bar."""
        key = f"{event.task}/{event.attempt}"
        bar = self._open.pop(key, None)
        if bar is not None and bar.lane is not NOWHERE:
            self._leave(bar, event.at)
            if state != "failed" and bar.end == bar.begin:
                self._remove(bar)
                return
        elif isinstance(event, ev.AttemptFailed):
            bar = self._unseen(key, event, bar, 0.0)
        else:
            if bar is not None:
                self._of(bar.start.worker).waiting.remove(bar)
            return
        bar.state, bar.cause = state, cause
        if state != "killed":
            self._again.add(event.task)
        self._mark(bar)

    def output_lost(self, lost: Iterable[ev.AttemptFinished], cause: str) -> None:
        """The output of finished attempts is gone: their tasks run again."""
        bars: dict[Bar, list[ev.AttemptFinished]] = {}
        for event in lost:
            self._again.add(event.task)
            bar = self._done.pop(event.task, None)
            if bar is not None:
                bars.setdefault(bar, []).append(event)
        for bar, events in bars.items():
            gone = bar if len(events) == len(bar.done) else self._split(bar, events)
            gone.state, gone.cause = "gone", cause
            self._mark(gone)

    def explained(self, worker: str, cause: str) -> None:
        """Why a worker was lost has become known."""
        for bar in self._special:
            if bar.state == "lost" and bar.lane.slots.worker == worker:
                bar.cause = cause
                self._changes.note(bar.key)

    def over(self, at: float, cause: str) -> None:
        """The job is over, and with it whatever runs."""
        for bar in self._open.values():
            if bar.lane is not NOWHERE:
                bar.end = max(at, bar.begin)
                bar.state, bar.cause = "killed", cause
                self._mark(bar)
        self._open.clear()

    # --- lanes ------------------------------------------------------------------------------------

    def _of(self, worker: str) -> Slots:
        slots = self._slots.get(worker)
        if slots is None:
            slots = self._slots[worker] = Slots(worker)
        return slots

    def _add_lane(self, slots: Slots) -> Lane:
        lane = Lane(slots, len(slots.lanes), self._lanes)
        self._lanes += 1
        slots.lanes.append(lane)
        return lane

    def _begin(self, bar: Bar, lane: Lane, at: float) -> None:
        bar.lane = lane
        bar.begin = at = lane.free_at if lane.free_at > at else at
        if self.since is None or at < self.since:
            self.since = at
        self.bars[bar.key] = lane.bar = bar
        self._changes.note(bar.key)

    def _leave(self, bar: Bar, at: float) -> None:
        """A running bar ends, and its slot goes to what waits first for one."""
        lane = bar.lane
        if at > self._latest:
            self._latest = at
        bar.end = lane.free_at = at = at if at > bar.begin else bar.begin
        slots = lane.slots
        if slots.waiting:
            self._begin(slots.waiting.popleft(), lane, at)
        else:
            lane.bar = None
            slots.busy -= 1
            heappush(slots.free, lane.index)

    def _unseen(
        self,
        key: str,
        event: ev.AttemptFinished | ev.AttemptFailed,
        waiting: Bar | None,
        seconds: float,
    ) -> Bar:
        """Make the bar of an attempt that ended, and of which no slot was known."""
        if waiting is not None:
            slots = self._of(waiting.start.worker)
            slots.waiting.remove(waiting)
            start = waiting.start
        else:
            slots = self._of(event.worker)
            start = ev.AttemptStarted(
                at=event.at,
                job=event.job,
                task=event.task,
                attempt=event.attempt,
                worker=event.worker,
                input="",
            )
        lane = self._room(slots, event.at - seconds)
        begin = max(event.at - seconds, lane.free_at)
        if lane.bar is not None:
            # Its slot was not for the one we took to run there: that one begins only now.
            begin = max(begin, lane.bar.begin)
            lane.bar.begin = max(event.at, begin)
            self._changes.note(lane.bar.key)
        bar = self.bars[key] = Bar(key, start)
        bar.lane, bar.begin = lane, begin
        bar.end = lane.free_at = max(event.at, begin)
        if self.since is None or begin < self.since:
            self.since = begin
        self._latest = max(self._latest, bar.end)
        return bar

    def _room(self, slots: Slots, begin: float) -> Lane:
        """The lane that was idle since ``begin``, and for the shortest; else the best there is."""
        idle = [lane for lane in slots.lanes if lane.bar is None]
        fitting = [lane for lane in idle if lane.free_at <= begin + _SLACK_S]
        if fitting:
            return max(fitting, key=lambda lane: lane.free_at)
        if len(slots.lanes) < (slots.count or _LANES_GUESSED):
            lane = self._add_lane(slots)
            heappush(slots.free, lane.index)
            return lane
        if idle:
            return min(idle, key=lambda lane: lane.free_at)
        return max(slots.lanes, key=lambda lane: lane.bar.begin if lane.bar else 0.0)

    # --- keeping them few -------------------------------------------------------------------------

    def _mark(self, bar: Bar) -> None:
        """Keep a bar as it is; the oldest of its kind make room."""
        bar.plain = False
        bar.lane.last = None
        self._changes.note(bar.key)
        if bar.special:
            return
        bar.special = True
        self._special.append(bar)
        if len(self._special) > self._special_kept:
            self._drop(self._special.popleft())
        if len(self.bars) > self._limit:
            self._thin()

    def _drop(self, bar: Bar) -> None:
        self._remove(bar)
        self.dropped += len(bar.done) or 1
        for event in bar.done:
            if self._done.get(event.task) is bar:
                del self._done[event.task]

    def _remove(self, bar: Bar) -> None:
        if self.bars.get(bar.key) is bar:
            del self.bars[bar.key]
            self._changes.note_gone(bar.key)
        if bar.lane.last is bar:
            bar.lane.last = None

    def _join(self, first: Bar, second: Bar, *, later: bool = False) -> None:
        """Put a bar into the one before it."""
        first.end = second.end
        first.records += second.records
        first.bytes += second.bytes
        first.done += second.done
        for event in second.done:
            self._done[event.task] = first
        if second.lane.last is second:
            second.lane.last = first
        del self.bars[second.key]
        self._changes.note_gone(second.key, later=later)

    def _split(self, bar: Bar, events: list[ev.AttemptFinished]) -> Bar:
        """Divide a bar into what stays and, returned, what ``events`` were."""
        assert bar.end is not None
        names = {event.task for event in events}
        rest = [event for event in bar.done if event.task not in names]
        middle = bar.end - (bar.end - bar.begin) * len(events) / len(bar.done)
        self._remove(bar)
        stays = self._part(bar.lane, rest, bar.begin, middle)
        stays.plain = True
        for event in rest:
            self._done[event.task] = stays
        return self._part(bar.lane, events, middle, bar.end)

    def _part(self, lane: Lane, events: list[ev.AttemptFinished], begin: float, end: float) -> Bar:
        first = events[0]
        start = ev.AttemptStarted(
            at=begin,
            job=first.job,
            task=first.task,
            attempt=first.attempt,
            worker=first.worker,
            input="",
        )
        key = f"{first.task}/{first.attempt}"
        bar = self.bars[key] = Bar(key, start)
        bar.lane, bar.begin = lane, begin
        bar.end, bar.state, bar.done = end, "done", events
        bar.records = sum(event.records for event in events)
        bar.bytes = sum(event.bytes_in for event in events)
        self._changes.note(key)
        return bar

    def _thin(self) -> None:
        """Put neighbours together until there is room for a while, so that it is seldom done."""
        enough = self._kept * 3 // 4
        span = self._latest - (self.since or 0.0)
        needed = 0.0
        while len(self.bars) > enough and self.step <= span and needed < inf:
            self.step = self.step * 2 or _STEP_S
            if self.step >= needed:
                needed = self._put_together()
        if len(self.bars) > self._kept:
            # More lanes and trouble than there is room for: the oldest go.
            plain = sorted((b for b in self.bars.values() if b.plain), key=lambda bar: bar.begin)
            for bar in plain[: len(self.bars) - enough]:
                self._drop(bar)
        self._limit = max(self._kept, len(self.bars) + self._kept // 4)

    def _put_together(self) -> float:
        """Join what the step allows; returns the least step that would allow more."""
        before: Bar | None = None
        needed = inf
        # Those of a lane are in the order of their begin, but for a few, which stay as they are.
        for bar in sorted(self.bars.values(), key=attrgetter("lane.number")):
            if not bar.plain or bar.end is None:
                before = None
            elif (
                before is not None
                and before.lane is bar.lane
                and before.begin <= bar.begin
                and _alike(before, bar)
            ):
                span = bar.end - before.begin
                if span <= self.step:
                    self._join(before, bar, later=True)
                    self._changes.note_later(before.key)
                else:
                    needed = min(needed, span)
                    before = bar
            else:
                before = bar
        return needed


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _alike(first: Bar, second: Bar) -> bool:
    """Whether a bar may take in one of the same phase."""
    return first.plain and first.start.task[0] == second.start.task[0]
