"""What a contest found, in a table: every contestant beside mrkernel, as ratios of runs in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.contest import Run, Standing
from benchmarks.data import Data
from benchmarks.goals import BATCH, GOALS, RECORD
from benchmarks.jobs import JOBS
from benchmarks.meter import median, ratio
from benchmarks.table import draw

HEAD = (
    "job",
    "contestant",
    "wall s",
    "CPU s",
    "peak MB: one, all",
    "start s",
    "CPU ×",
    "wall ×",
    "batch CPU ×",
    "batch wall ×",
    "to reach",
    "",
)


def cells(
    job: str, data: Data, standings: Sequence[Standing], *, judged: bool
) -> Iterator[tuple[str, ...]]:
    """Give the rows of one job."""
    ours = {each.name: each for each in standings if each.name in (RECORD, BATCH)}
    title = f"{JOBS[job].title}, {data.nbytes / 1e6:.0f} MB"
    for each in standings:
        shown, title = title, ""
        name = each.name.replace("ours", "mrkernel", 1)
        goal = GOALS.get((job, each.name))
        if each.fault:
            name += " (see below)"
        if not each.runs:
            yield (shown, name, *[""] * 8, str(goal or ""), "")
            continue
        runs = list(each.runs.values())
        met = None
        if goal is not None and judged and goal.ours in ours:
            met = _met(job, each, ours[goal.ours])
        yield (
            shown,
            name,
            f"{median([run.sample.wall for run in runs]):.2f}",
            f"{median([run.sample.cpu for run in runs]):.2f}",
            f"{_megabytes(runs, 'largest')}, {_megabytes(runs, 'together')}",
            f"{median([run.start_s for run in runs]):.1f}",
            *(
                "" if each.name.startswith(RECORD) else _times(ours.get(side), each, what)
                for side in (RECORD, BATCH)
                for what in ("cpu", "wall")
            ),
            str(goal or ""),
            {None: "", True: "yes", False: "NO"}[met],
        )


def render(rows: Sequence[Sequence[str]]) -> str:
    """Draw the table."""
    return draw(HEAD, rows)


def _met(job: str, theirs: Standing, ours: Standing) -> bool | None:
    goal = GOALS[job, theirs.name]
    both = ours.runs.keys() & theirs.runs.keys()
    if not both:
        return None
    found = []
    for number in both:
        a, b = (getattr(each.runs[number].sample, goal.what) for each in (ours, theirs))
        found.append((a - goal.grace_s) / b)
    return median(found) <= goal.limit


def _times(ours: Standing | None, theirs: Standing, what: str) -> str:
    if ours is None:
        return ""
    both = sorted(ours.runs.keys() & theirs.runs.keys())
    if not both:
        return ""
    a, b = ([each.runs[number].sample for number in both] for each in (ours, theirs))
    return f"{ratio(a, b, what):.2f}"


def _megabytes(runs: Sequence[Run], what: str) -> str:
    return f"{max(getattr(run, what) for run in runs) / 1e6:.0f}"
