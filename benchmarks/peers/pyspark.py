"""PySpark on two cores of this machine.

Variants: ``""`` is the RDD with what combines on the map side (``reduceByKey``, ``combineByKey``,
``aggregateByKey``), ``sortByKey``, or ``groupByKey`` where the job does not fold; ``sql`` is the
DataFrame, for word count and the CSV.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from operator import add
from typing import Any

from benchmarks.jobs import JOBS, Job, places
from benchmarks.peers.pool import widened
from benchmarks.spans import whole

NEEDS = ("pyspark",)


def versions() -> str:
    import pyspark

    return f"pyspark {pyspark.__version__}"


def takes(job: Job, variant: str) -> bool:
    return variant == "" or job.name in ("wc", "stats")


def lacks() -> str:
    """Spark is a Java program."""
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") or (home and os.path.exists(f"{home}/bin/java")):
        return ""
    return "needs Java 8, 11 or 17, which is not installed (JAVA_HOME, or java on PATH)"


def _places(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        name = os.path.basename(path)
        for line in whole(path):
            yield from places(name, line)


def _row(value: float) -> list[Any]:
    return [value, value, value, 1]


def _widened(row: list[Any], value: float) -> list[Any]:
    return widened(row, (value, value, value, 1))


def _finished(row: list[Any]) -> tuple[Any, ...]:
    return row[0], row[1], row[2] / row[3]


def _added(names: set[str], name: str) -> set[str]:
    names.add(name)
    return names


def _line(pair: tuple[Any, Any]) -> str:
    return f"{pair[0]}\t{pair[1]}"


class _Reducer:
    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, group: tuple[Any, Iterable[Any]]) -> Iterator[Any]:
        return JOBS[self._name].reducer(*group)


class Session:
    """A session, warm: it has run one small job."""

    def __init__(self, job: Job, variant: str) -> None:
        os.environ["PYSPARK_PYTHON"] = sys.executable
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        os.environ["PYTHONHASHSEED"] = "0"
        from pyspark.sql import SparkSession

        settings = {
            "spark.driver.memory": "6g",
            "spark.driver.maxResultSize": "4g",
            "spark.ui.enabled": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.default.parallelism": "2",
            "spark.sql.shuffle.partitions": "2",
            "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
        }
        builder = SparkSession.builder.master("local[2]").appName("benchmarks")
        for name, value in settings.items():
            builder = builder.config(name, value)
        self._spark = builder.getOrCreate()
        self._job, self._variant = job, variant
        context = self._spark.sparkContext
        context.setLogLevel("ERROR")
        context.parallelize(range(4), 2).map(lambda x: (x % 2, x)).reduceByKey(add).collect()

    def run(self, files: Sequence[str], out: str) -> Any:
        """Run the job."""
        if self._variant == "sql":
            return self._sql(list(files))
        context, job, name = self._spark.sparkContext, self._job, self._job.name.partition("-")[0]
        if name == "inv":
            pairs = context.parallelize(files, 8).mapPartitions(_places)
            groups = pairs.aggregateByKey(set(), _added, set.union, 2)
            groups.flatMap(_Reducer(job.name)).map(_line).saveAsTextFile(out)
            return None
        pairs = context.textFile(",".join(files), 8).flatMap(job.mapper)
        if name in ("wc", "grep"):
            return pairs.reduceByKey(add, 2).collect()
        if name == "stats":
            return pairs.combineByKey(_row, _widened, widened, 2).mapValues(_finished).collect()
        if name == "sort":
            pairs.sortByKey(numPartitions=2).map(_line).saveAsTextFile(out)
        else:
            groups = pairs.groupByKey(2)
            groups.flatMap(_Reducer(job.name)).map(_line).saveAsTextFile(out)
        return None

    def _sql(self, files: list[str]) -> Any:
        from pyspark.sql import functions as sql

        if self._job.name == "stats":
            schema = "student_id INT, name STRING, batch_year INT, score DOUBLE"
            table = self._spark.read.csv(files, header=True, schema=schema)
            score = (sql.min("score"), sql.max("score"), sql.avg("score"))
            rows = table.groupBy("batch_year").agg(*score).collect()
            return [(row[0], tuple(row[1:])) for row in rows]
        # Java's white space, asked for that of Unicode, lacks what only Python's has.
        space = r"(?U)[\s\x1c-\x1f]+"
        words = sql.explode(sql.split(sql.col("value"), space)).alias("word")
        table = self._spark.read.text(files, lineSep="\n").select(words).where("word <> ''")
        return [tuple(row) for row in table.groupBy("word").count().collect()]

    def close(self) -> None:
        self._spark.stop()
