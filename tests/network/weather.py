"""A switch with bad weather: packets between hosts are late, lost, doubled or overtaken, by a seed.

The kernel's own way (``tc netem``) is a module that many machines lack. Here every host has a TUN
device, this process holds their other ends and moves IP packets between them. What happens to
each is decided by ``Line``, which is pure: a seed and the packets' times decide everything.

As a program::

    python weather.py SEED MTU NAME=ADDRESS/BITS ...

runs inside the namespace that holds the hosts' namespaces, prints "ready", and obeys lines such as
``a b delay_s=0.05 loss=0.05`` (from a to b, from now on; ``*`` stands for every host), each
answered by "ok". It ends when its input does.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
#: Bytes that wait at a narrow line, at most; what comes on top is lost, as at a router.
QUEUE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Weather:
    """What a line does to packets.

    Attributes:
        delay_s, jitter_s: every packet takes ``delay_s`` plus or minus up to ``jitter_s``.
        loss, duplicate: the share of packets lost, delivered twice.
        reorder: the share that does not wait for those sent before.
        bytes_per_s: 0: without limit.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    bytes_per_s: float = 0.0


@dataclass(slots=True)
class Line:
    """One direction between two hosts.

    Attributes:
        chance: the only source of chance.
        free_at: when the last packet sent will have left the sender.
        last: when the latest packet that keeps its place arrives: no later one is earlier.
    """

    chance: random.Random
    weather: Weather = Weather()
    free_at: float = 0.0
    last: float = 0.0

    def send(self, size: int, now: float) -> list[float]:
        """Return when the copies of a packet arrive, in seconds; []: it is lost."""
        weather, chance = self.weather, self.chance
        lost, doubled, overtakes = chance.random(), chance.random(), chance.random()
        wobble = chance.uniform(-weather.jitter_s, weather.jitter_s)
        if lost < weather.loss:
            return []
        begins = now
        if weather.bytes_per_s:
            begins = max(now, self.free_at)
            if (begins - now) * weather.bytes_per_s > QUEUE_BYTES:
                return []
            begins += size / weather.bytes_per_s
            self.free_at = begins
        arrives = begins + max(0.0, weather.delay_s + wobble)
        if overtakes >= weather.reorder:
            arrives = self.last = max(self.last, arrives)
        return [arrives] * (2 if doubled < weather.duplicate else 1)


@dataclass(slots=True)
class Switch:
    """Who is where, and what is under way. Pure but for the packets it carries."""

    addresses: dict[bytes, str]  #: packed address → host
    seed: int
    lines: dict[tuple[str, str], Line] = field(default_factory=dict)
    under_way: list[tuple[float, int, str, bytes]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def line(self, source: str, target: str) -> Line:
        """The line between two hosts; its chance is its own, so that no line disturbs another."""
        key = (source, target)
        if key not in self.lines:
            self.lines[key] = Line(random.Random(f"{self.seed} {source} {target}"))
        return self.lines[key]

    def change(self, source: str, target: str, weather: Weather) -> None:
        """Have other weather from now on; "*" stands for every host."""
        hosts = list(self.addresses.values())
        for one in hosts if source == "*" else [source]:
            for other in hosts if target == "*" else [target]:
                self.line(one, other).weather = weather

    def take(self, source: str, packet: bytes, now: float) -> None:
        """A host sends an IP packet; what is not for a host here is dropped."""
        target = self.addresses.get(packet[16:20]) if packet[0] >> 4 == 4 else None
        if target is None:
            return
        for at in self.line(source, target).send(len(packet), now):
            heapq.heappush(self.under_way, (at, next(self._numbers), target, packet))

    def due(self, now: float) -> list[tuple[str, bytes]]:
        """Hand out what has arrived: (host, packet), in order."""
        arrived = []
        while self.under_way and self.under_way[0][0] <= now:
            _, _, target, packet = heapq.heappop(self.under_way)
            arrived.append((target, packet))
        return arrived

    def wait(self, now: float) -> float | None:
        """Seconds until something arrives; None: nothing is under way."""
        return max(0.0, self.under_way[0][0] - now) if self.under_way else None


def parse_weather(words: list[str]) -> Weather:
    """Make weather of words such as "loss=0.05"."""
    return Weather(**{name: float(value) for name, _, value in (w.partition("=") for w in words)})


def _open_tun(name: str, address: str, mtu: str) -> int:
    """Make a TUN device, the ``eth0`` of the host's namespace; return our end of it."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    device = f"tun-{name}"[:15]
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TUN | _IFF_NO_PI))
    for command in (
        f"link set {device} netns {name}",
        f"-n {name} link set {device} name eth0 mtu {mtu}",
        f"-n {name} addr add {address} dev eth0",
        f"-n {name} link set eth0 up",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    return end


def main(seed: str, mtu: str, *hosts: str) -> None:
    """Carry packets until the input ends."""
    named = dict(host.split("=") for host in hosts)
    ends = {name: _open_tun(name, address, mtu) for name, address in named.items()}
    switch = Switch(
        {socket.inet_aton(address.split("/")[0]): name for name, address in named.items()},
        int(seed),
    )
    poll = select.epoll()
    readers = {end: name for name, end in ends.items()}
    for end in (0, *readers):
        poll.register(end, select.EPOLLIN)
    print("ready", flush=True)
    while True:
        wait = switch.wait(time.monotonic())
        for end, _ in poll.poll(wait):
            if end:
                _read_all(switch, readers[end], end)
                continue
            words = sys.stdin.readline().split()
            if not words:
                return
            switch.change(words[0], words[1], parse_weather(words[2:]))
            print("ok", flush=True)
        for target, packet in switch.due(time.monotonic()):
            os.write(ends[target], packet)


def _read_all(switch: Switch, name: str, end: int) -> None:
    for _ in range(64):  # then it is others' turn
        try:
            packet = os.read(end, 65536)
        except BlockingIOError:
            return
        switch.take(name, packet, time.monotonic())


if __name__ == "__main__":
    main(*sys.argv[1:])
