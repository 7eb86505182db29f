"""DuckDB's SQL on two threads: the limit, where no Python runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from benchmarks.jobs import WANTED, Job
from benchmarks.peers.white import SPACE

NEEDS = ("duckdb",)


def versions() -> str:
    import duckdb

    return f"duckdb {duckdb.__version__}"


class Session:
    """A connection."""

    def __init__(self, job: Job, variant: str) -> None:
        import duckdb

        self._job = job
        self._connection = duckdb.connect()
        self._connection.execute("SET threads=2; SET preserve_insertion_order=false")

    def run(self, files: Sequence[str], out: str) -> Any:
        """Run the job's SQL."""
        os.makedirs(out)
        self._connection.execute("SET VARIABLE files = $files", {"files": list(files)})
        execute, name = self._connection.execute, self._job.name.partition("-")[0]
        if name == "sort":
            execute("SET preserve_insertion_order=true")
        sql = _SQL[name]
        if self._job.writes:
            execute(f"COPY ({sql}) TO '{out}/part.txt' (HEADER false, QUOTE '', {_FORM[name]})")
            return None
        rows = execute(sql).fetchall()
        return [(row[0], row[1:]) for row in rows] if name == "stats" else rows

    def close(self) -> None:
        self._connection.close()


_LINES = (
    "read_csv(getvariable('files'), columns={'line': 'VARCHAR'}, delim=E'\\x01', quote='', "
    "escape='', header=false, auto_detect=false, filename=true)"
)
_WORDS = f"unnest(string_split_regex(line, '[{SPACE}]+')) AS word"
_ONE_COLUMN = "DELIMITER E'\\x01', ESCAPE ''"
_FORM = {"sort": _ONE_COLUMN, "inv": "DELIMITER '\t', ESCAPE ''", "group": "DELIMITER '\t'"}
#: The median from above is the upper one.
_SQL = {
    "wc": f"SELECT word, count(*) FROM (SELECT {_WORDS} FROM {_LINES}) WHERE word <> '' GROUP BY 1",
    "grep": "SELECT match, count(*) FROM (SELECT "
    f"unnest(regexp_extract_all(line, '{WANTED.pattern}')) AS match FROM {_LINES}) GROUP BY 1",
    "stats": "SELECT batch_year, min(score), max(score), avg(score) FROM "
    "read_csv(getvariable('files'), header=true, columns={'student_id': 'INT', 'name': 'VARCHAR', "
    "'batch_year': 'INT', 'score': 'DOUBLE'}) GROUP BY 1",
    "sort": f"SELECT line FROM {_LINES} ORDER BY substr(line, 1, 10)",
    "inv": "SELECT word, array_to_string(list_sort(list(DISTINCT file)), ' ') FROM (SELECT "
    f"{_WORDS}, parse_filename(filename) AS file FROM {_LINES}) WHERE word <> '' GROUP BY 1",
    "group": "SELECT k, percentile_disc(0.5) WITHIN GROUP (ORDER BY v DESC) FROM "
    "read_csv(getvariable('files'), columns={'k': 'VARCHAR', 'v': 'INT'}, delim='\t', "
    "header=true) GROUP BY 1",
}
