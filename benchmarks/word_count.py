"""Word count of real text in four files, to the last pair in the caller's hands.

Twice: summed on both sides (combiner and reducer ``sum``; the pool adds up in dicts), and without a
combiner, every pair shuffled and a reducer in Python called for each word, here as in the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.jobs import as_in_a_cell, total, words
from benchmarks.meter import Meter, Sample, median, ratio, rounds
from benchmarks.plan import Plan
from benchmarks.pool import PARTITIONS, HandWrittenPool
from benchmarks.table import Row
from benchmarks.text import Text
from mrkernel.engines.local import LocalCluster

LIMIT = 1.3  #: CPU of ours to that of the pool

_mapper, _reducer = as_in_a_cell(words), as_in_a_cell(total)


def measure(
    plan: Plan,
    text: Text,
    cluster: LocalCluster,
    meter: Meter,
    plain: HandWrittenPool,
    best: HandWrittenPool,
) -> Iterator[Row]:
    """Measure it with a combiner and without one.

    Args:
        plain: a pool as people write it.
        best: one whose processes collect no garbage.

    Raises:
        AssertionError: the answers differ.
    """
    paths = list(text.paths)
    size = f"{text.nbytes / 1e6:.0f} MB"

    def ours(reducer: Any, **options: Any) -> Any:
        result = cluster.run(_mapper, paths, reducer, reduce_tasks=PARTITIONS, **options)
        pairs = list(result)
        result.release()
        return pairs

    plain_meter, best_meter = Meter(plain.pids), Meter(best.pids)
    sides = {
        "mrkernel": (meter, lambda: ours("sum", combiner="sum")),
        "pool, dicts through pickle": (plain_meter, lambda: plain.count_files(paths, "pickle")),
        "pool, columns, no gc": (best_meter, lambda: best.count_files(paths, "columns")),
    }
    yield from _compared(plan, f"word count, {size}, summed on both sides", sides)
    sides = {
        "mrkernel": (meter, lambda: ours(_reducer)),
        "pool, columns, no gc": (best_meter, lambda: best.count_files(paths, "pairs")),
    }
    yield from _compared(plan, f"word count, {size}, no combiner, Python reducer", sides)


def _compared(
    plan: Plan, figure: str, sides: dict[str, tuple[Meter, Callable[[], Any]]]
) -> Iterator[Row]:
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for _ in rounds(plan.rounds, plan.count_s):
        expected: dict[str, int] | None = None
        for name, (meter, call) in sides.items():
            pairs, sample = meter.measure(call)
            samples[name].append(sample)
            table = dict(pairs)
            assert len(table) == len(pairs), f"{name}: a word came twice"
            assert expected is None or table == expected, f"{name}: the answers differ"
            expected = table
            del pairs, table
    ours = samples.pop("mrkernel")
    for name, theirs in samples.items():
        cpu = ratio(ours, theirs, "cpu")
        yield Row(
            figure,
            _both(ours),
            f"{_both(theirs)}, {name}",
            ratio(ours, theirs, "wall"),
            cpu,
            f"CPU × <= {LIMIT}",
            cpu <= LIMIT if plan.judged else None,
        )


def _both(samples: list[Sample]) -> str:
    wall, cpu = (median([getattr(sample, what) for sample in samples]) for what in ("wall", "cpu"))
    return f"{wall:.2f} s, CPU {cpu:.2f} s"
