"""The magics: a cell in, a prepared job out, a view under the cell. No networking here."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand

from mrkernel.config import MAGIC, JobOptions
from mrkernel.data.sources import Named
from mrkernel.engines.base import Engine, PreparedJob
from mrkernel.engines.job import CANCEL_S, Job
from mrkernel.engines.prepare import MAP_ONLY, RANGE, prepare
from mrkernel.engines.result import JobResult
from mrkernel.errors import JobSpecError, TaskFailedError
from mrkernel.job.builtins import check_builtin, is_builtin
from mrkernel.job.commands import find_program
from mrkernel.job.failure import SOURCE_NAMES, Failure
from mrkernel.job.files import load_function
from mrkernel.jupyter.arguments import job_parser, parse
from mrkernel.jupyter.busy import kernel_busy
from mrkernel.jupyter.cell import cell_names, origin_of, rendered, run_cell, running_cell
from mrkernel.jupyter.chaos import PARSER as CHAOS
from mrkernel.jupyter.chaos import disturb
from mrkernel.jupyter.debug import FailedJobs
from mrkernel.jupyter.interrupts import held_interrupts, no_interrupts
from mrkernel.jupyter.job_list import JobList
from mrkernel.jupyter.line import Evaluated, Expression, split_line
from mrkernel.jupyter.output import PrintedText
from mrkernel.jupyter.session_cluster import SessionCluster
from mrkernel.monitor.terminal import cluster_renderable, job_renderable

if TYPE_CHECKING:
    from mrkernel.jupyter.widgets import JobWidget

#: Options that make no sense as a setting for all cells.
_PER_CELL = {
    *("mapper", "reducer", "combiner", "partitioner", "into", "name", "sample"),
    *("output", "output_format", "columns", "overwrite"),
}
_FUNCTIONS = ("mapper", "reducer", "combiner", "partitioner")
#: Seconds between two looks at what tasks printed, while a cell waits.
LOOK_S = 0.1


_MAPREDUCE = job_parser("mapreduce", "Run a MapReduce job.")


def _setting_traits() -> dict[str, Any]:
    """One trait per option that can be a setting, so ``%config`` and config files know them."""
    traits: dict[str, Any] = {}
    for field in fields(JobOptions):
        if MAGIC in field.metadata["doors"] and field.name not in _PER_CELL:
            trait = traitlets.Any(None, allow_none=True, help=field.metadata["help"])
            traits[field.name] = trait.tag(config=True)
    return traits


_Settings = type("_Settings", (Magics,), _setting_traits())
_SETTINGS = tuple(_setting_traits())


@magics_class
class MapReduceMagics(_Settings):  # type: ignore[misc,valid-type]
    """``%%mapreduce``, ``%mr_workers``, ``%mr_cluster``, ``%mr_jobs`` and ``%mr_debug``.

    Its settings are the options' defaults: ``%config MapReduceMagics.reduce_tasks = 4``.
    """

    save_view = traitlets.Enum(
        ("full", "summary", "none"),
        default_value="full",
        help="what a saved notebook keeps of a job's view",
    ).tag(config=True)

    def __init__(self, shell: Any, **options: Any) -> None:
        super().__init__(shell, **options)
        self._cluster = SessionCluster()
        self._failed = FailedJobs()
        self._background: list[tuple[Job, JobWidget]] = []  #: views that go on after their cell
        shell.events.register("pre_run_cell", kernel_busy.begin)
        shell.events.register("post_run_cell", kernel_busy.end)
        shell.events.register("post_run_cell", self._settle_background)

    # --- %%mapreduce ------------------------------------------------------------------------------

    @no_var_expand
    @line_cell_magic
    def mapreduce(self, line: str, cell: str | None = None) -> Any:
        # No result of an earlier run may survive a failure of this one, not even one in its line.
        stale = self._unbind(line)
        words = parse(_MAPREDUCE, line)
        into = words.pop("into", None)
        if into is not None and not (isinstance(into, str) and into.isidentifier()):
            raise UsageError(f"--into {into}: write the name of a variable")
        named: dict[str, str] = {}
        if cell is not None:
            named = run_cell(self.shell, line, cell)
        # Only now: an {expression} may use what the cell has just defined.
        arguments = {name: self._value(word, stale) for name, word in words.items()}
        given: dict[str, Any] = {
            name: getattr(self, name) for name in _SETTINGS if getattr(self, name) is not None
        }
        given |= {k: v for k, v in arguments.items() if k != "inputs"}
        functions, origins = self._functions(given, named)
        options = JobOptions.from_keywords(
            {
                name: value.value if isinstance(value, Evaluated) else value
                for name, value in (given | functions).items()
            },
            MAGIC,
        )

        def choose() -> Engine:
            engine, why = self._cluster.engine(options.on, given_inputs)
            if not options.quiet:
                print(why)  # noqa: T201 - the choice is always said
            return engine

        inputs = arguments["inputs"]
        given_inputs = [_input(each) for each in inputs]
        names = cell_names(self.shell)
        SOURCE_NAMES.update(names)  # for tasks in this process; others are told
        with self._failed.of_trial(functions):
            prepared, engine = prepare(
                functions["mapper"],
                given_inputs,
                functions["reducer"],
                options,
                choose,
                names=[each.code if isinstance(each, Evaluated) else None for each in inputs],
                cwd=Path.cwd(),
                label=" · ".join(f"{role}: {origin}" for role, origin in origins.items()),
                cells=names,
            )
        return self._give(self._run(engine, prepared, options), into)

    def _run(self, engine: Engine, prepared: PreparedJob, options: JobOptions) -> Job | JobResult:
        """Submit the job and see it to its end, or leave it in the background.

        From the moment it is sent until it has ended an interrupt cancels it.
        """
        printed = PrintedText()
        job: Job | None = None
        with ExitStack() as ending:  # a view ends after the cancelling, which it is to show
            try:
                with nullcontext() if engine.in_process else held_interrupts():
                    job = engine.submit_prepared(prepared, printed)
                    self._failed.watch(job)
                    for note in job.notes:
                        print(f"note: {note}")  # noqa: T201
                    if options.background:
                        self._show_in_background(job, printed, options)
                        return job
                    self._show(job, printed, options, ending)
                return self._wait(job, printed, options)
            except KeyboardInterrupt as interrupt:
                if job is None:
                    raise
                with no_interrupts():
                    said = f"job {job.id} was cancelled; the cluster is ready for the next one"
                    if not job.settle():
                        said = f"job {job.id} was cancelled but did not end within {CANCEL_S:.0f} s"
                        banner = job.picture.snapshot().get("banner")
                        if banner is not None and banner["kind"] == "away":
                            said = f"job {job.id} will be cancelled when its manager is back"
                rendered(interrupt, [f"KeyboardInterrupt: {said}"])
                raise

    def _give(self, value: Any, into: str | None) -> Any:
        if into is None:
            return value
        self.shell.user_ns[into] = value
        return None

    def _unbind(self, line: str) -> dict[str, Any]:
        """Unbind what ``--into`` names; return what it was, for expressions of this line."""
        words = split_line(line)
        for word, following in zip(words, [*words[1:], None], strict=True):
            if isinstance(word, str) and word.startswith("--into"):
                name = following if word == "--into" else word.removeprefix("--into=")
                if isinstance(name, str) and name in self.shell.user_ns:
                    return {name: self.shell.user_ns.pop(name)}
        return {}

    def _functions(
        self, given: dict[str, Any], named: dict[str, str]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Find the functions and say where each came from.

        Mapper and reducer may stand in earlier cells; a combiner or partitioner of an earlier cell
        is never applied unless it is named, because nobody would notice.
        """
        functions: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for role in _FUNCTIONS:
            wanted = given.get(role)
            if isinstance(wanted, Evaluated):
                functions[role], origins[role] = wanted.value, wanted.code
            elif wanted is not None:
                functions[role], origins[role] = self._named(wanted, role)
            elif role in named or (role in ("mapper", "reducer") and role in self.shell.user_ns):
                functions[role] = self.shell.user_ns[role]
                origins[role] = named.get(role) or origin_of(self.shell, functions[role])
            else:
                functions[role] = None
        return functions, origins

    def _named(self, text: str, role: str) -> tuple[Any, str]:
        if role == "partitioner" and text == RANGE:
            return RANGE, RANGE
        found = self.shell.user_ns.get(text)
        # A number called count must not hide the built-in.
        if callable(found) or (text in self.shell.user_ns and role not in ("reducer", "combiner")):
            return found, f"{text} of {origin_of(self.shell, found)}"
        if not text.endswith(".py") and ".py:" not in text and text != MAP_ONLY:
            if role not in ("reducer", "combiner") or not is_builtin(text):
                program = find_program(text, role)
                if program is not None:
                    return program, text
            missing = f"--{role} {text}: nothing in this notebook is called {text}"
            if role in ("mapper", "partitioner"):
                raise UsageError(f"{missing}; define it first")
            try:
                check_builtin(text)
            except JobSpecError as error:
                raise UsageError(f"{missing}, and {error}") from None
        return load_function(text, role), text

    # --- views ------------------------------------------------------------------------------------

    def _wait(self, job: Job, printed: PrintedText, options: JobOptions) -> JobResult:
        try:
            if not self._has_front_end:
                from mrkernel.engines.follow import follow

                return follow(job, quiet=options.quiet, meanwhile=lambda: _print(printed.take()))
            while not job.wait(LOOK_S):
                _print(printed.take())
            return job.result()
        except TaskFailedError as error:
            if isinstance(error.failure, Failure):
                steps = error.failure.next_steps("%mr_debug")
                rendered(error, [*error._render_traceback_(), *filter(None, [steps])])
            raise

    def _show(self, job: Job, printed: PrintedText, options: JobOptions, ending: ExitStack) -> None:
        """Show the job for as long as the cell runs, and how it was in the end."""
        if self._has_front_end and not options.quiet:
            widget = self._widget(job, in_cell=True, deeds={"cancel": lambda _: job.cancel()})
            ending.callback(widget.settle)
            ending.callback(job.last_picture)
        ending.callback(lambda: _print(printed.take(last=True)))

    def _show_in_background(self, job: Job, printed: PrintedText, options: JobOptions) -> None:
        if not self._has_front_end or options.quiet:
            return
        widget = self._widget(
            job,
            printed=lambda: printed.take(last=True),
            deeds={"cancel": lambda _: job.cancel()},
        )
        self._background.append((job, widget))

    def _settle_background(self, *_: object) -> None:
        """At the end of a cell: let the views of jobs that have ended show how.

        They do so by themselves too; but whoever runs a notebook without a page takes updates only
        from the cell that runs.
        """
        for each in list(self._background):
            job, widget = each
            if job.wait(0):
                self._background.remove(each)
                job.last_picture()
                widget.settle()
                widget.publish()

    def _widget(self, job: Job, **others: Any) -> JobWidget:
        from mrkernel.jupyter.widgets import JobWidget

        told: dict[str, Any] = {"save_view": self.save_view, "page": lambda: job.web_url, **others}
        widget = JobWidget(job.picture, **told)
        widget.show()
        return widget

    @property
    def _has_front_end(self) -> bool:
        return hasattr(self.shell, "kernel")

    # --- the other magics -------------------------------------------------------------------------

    @no_var_expand
    @line_magic
    def mr_workers(self, line: str) -> None:
        """Show the workers, live: who is alive, what each is doing.

        Those of a cluster of this notebook can be added, retired and killed there.
        """
        self._refuse_words("mr_workers", line)
        client = self._cluster.client
        picture = client.look("cluster")
        if not self._has_front_end:
            _draw(cluster_renderable(picture, time.time()))
            return
        from mrkernel.jupyter.widgets import ClusterWidget

        told: dict[str, Any] = {"save_view": self.save_view, "page": client.web_url}
        deeds = self._cluster.deeds()
        ClusterWidget(client.cluster, picture=picture, deeds=deeds, **told).show()

    @line_magic
    def mr_cluster(self, line: str) -> Any:
        """Choose where jobs run: ``start [N]``, ``connect [HOST:PORT | NAME]`` or ``stop``.

        ``cluster = %mr_cluster start 3`` gives the ``LocalCluster``: ``cluster.kill("w2")``.
        """
        words = line.split()
        match words:
            case ["start"]:
                return self._cluster.start(None)
            case ["start", count] if count.isdecimal() and int(count) > 0:
                return self._cluster.start(int(count))
            case ["start", *_]:
                raise UsageError("write %mr_cluster start, or %mr_cluster start 3 for 3 workers")
            case ["connect"]:
                return self._cluster.connect(None)
            case ["connect", address]:
                return self._cluster.connect(address)
            case ["stop"]:
                return self._cluster.stop()
        raise UsageError("write %mr_cluster start [N], connect [HOST:PORT or NAME], or stop")

    @line_magic
    def mr_chaos(self, line: str) -> None:
        print(disturb(self._cluster.running, line))  # noqa: T201

    @line_magic
    def mr_jobs(self, line: str) -> Any:
        """List the cluster's jobs; ``%mr_jobs ID`` shows one again and returns it."""
        words = line.split()
        if len(words) > 1:
            raise UsageError("write %mr_jobs, or %mr_jobs ID")
        client = self._cluster.client
        if not words:
            return JobList(client.look("cluster"))
        printed = PrintedText()
        job = client.attach(words[0], printed)
        job.wait(LOOK_S)  # how it ended follows at once, if it has
        if self._has_front_end:
            self._show_in_background(job, printed, JobOptions())
        else:
            _draw(job_renderable(job.last_picture()))
        return job

    @line_magic
    def mr_debug(self, line: str) -> None:
        """Call here again what a job failed on (the last one); ``%debug`` then stands in it."""
        __tracebackhide__ = True
        self._failed.debug(line, lambda: self._cluster.client)

    def _refuse_words(self, name: str, line: str) -> None:
        if line.strip():
            raise UsageError(f"%{name} takes no arguments")

    def close(self) -> None:
        """Stop what this notebook started."""
        self.shell.events.unregister("pre_run_cell", kernel_busy.begin)
        self.shell.events.unregister("post_run_cell", kernel_busy.end)
        self.shell.events.unregister("post_run_cell", self._settle_background)
        kernel_busy.end()
        self._cluster.close()

    # --- words ------------------------------------------------------------------------------------

    def _value(self, word: Any, stale: dict[str, Any]) -> Any:
        """Evaluate an expression; expand ``{x}`` and ``$x`` inside any other word."""
        if isinstance(word, list):
            return [self._value(each, stale) for each in word]
        if isinstance(word, str):
            return self.shell.var_expand(word, depth=0)
        if not isinstance(word, Expression):
            return word
        # Under a name of its own, so that tracebacks say "cell 3" of a lambda too.
        number = running_cell(self.shell)
        name = self.shell.compile.cache(word.code, number, raw_code=word.code)
        namespace = self.shell.user_ns | stale if stale else self.shell.user_ns
        try:
            value = eval(compile(word.code, name, "eval"), namespace)
        except Exception as error:
            raise UsageError(f"{{{word.code}}}: {type(error).__name__}: {error}") from error
        return Evaluated(word.code, value, word.source)


def _input(word: Any) -> Any:
    """What a word of a line is as an input."""
    if not isinstance(word, Evaluated):
        return word
    return Named(word.source, word.value) if word.source else word.value


def _print(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _draw(picture: Any) -> None:
    """Draw a picture where there is only a terminal."""
    from rich.console import Console

    Console().print(picture)


_loaded: MapReduceMagics | None = None


MapReduceMagics.mapreduce.__doc__ = _MAPREDUCE.format_help()
MapReduceMagics.mr_chaos.__doc__ = CHAOS.format_help()


def load(shell: Any) -> None:
    """Register the magics."""
    global _loaded
    if _loaded is not None:
        return
    _loaded = MapReduceMagics(shell=shell, parent=shell)
    shell.register_magics(_loaded)


def unload(shell: Any) -> None:
    """Remove the magics and stop what they started."""
    global _loaded
    if _loaded is None:
        return
    _loaded.close()
    for kind, names in _loaded.magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
    _loaded = None
