"""Strangers at the ports of a cluster that works: shut out in time, and the job does not notice."""

from __future__ import annotations

import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from watching import Gate, at_most, eventually, family

from mrkernel.engines.local import LocalCluster
from mrkernel.errors import SecurityError
from mrkernel.ids import JobId
from mrkernel.protocol.client_messages import Attach, ToClient, Welcome
from mrkernel.protocol.doorway import MOST_STRANGERS
from mrkernel.protocol.framing import FrameDecoder, pack_frame
from mrkernel.protocol.handshake import Connector
from mrkernel.protocol.heartbeat import HeartbeatSender
from mrkernel.protocol.messages import MessageDecoder, frame_of
from mrkernel.protocol.worker_messages import Register, Registered, Start, ToWorker
from mrkernel.shuffle.transfer import FrameSocket

Address = tuple[str, int]


def ports(pid: int) -> list[Address]:
    """Where a process listens."""
    return [
        (str(c.laddr.ip), int(c.laddr.port))
        for c in psutil.Process(pid).net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    ]


def datagram_ports(pid: int) -> list[Address]:
    """Where a process hears datagrams."""
    return [
        (str(c.laddr.ip), int(c.laddr.port))
        for c in psutil.Process(pid).net_connections("udp")
        if not c.raddr
    ]


def doors(cluster: LocalCluster) -> dict[str, Address]:
    """The ports of the manager and of one worker."""
    connection = cluster.client.connection
    worker = next(row for row in cluster.workers().values() if row["state"] == "alive")
    (data,) = ports(worker["pid"])
    return {"manager": (connection.host, connection.port), "worker": data}


@pytest.fixture(params=["manager", "worker"])
def door(request: pytest.FixtureRequest, cluster: LocalCluster) -> Address:
    return doors(cluster)[request.param]


@pytest.fixture
def busy(cluster: LocalCluster, gate: Gate) -> Iterator[None]:
    """A job runs meanwhile, and ends as if nothing had been."""
    pause = gate.pause

    def mapper(record: int) -> Iterator[tuple[int, int]]:
        pause("map")
        yield record % 5, 1

    workers = {name for name, row in cluster.workers().items() if row["state"] == "alive"}
    job = cluster.submit(mapper, range(100), "sum", split_size=40)
    gate.wait_for("map")
    yield
    gate.open()
    assert job.result(20).to_dict() == dict.fromkeys(range(5), 20)
    assert cluster.client.look(job.id)["failed"] == 0
    living = {name for name, row in cluster.workers().items() if row["state"] == "alive"}
    assert living == workers


def until_closed(peer: socket.socket) -> bytes:
    """What the other side says until it closes, however it closes."""
    said = b""
    try:
        while data := peer.recv(65536):
            said += data
    except ConnectionResetError:
        return said
    return said


def header(length: int, magic: bytes = b"mr", version: int = 1) -> bytes:
    return struct.pack("!2sBBII", magic, version, 0, length, 0)


OPENINGS = {
    "garbage": os.urandom(4096),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "oversized": header(2**32 - 1) + b"x" * 1000,
    "just too large": header(4097),
    "another version": header(10, version=9),
    "a message before the handshake": frame_of(Attach(1, JobId("j1"))),
    "a nested payload": pack_frame(b"\x82\xa4type\xa5hello\xa1x" + b"\x91" * 3900),
    "broken text": pack_frame(b"\x81\xa4type\xa2\xff\xff"),
}


@pytest.mark.fault(54, 55)
@pytest.mark.parametrize("opening", OPENINGS)
def test_a_stranger_is_shut_out_at_once(busy: None, door: Address, opening: str) -> None:
    with closing(socket.create_connection(door, timeout=8)) as peer, at_most(1.0, "the end"):
        peer.sendall(OPENINGS[opening])
        assert until_closed(peer) == b""


@pytest.mark.fault(56)
def test_half_a_handshake_and_slow_talkers_are_shut_out_in_time(
    busy: None, cluster: LocalCluster
) -> None:
    """All at once: whoever says nothing, a byte now and then, or half of it, has five seconds."""
    hello = pack_frame(Connector(b"?" * 32, "worker", os.urandom(32)).hello())
    began = time.monotonic()
    peers: list[socket.socket] = []
    for address in doors(cluster).values():
        for opening in (b"", b"m", header(100), hello[:-1], hello):
            for _ in range(10):
                peer = socket.create_connection(address, timeout=8)
                peer.sendall(opening)
                peers.append(peer)
    trickle, stop = peers[0], threading.Event()

    def talk_slowly() -> None:
        while not stop.wait(0.5):
            try:
                trickle.sendall(b"m")
            except OSError:
                return

    thread = threading.Thread(target=talk_slowly)
    thread.start()
    # Meanwhile the cluster answers as ever.
    with at_most(1.0, "an answer"):
        assert cluster.workers()
    for peer in peers:
        said = until_closed(peer)
        assert len(said) < 200  # a challenge at most
        peer.close()
    stop.set()
    thread.join()
    assert time.monotonic() - began < 5 + 4  # a machine may be busy


@pytest.mark.fault(57, 63)
def test_a_wrong_token_is_told_nothing(busy: None, door: Address) -> None:
    with at_most(1.0, "the end"), pytest.raises(SecurityError, match="does not know"):
        FrameSocket(door, b"o" * 32, "client")
    # Who does not mind a wrong challenge, and offers a made-up proof, gets no further.
    with closing(socket.create_connection(door, timeout=8)) as peer, at_most(1.0, "the end"):
        peer.sendall(pack_frame(Connector(b"o" * 32, "client", b"n" * 32).hello()))
        challenge = peer.recv(4096)
        assert 0 < len(challenge) < 200
        peer.sendall(pack_frame(b"\x82\xa4type\xa5proof\xa5proof\xc4\x20" + b"p" * 32))
        assert until_closed(peer) == b""


@pytest.mark.fault(58)
def test_a_recorded_handshake_is_no_key(busy: None, cluster: LocalCluster) -> None:
    connection = cluster.client.connection
    address = (connection.host, connection.port)
    connector = Connector(connection.secret, "client", b"n" * 32)
    with closing(socket.create_connection(address, timeout=8)) as peer:
        peer.sendall(pack_frame(connector.hello()))
        frame = peer.recv(4096)
        proof = pack_frame(connector.prove(frame[12:]))
    with closing(socket.create_connection(address, timeout=8)) as peer, at_most(1.0, "the end"):
        peer.sendall(pack_frame(connector.hello()))
        peer.recv(4096)
        peer.sendall(proof)
        assert until_closed(peer) == b""


def told(frame: bytes) -> list[Any]:
    """What a manager said to a client."""
    return list(MessageDecoder(ToClient).decode(frame))


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("client", b"garbage, garbage"),
        ("client", frame_of(Register("h", "h", 1, 1, "3.11", "", 0, "/"))),
        ("worker", frame_of(Attach(1, JobId("j1")))),
        ("worker", frame_of(Start(JobId("j1"), "map-0", 1, 0))),  # type: ignore[arg-type]
        ("client", pack_frame(b"raw", 1)),
        ("reader", b""),
    ],
)
def test_a_member_who_leaves_his_role_is_shown_out(
    busy: None, cluster: LocalCluster, role: Any, said: bytes
) -> None:
    connection = cluster.client.connection
    member = FrameSocket((connection.host, connection.port), connection.secret, role)
    try:
        with at_most(1.0, "the end"):
            member._socket.sendall(said)
            heard = [
                m for _, f in FrameDecoder().feed(until_closed(member._socket)) for m in told(f)
            ]
    finally:
        member.close()
    assert [m for m in heard if not isinstance(m, Welcome)] == []


@pytest.mark.fault(63)
def test_the_connection_file_is_for_its_owner_alone(cluster: LocalCluster) -> None:
    (path,) = Path(os.environ["JUPYTER_RUNTIME_DIR"]).glob("mrkernel-*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cluster.client.connection.token in path.read_text()


@pytest.mark.fault(63)
def test_the_token_is_nowhere_else(cluster: LocalCluster, busy: None) -> None:
    secret = cluster.client.connection.secret
    forms = (secret, secret.hex().encode())
    for pid in family(cluster._supervisor.pid):
        for name in ("cmdline", "environ", "comm"):
            told = Path(f"/proc/{pid}/{name}").read_bytes()
            assert not any(form in told for form in forms), f"{name} of {pid}"
    for root in (os.environ["XDG_CACHE_HOME"], os.environ["TMPDIR"]):
        for path in Path(root).rglob("*"):
            if path.name == "identity.json":  # a restarted manager must know it
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
            elif path.is_file() and path.stat().st_size < 1 << 20:
                assert not any(form in path.read_bytes() for form in forms), path
    assert secret.hex() not in repr(cluster.client.connection)
    assert secret.hex() not in repr(cluster)


def test_user_code_cannot_see_the_token_in_its_environment(cluster: LocalCluster) -> None:
    here, secret = os.getpid(), cluster.client.connection.secret.hex()

    def mapper(record: int) -> Iterator[tuple[str, int]]:
        import sys

        if here not in (os.getpid(), os.getppid()):
            for value in [*os.environ.values(), *sys.argv]:
                yield value, 1

    seen = cluster.run(mapper, range(1), "sum").to_dict()
    assert seen
    assert not any(secret in value for value in seen)


def test_everything_listens_on_loopback_only(
    cluster: LocalCluster, busy: None, member: Member
) -> None:
    listening = {address: pid for pid in family(cluster._supervisor.pid) for address in ports(pid)}
    assert len(listening) >= 3
    assert {host for host, _ in listening} == {"127.0.0.1"}
    heard = {a for pid in family(cluster._supervisor.pid) for a in datagram_ports(pid)}
    assert member.door in heard
    # Workers only send them: to a socket that asked for no port, the kernel gives one.
    workers = {row["pid"] for row in cluster.workers().values()}
    others = {
        a
        for pid in family(cluster._supervisor.pid)
        if pid not in workers
        for a in datagram_ports(pid)
    }
    assert others == {member.door}


@pytest.mark.fault(63, 65)
def test_spill_is_for_its_owner_alone(cluster: LocalCluster, busy: None) -> None:
    spill = Path(os.environ["XDG_CACHE_HOME"]) / "mrkernel" / "spill"
    (folder,) = spill.iterdir()
    assert stat.S_IMODE(spill.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.fault(56)
def test_a_flood_of_connections_leaves_nothing_behind(
    busy: None, door: Address, cluster: LocalCluster
) -> None:
    pids = [p for p in family(cluster._supervisor.pid) if door in ports(p)]

    def open_files() -> int:
        return sum(psutil.Process(pid).num_fds() for pid in pids)

    before = open_files()
    for _ in range(300):
        with closing(socket.create_connection(door, timeout=8)) as peer:
            peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
    calm: Callable[[], bool] = lambda: open_files() <= before + 2  # noqa: E731
    eventually(calm, "end of the sockets", 5)


# --- heartbeats -----------------------------------------------------------------------------------


class Member:
    """A worker of our own making: it registers, beats when it is told to, and does no work."""

    def __init__(self, cluster: LocalCluster) -> None:
        connection = cluster.client.connection
        self.cluster = cluster
        self._socket = socket.create_connection((connection.host, connection.port), timeout=8)
        connector = Connector(connection.secret, "worker", os.urandom(32))
        decoder = FrameDecoder()
        self._socket.sendall(pack_frame(connector.hello()))
        self._socket.sendall(pack_frame(connector.prove(self._receive(decoder))))
        decoder.open()
        place = ("127.0.0.1", 1, "/none")
        name = os.urandom(8).hex()  # of no host that comes and goes
        introduction = Register("h", name, os.getpid(), 1, "3.11", *place, instance=name)
        self._socket.sendall(frame_of(introduction))
        said: list[Any] = MessageDecoder(ToWorker).decode(self._receive(decoder))
        self.registered = next(m for m in said if isinstance(m, Registered))
        self.sender = HeartbeatSender(connector.session_key, self.registered.number)
        self.door = (connection.host, self.registered.beat_port)
        self.datagrams = socket.socket(type=socket.SOCK_DGRAM)

    def _receive(self, decoder: FrameDecoder) -> bytes:
        frames: list[tuple[int, bytes]] = []
        while not frames:
            frames = list(decoder.feed(self._socket.recv(65536)))
        return frames[0][1]

    def beat(self, datagram: bytes | None = None) -> bytes:
        """Send one; a fresh one unless told otherwise."""
        datagram = self.sender.next() if datagram is None else datagram
        self.datagrams.sendto(datagram, self.door)
        return datagram

    @property
    def state(self) -> str:
        return str(self.cluster.workers()[self.registered.worker]["state"])

    def close(self) -> None:
        self._socket.close()
        self.datagrams.close()


@pytest.fixture
def member(cluster: LocalCluster) -> Iterator[Member]:
    made = Member(cluster)
    yield made
    made.close()
    eventually(lambda: made.state == "dead", "end of the member")


@pytest.mark.fault(59)
def test_heartbeats_played_again_keep_nobody_alive(member: Member) -> None:
    """Nor do forged ones, old ones, or those of another registration."""
    recorded = [member.beat() for _ in range(3)]
    eventually(lambda: member.state == "alive", "life")
    beating = time.monotonic()
    while time.monotonic() - beating < 0.6:  # a worker that says nothing else
        recorded.append(member.beat())
        time.sleep(0.05)
    assert member.state == "alive"
    stranger = HeartbeatSender(os.urandom(32), member.registered.number)
    stop = threading.Event()

    def play() -> None:
        with closing(socket.socket(type=socket.SOCK_DGRAM)) as sending:
            while not stop.wait(0.01):
                for datagram in (
                    *recorded,
                    *reversed(recorded),
                    stranger.next(),
                    recorded[-1][:-1],
                ):
                    sending.sendto(datagram, member.door)

    player = threading.Thread(target=play)
    player.start()
    try:
        with at_most(1.0, "suspicion"):
            eventually(lambda: member.state == "suspect", "suspicion")
        with at_most(3.0, "death"):
            eventually(lambda: member.state == "dead", "death")
        member.beat()  # a true one, and too late: it revives nobody
        steady = time.monotonic() + 0.3
        while time.monotonic() < steady:
            assert member.state == "dead"
    finally:
        stop.set()
        player.join()


@pytest.mark.fault(59)
def test_a_flood_of_forged_heartbeats_changes_nothing(
    busy: None, member: Member, cluster: LocalCluster
) -> None:
    """Random ones, and well-formed ones in the name of every worker."""
    before = {name: row["state"] for name, row in cluster.workers().items()}
    forgers = [HeartbeatSender(b"?" * 32, number) for number in range(200)]
    with at_most(1.0, "an answer"):
        for count in range(30_000):
            member.beat(os.urandom(36) if count % 2 else forgers[count % 200].next())
            if count % 1000 == 0:
                member.beat()
        assert cluster.workers()
    after = {name: row["state"] for name, row in cluster.workers().items()}
    assert {n for n, s in after.items() if s == "dead"} == {
        n for n, s in before.items() if s == "dead"
    }
    assert after.keys() == before.keys()


# --- crowds ---------------------------------------------------------------------------------------


@pytest.mark.fault(56)
def test_a_crowd_of_silent_strangers_keeps_nobody_out(
    busy: None, door: Address, cluster: LocalCluster
) -> None:
    """More connections than a server lets wait; whoever knows the token is let in all the same."""
    pids = [p for p in family(cluster._supervisor.pid) if door in ports(p)]
    waiting: Callable[[], int] = lambda: sum(  # noqa: E731
        c.laddr == door and c.status == psutil.CONN_ESTABLISHED
        for pid in pids
        for c in psutil.Process(pid).net_connections("tcp")
    )
    before = waiting()
    crowd = [socket.create_connection(door, timeout=8) for _ in range(400)]
    try:
        eventually(lambda: waiting() <= before + MOST_STRANGERS, "room", 3)
        with at_most(1.0, "a handshake"):
            role: Any = "client" if door == doors(cluster)["manager"] else "reader"
            FrameSocket(door, cluster.client.connection.secret, role).close()
        with at_most(1.0, "an answer"):
            assert cluster.workers()
    finally:
        for peer in crowd:
            peer.close()
