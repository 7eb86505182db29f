"""``mrkernel submit``: a job from the command line."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from mrkernel.cli.hadoop import add_hadoop_spellings, take_hadoop_spellings
from mrkernel.config import CLI, JobOptions, add_options
from mrkernel.deploy.local import begin_inside, is_inside
from mrkernel.errors import JobSpecError, TaskFailedError
from mrkernel.monitor.quantities import exactly

if TYPE_CHECKING:
    from mrkernel.engines.base import Engine

EPILOG = """\
examples:
  mrkernel submit --input data.txt --output out --map mapper.py --reduce reducer.py
  mrkernel submit --input 'logs/*.txt' --map words.py:mapper --reduce sum --combine sum
  mrkernel submit years.csv --map years.py --reduce stats --output years-stats.csv
  mrkernel submit big.txt --map lines.py --reduce list --partitioner range --output sorted
  mrkernel submit --input texts --output out --mapper ./wc_map.sh --reducer ./wc_reduce.sh
  mrkernel submit -input texts -output out -mapper map.py -reducer reduce.py -file map.py \\
      -file reduce.py -numReduceTasks 3 -D stream.num.map.output.key.fields=2

Without --output the pairs are printed: key TAB value, one pair a line.
exit status: 0 done, 1 the job failed, 2 wrong usage, 130 interrupted
"""


def add_commands(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("submit", help="run a job and wait for it", epilog=EPILOG)
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="file, glob, directory or URL; NAME=PATH: a mapper(source, record) gets the name",
    )
    parser.add_argument(
        "--input", action="append", default=[], metavar="INPUT", help="the same; may be repeated"
    )
    add_options(parser, CLI)
    add_hadoop_spellings(parser)
    parser.set_defaults(call=run_submit, parser=parser)


def run_submit(arguments: argparse.Namespace) -> int:
    """Submit, follow, and print the pairs or where they are."""
    given = {
        field.name: getattr(arguments, field.name)
        for field in fields(JobOptions)
        if hasattr(arguments, field.name)
    }
    take_hadoop_spellings(arguments, given)
    options = JobOptions.from_keywords(given, CLI)
    inputs = [*arguments.input, *arguments.inputs]
    if not inputs:
        raise JobSpecError("the job has no input: add --input data.txt")
    if options.mapper is None:
        raise JobSpecError(
            "the job has no mapper: add --map mapper.py, a file with a function mapper"
        )
    if not options.sample and is_inside(options.on):
        begin_inside()  # on one processor; on another, all that follows
    from mrkernel.engines.choose import choose_engine
    from mrkernel.engines.follow import PrintedLines, follow, say_notes
    from mrkernel.engines.prepare import RANGE, prepare
    from mrkernel.engines.remote import ManagerClient
    from mrkernel.job.failure import Failure
    from mrkernel.job.files import load_function

    files = options.file or ()
    mapper = load_function(options.mapper, "mapper", files)
    reducer = load_function(options.reducer, "reducer", files)
    changed = {
        "combiner": load_function(options.combiner, "combiner", files),
        "partitioner": options.partitioner
        if options.partitioner == RANGE
        else load_function(options.partitioner, "partitioner", files),
    }
    options = JobOptions.from_keywords({**given, **changed}, CLI)

    def choose() -> Engine:
        engine, why = choose_engine(options.on)
        if not options.quiet:
            sys.stderr.write(f"mrkernel: {why}\n")
        return engine

    prepared, engine = prepare(
        mapper, inputs, reducer, options, choose, cwd=Path.cwd(), label=_label(given)
    )
    job = engine.submit_prepared(prepared, PrintedLines())
    say_notes(job)
    _get_ready_to_read()
    try:
        result = follow(job, quiet=options.quiet)
    except TaskFailedError as error:
        if isinstance(error.failure, Failure):
            # Only what another program manages outlives this one.
            debug = f"mrkernel debug {job.id}" if isinstance(engine, ManagerClient) else ""
            if steps := error.failure.next_steps(debug):
                error.add_note(steps)
        raise
    if result.sample and not options.quiet:
        sys.stderr.write(f"mrkernel: of a sample only: {result.sample}\n")
    if not options.quiet:
        for name, number in sorted(result.counters.items()):
            sys.stderr.write(f"counted {name}: {number:,}\n")
    if result.bad_records:
        sys.stderr.write(f"mrkernel: skipped {result.bad_records!r}\n")
    if result.output is not None:
        print(f"{exactly(len(result), 'pair')} in {result.output}")  # noqa: T201
        return 0
    if options.output is None:
        out = sys.stdout.buffer
        for lines in result.lines():
            out.write(lines)
        out.flush()
    return 0


def _get_ready_to_read() -> None:
    """Import what reads the result while the job runs and there is nothing else to do here."""

    def load() -> None:
        with suppress(ImportError):  # it is told where it is needed
            import numpy
            import pyarrow.compute

            del numpy, pyarrow

    Thread(target=load, daemon=True).start()


def _label(given: dict[str, Any]) -> str:
    return f"mapper: {given.get('mapper')} · reducer: {given.get('reducer')}"
