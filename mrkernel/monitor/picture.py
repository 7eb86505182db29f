"""Pictures and the deltas between them: both ends of the line from a view to its readers. Pure.

A *picture* is a JSON-able dict. The view (the writer) folds events and hands out numbered deltas; a
reader starts from a snapshot and applies the deltas to it::

    picture = {"kind": ..., "seq": 7, <fields>, <rows>: {key: row}, "feed": [line], "older": 0}
    delta   = {"seq": 8, "set": {field: value}, "put": {rows: {key: row}}, "drop": {rows: [key]},
               "feed": [line]}       every part but ``seq`` may be absent

Delta n applies to picture n - 1 and gives picture n. Feed lines are numbered by ``n``: a line of a
delta replaces the one of its number, so a line may still grow ("map-3 → w1") and applying a line
twice is harmless. The picture keeps the newest ``FEED_LIMIT`` lines; ``older`` says how many came
before.

Where rows change faster than a reader can take them in, a delta carries some and the others wait
for the next ones: a reader's picture is then behind for a moment, and right once nothing waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, islice
from typing import Any, ClassVar, NamedTuple

from mrkernel.errors import RemoteProtocolError

#: What a snapshot or a delta is: a dict of JSON values.
Json = dict[str, Any]

#: A row of a keyed collection: named values, or, where there are thousands, values by place.
Row = Json | list[Any]

#: Lines kept in a feed: enough to scroll through, small enough to send again (about 20 KB).
FEED_LIMIT = 200

#: Deltas a ``Picture`` remembers for its own readers: 6 s at 10 a second.
DELTAS_KEPT = 64


class PictureGap(RemoteProtocolError):
    """A delta does not follow the picture: ask for a snapshot.

    Attributes:
        have: seq of the picture; -1 when there was none.
        got: seq of the delta.
    """

    def __init__(self, have: int, got: int) -> None:
        super().__init__(have, got)
        self.have = have
        self.got = got

    def __str__(self) -> str:
        return f"delta {self.got} does not follow picture {self.have}: ask for a snapshot"


def apply(picture: Json, delta: Json) -> Json:
    """Return the picture after ``delta``; ``picture`` itself stays as it is.

    Raises:
        PictureGap: ``delta`` is not the next one.
    """
    if delta["seq"] != picture["seq"] + 1:
        raise PictureGap(picture["seq"], delta["seq"])
    after = {**picture, **delta.get("set", {}), "seq": delta["seq"]}
    for name, keys in delta.get("drop", {}).items():
        gone = set(keys)
        after[name] = {key: row for key, row in after[name].items() if key not in gone}
    for name, rows in delta.get("put", {}).items():
        after[name] = {**after[name], **rows}
    if delta.get("feed"):
        lines = {line["n"]: line for line in chain(picture["feed"], delta["feed"])}
        after["feed"] = [lines[number] for number in sorted(lines)][-FEED_LIMIT:]
        after["older"] = after["feed"][0]["n"]
    return after


class Feed:
    """The newest lines of an event feed; knows which of them its readers have not seen."""

    def __init__(self) -> None:
        self._lines: deque[Json] = deque(maxlen=FEED_LIMIT)
        self._next = 0
        self._changed: set[int] = set()
        self._later: dict[int, tuple[str, Callable[[], str]]] = {}

    def add(self, at: float, level: str, text: str) -> int:
        """Add a line and return its number."""
        number = self._next
        self._next += 1
        self._lines.append({"n": number, "at": round(at, 3), "level": level, "text": text})
        self._changed.add(number)
        return number

    def edit(self, number: int, level: str, text: str) -> None:
        """Change a line; one that has left the feed stays as it was."""
        index = number - (self._next - len(self._lines))
        if index < 0:
            return
        line = self._lines[index]
        if line["level"] == level and line["text"] == text:
            return
        # A new dict: snapshots handed out before keep theirs.
        self._lines[index] = {**line, "level": level, "text": text}
        self._changed.add(number)

    def edit_later(self, number: int, level: str, text: Callable[[], str]) -> None:
        """Change a line when somebody looks: one that changes often is written seldom."""
        self._later[number] = (level, text)
        if len(self._later) > FEED_LIMIT:
            self._write()

    def _write(self) -> None:
        for number, (level, text) in self._later.items():
            self.edit(number, level, text())
        self._later.clear()

    def lines(self) -> list[Json]:
        """The lines kept, oldest first."""
        self._write()
        return list(self._lines)

    def take(self) -> list[Json]:
        """The lines that are new or were changed; counts them as seen."""
        self._write()
        changed, self._changed = self._changed, set()
        return [line for line in self._lines if line["n"] in changed] if changed else []


class Pace(NamedTuple):
    """How many rows of one collection deltas may carry."""

    each: int  #: on average
    burst: int  #: at most: what earlier deltas left over adds up
    newest_first: bool = False
    """Of rows that no reader has, the newest go first and the old ones may have to wait for long;
    those that somebody has are put right before, lest what he sees stays wrong. False: by turns."""


class Changes:
    """The rows of one collection that its readers have not seen as they are.

    Rows that come and go faster than they can be sent are never sent.

    Args:
        pace: None: all of them go with the next delta.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace
        self._newest_first = pace is not None and pace.newest_first
        self._credit = pace.burst if pace else 0
        self._first: dict[str, None] = {}
        self._rows: dict[str, None] = {}
        self._later: dict[str, None] = {}
        self._known: set[str] = set()  #: what some reader may have; kept where rows wait

    def __bool__(self) -> bool:
        return bool(self._first or self._rows or self._later)

    def note(self, key: str) -> None:
        """A row is new, or changed, or gone."""
        if self._newest_first:
            self._rows.pop(key, None)
        self._rows[key] = None

    def note_first(self, key: str) -> None:
        """A row says what everybody waits for: before all others."""
        self._first[key] = None

    def note_later(self, key: str) -> None:
        """A row is now said otherwise, which nobody waits for: after all that is new."""
        if key not in self._rows:
            self._later[key] = None

    def note_gone(self, key: str, *, later: bool = False) -> None:
        """A row is gone; who never had it need not hear of it."""
        if self._pace is not None and key not in self._known:
            self._rows.pop(key, None)
            self._later.pop(key, None)
        elif later:
            self.note_later(key)
        else:
            self.note(key)

    def seen(self, keys: Iterable[str]) -> None:
        """A reader has these rows, from a snapshot."""
        if self._pace is not None:
            self._known.update(keys)

    def take(self, row: Callable[[str], Row | None], *, hurry: bool) -> tuple[Json, list[str]]:
        """What to send now: rows drawn anew, and keys of rows that are gone.

        Args:
            row: draws one; None: it is gone.
            hurry: all of them, however many.
        """
        limit = None
        if self._pace is not None:
            self._credit = min(self._credit + self._pace.each, self._pace.burst)
            limit = None if hurry else self._credit
        rows: Iterable[str] = self._rows
        if self._newest_first:
            known = [key for key in self._rows if key in self._known]
            rows = chain(known, islice(reversed(self._rows), limit))
        keys = list(dict.fromkeys(chain(self._first, rows, self._later)))[:limit]
        if self._pace is not None:
            self._credit = max(0, self._credit - len(keys))
        put, drop = {}, []
        for key in keys:
            self._first.pop(key, None)
            self._rows.pop(key, None)
            self._later.pop(key, None)
            drawn = row(key)
            if drawn is None:
                drop.append(key)
            else:
                put[key] = drawn
        if self._pace is not None:
            self._known.update(put)
            self._known.difference_update(drop)
        return put, drop


class Draft:
    """The writer's end: a view whose changes are handed out as deltas.

    A subclass folds events, answers ``fields()`` and ``row()``, sets ``_changed`` and notes each
    changed row in ``_touched``. Nothing is drawn until somebody asks: folding stays cheap.
    """

    kind = ""
    #: Names of the picture's keyed rows.
    collections: tuple[str, ...] = ()
    #: Of collections whose rows may change faster than a reader can take them in.
    paces: ClassVar[dict[str, Pace]] = {}

    def __init__(self) -> None:
        self.feed = Feed()
        self._seq = 0
        self._sent: Json = {}
        self._unsent: set[str] = set()
        self._touched = {name: Changes(self.paces.get(name)) for name in self.collections}
        self._changed = False

    def fields(self) -> Json:
        """The picture's plain fields, drawn anew."""
        raise NotImplementedError

    def keys(self, collection: str) -> Iterable[str]:
        """The keys of a collection's rows, in the order to show them."""
        raise NotImplementedError

    def row(self, collection: str, key: str) -> Row | None:
        """One row, drawn anew; None: there is no such row (any more)."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen: what waits to be sent goes at once."""
        return False

    @property
    def changed(self) -> bool:
        """Whether ``take_delta`` would return something."""
        return self._changed

    def snapshot(self) -> Json:
        """Draw the whole picture, changes not yet taken included."""
        fields = self.fields()
        # A field may change back before the next delta; who got this snapshot must be told then.
        self._unsent.update(
            name for name, value in fields.items() if self._sent.get(name, self) != value
        )
        picture: Json = {"kind": self.kind, "seq": self._seq, **fields}
        for name in self.collections:
            rows = picture[name] = {key: self.row(name, key) for key in self.keys(name)}
            self._touched[name].seen(rows)
        picture["feed"] = self.feed.lines()
        picture["older"] = picture["feed"][0]["n"] if picture["feed"] else 0
        return picture

    def take_delta(self) -> Json | None:
        """Draw what changed since the last take; None when nothing did."""
        if not self._changed:
            return None
        self._changed = False
        self._seq += 1
        delta: Json = {"seq": self._seq}
        fields = self.fields()
        changes = {
            name: value
            for name, value in fields.items()
            if name in self._unsent or self._sent.get(name, self) != value
        }
        self._sent = fields
        self._unsent.clear()
        if changes:
            delta["set"] = changes
        for name, touched in self._touched.items():
            if not touched:
                continue
            put, drop = touched.take(partial(self.row, name), hurry=self.ended)
            if put:
                delta.setdefault("put", {})[name] = put
            if drop:
                delta.setdefault("drop", {})[name] = drop
            if touched:
                self._changed = True
        lines = self.feed.take()
        if lines:
            delta["feed"] = lines
        return delta


class Picture:
    """The reader's end: the newest picture of one topic, and the last few deltas.

    It numbers its pictures itself, and never backwards: a manager that was restarted begins anew,
    and who follows this picture must not take what comes after for what came before.

    One thread receives, any thread reads: the state is one tuple, replaced as a whole.
    """

    def __init__(self) -> None:
        #: picture, deltas, and by how much our numbers are ahead of the broker's
        self._state: tuple[Json | None, tuple[Json, ...], int] = (None, (), 0)

    def receive(self, payload: Json) -> None:
        """Take in what a broker sent: ``{"snapshot": ...}`` or ``{"delta": ...}``.

        Raises:
            PictureGap: a delta was missed; subscribe anew for a snapshot.
        """
        picture, deltas, ahead = self._state
        if "snapshot" in payload:
            snapshot = payload["snapshot"]
            seq = snapshot["seq"]
            if picture is not None and picture["seq"] >= seq:
                seq = picture["seq"]
                if picture == {**snapshot, "seq": seq}:  # told again
                    self._state = (picture, deltas, seq - snapshot["seq"])
                    return
                seq += 1
            self._state = ({**snapshot, "seq": seq}, (), seq - snapshot["seq"])
            return
        delta = payload["delta"]
        if picture is None:
            raise PictureGap(-1, delta["seq"])
        if ahead:
            delta = {**delta, "seq": delta["seq"] + ahead}
        self._state = (apply(picture, delta), (*deltas[1 - DELTAS_KEPT :], delta), ahead)

    def change(self, fields: Json) -> None:
        """Change plain fields on our own account, until the next snapshot says how they are.

        For what only the reader knows, such as that nobody writes any more. No-op before the first
        picture.
        """
        picture, deltas, ahead = self._state
        fields = {name: new for name, new in fields.items() if (picture or {}).get(name) != new}
        if picture is None or not fields:
            return
        delta = {"seq": picture["seq"] + 1, "set": fields}
        self._state = (apply(picture, delta), (*deltas[1 - DELTAS_KEPT :], delta), ahead + 1)

    @property
    def ready(self) -> bool:
        """Whether a first snapshot has arrived."""
        return self._state[0] is not None

    def snapshot(self) -> Json:
        """The newest picture; ``{}`` before the first. Not to be changed."""
        return self._state[0] or {}

    def changed_since(self, seq: int) -> list[Json] | None:
        """The deltas from picture ``seq`` on; None: too long ago, take a snapshot."""
        picture, deltas, _ = self._state
        if picture is None:
            return []
        missing = picture["seq"] - seq
        if missing == 0:
            return []
        if missing < 0 or missing > len(deltas):
            return None
        return list(deltas[-missing:])
