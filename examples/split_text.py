"""Word count of one text that is split, handed to several workers, and put together again.

    python examples/split_text.py --workers 4
    python examples/split_text.py --workers 4 mybook.txt

The manager cuts the file into pieces of about equal size, at line ends; each worker counts the
words of its pieces; one reduce task adds up what they found.
"""

import argparse
import re
import tempfile
from pathlib import Path
from pydoc_data import topics

import mrkernel


def mapper(line):
    for word in re.findall("[a-z]+", line.lower()):
        yield word, 1


def main(text: Path, workers: int) -> tuple[mrkernel.JobResult, dict[str, int]]:
    """Count; give the counts, and how many pieces each worker had."""
    pieces = 3 * workers
    with mrkernel.LocalCluster(workers, slots=1) as cluster:
        cluster.wait_for_workers()
        job = cluster.submit(
            mapper,
            text,
            "sum",
            reduce_tasks=1,
            split_size=-(-text.stat().st_size // pieces),
        )
        result = job.result()
        handed: dict[str, int] = {}
        for bar in job.timeline():
            if bar.task.startswith("map"):
                worker = bar.lane.partition("·")[0]
                handed[worker] = handed.get(worker, 0) + bar.tasks
        return result, handed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, nargs="?", help="default: Python's own documentation")
    parser.add_argument("--workers", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.text is None:
            asked.text = Path(folder) / "documentation.txt"
            asked.text.write_text("\n".join(topics.topics.values()), encoding="utf-8")
        counts, handed = main(asked.text, asked.workers)
    for worker, tasks in sorted(handed.items()):
        print(f"{worker} counted {tasks} pieces of the text")
    told = ", ".join(f"{word} {count:,}" for word, count in counts.top(5))
    print(f"{len(counts):,} words; most often {told}")
