"""The six jobs for mrjob, which runs this file by its path. The environment names the job.

It lies here and not beside the peers: a script's own folder comes first among modules, and there
``import mrjob`` would find our ``mrjob.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from mrjob.job import MRJob
from mrjob.protocol import JSONProtocol, RawProtocol

from benchmarks.jobs import JOBS
from benchmarks.peers.pool import widened

JOB = JOBS[os.environ["BENCHMARKS_JOB"]]
COMBINER = bool(os.environ.get("BENCHMARKS_COMBINER"))


class Script(MRJob):  # type: ignore[misc]
    """Mapper and reducer as they are."""

    OUTPUT_PROTOCOL = RawProtocol if JOB.writes else JSONProtocol

    def mapper(self, _: None, line: str) -> Iterator[Any]:
        yield from JOB.mapper(line)

    def reducer(self, key: str, values: Iterable[Any]) -> Iterator[Any]:
        for word, value in JOB.reducer(key, values):
            yield (word, str(value)) if JOB.writes else (word, value)

    if COMBINER and JOB.name != "stats":

        def combiner(self, key: str, values: Iterable[Any]) -> Iterator[Any]:
            yield key, sum(values)

    if COMBINER and JOB.name == "stats":

        def mapper(self, _: None, line: str) -> Iterator[Any]:
            for year, score in JOB.mapper(line):
                yield year, (score, score, score, 1)

        def combiner(self, key: str, values: Iterable[Any]) -> Iterator[Any]:
            yield key, _merged(values)

        def reducer(self, key: str, values: Iterable[Any]) -> Iterator[Any]:
            lo, hi, total, n = _merged(values)
            yield key, (lo, hi, total / n)


def _merged(rows: Iterable[Any]) -> Any:
    merged = None
    for row in rows:
        merged = row if merged is None else widened(merged, row)
    return merged


if __name__ == "__main__":
    Script.run()
