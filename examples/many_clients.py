"""One server, several clients: each submits a job of its own at the same moment.

    python examples/many_clients.py --clients 4

Starts a manager and two workers, as ``mrkernel manager`` and ``mrkernel worker`` do by hand, then
the clients: processes that know nothing of each other. The manager shares the slots out fairly.
"""

import argparse
import multiprocessing
import os
import re
from pathlib import Path

import mrkernel

LIBRARY = Path(os.__file__).parent  #: the sources of Python's own library: text that all have


def mapper(line):
    for word in re.findall("[a-z]+", line.lower()):
        yield word, 1


def client(number: int, address: str, letter: str) -> tuple[int, str, list[tuple[str, int]]]:
    """Count the words of the modules that begin with a letter: one client's whole program."""
    with mrkernel.connect(address) as cluster:
        result = cluster.run(mapper, LIBRARY / f"{letter}*.py", "sum", name=f"client {number}")
        return number, letter, list(result)


def main(clients: int) -> list[tuple[int, str, list[tuple[str, int]]]]:
    """Run so many clients at once; give what each of them got."""
    with mrkernel.LocalCluster(workers=2, visible=True) as cluster:
        letters = "cdhlmprst"
        asked = [(n + 1, cluster.address, letters[n % len(letters)]) for n in range(clients)]
        with multiprocessing.get_context("spawn").Pool(clients) as pool:
            return pool.starmap(client, asked)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=4)
    for number, letter, counts in main(parser.parse_args().clients):
        often = sorted(counts, key=lambda pair: -pair[1])[:5]
        told = ", ".join(f"{word} {count:,}" for word, count in often)
        print(f"client {number}, {letter}*.py: {len(counts):,} words; most often {told}")
