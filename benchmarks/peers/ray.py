"""Ray tasks on two cores, with the shuffle written by hand: it has none for such pairs.

The map tasks are those of the pool's plain way; their two partitions travel through the object
store.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from benchmarks.jobs import Job
from benchmarks.peers import pool
from benchmarks.spans import bundles, spans

NEEDS = ("ray",)


def versions() -> str:
    import ray

    return f"ray {ray.__version__}"


def takes(job: Job, variant: str) -> bool:
    """The sort would be the pool's, line by line."""
    return job.name != "sort"


_FOLDS: dict[str, Callable[[str, Any], dict[str, Any]]] = {
    "wc": pool.count,
    "grep": pool.count,
    "stats": pool.summarise,
    "inv": pool.invert,
}


def _mapped(name: str, piece: Any) -> list[dict[str, Any]]:
    return pool.dealt(_FOLDS.get(name, pool.collect)(name, piece))


def _reduced(name: str, out: str, partition: int, *tables: dict[str, Any]) -> Any:
    merged: dict[str, Any] = {}
    for table in tables:
        if name in ("wc", "grep"):
            get = merged.get
            for key, value in table.items():
                merged[key] = get(key, 0) + value
        elif name == "stats":
            for key, row in table.items():
                merged[key] = pool.widened(merged[key], row) if key in merged else row
        else:
            for key, held in table.items():
                if key not in merged:
                    merged[key] = held.copy()  # what came from the object store is read-only
                elif name == "inv":
                    merged[key].update(held)
                else:
                    merged[key].extend(held)
    if name in ("wc", "grep"):
        return list(merged.items())
    if name == "stats":
        return [(year, (lo, hi, total / n)) for year, (lo, hi, total, n) in merged.items()]
    return pool.reduced(name, merged, out, partition)


class Session:
    """A local Ray, warm."""

    def __init__(self, job: Job, variant: str) -> None:
        import ray

        ray.init(
            num_cpus=2,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            object_store_memory=3 << 30,
            _node_ip_address="127.0.0.1",
        )
        self._ray, self._job = ray, job
        warm = ray.remote(abs_of)
        ray.get([warm.remote(number) for number in range(8)])

    def run(self, files: Sequence[str], out: str) -> Any:
        """Run the job."""
        os.makedirs(out)
        ray, name = self._ray, self._job.name
        mapped = ray.remote(num_returns=pool.PARTITIONS)(_mapped)
        reduced = ray.remote(_reduced)
        pieces: list[Any] = bundles(files) if name == "inv" else spans(files)
        tables = [mapped.remote(name, piece) for piece in pieces]
        parts = [
            reduced.remote(name, out, partition, *(each[partition] for each in tables))
            for partition in range(pool.PARTITIONS)
        ]
        answers = ray.get(parts)
        return None if self._job.writes else list(chain.from_iterable(answers))

    def close(self) -> None:
        self._ray.shutdown()


def abs_of(number: int) -> int:
    return abs(number)
