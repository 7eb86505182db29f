"""dask on two processes of one thread each.

Variants: ``""`` is ``dask.bag`` with ``foldby``, or ``groupby`` where the job does not fold;
``frame`` is ``dask.dataframe``, for the CSV.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from operator import add, itemgetter
from typing import Any

from benchmarks.jobs import JOBS, Job, places
from benchmarks.peers.pool import widened
from benchmarks.spans import bundles, whole

NEEDS = ("distributed", "pandas")


def versions() -> str:
    import dask

    return f"dask {dask.__version__}"


def takes(job: Job, variant: str) -> bool:
    """A bag cannot be sorted."""
    return job.name == "stats" if variant == "frame" else job.name != "sort"


def _places(bundle: Sequence[str]) -> Iterator[tuple[str, str]]:
    for path in bundle:
        name = os.path.basename(path)
        for line in whole(path):
            yield from places(name, line)


def _count(number: int, pair: tuple[str, int]) -> int:
    return number + pair[1]


def _summarise(row: Any, pair: tuple[str, float]) -> Any:
    value = pair[1]
    return [value, value, value, 1] if row is None else widened(row, (value, value, value, 1))


def _merge_rows(one: Any, two: Any) -> Any:
    return two if one is None else one if two is None else widened(one, two)


def _collect(names: Any, pair: tuple[str, str]) -> set[str]:
    held: set[str] = names or set()
    held.add(pair[1])
    return held


def _merge_sets(one: Any, two: Any) -> Any:
    return (one or set()) | (two or set())


def _reduced(name: str, group: tuple[str, Any]) -> list[str]:
    key, pairs = group
    found = JOBS[name].reducer(key, (pair[1] for pair in pairs))
    return [f"{word}\t{value}" for word, value in found]


class Session:
    """A local cluster, warm."""

    def __init__(self, job: Job, variant: str) -> None:
        from dask.distributed import Client, LocalCluster

        self._job, self._variant = job, variant
        self._cluster = LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            host="127.0.0.1",
            memory_limit="10GiB",
        )
        self._client = Client(self._cluster)
        self._client.gather(self._client.map(abs, range(4)))

    def run(self, files: Sequence[str], out: str) -> Any:
        """Run the job."""
        name, key = self._job.name.partition("-")[0], itemgetter(0)
        if self._variant == "frame":
            return self._frame(files)
        import dask.bag

        if name == "inv":
            pairs = dask.bag.from_sequence(bundles(files), partition_size=1).map(_places).flatten()
            found = pairs.foldby(key, _collect, None, _merge_sets, None).compute()
            os.makedirs(out)
            with open(f"{out}/part", "w") as file:
                for word, names in found:
                    file.writelines(
                        f"{word}\t{value}\n" for word, value in self._job.reducer(word, names)
                    )
            return None
        lines = dask.bag.read_text(list(files), blocksize=16 << 20, linedelimiter="\n")
        pairs = lines.map(_stripped).map(self._job.mapper).flatten()
        if name in ("wc", "grep"):
            return pairs.foldby(key, _count, 0, add, 0).compute()
        if name == "stats":
            found = pairs.foldby(key, _summarise, None, _merge_rows, None).compute()
            return [(year, (lo, hi, total / n)) for year, (lo, hi, total, n) in found]
        groups = pairs.groupby(key, shuffle="tasks", npartitions=4)
        groups.map(_Reducer(self._job.name)).flatten().to_textfiles(f"{out}/part-*")
        return None

    def _frame(self, files: Sequence[str]) -> Any:
        import dask.dataframe

        table = dask.dataframe.read_csv(list(files), blocksize=16 << 20)
        found = table.groupby("batch_year").score.agg(["min", "max", "mean"]).compute()
        return [(row[0], tuple(row[1:])) for row in found.itertuples()]

    def close(self) -> None:
        self._client.close()
        self._cluster.close()


def _stripped(line: str) -> str:
    return line.rstrip("\n")


class _Reducer:
    """A job's reducer over groups of a bag."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, group: tuple[str, Any]) -> list[str]:
        return _reduced(self._name, group)
