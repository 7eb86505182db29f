"""A network of hosts on this machine: network namespaces, made by a test and gone with it.

All of them lie inside the namespaces of one holder process, which ends when its input does: nothing
on the machine's own network changes, and nothing is left behind however a test ends. It works as
root and, where a user may have user namespaces, without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NETWORK = "10.77.0"
os.environ["PATH"] += ":/usr/sbin:/sbin"  # of ip, tc, nft: no root is needed
_HOLD = "mount -t tmpfs none /run && ip link set lo up && echo ready && exec cat"


def unshare_command(*, as_user: bool) -> list[str]:
    """What gives a program a network and mounts of its own."""
    return ["unshare", "-Urnm" if as_user else "-nm", "sh", "-c", _HOLD]


def why_not(*, as_user: bool | None = None) -> str:
    """Say why this machine cannot have such networks; "": it can."""
    as_user = os.geteuid() != 0 if as_user is None else as_user
    try:
        lan = Lan(as_user=as_user)
    except (OSError, RuntimeError) as error:
        return f"no network namespaces here: {error}"
    with lan:
        for word in ("nft --version", "tc -V", "ping -V"):
            try:
                lan.run(*word.split())
            except (OSError, subprocess.CalledProcessError):
                return f"needs the program {word.split()[0]}"
    return ""


class Host:
    """One host: a namespace with an interface ``eth0``.

    Attributes:
        name: letters; also that of its namespace.
        address: IPv4.
    """

    def __init__(self, lan: Lan, name: str, address: str) -> None:
        self.lan = lan
        self.name = name
        self.address = address
        self._walled = False

    def command(self, *words: str) -> list[str]:
        """A command that runs ``words`` on this host."""
        return self.lan.command("nsenter", f"--net=/run/netns/{self.name}", "--", *words)

    def popen(self, *words: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a program on this host."""
        return subprocess.Popen(self.command(*words), **options)

    def run(self, *words: str) -> str:
        """Run a program on this host; return what it says.

        Raises:
            CalledProcessError: it failed; has ``stderr``.
        """
        return _run(self.command(*words))

    @contextmanager
    def dropping(self, rule: str, hook: str = "input") -> Iterator[None]:
        """Drop the packets that match an nft rule, as they come in or (``output``) go out."""
        if not self._walled:
            self.run("nft", "add table inet wall")
            for name in ("input", "output"):
                chain = f"{{ type filter hook {name} priority 0 ; }}"
                self.run("nft", f"add chain inet wall {name} {chain}")
            self._walled = True
        said = self.run("nft", "-e", "-a", f"add rule inet wall {hook} {rule} counter drop")
        handle = said.split("# handle")[1].split()[0]
        try:
            yield
        finally:
            self.run("nft", f"delete rule inet wall {hook} handle {handle}")

    @contextmanager
    def deaf_to(self, other: Host, rule: str = "") -> Iterator[None]:
        """One direction is cut: nothing that ``other`` says arrives here, and nobody is told."""
        with self.dropping(f"ip saddr {other.address} {rule}"):
            yield

    @contextmanager
    def cut_off(self, other: Host) -> Iterator[None]:
        """Both directions are cut."""
        with self.deaf_to(other), other.deaf_to(self):
            yield

    @contextmanager
    def slow_line(self, rate: str) -> Iterator[None]:
        """What this host sends leaves at ``rate``, "1mbit"."""
        shape = f"tc qdisc replace dev eth0 root tbf rate {rate} burst 32k latency 400ms"
        self.run(*shape.split())
        try:
            yield
        finally:
            self.run("tc", "qdisc", "del", "dev", "eth0", "root")

    def move_to(self, address: str) -> None:
        """Have another address from now on: what a host gets after it slept."""
        self.run("ip", "addr", "del", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
        self.address = address


class Lan:
    """Hosts on one switch; a context manager.

    Args:
        as_user: with a user namespace, as without root; None: where it is needed.

    Raises:
        RuntimeError: this machine allows no such thing; says why.
    """

    def __init__(self, *, as_user: bool | None = None) -> None:
        self.as_user = os.geteuid() != 0 if as_user is None else as_user
        self.hosts: dict[str, Host] = {}
        self._weather: subprocess.Popen[str] | None = None
        self._holder = subprocess.Popen(
            unshare_command(as_user=self.as_user),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != "ready\n":
            said = self._holder.stderr.read().strip()
            self.close()
            raise RuntimeError(said or "unshare failed")

    def command(self, *words: str) -> list[str]:
        """A command that runs ``words`` where the switch is."""
        user = ["-U", "--preserve-credentials"] if self.as_user else []
        return ["nsenter", "-t", str(self._holder.pid), *user, "-n", "-m", "--", *words]

    def run(self, *words: str) -> str:
        """Run a program where the switch is; return what it says."""
        return _run(self.command(*words))

    def wire(self, *names: str) -> None:
        """Add hosts on a switch of the kernel's: as fast as it goes."""
        self.run("ip", "link", "add", "switch", "type", "bridge")
        self.run("ip", "link", "set", "switch", "up")
        for name in names:
            host = self._add(name)
            cable = f"to-{name}"
            self.run(*f"ip link add {cable} type veth peer name eth0 netns {name}".split())
            self.run(*f"ip link set {cable} master switch up".split())
            self.run(*f"ip -n {name} addr add {host.address}/24 dev eth0".split())
            self.run(*f"ip -n {name} link set eth0 up".split())

    def expose(self, seed: int, *names: str) -> None:
        """Add hosts on a switch that has weather: see ``weather.py``."""
        hosts = [f"{name}={self._add(name).address}/24" for name in names]
        program = str(Path(__file__).parent / "weather.py")
        self._weather = subprocess.Popen(
            self.command(sys.executable, "-S", program, str(seed), "1500", *hosts),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer("ready")

    def weather(self, source: str, target: str, **what: float) -> None:
        """Have other weather between two hosts (``*``: any) from now on: fields of ``Weather``."""
        assert self._weather is not None
        assert self._weather.stdin is not None
        words = [source, target, *(f"{name}={value}" for name, value in what.items())]
        self._weather.stdin.write(" ".join(words) + "\n")
        self._weather.stdin.flush()
        self._answer("ok")

    def _answer(self, expected: str) -> None:
        assert self._weather is not None
        assert self._weather.stdout is not None
        said = self._weather.stdout.readline().strip()
        assert said == expected, f"the weather said {said!r}"

    def _add(self, name: str) -> Host:
        host = Host(self, name, f"{NETWORK}.{len(self.hosts) + 1}")
        self.hosts[name] = host
        self.run("ip", "netns", "add", name)
        self.run("ip", "-n", name, "link", "set", "lo", "up")
        return host

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __enter__(self) -> Lan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; programs on its hosts are ended by whoever started them, before."""
        for process in (self._weather, self._holder):
            if process is None:
                continue
            for end in (process.stdin, process.stdout, process.stderr):
                if end is not None:
                    end.close()
            process.wait(10)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note(done.stderr)
        raise error
    return done.stdout
