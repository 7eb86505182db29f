"""Workers that share no disk, on this machine: runs and results travel over TCP.

A manager of its own, and workers that each believe to be on another host than the rest.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from watching import PATIENCE_S, Gate, end, eventually, feed, worker_of

from mrkernel.engines.remote import ManagerClient, connect
from mrkernel.shuffle.shares import find_shares

WORKER = """
    import sys
    from pathlib import Path

    import mrkernel.data.host

    name, connection, directory = sys.argv[1:]
    mrkernel.data.host.host_id = lambda: name  # before anybody imports it from there

    from mrkernel.errors import ManagerUnreachableError
    from mrkernel.security.token import read_connection_file
    from mrkernel.worker.config import WorkerConfig
    from mrkernel.worker.server import main

    manager = read_connection_file(Path(connection))
    address = (manager.host, manager.port)
    config = WorkerConfig(
        address, manager.secret, 1, Path(directory), lease_s=1.0, always_fetch=name == "fetcher"
    )
    try:
        sys.exit(main(config))
    except ManagerUnreachableError as error:
        sys.exit(7)
"""


MANAGER = """
import sys, mrkernel.manager.stores
from mrkernel.cli import main

mrkernel.manager.stores.GRACE_S = 1.0  # before maps of a silent host run again: tests wait
sys.exit(main(sys.argv[1:]))
"""


class Hosts:
    """A manager and its workers, each a process of this test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[Any]] = {}
        (folder / "worker.py").write_text(textwrap.dedent(WORKER))
        self.client: ManagerClient | None = None

    def start(self) -> None:
        manager = subprocess.Popen(
            [sys.executable, "-c", MANAGER, "manager", "--port", "0", "--state", self.folder / "m"],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes["manager"] = manager
        assert manager.stdout is not None
        line = manager.stdout.readline()
        found = re.search(r"manager (\w+) listens on (\S+:\d+)", line)
        assert found, line
        self.connection = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / f"mrkernel-{found[1]}.json"
        self.client = connect(found[2])
        for name in ("east", "west", "fetcher"):
            self.add(name)
        self.wait(3)

    def add(self, name: str) -> None:
        directory = self.folder / f"{name}-{len(self.processes)}"
        arguments = [name, str(self.connection), str(directory)]
        self.processes[name] = subprocess.Popen(
            [sys.executable, str(self.folder / "worker.py"), *arguments], start_new_session=True
        )

    def directories(self) -> list[str]:
        """Where the living workers keep their files."""
        return [str(p.args[-1]) for n, p in self.processes.items() if n != "manager"]  # type: ignore[index]

    def workers(self) -> dict[str, dict[str, Any]]:
        assert self.client is not None
        rows: dict[str, dict[str, Any]] = self.client.look("cluster")["workers"]
        return rows

    def wait(self, count: int) -> None:
        eventually(
            lambda: sum(r["state"] == "alive" for r in self.workers().values()) >= count,
            f"{count} workers",
            PATIENCE_S,
        )

    def stop(self) -> None:
        if self.client is not None:
            self.client.close()
        end(self.processes.values())


@pytest.fixture(scope="module")
def shared_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    made = Hosts(tmp_path_factory.mktemp("hosts"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def hosts(shared_hosts: Hosts) -> Hosts:
    shared_hosts.wait(3)
    return shared_hosts


#: With a word each of its own, so that no run is small enough to be carried in a message.
LINES = [f"w{n % 211} w{n % 31} w{n % 7} {n:070}" for n in range(3000)]
EXPECTED = Counter(word for line in LINES for word in line.split())


def submit(hosts: Hosts, mapper: Any, inputs: Any, reducer: Any, **options: Any) -> Any:
    from mrkernel.engines.api import submit

    return submit(mapper, inputs, reducer, on=hosts.client, **options)


def split_words(line: str) -> list[tuple[str, int]]:
    return [(word, 1) for word in line.split()]


@pytest.mark.parametrize("combiner", [None, "sum"])
def test_a_job_over_tcp_gives_the_same(hosts: Hosts, combiner: str | None) -> None:
    job = submit(
        hosts, split_words, iter(LINES), lambda w, n: sum(n), split_size=20_000, combiner=combiner
    )
    assert job.result(20).to_dict() == EXPECTED
    view = hosts.client.look(job.id)  # type: ignore[union-attr]
    assert view["shuffle"]["total"] > 0
    assert (view["failed"], view["redone"]) == (0, 0)


def test_a_large_result_is_read_over_tcp_when_it_is_asked_for(hosts: Hosts) -> None:
    """More than is copied at the end: it stays where it is until somebody reads it."""
    count, size = 24, 1_000_000
    job = submit(
        hosts,
        lambda n: [(n, n.to_bytes(4, "big") * (size // 4))],
        range(count),
        "first",
        split_size=20,
        reduce_tasks=3,
    )
    result = job.result(30)
    assert len(result) == count
    for key, value in result:
        assert value == key.to_bytes(4, "big") * (size // 4)
    result.release()


def test_a_middle_sized_result_is_copied_over_tcp(hosts: Hosts) -> None:
    job = submit(hosts, lambda n: [(n % 3, "x" * 100_000)], range(9), "list", reduce_tasks=3)
    whole = job.result(20).to_dict()
    assert {key: len(values) for key, values in whole.items()} == {0: 3, 1: 3, 2: 3}
    hosts.client.release(job.id)  # type: ignore[union-attr]
    assert job.result(1).to_dict() == whole


@pytest.mark.fault(3)
def test_a_host_dies_with_map_output_that_others_are_about_to_read(
    hosts: Hosts, gate: Gate
) -> None:
    """Its runs are gone for good: readers find nobody, and the maps run again elsewhere."""
    pause = gate.pause

    def reducer(word: str, ones: Any) -> int:
        pause(word)
        return sum(ones)

    job = submit(hosts, split_words, iter(LINES), reducer, split_size=20_000, reduce_tasks=9)
    runner = gate.wait_for()
    victim = worker_of(hosts, runner)
    name = next(n for n, p in hosts.processes.items() if p.pid == hosts.workers()[victim]["pid"])
    os.killpg(hosts.processes[name].pid, signal.SIGKILL)
    hosts.processes.pop(name).wait()
    gate.open()
    assert job.result(30).to_dict() == EXPECTED
    said = [text for text in feed(hosts, job.id) if text.startswith(f"{victim} died")]
    assert len(said) == 1
    assert "run again" in said[0] or "runs again" in said[0]
    hosts.add(name)
    hosts.wait(3)


SIZE = 1_000_000


def large_result(hosts: Hosts) -> Any:
    """More than is copied at the end; its parts are files of several hosts."""

    def mapper(n: int) -> list[tuple[int, bytes]]:
        return [(n, n.to_bytes(4, "big") * (SIZE // 4))]

    return submit(hosts, mapper, range(24), "first", split_size=20, reduce_tasks=6).result(30)


def test_a_chained_job_reads_parts_of_other_hosts(hosts: Hosts) -> None:
    large = large_result(hosts)
    found = large.mapreduce(lambda key, value: [(key % 5, (len(value), value[:4]))], "list")
    assert {key: sorted(values) for key, values in found} == {
        rest: [(SIZE, n.to_bytes(4, "big")) for n in range(rest, 24, 5)] for rest in range(5)
    }
    assert hosts.client.look(found.job)["failed"] == 0  # type: ignore[union-attr]
    large.release()


@pytest.mark.fault(2)
def test_a_host_dies_with_parts_that_a_chained_job_reads(hosts: Hosts, gate: Gate) -> None:
    """The job that made them makes them again, and the chained job goes on."""
    pause = gate.pause
    large = large_result(hosts)

    def mapper(key: int, value: bytes) -> list[tuple[int, int]]:
        pause(str(key))
        return [(key % 5, len(value))]

    job = submit(hosts, mapper, large, "sum", no_backup=True)
    victim = worker_of(hosts, gate.wait_for())
    name = next(n for n, p in hosts.processes.items() if p.pid == hosts.workers()[victim]["pid"])
    os.killpg(hosts.processes[name].pid, signal.SIGKILL)
    hosts.processes.pop(name).wait()
    large.release()  # waits until it is read
    gate.open()
    assert job.result(60).to_dict() == {n: SIZE * len(range(n, 24, 5)) for n in range(5)}
    assert hosts.client.look(job.id)["ended"] is not None  # type: ignore[union-attr]
    hosts.add(name)
    hosts.wait(3)


def submit_until_last(hosts: Hosts, gate: Gate) -> Any:
    """A job whose last line waits; a partition for each host, two of three fetched from others."""
    pause = gate.pause

    def mapper(line: str) -> list[tuple[str, int]]:
        if line == "last":
            pause("last")
        return [(word, 1) for word in line.split()]

    lines = iter([*LINES, "last"])
    return submit(hosts, mapper, lines, "sum", split_size=20_000, reduce_tasks=3)


@pytest.mark.fault(28)
def test_a_host_that_serves_nothing_more_is_noticed_by_its_readers(
    hosts: Hosts, gate: Gate
) -> None:
    """The file is gone under the server's hands, though the server lives."""
    # A partition for each host: nobody's runs are read only from what others fetched of them.
    job = submit_until_last(hosts, gate)
    gate.wait_for("last")
    total = hosts.client.look(job.id)["map"]["total"]  # type: ignore[union-attr]
    eventually(lambda: hosts.client.look(job.id)["map"]["done"] == total - 1, "other maps")  # type: ignore[union-attr]
    runs: dict[str, list[Path]] = {}
    for path in hosts.folder.glob(f"*/{job.id}/map-*.run"):
        runs.setdefault(path.name.partition(".")[0], []).append(path)
    assert len(runs) == total - 1
    # Of a map that had a backup there may be two.
    one, other, *_ = (paths[0] for _, paths in sorted(runs.items()) if len(paths) == 1)
    one.unlink()
    other.write_bytes(bytes(other.stat().st_size))
    gate.open()
    assert job.result(20).to_dict() == EXPECTED + Counter(["last"])
    # Where one file is gone all are taken for gone; of what others have fetched none is needed.
    assert 1 <= hosts.client.look(job.id)["redone"] <= total  # type: ignore[union-attr]


def test_shuffling_starts_while_maps_run(hosts: Hosts, gate: Gate) -> None:
    job = submit_until_last(hosts, gate)
    gate.wait_for("last")
    total = hosts.client.look(job.id)["map"]["total"]  # type: ignore[union-attr]

    def shares() -> int:
        folders = hosts.folder.glob(f"*/{job.id}")
        return sum(len(find_shares(folder, p)) for folder in folders for p in range(3))

    # Each run has something for the two partitions that other hosts will reduce. What cannot be
    # fetched ahead is left to the reduces.
    eventually(lambda: total - 1 <= shares() <= 2 * (total - 1), "shares")
    gate.open()
    assert job.result(20).to_dict() == EXPECTED + Counter(["last"])
    assert hosts.client.look(job.id)["redone"] == 0  # type: ignore[union-attr]
    eventually(lambda: shares() == 0, "end of the shares", 3)


def test_the_manager_dies_and_its_workers_end_with_their_lease(
    shared_hosts: Hosts,
) -> None:
    """The last test here: it ends the hosts."""
    hosts = shared_hosts
    hosts.wait(3)
    assert hosts.client is not None
    folders = [Path(directory) for directory in hosts.directories()]
    hosts.client.close()
    hosts.processes["manager"].kill()
    Path(hosts.connection).unlink()  # a killed manager cannot
    for name, process in hosts.processes.items():
        if name != "manager":
            assert process.wait(PATIENCE_S) == 7  # no manager answers
    assert [folder for folder in folders if folder.exists()] == []
