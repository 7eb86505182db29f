"""Python's hash seed, which differs from process to process, must not show in any answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import seeded

from mrkernel.engines.inline import InlineEngine


def test_three_hash_seeds_write_the_same_bytes(tmp_path: Path) -> None:
    clients = []
    for seed in ("0", "1", "4242"):
        command = [sys.executable, seeded.__file__, str(tmp_path / seed)]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        clients.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE))
    said = [client.communicate()[0] for client in clients]
    assert [client.returncode for client in clients] == [0, 0, 0]
    here = b""
    for title, text in seeded.written(InlineEngine(), tmp_path / "here"):
        here += f"{title}\n".encode() + text
    assert len(here) > 50_000
    assert said == [here + here] * 3  # inline, and on a cluster


def test_the_seeds_do_differ() -> None:
    """Or the test above would prove nothing."""
    show = [sys.executable, "-c", "print({'the', 'quick', 'brown', 'fox'})"]
    shown = [
        subprocess.run(show, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True).stdout
        for seed in ("0", "1", "4242")
    ]
    assert len(set(shown)) > 1


def test_runners_take_the_seed_of_the_environment(tmp_path: Path) -> None:
    code = (
        "import mrkernel\n"
        "with mrkernel.LocalCluster(1) as cluster:\n"
        "    def mapper(record):\n"
        "        return [(record, hash('a'))]\n"
        "    print(cluster.run(mapper, [1], 'first').to_dict()[1], hash('a'))\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    there, here = done.stdout.split()
    assert there == here
