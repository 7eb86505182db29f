"""mrkernel: a local cluster of two workers, warm.

Variants, joined by ``+``: ``""`` is ordinary code for one record at a time; ``plain`` the same with
neither built-in nor combiner; ``csv`` reads the CSV as dicts; ``batch`` has a mapper over tables;
``NAME=VALUE`` is an option of the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.batches import BATCHES, IN_BATCHES
from benchmarks.jobs import Job, as_in_a_cell

NEEDS = ("mrkernel",)

#: Per job: what a user would say beside mapper and reducer. The reducer by name where there is one.
_BUILT_IN = {"wc": "sum", "grep": "sum", "stats": "stats", "sort": "identity"}
_OPTIONS: dict[str, dict[str, Any]] = {
    "wc": {"combiner": "sum"},
    "grep": {"combiner": "sum"},
    "stats": {"format": "lines"},  # by their names these would be read as rows
    "group": {"format": "lines"},
    "sort": {"partitioner": "range"},
}


WARM_UP = 50_000  #: pairs


def versions() -> str:
    import mrkernel

    return f"mrkernel {mrkernel.__version__}"


def places(key: tuple[str, int], line: str) -> Iterator[tuple[str, str]]:
    """Mapper with a key (path, offset): each word of a line, with the name of its file."""
    name = key[0].rpartition("/")[2]
    for word in line.split():
        yield word, name


def years_of(row: dict[str, Any]) -> Iterator[tuple[int, float]]:
    """Mapper of a CSV row: the year's score."""
    yield row["batch_year"], row["score"]


def takes(job: Job, variant: str) -> bool:
    """Some variants are not for every job."""
    name, flags = job.name.partition("-")[0], variant.split("+")
    return ("csv" not in flags or name == "stats") and ("batch" not in flags or name in BATCHES)


class Session:
    """A cluster, warm: it has run one job, large enough that its processes imported Arrow."""

    def __init__(self, job: Job, variant: str) -> None:
        from mrkernel.engines.local import LocalCluster

        self.facts: dict[str, Any] = {}
        self._job = job
        self._mapper, self._reducer, self._options = _functions(job, variant)
        self._options |= {"reduce_tasks": 2, **_said(variant)}
        self._cluster = LocalCluster(workers=2, slots=1)
        self._cluster.wait_for_workers()
        numbers = iter(range(WARM_UP))
        warm = self._cluster.run(lambda n: [(str(n), n)], numbers, lambda k, v: max(v))
        assert len(list(warm)) == WARM_UP
        warm.release()

    def run(self, files: Sequence[str], out: str) -> Any:
        """Run the job; return pairs, or None where it wrote part files."""
        options = dict(self._options)
        if self._job.writes:
            options["output"] = out
        result = self._cluster.run(self._mapper, list(files), self._reducer, **options)
        return None if self._job.writes else list(result)

    def close(self) -> None:
        self._cluster.stop()


def _said(variant: str) -> dict[str, str]:
    return dict(flag.split("=", 1) for flag in variant.split("+") if "=" in flag)


def _functions(job: Job, variant: str) -> tuple[Any, Any, dict[str, Any]]:
    name, flags = job.name.partition("-")[0], variant.split("+")
    options = dict(_OPTIONS.get(name, {}))
    mapper = as_in_a_cell(places if name == "inv" else job.mapper)
    reducer = _BUILT_IN.get(name) or as_in_a_cell(job.reducer)
    if "plain" in flags:
        options.pop("combiner", None)
        return mapper, as_in_a_cell(job.reducer), options
    if "csv" in flags:
        return as_in_a_cell(years_of), reducer, {}
    if "batch" in flags:
        return as_in_a_cell(BATCHES[name]), reducer, options | {"batch": True, **IN_BATCHES[name]}
    return mapper, reducer, options
