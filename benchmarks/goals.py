"""What mrkernel is to reach beside whom: the figures of issue 3."""

from __future__ import annotations

from dataclasses import dataclass

RECORD, BATCH = "ours", "ours:batch"


@dataclass(frozen=True)
class Goal:
    """A limit on a ratio, ours to theirs.

    Attributes:
        limit: the ratio.
        what: "cpu" or "wall".
        ours: which of ours is held to it.
        grace_s: seconds that do not count, of the wall clock.
    """

    limit: float
    what: str = "cpu"
    ours: str = RECORD
    grace_s: float = 0.0

    def __str__(self) -> str:
        code = "" if self.ours == RECORD else "batch "
        grace = f" + {self.grace_s * 1e3:.0f} ms" if self.grace_s else ""
        return f"{code}{'CPU' if self.what == 'cpu' else self.what} × <= {self.limit:.2f}{grace}"


#: By job and contestant.
GOALS = {
    ("wc", "pool:shufflec+nogc"): Goal(1.0),
    ("wc", "pyspark"): Goal(0.40),
    ("wc", "ray"): Goal(0.7),
    ("wc", "polars"): Goal(1.5, "wall", BATCH),
    ("grep", "pool"): Goal(1.05),
    ("grep", "pyspark"): Goal(0.22),
    ("stats", "pool"): Goal(1.0),
    ("stats", "pyspark"): Goal(0.30),
    ("stats", "dask"): Goal(0.5),
    ("stats", "duckdb"): Goal(2.0, "wall", BATCH, grace_s=0.05),
    ("sort", "pool"): Goal(0.6),
    ("sort", "pyspark"): Goal(0.17),
    ("sort", "coreutils"): Goal(1.0, "wall", BATCH),
    ("inv", "pool:nogc"): Goal(0.75),
    ("inv", "pyspark"): Goal(0.22),
    ("group", "pool:col+nogc"): Goal(0.6),
    ("group", "pyspark"): Goal(0.2),
    ("group", "duckdb"): Goal(2.0, "wall", BATCH),
}

#: The pool that each job is held against: the best by hand that still calls the mapper per line.
POOLS = {
    "wc": "pool:shufflec+nogc",
    "grep": "pool",
    "stats": "pool",
    "sort": "pool",
    "inv": "pool:nogc",
    "group": "pool:col+nogc",
    "group-large": "pool:col+nogc",
}
