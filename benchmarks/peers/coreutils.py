"""The programs of the shell, for what they are made for: sort and grep."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.jobs import WANTED, Job

NEEDS: tuple[str, ...] = ()
_ENV = {**os.environ, "LC_ALL": "C"}


def versions() -> str:
    said = subprocess.run(["sort", "--version"], capture_output=True, text=True)
    found = re.search(r"coreutils\) (\S+)", said.stdout)
    return f"coreutils {found[1]}" if found else "coreutils"


def takes(job: Job, variant: str) -> bool:
    return job.name in ("sort", "grep")


def lacks() -> str:
    """Name what this machine has not."""
    absent = [name for name in ("sort", "grep", "uniq") if shutil.which(name) is None]
    return f"not installed: {' '.join(absent)}" if absent else ""


class Session:
    """Nothing to start."""

    def __init__(self, job: Job, variant: str) -> None:
        self._job = job

    def run(self, files: Sequence[str], out: str) -> Any:
        """Run the job's pipe."""
        os.makedirs(out)
        if self._job.name == "sort":
            command = ["sort", "--parallel=2", "-S", "4G", "-k1.1,1.10", "-o", f"{out}/part"]
            subprocess.run([*command, *files], env=_ENV, check=True)
            return None
        found = [f"{out}/{number}" for number in range(len(files))]
        with ThreadPoolExecutor(2) as two:
            list(two.map(_find, files, found))
        order = subprocess.Popen(["sort", *found], stdout=subprocess.PIPE, env=_ENV)
        counted = subprocess.run(
            ["uniq", "-c"], stdin=order.stdout, stdout=subprocess.PIPE, env=_ENV, check=True
        )
        order.wait()
        split = (line.split(None, 1) for line in counted.stdout.decode().splitlines())
        return [(match, int(number)) for number, match in split]

    def close(self) -> None:
        """Nothing to end."""


def _find(path: str, out: str) -> None:
    """Write each match of a file on a line of its own."""
    with open(out, "wb") as file:
        subprocess.run(["grep", "-ohE", WANTED.pattern, path], stdout=file, env=_ENV)
