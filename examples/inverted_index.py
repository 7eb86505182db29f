"""Which files does a word occur in, and how often? The index at the heart of a search engine.

python examples/inverted_index.py generator
"""

import argparse
import os
import re
from pathlib import Path

import mrkernel

LIBRARY = Path(os.__file__).parent  #: the sources of Python's own library: text that all have


def mapper(place, line):
    path, _ = place
    for word in re.findall("[a-z]+", line.lower()):
        yield (word, Path(path).name), 1


def by_word(word_and_file, count):
    word, file = word_and_file
    yield word, (-count, file)


def postings(word, found):
    """The files of a word, the one with most of it first."""
    yield word, [(file, -count) for count, file in sorted(found)]


def main(files: str = str(LIBRARY / "[a-h]*.py")) -> mrkernel.JobResult:
    """Two jobs: the first counts, the second reads what the first left in the workers."""
    counts = mrkernel.run(mapper, files, "sum", name="counts")
    return counts.mapreduce(by_word, postings, name="index")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("word")
    asked = parser.parse_args()
    index = main()
    for found in index.lookup(asked.word):
        for file, count in found[:10]:
            print(f"{count:5} {file}")
