"""Who runs the six jobs beside mrkernel, one file each.

Each has ``NEEDS`` (modules), ``versions()`` and ``Session(job, variant)`` with
``run(files, out)`` and ``close()``: making a session starts and warms up all it needs, and is not
timed as part of the job. It may have ``takes(job, variant)`` and ``lacks()``.
"""

from __future__ import annotations

from benchmarks.goals import POOLS

PEERS = ("dask", "pyspark", "ray", "mrjob", "duckdb", "polars", "coreutils")

_LIMITS = ("duckdb", "polars")

#: Who is measured beside it with ``--peers``.
BESIDE: dict[str, tuple[str, ...]] = {
    "wc": (
        "ours:batch",
        "pool:shufflec+nogc",
        "pyspark",
        "pyspark:sql",
        "ray",
        "dask",
        "mrjob:comb",
        *_LIMITS,
    ),
    "grep": ("pool", "pyspark", "ray", "dask", "mrjob", *_LIMITS, "coreutils"),
    "stats": (
        *(
            "ours:csv",
            "ours:batch",
            "pool",
            "pyspark",
            "pyspark:sql",
            "ray",
            "dask",
            "dask:frame",
            "mrjob",
            "mrjob:comb",
        ),
        *_LIMITS,
    ),
    "sort": ("ours:plain", "ours:batch", "pool", "pyspark", *_LIMITS, "coreutils"),
    "inv": ("pool:nogc", "pyspark", "ray", "dask", *_LIMITS),
    "group": (
        "ours:batch",
        "pool:col+nogc",
        "pool:colc+nogc",
        "pyspark",
        "ray",
        "dask",
        "mrjob",
        *_LIMITS,
    ),
    "group-large": ("ours:batch", POOLS["group-large"], "pool:colc+nogc", *_LIMITS),
}
