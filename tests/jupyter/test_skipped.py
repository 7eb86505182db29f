"""Bad records in a notebook: skipped, shown, mended and tried again."""

from __future__ import annotations

from pathlib import Path

from kernels import Kernel

CELL = """
%%mapreduce {lines} --on-error skip --into counts
def mapper(line):
    word, number = line.split()
    yield word, int(number)

def reducer(word, numbers):
    yield word, sum(numbers)
"""
MENDED = """
def mapper(line):
    word, _, number = line.partition(" ")
    yield word, int(number or 0)
"""


def test_bad_records_are_shown_and_tried_again_with_the_mended_mapper(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    try:
        kernel.run("%load_ext mrkernel\nlines = ['a 1'] * 500 + ['b', 'c'] + ['b 2'] * 500")
        assert kernel.run(CELL.strip()).ok
        said = "<JobResult 'mapper': 2 pairs; 2 records were skipped: see result.bad_records>"
        assert kernel.run("counts").value == said
        shown = kernel.value("counts.bad_records").splitlines()
        assert shown[0] == "2 bad records:"
        assert shown[1].startswith("lines[500]: ValueError: not enough values to unpack")
        assert "word, number = line.split()" in kernel.value("counts.bad_records[0].traceback")
        assert kernel.run(MENDED).ok
        assert kernel.run("again = counts.retry_bad_records().result()").ok
        assert kernel.value("again.to_dict()") == "{'a': 500, 'b': 1000, 'c': 0}"
        assert kernel.value("again.bad_records") == "no bad records"
        assert kernel.value("counts.to_dict()") == "{'a': 500, 'b': 1000}"
    finally:
        kernel.close()
