"""A simulated client: submits jobs, follows them over any number of managers, takes the results."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mrkernel.ids import JobId
from mrkernel.protocol.client_messages import (
    Accepted,
    Attach,
    CancelJob,
    Ended,
    Refused,
    ReleaseJob,
    Submit,
)
from mrkernel.protocol.worker_messages import PartPlace

from .jobs import Made, Script, unpacked
from .network import End, Process

if TYPE_CHECKING:
    from .world import World

#: Seconds between two looks at a result that could not be read, and how often it looks.
AGAIN_S = 0.5
LOOKS = 200

#: What a job is called that is not accepted.
NOT_YET = JobId("")


@dataclass
class Followed:
    """One job as its client knows it."""

    script: Script
    id: JobId = NOT_YET
    ended: Ended | None = None
    done_with: bool = False  #: its result is here, or it has none
    released: bool = False  #: nothing more is wanted of it
    cancelled: bool = False
    looks: int = 0  #: at a result that could not be read whole
    looking: bool = False  #: it will look again in a moment
    made: list[Made] = field(default_factory=list)


class SimulatedClient(Process):
    """A program that submits jobs.

    Attributes:
        jobs: by the names of their scripts.
    """

    def __init__(self, world: World, name: str, host: str) -> None:
        super().__init__(world.clock, name, host)
        self.world = world
        self.jobs: dict[str, Followed] = {}
        self._connection: End | None = None
        self._tickets: dict[int, Followed] = {}
        self._ticket = 0
        self._connect()

    def submit(self, script: Script) -> None:
        """Submit a job now, or as soon as a manager is there."""
        followed = self.jobs[script.name] = Followed(script)
        if self._connection is not None:
            self._ask(followed)
        if script.cancelled_after is not None:
            self.after(script.cancelled_after, partial(self._cancel, followed))

    def reset(self) -> None:
        """Lose the connection."""
        if self._connection is not None:
            self._connection.close()
            self._lost("connection reset")

    def _connect(self) -> None:
        manager = self.world.manager
        ends = self.world.network.connect(self, manager) if manager is not None else None
        if ends is None or manager is None:
            self.after(self.world.chance.uniform(0.05, 0.3), self._connect)
            return
        near, far = ends
        self._connection = near
        near.on_message = self._hear
        near.on_lost = self._lost
        manager.accept(far, "client")
        for followed in self.jobs.values():
            if not followed.done_with:
                self._ask(followed)
            elif followed.released:  # the manager may have died before it heard of that
                self._send(ReleaseJob(followed.id))

    def _lost(self, cause: str) -> None:
        self._connection = None
        self._tickets.clear()
        self.after(self.world.chance.uniform(0.01, 0.1), self._connect)

    def _send(self, message: Any) -> None:
        if self._connection is not None:
            self.world.trace.note(self.clock.now, self.name, message)
            self._connection.send(message)

    def _ask(self, followed: Followed) -> None:
        """Submit it, once more if need be, or ask how it goes."""
        self._ticket += 1
        self._tickets[self._ticket] = followed
        if followed.id:
            self._send(Attach(self._ticket, followed.id))
            if followed.cancelled:
                self._send(CancelJob(followed.id))
            return
        script = followed.script
        for digest in script.blobs():
            self._send(("blob", digest))
        self._send(Submit(self._ticket, script.spec(), script.splits(), key=script.name))

    def _cancel(self, followed: Followed) -> None:
        followed.cancelled = True
        if followed.id and followed.ended is None:
            self._send(CancelJob(followed.id))

    # --- answers ----------------------------------------------------------------------------------

    def _hear(self, message: Any) -> None:
        match message:
            case Accepted(ticket, job):
                followed = self._tickets.pop(ticket)
                self.world.oracle.accepted(followed.script, job, followed.id)
                followed.id = job
                if followed.cancelled:
                    self._send(CancelJob(job))
            case Refused(ticket, sentence):
                followed = self._tickets.pop(ticket)
                self.world.oracle.refused(followed.script, followed.ended, sentence)
                followed.done_with = True
            case Ended():
                for followed in self.jobs.values():
                    if followed.id == message.job and not followed.done_with:
                        self._ended(followed, message)

    def _ended(self, followed: Followed, ended: Ended) -> None:
        self.world.oracle.ended(followed.script, ended, asked_to_cancel=followed.cancelled)
        followed.ended = ended
        if ended.outcome != "done":
            self._let_go(followed)
            return
        made = []
        for place in ended.parts:
            found = self._read(place)
            if found is None:
                # Its worker died just now: in a moment the manager knows better.
                followed.looks += 1
                self.world.oracle.unreadable(followed.script, place, followed.looks > LOOKS)
                if not followed.looking:
                    followed.looking = True
                    self.after(AGAIN_S, partial(self._look_again, followed))
                return
            if found.task != "empty":
                made.append(found)
        followed.made = made
        self.world.oracle.delivered(followed.script, ended, made)
        followed.done_with = True
        self._send(ReleaseJob(followed.id, runs_only=True))
        self.after(followed.script.patience, partial(self._let_go, followed))

    def _look_again(self, followed: Followed) -> None:
        followed.looking = False
        if not followed.done_with and self._connection is not None:
            self._ask(followed)

    def _read(self, place: PartPlace) -> Made | None:
        if not place.pairs:
            return Made("", "empty", 0)
        if place.data is not None:
            return unpacked(place.data)
        return self.world.read_part(self, place)

    def _let_go(self, followed: Followed) -> None:
        followed.done_with = True
        if self._connection is None:
            self.after(0.2, partial(self._let_go, followed))
            return
        self._send(ReleaseJob(followed.id))
        self.world.oracle.released(followed.script)
        followed.released = True

    @property
    def settled(self) -> bool:
        """Whether it waits for nothing any more."""
        return all(followed.released for followed in self.jobs.values())
