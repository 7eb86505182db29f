"""Polars, lazily, on two threads: the limit, where no Python runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from benchmarks.jobs import WANTED, Job
from benchmarks.peers.white import SPACE

NEEDS = ("polars",)
os.environ.setdefault("POLARS_MAX_THREADS", "2")


def versions() -> str:
    import polars

    return f"polars {polars.__version__}"


class Session:
    """Nothing to start but its import."""

    def __init__(self, job: Job, variant: str) -> None:
        import polars

        self._job, self._polars = job, polars

    def run(self, files: Sequence[str], out: str) -> Any:
        """Run the job's query."""
        pl, name = self._polars, self._job.name.partition("-")[0]
        os.makedirs(out)
        lines = pl.scan_csv(
            list(files),
            separator="\x01",
            quote_char=None,
            has_header=False,
            new_columns=["line"],
            schema_overrides=[pl.String],
            include_file_paths="file",
        )
        if name in ("wc", "grep"):
            pattern = f"[^{SPACE}]+" if name == "wc" else WANTED.pattern
            found = lines.select(pl.col("line").str.extract_all(pattern).explode().alias("word"))
            counted = found.drop_nulls().group_by("word").len()
            return counted.collect(engine="streaming").rows()
        if name == "stats":
            score = pl.col("score")
            rows = (
                pl.scan_csv(list(files))
                .group_by("batch_year")
                .agg(score.min().alias("least"), score.max().alias("most"), score.mean())
                .collect(engine="streaming")
                .rows()
            )
            return [(row[0], row[1:]) for row in rows]
        if name == "sort":
            query = lines.select("line").sort(pl.col("line").str.slice(0, 10))
        elif name == "inv":
            query = (
                lines.select(
                    pl.col("line").str.extract_all(f"[^{SPACE}]+").alias("word"),
                    pl.col("file").str.split("/").list.last(),
                )
                .explode("word")
                .drop_nulls("word")
                .group_by("word")
                .agg(pl.col("file").unique().sort())
                .with_columns(pl.col("file").list.join(" "))
            )
        else:
            pairs = pl.scan_csv(list(files), separator="\t")
            upper = pl.col("value").quantile(0.5, "higher").cast(pl.Int64)
            query = pairs.group_by("key").agg(upper)
        form = {"include_header": False, "separator": "\t", "quote_style": "never"}
        query.sink_csv(f"{out}/part.txt", **form)
        return None

    def close(self) -> None:
        """Nothing to end."""
