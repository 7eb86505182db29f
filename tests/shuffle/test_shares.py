"""Shares of runs between hosts, over real sockets: the same blocks, flat memory, no half files."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_host import TOKEN, RunHost

from mrkernel.errors import ClusterError
from mrkernel.ids import WorkerId
from mrkernel.protocol.messages import MessageDecoder
from mrkernel.protocol.store_messages import ReadShares, ShareReply
from mrkernel.protocol.worker_messages import RunSource
from mrkernel.shuffle.run import RunWriter, SegmentReader, file_read, read_index, segment_readers
from mrkernel.shuffle.shares import (
    AT_ONCE,
    ShareError,
    fetch_all,
    fetch_shares,
    find_shares,
    share_files,
)
from mrkernel.shuffle.sort_buffer import SortBuffer
from mrkernel.shuffle.transfer import FrameSocket


def source_of(host: RunHost, *runs: tuple[int, int]) -> RunSource:
    return RunSource(WorkerId("w1"), "there", str(host.directory), *host.address, runs)


def write_run(path: Path, pairs: int, *, noise: bool = False) -> None:
    """A run of three partitions and several spills."""
    chance = random.Random(path.name)
    writer = RunWriter(path, 3)
    buffer = SortBuffer(3, writer=writer, limit_bytes=200_000)
    for _ in range(4):
        if noise:
            buffer.add([(n, chance.randbytes(200)) for n in range(pairs // 4)])
        else:
            buffer.add([(f"key {chance.randrange(999)}", n) for n in range(pairs // 4)])
    buffer.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunHost]:
    directory = tmp_path_factory.mktemp("there")
    (directory / "j1").mkdir()
    for index in range(3):
        write_run(directory / "j1" / f"map-{index}.1.run", 20_000)
    write_run(directory / "j1" / "map-7.1.run", 8_000, noise=True)
    one = RunHost(directory)
    yield one
    one.close()


def blocks(segments: list[SegmentReader]) -> list[list[bytes]]:
    return [
        [bytes(each._read(place.offset, place.length)) for place in each.blocks]
        for each in segments
    ]


@pytest.mark.parametrize("kernel", [True, False], ids=["by the kernel", "by hand"])
@pytest.mark.parametrize("index", [0, 7], ids=["compressed", "as it is"])
def test_a_share_is_what_the_run_has_of_the_partition(
    host: RunHost, tmp_path: Path, index: int, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_the_kernel = 0
    if kernel:
        send = os.sendfile

        def counted(out: int, file: int, offset: int, count: int) -> int:
            nonlocal by_the_kernel
            sent = send(out, file, offset, count)
            by_the_kernel += sent
            return sent

        monkeypatch.setattr(os, "sendfile", counted)
    else:
        monkeypatch.delattr(os, "sendfile")
    run = host.directory / "j1" / f"map-{index}.1.run"
    whole = read_index(run)
    for partition in range(3):
        taken: list[int] = []
        source = source_of(host, (index, 1))
        fetch_shares(source, "j1", partition, tmp_path, TOKEN, took=taken.append)
        assert sum(taken) == whole.partition(partition).nbytes
        read, share = find_shares(tmp_path, partition)[index, 1]
        assert share.partition(partition).nbytes == whole.partition(partition).nbytes
        assert share.pairs == whole.partition(partition).pairs
        assert share.sorted == whole.sorted
        original = segment_readers(file_read(run), "run", whole, partition)
        assert len(original) > 1
        assert blocks(segment_readers(read, "share", share, partition)) == blocks(original)
    expected = sum(whole.partition(p).nbytes for p in range(3)) if kernel and index == 7 else 0
    assert by_the_kernel == expected


def replies(host: RunHost, index: int, codec: str) -> ShareReply:
    peer = FrameSocket(host.address, TOKEN, "reader")
    try:
        peer.send(ReadShares((f"j1/map-{index}.1.run",), 0, codec))
        reply: ShareReply
        (reply,) = MessageDecoder(ShareReply).decode(peer.receive_alone())
        return reply
    finally:
        peer.close()


def test_compressed_is_what_shrinks_and_only_on_request(host: RunHost) -> None:
    assert replies(host, 0, "zstd").codec == "zstd"
    assert replies(host, 0, "lz4").codec == "lz4"
    assert replies(host, 0, "").codec == ""
    assert replies(host, 0, "a codec of next year").codec == ""
    assert replies(host, 7, "zstd").codec == ""  # noise


def test_what_is_here_is_not_fetched_again(host: RunHost, tmp_path: Path) -> None:
    fetch_shares(source_of(host, (0, 1), (1, 1)), "j1", 2, tmp_path, TOKEN)
    nobody = RunSource(WorkerId("w1"), "there", "", "127.0.0.1", 1, ((0, 1), (1, 1)))
    here = find_shares(tmp_path, 2)
    assert list(here) == [(0, 1), (1, 1)]
    fetch_shares(nobody, "j1", 2, tmp_path, TOKEN, here=here)
    assert len(share_files(tmp_path, 2)) == len(list(tmp_path.iterdir())) == 1
    assert find_shares(tmp_path, 1) == {}


def test_a_missing_run_is_named_and_those_before_it_are_kept(host: RunHost, tmp_path: Path) -> None:
    with pytest.raises(ShareError, match=r"map-5\.1\.run: No such file") as caught:
        fetch_shares(source_of(host, (0, 1), (5, 1), (1, 1)), "j1", 0, tmp_path, TOKEN)
    assert (caught.value.run, caught.value.blame) == ((5, 1), "gone")
    assert list(find_shares(tmp_path, 0)) == [(0, 1)]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_run_is_named(host: RunHost, tmp_path: Path) -> None:
    (host.directory / "j1" / "map-8.1.run").write_bytes(bytes(1000))
    with pytest.raises(ShareError, match="map-8") as caught:
        fetch_shares(source_of(host, (8, 1)), "j1", 0, tmp_path, TOKEN)
    assert (caught.value.run, caught.value.blame) == ((8, 1), "disk")


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.fault(28)
@pytest.mark.parametrize("index", [0, 7], ids=["compressed", "as it is"])
def test_a_block_that_is_damaged_where_it_lies_is_the_disks_fault(
    host: RunHost, tmp_path: Path, index: int
) -> None:
    """Found here, by its checksum; the shares before it are kept."""
    name = f"map-{index + 50}.1.run"
    path = host.directory / "j1" / name
    whole = (host.directory / "j1" / f"map-{index}.1.run").read_bytes()
    path.write_bytes(whole)
    places = read_index(path).partition(1).segments
    for block in (places[0][0], places[-1][-1]):
        for at in (block.offset, block.offset + block.length - 1):
            path.write_bytes(flipped(whole, at))
            there = tmp_path / f"{at}"
            there.mkdir()
            with pytest.raises(ShareError, match=f"{name} is damaged there") as caught:
                fetch_shares(source_of(host, (1, 1), (index + 50, 1)), "j1", 1, there, TOKEN)
            assert (caught.value.run, caught.value.blame) == ((index + 50, 1), "disk")
            assert list(find_shares(there, 1)) == [(1, 1)]
    # Another partition of the same run is whole.
    fetch_shares(source_of(host, (index + 50, 1)), "j1", 0, tmp_path, TOKEN)
    path.unlink()


@pytest.mark.fault(28)
@pytest.mark.parametrize("index", [0, 7], ids=["compressed", "as it is"])
def test_a_block_that_is_damaged_on_the_way_is_fetched_once_more(
    host: RunHost,
    tmp_path: Path,
    index: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receive = FrameSocket.receive_into
    left = 40_000

    def flipping(self: FrameSocket, view: memoryview) -> int:
        nonlocal left
        got = receive(self, view)
        if got >= 1000 and left > 0 >= left - got:
            view[got // 2] ^= 1
        left -= got
        return got

    monkeypatch.setattr(FrameSocket, "receive_into", flipping)
    with caplog.at_level("WARNING"):
        fetch_shares(source_of(host, (1, 1), (index, 1), (2, 1)), "j1", 0, tmp_path, TOKEN)
    assert left < 0
    assert "damaged on the way here, once" in caplog.text
    monkeypatch.undo()
    found = find_shares(tmp_path, 0)
    assert sorted(found) == sorted([(1, 1), (index, 1), (2, 1)])
    for number in (1, index, 2):
        run = host.directory / "j1" / f"map-{number}.1.run"
        read, share = found[number, 1]
        original = segment_readers(file_read(run), "run", read_index(run), 0)
        assert blocks(segment_readers(read, "share", share, 0)) == blocks(original)


def test_nobody_is_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    source = RunSource(WorkerId("w1"), "there", "", *address, ((4, 2),))
    with pytest.raises(ShareError, match="refused") as caught:
        fetch_shares(source, "j1", 0, tmp_path, TOKEN)
    assert (caught.value.run, caught.value.blame) == ((4, 2), "network")


@pytest.mark.parametrize("index", [0, 7], ids=["compressed", "as it is"])
def test_a_host_that_dies_in_the_middle_leaves_no_half_share(
    host: RunHost, tmp_path: Path, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = FrameSocket.receive_into
    left = 20_000

    def dying(self: FrameSocket, view: memoryview) -> int:
        nonlocal left
        if left <= 0:
            raise ClusterError("it hung up")
        got = receive(self, view[: min(len(view), left)])
        left -= got
        return got

    monkeypatch.setattr(FrameSocket, "receive_into", dying)
    with pytest.raises(ShareError, match="hung up") as caught:
        fetch_shares(source_of(host, (1, 1), (index, 1)), "j1", 0, tmp_path, TOKEN)
    assert caught.value.run in ((1, 1), (index, 1))
    assert len(list(tmp_path.iterdir())) == len(find_shares(tmp_path, 0)) <= 1
    assert caught.value.run not in find_shares(tmp_path, 0)


SERVER = """
    import asyncio, sys
    from pathlib import Path
    from mrkernel.shuffle.serving import RunServer

    async def live():
        server = RunServer(Path(sys.argv[1]), b"t" * 32)
        server.listen(0, "127.0.0.1")
        print(server.address[1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(live())
"""


@pytest.mark.fault(3)
def test_a_killed_host_is_an_error_and_the_share_is_had_from_another(
    host: RunHost, tmp_path: Path
) -> None:
    write_run(host.directory / "j1" / "map-9.1.run", 400_000, noise=True)
    script = textwrap.dedent(SERVER)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(host.directory)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    source = RunSource(
        WorkerId("w1"), "there", "", "127.0.0.1", int(process.stdout.readline()), ((9, 1),)
    )
    arrived = 0

    def kill(nbytes: int) -> None:
        nonlocal arrived
        arrived += nbytes
        process.kill()
        process.wait()

    try:
        with pytest.raises(ShareError) as caught:
            fetch_shares(source, "j1", 0, tmp_path, TOKEN, took=kill)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert (caught.value.run, caught.value.blame) == ((9, 1), "network")
    assert arrived > 0
    assert list(tmp_path.iterdir()) == []
    fetch_shares(source_of(host, (9, 1)), "j1", 0, tmp_path, TOKEN)
    whole = read_index(host.directory / "j1" / "map-9.1.run")
    _, share = find_shares(tmp_path, 0)[9, 1]
    assert share.partition(0).nbytes == whole.partition(0).nbytes > arrived


def test_memory_stays_flat_however_large_the_share(host: RunHost, tmp_path: Path) -> None:
    """Both ends are in this process, and so is what is under way between them."""
    for index, noise in ((20, False), (21, True)):
        path = host.directory / "j1" / f"map-{index}.1.run"
        writer = RunWriter(path, 1)
        buffer = SortBuffer(1, writer=writer, limit_bytes=8 << 20)
        chance = random.Random(1)
        for number in range(120):
            fill = chance.randbytes if noise else lambda size: b"x" * size
            buffer.add([(n, b"%d %d " % (number, n) + fill(990)) for n in range(300)])
        buffer.close()
        assert path.stat().st_size > 30 << 20
        tracemalloc.start()
        try:
            fetch_shares(source_of(host, (index, 1)), "j1", 0, tmp_path, TOKEN)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert find_shares(tmp_path, 0)[index, 1][1].partition(0).nbytes > 30 << 20
        assert peak < 10 << 20


def some_sources(count: int) -> list[RunSource]:
    return [RunSource(WorkerId(f"w{n}"), f"h{n}", "", "127.0.0.1", 1, ()) for n in range(count)]


def test_a_file_that_goes_while_one_looks_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mrkernel.shuffle.shares.share_files", lambda *_: [tmp_path / "gone.run"])
    assert find_shares(tmp_path, 0) == {}


def test_a_few_workers_at_once() -> None:
    lock, now, most, seen = threading.Lock(), 0, 0, set()
    together = threading.Barrier(AT_ONCE)

    def fetch(source: RunSource, stop: threading.Event) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            seen.add(source.worker)
        together.wait(10)
        with lock:
            now -= 1

    fetch_all(some_sources(10 * AT_ONCE), fetch)
    assert most == AT_ONCE
    assert len(seen) == 10 * AT_ONCE


def test_the_first_error_ends_it_and_waits_for_nobody() -> None:
    released, begun = threading.Event(), []

    def fetch(source: RunSource, stop: threading.Event) -> None:
        begun.append(source.worker)
        if source.worker == "w3":
            raise ShareError((1, 1), "gone", "gone")
        released.wait(10)
        assert stop.is_set()

    with pytest.raises(ShareError, match="gone"):
        fetch_all(some_sources(50), fetch)
    assert not released.is_set()
    assert len(begun) < 2 * AT_ONCE
    released.set()
