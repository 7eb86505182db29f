"""What the cells of these tests begin with: a job that counts words, and lines for it."""

from __future__ import annotations

from kernels import Kernel

WORDS = """
def mapper(line):
    for word in line.split():
        yield word, 1
"""
ADD = """
def reducer(word, ones):
    yield word, sum(ones)
"""
COUNTS = "{'a': 2, 'b': 2, 'c': 1}"

#: Cells use these; a notebook of many pages would have bound more.
BEGIN = """
import os, time
lines = ["a b a", "c b"]
kernel = os.getpid()
for name in ("mapper", "reducer", "combiner", "partitioner", "counts", "job"):
    globals().pop(name, None)
"""

#: Waits at ``gate``.
WAITS = """
def mapper(line):
    print("mapping", line)
    while kernel not in (os.getpid(), os.getppid()) and not os.path.exists(gate):
        time.sleep(0.01)
    yield from ((word, 1) for word in line.split())
"""

#: Fails late, in a function that the mapper calls.
FAILS_LATE = """
def deeper(number):
    return 1 / (number - 77)

def mapper(number):
    yield deeper(number), 1
"""


def number_of(notebook: Kernel, name: str) -> str:
    """The number of the cell that defined a function, as it stands beside it."""
    return notebook.value(f"[n for n, text in enumerate(In[:-1]) if 'def {name}' in text][-1]")
