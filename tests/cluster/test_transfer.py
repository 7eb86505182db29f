"""Ranges of files over TCP: what a reader gets, and what it can never get."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_host import TOKEN, RunHost
from tornado.iostream import IOStream

from mrkernel.errors import ClusterError, SecurityError
from mrkernel.protocol.connection import Connection
from mrkernel.protocol.framing import CONTROL, RAW, FrameDecoder, pack_frame
from mrkernel.protocol.handshake import NONCE_SIZE, Acceptor
from mrkernel.protocol.messages import BlobPiece, MessageDecoder, frame_of
from mrkernel.protocol.store_messages import RangeReply, ReadRange
from mrkernel.shuffle import transfer
from mrkernel.shuffle.transfer import FrameSocket, RunReader

Address = tuple[str, int]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunHost]:
    root = tmp_path_factory.mktemp("serving")
    (root / "outside").write_bytes(b"secret")
    directory = root / "worker"
    (directory / "j1").mkdir(parents=True)
    (directory / "j1" / "a.run").write_bytes(bytes(range(256)))
    (directory / "j1" / "empty").write_bytes(b"")
    (directory / "j1" / "big").write_bytes(b"0123456789" * 400_000)
    (directory / "top").write_bytes(b"secret")
    server = RunHost(directory)
    yield server
    server.close()


@pytest.fixture
def reader(serving: RunHost) -> Iterator[RunReader]:
    one = RunReader(serving.address, TOKEN)
    yield one
    one.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.integers(-300, 300), st.integers(-1, 300))
def test_a_range_is_what_slicing_gives(reader: RunReader, offset: int, length: int) -> None:
    data = bytes(range(256))
    start = offset if offset >= 0 else max(0, 256 + offset)
    stop = 256 if length < 0 else start + length
    assert reader.read("j1/a.run", offset, length) == data[start:stop]


def test_a_large_file_comes_whole(reader: RunReader, serving: RunHost) -> None:
    assert reader.read("j1/big", 0, -1) == (serving.directory / "j1" / "big").read_bytes()
    assert reader.read("j1/empty", 0, -1) == b""


def test_a_missing_file_is_told_and_the_conversation_goes_on(reader: RunReader) -> None:
    with pytest.raises(ClusterError, match="j1/gone: No such file"):
        reader.read("j1/gone", 0, -1)
    assert reader.read("j1/a.run", 0, 2) == b"\0\1"


@pytest.mark.fault(65)
@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "j1/../../outside",
        "/etc/passwd",
        "top",
        "j1/..",
        "j1/a.run\0",
        "j1//a.run",
        "",
    ],
)
def test_no_name_leads_out_of_the_directory(reader: RunReader, name: str) -> None:
    with pytest.raises(ClusterError, match=r"no name of a run|Is a directory"):
        reader.read(name, 0, -1)


def test_without_the_token_nothing_is_read(serving: RunHost) -> None:
    with pytest.raises(SecurityError):
        RunReader(serving.address, b"o" * 32)


def test_only_readers_are_served(serving: RunHost) -> None:
    peer = FrameSocket(serving.address, TOKEN, "client")
    try:
        with pytest.raises(ClusterError):
            peer.send(ReadRange("j1/a.run", 0, 1))
            peer.receive(CONTROL)
    finally:
        peer.close()


def test_a_reader_that_leaves_in_the_middle_disturbs_nobody(serving: RunHost) -> None:
    one = FrameSocket(serving.address, TOKEN, "reader")
    one.send(ReadRange("j1/big", 0, -1))
    one.receive_alone()
    one.receive_bytes(10)
    one.close()
    other = RunReader(serving.address, TOKEN)
    assert other.read("j1/a.run", 1, 1) == b"\1"
    other.close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    with pytest.raises(ClusterError, match=f"{address[0]}:{address[1]}: Connection refused"):
        RunReader(address, TOKEN)


class Impostor:
    """Knows the token, and then does as it is told."""

    def __init__(self, *answers: bytes) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(answers)))
        self._thread.start()
        self._ready.wait()

    async def _live(self, answers: tuple[bytes, ...]) -> None:
        done = asyncio.Event()

        async def serve(connection: Connection) -> None:
            stream = connection._stream
            await stream.read_bytes(1, partial=True)
            for answer in answers:
                await stream.write(answer)
            stream.close()
            done.set()

        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        self.address: Address = listening.getsockname()
        self._ready.set()
        loop = asyncio.get_running_loop()
        accepted, _ = await loop.sock_accept(listening)
        connection = await Connection.accept(IOStream(accepted), TOKEN)
        assert connection is not None
        await serve(connection)
        listening.close()

    def close(self) -> None:
        self._thread.join()


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ((), "it hung up"),
        ((frame_of(RangeReply(10)),), "it hung up"),
        ((frame_of(RangeReply(10)), b"123456789"), "it hung up"),
        ((pack_frame(b"x", RAW),), "wrong kind"),
        ((b"garbage, garbage",), "does not speak"),
        ((frame_of(),), "an odd reply"),
        ((frame_of(ReadRange("a", 0, 0)),), "an odd reply"),
    ],
    ids=["hangs up", "nothing", "cut short", "wrong kind", "garbage", "no reply", "not a reply"],
)
def test_whatever_a_server_does_it_is_a_cluster_error(answers: tuple[bytes, ...], why: str) -> None:
    impostor = Impostor(*answers)
    reader = RunReader(impostor.address, TOKEN)
    try:
        with pytest.raises(ClusterError, match=why):
            reader.read("j1/a.run", 0, 10)
    finally:
        reader.close()
        impostor.close()


class Slow:
    """Lets a peer in, and reads what it says only when it is told to."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self._listening.getsockname()
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.frames: list[bytes] = []
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def _live(self) -> None:
        peer, _ = self._listening.accept()
        decoder, acceptor = FrameDecoder(), Acceptor(TOKEN, b"a" * NONCE_SIZE)

        def read() -> bytes:
            frames: list[tuple[int, bytes]] = []
            while not frames:
                frames = list(decoder.feed(peer.recv(4096)))
            return frames[0][1]

        peer.sendall(pack_frame(acceptor.challenge(read())))
        acceptor.verify(read())
        decoder.open()
        list(decoder.feed(peer.recv(10)))
        self.began.set()
        self.go_on.wait()
        while data := peer.recv(1 << 20):
            self.frames += [payload for _, payload in decoder.feed(data)]
        peer.close()

    def close(self) -> None:
        self.go_on.set()
        self._thread.join()
        self._listening.close()


def test_the_interrupt_key_does_not_cut_a_frame() -> None:
    """Half a frame would make the other side take the next one for its rest."""
    slow = Slow()
    peer = FrameSocket(slow.address, TOKEN, "client")

    def interrupt() -> None:
        slow.began.wait()
        os.kill(os.getpid(), signal.SIGINT)
        slow.go_on.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    large = BlobPiece("d", os.urandom(20_000_000))
    with pytest.raises(KeyboardInterrupt):
        peer.send(large)
    peer.send(ReadRange("next", 0, 0))
    peer.close()
    thread.join()
    slow.close()
    assert [MessageDecoder(BlobPiece | ReadRange).decode(f) for f in slow.frames] == [
        [large],
        [ReadRange("next", 0, 0)],
    ]


def test_pressed_twice_the_interrupt_key_ends_the_wait() -> None:
    """Nobody reads: a manager that is frozen, say."""
    slow = Slow()
    peer = FrameSocket(slow.address, TOKEN, "client")

    def interrupt() -> None:
        slow.began.wait()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            pressed.wait(0.05)  # two that come as one are one

    pressed = threading.Event()
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        peer.send(BlobPiece("d", bytes(20_000_000)))
    thread.join()
    with pytest.raises(ClusterError):
        peer.send(ReadRange("next", 0, 0))
    slow.close()
    assert slow.frames == []


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "READ_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(transfer, "CONNECT_TIMEOUT_S", 0.05)
        with pytest.raises(ClusterError, match="timed out"):
            RunReader(silent.getsockname(), TOKEN)
