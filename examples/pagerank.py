"""PageRank: which modules of Python's own library matter, by who imports them.

    python examples/pagerank.py

The graph is real: a module points at those it imports. Each round is a job whose input is the
output of the round before; it stays in the workers, and only the last one is looked at here.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import mrkernel

LIBRARY = Path(os.__file__).parent
DAMPING, ROUNDS = 0.85, 20


def modules() -> list[tuple[str, str]]:
    """The modules of the library: name and path."""
    return [(path.stem, str(path)) for path in sorted(LIBRARY.glob("*.py"))]


def imports(module):
    """A module's name and path → (module, those of the library that it imports)."""
    name, path = module
    text = Path(path).read_text(encoding="utf-8")
    found = set(re.findall(r"^ *(?:import|from) (\w+)", text, re.MULTILINE))
    yield name, sorted(found & sys.stdlib_module_names - {name})


def pagerank(links: mrkernel.JobResult, rounds: int = ROUNDS) -> mrkernel.JobResult:
    """Rank the pages of a graph.

    Args:
        links: of each page, those that it points at.

    Returns: of each page, (rank, those that it points at).
    """
    pages = {page for page, _ in links}
    size = len(pages)

    def begin(page: str, targets: list[str]) -> Iterator[tuple[str, tuple[float, list[str]]]]:
        yield page, (1 / size, [target for target in targets if target in pages])

    def share(page, state):
        rank, targets = state
        yield page, targets
        for target in targets or pages:  # a page that points nowhere points at all
            yield target, rank / len(targets or pages)

    def gather(page, things):
        rank, targets = 0.0, []
        for thing in things:
            if isinstance(thing, list):
                targets = thing
            else:
                rank += thing
        yield page, ((1 - DAMPING) / size + DAMPING * rank, targets)

    state = links.mapreduce(begin, "first", name="round 0")
    for number in range(rounds):
        following = state.mapreduce(share, gather, name=f"round {number + 1}")
        state.release()  # nobody needs it any more
        state = following
    return state


def main() -> mrkernel.JobResult:
    """Rank the modules."""
    return pagerank(mrkernel.run(imports, modules(), "first", name="links"))


if __name__ == "__main__":
    for module, (rank, targets) in main().top(10):
        print(f"{rank:.4f}  {module:17} imports {len(targets)}")
