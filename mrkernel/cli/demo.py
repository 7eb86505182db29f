"""``mrkernel demo``: count the words of real text that every machine with Python has."""

from __future__ import annotations

import argparse
import json
import re
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mrkernel.engines.follow import follow, say_notes
from mrkernel.errors import JobSpecError
from mrkernel.monitor.text import done_text

TOP = 10
_WORD = re.compile(r"[a-z]+")

CHECK = """\
to check the counts without mrkernel:
  mrkernel demo --list | tr '\\n' '\\0' | xargs -0 cat | tr A-Z a-z | tr -cs a-z '\\n' \\
    | grep . | sort | uniq -c | sort -rn | head
"""


def add_commands(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo", help="count the words of this machine's own Python sources", epilog=CHECK
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--list", action="store_true", help="only list the files it would read")
    parser.add_argument("--workers", type=int, metavar="N", help="default: one per core, up to 4")
    parser.set_defaults(call=run_demo, parser=parser)


def mapper(line: str) -> Iterator[tuple[str, int]]:
    """Yield every word of a line with the count 1."""
    for word in _WORD.findall(line.lower()):
        yield word, 1


def python_sources() -> list[Path]:
    """List the ``*.py`` files of the running Python's library and of the installed packages."""
    paths = sysconfig.get_paths()
    packages = {Path(paths[name]).resolve() for name in ("purelib", "platlib")}
    found: set[Path] = set()
    for root in {Path(paths["stdlib"]).resolve(), *packages}:
        for path in root.rglob("*.py"):
            # A base Python's own site-packages are not installed for a virtual environment.
            inside = {"site-packages", "dist-packages"} & set(path.relative_to(root).parts)
            if not inside and path.is_file():
                found.add(path.resolve())
    for root in packages:
        found.update(p.resolve() for p in root.rglob("*.py") if p.is_file())
    return sorted(found)


def run_demo(arguments: argparse.Namespace) -> int:
    """Count, live, and print the most frequent words and who did what."""
    files = python_sources()
    if arguments.list:
        print("\n".join(map(str, files)))  # noqa: T201
        return 0
    if not files:
        raise JobSpecError("this Python came without its sources: there is no text to count")
    from mrkernel.engines.local import LocalCluster

    megabytes = sum(path.stat().st_size for path in files) / 1e6
    if not arguments.json:
        sys.stderr.write(f"{len(files):,} Python files, {megabytes:,.0f} MB\n")
    with LocalCluster(workers=arguments.workers) as cluster:
        began = time.perf_counter()
        job = cluster.submit(
            mapper,
            files,
            "sum",
            combiner="sum",
            # Every byte is a character: what is counted are the letters a to z of the bytes.
            encoding="latin-1",
            name="demo",
        )
        say_notes(job)
        result = follow(job, quiet=arguments.json)
        seconds = time.perf_counter() - began
        top = sorted(result, key=lambda pair: (-pair[1], pair[0]))[:TOP]
        workers = job.picture.snapshot().get("workers", {})
    if arguments.json:
        found = {
            "top": top,
            "files": len(files),
            "mb": round(megabytes, 3),
            "seconds": round(seconds, 3),
        }
        print(json.dumps(found))  # noqa: T201
        return 0
    width = max(len(word) for word, _ in top)
    largest = top[0][1]
    for word, count in top:
        bar = "█" * max(1, round(30 * count / largest))
        print(f"  {word:<{width}}  {count:>12,}  {bar}")  # noqa: T201
    print(  # noqa: T201
        f"\n{len(result):,} different words in {megabytes:,.0f} MB · {seconds:.1f} s · "
        f"{megabytes / seconds:,.0f} MB/s"
    )
    for name, row in workers.items():
        end = f" · {row['end']}" if row["end"] else ""
        print(f"  {name} (pid {row['pid']}): {done_text(row)}{end}")  # noqa: T201
    return 0
