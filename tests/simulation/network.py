"""The network: connections that keep order, datagrams that do not, cuts of one or both directions.

What a TCP connection can do, and no more: bytes come in order and once, late or never; a process
that dies resets its connections, unless its host or the way is gone as well, and then the other
end learns it by its own timeouts; an end that was given up answers with a reset as soon as
something gets through again. Datagrams are lost, late, overtaken, doubled.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from .clock import Call, Clock
from .trace import Trace

#: Seconds after which an end gives up what nobody acknowledges (TCP_USER_TIMEOUT, keep-alive).
GIVE_UP_S = (2.0, 2.5)
#: Seconds after which lost segments come again once the way is free.
RESEND_S = (0.01, 0.3)


class Process:
    """Something that lives on a host, may be stopped for a while, and dies.

    Attributes:
        host: where; two processes of one host share its disk.
        life: what becomes of it is only for this life: a successor is another object.
    """

    def __init__(self, clock: Clock, name: str, host: str) -> None:
        self.clock = clock
        self.name = name
        self.host = host
        self.alive = True
        self.frozen = False
        self.ends: dict[End, None] = {}
        self._backlog: list[Call] = []

    def run(self, call: Call) -> None:
        """Do something as this process: now, when it is let on again, or never."""
        if not self.alive:
            return
        if self.frozen:
            self._backlog.append(call)
        else:
            call()

    def after(self, delay: float, call: Call) -> None:
        """Do something in so many seconds, if it is alive then."""
        self.clock.after(delay, partial(self.run, call))

    def freeze(self) -> None:
        """Stop it (SIGSTOP)."""
        self.frozen = True

    def thaw(self) -> None:
        """Let it on; what came meanwhile comes now, in order."""
        self.frozen = False
        backlog, self._backlog = self._backlog, []
        for number, call in enumerate(backlog):
            if self.frozen:  # again, by what it did
                self._backlog = [*backlog[number:], *self._backlog]
                return
            self.run(call)

    def die(self, *, silently: bool = False) -> None:
        """End it at once (SIGKILL); ``silently``: its host went down with it, nobody is told."""
        self.alive = False
        self._backlog.clear()
        for end in list(self.ends):
            end.abandon(silently=silently)


class End:
    """One end of a connection.

    Attributes:
        other: the far end.
        on_message, on_lost: called as the owner.
    """

    def __init__(self, network: Network, owner: Process) -> None:
        self.owner = owner
        self.open = True
        self.other: End
        self.on_message: Callable[[Any], None]
        self.on_lost: Callable[[str], None]
        self._network = network
        self._latest = 0.0  #: when the last of what was sent arrives
        self._held: list[Call] = []  #: what waits for the way to be free
        self._giving_up = False
        self._farewell: Call | None = None  #: a reset: nothing else arrives any more
        owner.ends[self] = None

    def send(self, message: Any) -> None:
        """Send; what the other end never gets is lost without a word."""
        if self.open:
            self._carry(partial(self.other._arrived, message))

    def close(self) -> None:
        """Hang up: the other end gets what was sent before, and then the end of it."""
        if self.open:
            self._shut()
            self._carry(partial(self.other._lost, "connection closed"))

    def abandon(self, *, silently: bool) -> None:
        """The owner is dead."""
        if not self.open:
            return
        self._shut()
        if silently:
            self.other._doubt(hopeless=True)
            return
        if self._network.chance.random() < 0.5:
            # It died with something unread: a reset, which may overtake what it said last.
            self._latest = 0.0
            self._held.clear()
            self._farewell = partial(self.other._lost, "connection reset")
            self._carry(self._farewell)
        else:
            self._carry(partial(self.other._lost, "connection reset"))

    def _shut(self) -> None:
        self.open = False
        self.owner.ends.pop(self, None)

    def _carry(self, call: Call) -> None:
        network = self._network
        when = max(self._latest, network.clock.now + network.delay(self))
        self._latest = when
        network.clock.at(when, partial(self._arrive, call))

    def _arrive(self, call: Call) -> None:
        if self._farewell is not None and call is not self._farewell:
            return  # a reset overtook it
        if self._held or self._network.blocked(self.owner.host, self.other.owner.host):
            self._held.append(call)
        else:
            call()

    def release(self) -> None:
        """The way is free again: what was held goes on, in order, before all that is under way."""
        if self._network.blocked(self.owner.host, self.other.owner.host):
            return
        held, self._held = self._held, []
        for call in held:
            call()

    def _arrived(self, message: Any) -> None:
        if self.open:
            self.owner.run(partial(self._hand_over, message))
        elif self.other.open:
            self.other._lost_soon()  # nobody is here: a reset is the answer

    def _hand_over(self, message: Any) -> None:
        if self.open:
            self.on_message(message)

    def _lost(self, cause: str) -> None:
        # In line behind what came before, which a stopped process has not read yet either.
        self.owner.run(partial(self._told_lost, cause))

    def _told_lost(self, cause: str) -> None:
        if self.open:
            self._shut()
            self.on_lost(cause)

    def _lost_soon(self) -> None:
        network = self._network
        if not network.blocked(self.other.owner.host, self.owner.host):
            network.clock.after(network.delay(self), partial(self._lost, "connection reset"))

    def _doubt(self, *, hopeless: bool = False) -> None:
        """Nothing comes back from there: give up in a while, unless that changes."""
        if self._giving_up and not hopeless:
            return
        self._giving_up = True
        network = self._network

        def give_up() -> None:
            self._giving_up = False
            if not self.open:
                return
            if hopeless or network.cut(self.owner.host, self.other.owner.host):
                self._told_lost_by_kernel()

        network.clock.after(network.chance.uniform(*GIVE_UP_S), give_up)

    def _told_lost_by_kernel(self) -> None:
        self._lost("connection timed out")
        other = self.other
        if other.open and not self._network.blocked(self.owner.host, other.owner.host):
            self._network.clock.after(0.001, partial(other._lost, "connection reset"))


class Network:
    """All hosts and what is between them.

    Args:
        lag: seconds between two hosts, and how much more it may be by chance.
        loss: of datagrams between hosts.
    """

    def __init__(
        self,
        clock: Clock,
        chance: random.Random,
        trace: Trace,
        *,
        lag: tuple[float, float] = (0.0002, 0.0005),
        loss: float = 0.0,
    ) -> None:
        self.clock = clock
        self.chance = chance
        self.trace = trace
        self.lag = lag
        self.loss = loss
        self._blocked: dict[tuple[str, str], int] = {}  #: (from, to) → how many cuts it has
        self._ends: dict[End, None] = {}
        self._most = 64  #: ends in the book before those that are closed are dropped

    def delay(self, end: End) -> float:
        """Return how long the next thing takes on its way."""
        least, jitter = self.lag
        if end.owner.host == end.other.owner.host:
            least, jitter = 0.00005, 0.0002
        return least + jitter * self.chance.random()

    def blocked(self, source: str, target: str) -> bool:
        """Whether nothing gets from one host to another."""
        return (source, target) in self._blocked

    def cut(self, one: str, other: str) -> bool:
        """Whether nothing gets through, or no answer comes back."""
        return self.blocked(one, other) or self.blocked(other, one)

    def connect(self, client: Process, server: Process) -> tuple[End, End] | None:
        """Connect; return the ends of client and server, or None: nobody answers there."""
        if not server.alive or self.cut(client.host, server.host):
            return None
        near, far = End(self, client), End(self, server)
        near.other, far.other = far, near
        self._ends[near] = self._ends[far] = None
        if len(self._ends) > self._most:
            self._ends = {end: None for end in self._ends if end.open or end.other.open}
            self._most = max(64, 2 * len(self._ends))
        return near, far

    def datagram(self, source: Process, target: Process, call: Call) -> None:
        """Send a datagram: it may get lost, be late, or come twice."""
        if self.blocked(source.host, target.host):
            return
        far = source.host != target.host
        if far and self.chance.random() < self.loss:
            return
        least, jitter = self.lag if far else (0.00005, 0.0002)
        copies = 2 if far and self.loss and self.chance.random() < 0.02 else 1
        for _ in range(copies):
            late = least + jitter * self.chance.random()
            self.clock.after(late, partial(self._datagram_arrives, source, target, call))

    def _datagram_arrives(self, source: Process, target: Process, call: Call) -> None:
        if not self.blocked(source.host, target.host):
            target.run(call)

    def block(self, source: str, target: str) -> None:
        """Let nothing get from one host to another from now on."""
        way = (source, target)
        self._blocked[way] = self._blocked.get(way, 0) + 1
        for end in [end for end in self._ends if end.open]:
            if {end.owner.host, end.other.owner.host} == {source, target}:
                end._doubt()

    def unblock(self, source: str, target: str) -> None:
        """Take back one ``block``."""
        way = (source, target)
        self._blocked[way] -= 1
        if self._blocked[way]:
            return
        del self._blocked[way]
        for end in list(self._ends):
            if (end.owner.host, end.other.owner.host) == way:
                wait = self.chance.uniform(*RESEND_S)
                self.clock.after(wait, end.release)
