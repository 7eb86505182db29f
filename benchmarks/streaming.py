"""Programs of the shell as mapper and reducer, beside ``cat | map | LC_ALL=C sort | reduce``.

Twice each: a job on a cluster of two workers that is there, and ``mrkernel submit``, which starts
one and ends it. A light group-by sorts all its text and its programs do next to nothing, so what is
ours stands out; word count is what people run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.digest import digest_folder
from benchmarks.enclosure import Enclosure
from benchmarks.meter import Meter, Sample, median, ratio, rounds
from benchmarks.plan import Plan
from benchmarks.table import Row
from benchmarks.text import FOLDER, ROOT, Text
from mrkernel.engines.local import LocalCluster

LIMIT_CPU, LIMIT_WALL = 1.3, 1.0

SHEBANG = "#!/bin/sh\n"
WORDS = ROOT / "examples" / "streaming"
#: Job → its mapper and reducer.
JOBS = {
    "group-by": (
        SHEBANG + """awk '{ print $1 $2 $3 "\\t" $0 }'\n""",
        SHEBANG + "cut -f1 | uniq -c\n",
    ),
    "word count": tuple((WORDS / name).read_text() for name in ("wc_map.sh", "wc_reduce.sh")),
}


def measure(plan: Plan, text: Text, cluster: LocalCluster, meter: Meter) -> Iterator[Row]:
    """Measure it.

    Args:
        cluster: of two workers with one slot each.

    Raises:
        AssertionError: the answers differ.
    """
    with tempfile.TemporaryDirectory(prefix="streaming.", dir=FOLDER) as folder:
        for job, scripts in JOBS.items():
            for name, script in zip(("map.sh", "reduce.sh"), scripts, strict=True):
                path = Path(folder, name)
                path.write_text(script)
                path.chmod(0o755)
            programs = [f"{folder}/map.sh", f"{folder}/reduce.sh"]
            figure = f"programs: {job}, {text.nbytes / 1e6:.0f} MB"
            yield from _compared(plan, figure, programs, text.paths, Path(folder), cluster, meter)


def _compared(
    plan: Plan,
    figure: str,
    programs: Sequence[str],
    paths: Sequence[Path],
    folder: Path,
    cluster: LocalCluster,
    meter: Meter,
) -> Iterator[Row]:
    mapper, reducer = programs
    given = list(map(str, paths))
    out = folder / "out"

    def warm() -> Sample:
        result, sample = meter.measure(lambda: cluster.run(mapper, given, reducer, output=out))
        result.release()
        return sample

    def cold() -> Sample:
        words = ["--output", out, "--mapper", mapper, "--reducer", reducer, "--quiet", *given]
        return _enclosed([sys.executable, "-m", "mrkernel", "submit", "--on", "local", *words])

    def shell() -> Sample:
        out.mkdir()
        line = f'cat "$@" | {mapper} | LC_ALL=C sort | {reducer} > {out}/part'
        return _enclosed(["/bin/sh", "-c", line, "sh", *given])

    sides: dict[str, Callable[[], Sample]] = {"warm": warm, "cold": cold, "shell": shell}
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    cold()  # an installed package has its bytecode
    shutil.rmtree(out)
    for _ in rounds(plan.rounds, plan.count_s):
        expected = ""
        for name, call in sides.items():
            samples[name].append(call())
            found = digest_folder(out, ordered=False)
            assert expected in ("", found), f"{name}: {found} is not {expected}"
            expected = found
            shutil.rmtree(out)
    theirs = samples.pop("shell")
    for name, ours in samples.items():
        wall, cpu = (ratio(ours, theirs, what) for what in ("wall", "cpu"))
        how = "two workers" if name == "warm" else "`mrkernel submit`, its cluster included"
        yield Row(
            f"{figure}: {how}",
            _both(ours),
            f"{_both(theirs)}, the shell's pipeline",
            wall,
            cpu,
            f"CPU × <= {LIMIT_CPU}, wall × <= {LIMIT_WALL:.0f}",
            (cpu <= LIMIT_CPU and wall <= LIMIT_WALL) if plan.judged else None,
        )


def _enclosed(command: Sequence[Any]) -> Sample:
    """Run a command; count all that ever ran for it."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment.setdefault("PYTHONPYCACHEPREFIX", str(FOLDER / "pycache"))
    enclosure = Enclosure(list(map(str, command)), environment, None)
    try:
        while enclosure.process.stdout and enclosure.process.stdout.readline():
            pass  # it ends with its last process
        os.waitid(os.P_PID, enclosure.process.pid, os.WEXITED | os.WNOWAIT)
        sample = Sample(enclosure.age(), enclosure.cpu())
        status = enclosure.process.wait()
    finally:
        enclosure.close()
    if status:
        raise subprocess.CalledProcessError(status, command)
    return sample


def _both(samples: list[Sample]) -> str:
    wall, cpu = (median([getattr(sample, what) for sample in samples]) for what in ("wall", "cpu"))
    return f"{wall:.2f} s, CPU {cpu:.2f} s"
