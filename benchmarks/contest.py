"""A contest: the contestants of one job in turn, each run in a process and an enclosure of its own.

Start-up is not part of the job. All answers are compared; one that differs is told in its row.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.data import Data
from benchmarks.enclosure import Enclosure
from benchmarks.jobs import JOBS
from benchmarks.meter import Sample, rounds
from benchmarks.text import FOLDER, ROOT

#: Where ``python -m benchmarks.peers`` installs them; a peer may need one of its own.
VENVS = {"mrjob": FOLDER / "venv-mrjob"}
VENV = FOLDER / "venv"
NO_SUCH_JOB = "it has no such job"
ONCE_S = 20.0  #: who takes longer runs once
HERE = ("ours", "pool", "coreutils")  #: these run in the Python that runs the contest


@dataclass(frozen=True)
class Run:
    """One run of one contestant.

    Attributes:
        start_s: from the start of its process until it was ready.
        largest, together: peak resident bytes of any one process, and of all at one time.
        runners: peak resident bytes of each process that lived at the end of the job.
        facts: what the contestant itself has to tell.
    """

    sample: Sample
    start_s: float
    largest: int
    together: int
    digest: str
    version: str
    runners: tuple[int, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Standing:
    """A contestant's runs so far; ``fault`` is why there are no more of them."""

    name: str
    runs: dict[int, Run] = field(default_factory=dict)  #: by round
    fault: str = ""


def missing(name: str, job: str) -> str:
    """Say why a contestant cannot take part here; "" where it can."""
    peer, _, variant = name.partition(":")
    module = importlib.import_module(f"benchmarks.peers.{peer}")
    takes = getattr(module, "takes", None)
    if takes is not None and not takes(JOBS[job], variant):
        return NO_SUCH_JOB
    if python_of(peer) is None:
        return f"not installed: {' '.join(module.NEEDS)}; see python -m benchmarks.peers"
    lacks = getattr(module, "lacks", None)
    return lacks() if lacks is not None else ""


_PROBE = """
import sys
from importlib.util import find_spec
sys.exit(not all(map(find_spec, sys.argv[1:])))
"""


@cache
def python_of(peer: str) -> str | None:
    """Return an interpreter that has what a peer needs; None: there is none."""
    needs = importlib.import_module(f"benchmarks.peers.{peer}").NEEDS
    own = VENVS.get(peer, VENV) / "bin" / "python"
    for python in (sys.executable,) if peer in HERE else (str(own), sys.executable):
        command = [python, "-c", _PROBE, *needs]
        if Path(python).exists() and subprocess.run(command, cwd=ROOT).returncode == 0:
            return python
    return None


def compete(
    job: str,
    names: Sequence[str],
    data: Data,
    *,
    most: int,
    budget_s: float,
    timeout_s: float,
    log: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[Standing]:
    """Let the contestants run in turn, round by round.

    Args:
        most: rounds, at most.
        budget_s: rounds that would not fit into it are left out, the first never is.
        timeout_s: of one run; who needs longer is out.
        log: file that each run is appended to, in a line of JSON.
        say: told of each run.
    """
    standings = [Standing(name) for name in names]
    expected = ""
    for number in rounds(most, budget_s):
        for standing in standings:
            if standing.fault:
                continue
            if standing.runs and standing.runs[0].sample.wall > ONCE_S:
                continue
            found = run_once(job, standing.name, data, timeout_s)
            if isinstance(found, str):
                standing.fault = found
                say(f"{job} {number} {standing.name}: {found}")
                continue
            took = found.sample
            say(f"{job} {number} {standing.name}: {took.wall:.2f} s, CPU {took.cpu:.2f} s")
            standing.runs[number] = found
            expected = expected or found.digest
            if found.digest != expected:
                standing.fault = f"DIFFERS: {found.digest}, not {expected}"
            if log is not None:
                line = {"job": job, "name": standing.name, "round": number, **asdict(found)}
                with log.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    return standings


def run_once(job: str, name: str, data: Data, timeout_s: float) -> Run | str:
    """Run one contestant once; return why it failed where it did."""
    peer, _, variant = name.partition(":")
    FOLDER.mkdir(exist_ok=True)
    out = Path(tempfile.mkdtemp(prefix="out-", dir=FOLDER))
    order = {
        "peer": peer,
        "variant": variant,
        "job": job,
        "files": data.paths,
        "out": str(out / "answer"),
    }
    python = python_of(peer) or sys.executable
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = FOLDER / f"{peer}.log"  # what it said last, for those who wonder
    # The files are many: an argument would be too long.
    (out / "order.json").write_text(json.dumps(order))
    command = [python, "-m", "benchmarks.contestant", str(out / "order.json")]
    with log.open("w") as said:
        enclosure = Enclosure(command, env, said)
        late = threading.Event()

        def stop() -> None:
            late.set()
            enclosure.end()

        timer = threading.Timer(timeout_s, stop)
        timer.start()
        try:
            found = _attended(enclosure)
        finally:
            timer.cancel()
            enclosure.close()
            shutil.rmtree(out, ignore_errors=True)
    if found is not None:
        return found
    if late.is_set():
        return f"over {timeout_s:.0f} s"
    tail = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"failed: {tail[-1][:100] if tail else 'it said nothing'}"


def _attended(enclosure: Enclosure) -> Run | None:
    """Follow a contestant through its run; None: it fell silent."""
    ready = enclosure.hear()
    if ready is None:
        return None
    start_s = enclosure.age()
    cpu = enclosure.cpu()
    enclosure.say("go")
    done = enclosure.hear()
    if done is None:
        return None
    cpu = enclosure.cpu() - cpu
    runners = tuple(sorted(enclosure.peaks().values(), reverse=True))
    largest, together = max(enclosure.largest, *runners), enclosure.together
    enclosure.say("go on")
    answer = enclosure.hear()
    if answer is None:
        return None
    enclosure.hear()  # it has closed what it opened
    return Run(
        Sample(done["wall"], cpu),
        start_s,
        largest,
        together,
        answer["digest"],
        ready["versions"],
        runners,
        done["facts"],
    )
