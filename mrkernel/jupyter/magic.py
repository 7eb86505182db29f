"""The magics: a cell in, a prepared job out, a view under the cell. No networking here."""

from __future__ import annotations

import dis
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

import traitlets
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import MagicArgumentParser
from IPython.display import display

from mrkernel.config import MAGIC, JobOptions, add_options
from mrkernel.engines.base import Engine
from mrkernel.engines.choose import choose_engine, close_clients
from mrkernel.engines.job import Job
from mrkernel.engines.local import LocalCluster, stop_embedded_cluster
from mrkernel.engines.prepare import prepare
from mrkernel.engines.remote import ManagerClient, connect
from mrkernel.engines.result import JobResult
from mrkernel.errors import ClusterError
from mrkernel.job.files import load_function
from mrkernel.jupyter.line import Evaluated, Expression, split_line
from mrkernel.jupyter.output import PrintedText

#: Options that make no sense as a setting for all cells.
_PER_CELL = {"mapper", "reducer", "combiner", "partitioner", "into", "name", "output", "overwrite"}
_FUNCTIONS = ("mapper", "reducer", "combiner", "partitioner")
#: Seconds between two looks at what tasks printed, while a cell waits.
LOOK_S = 0.1


class _Parser(MagicArgumentParser):
    """IPython's parser without abbreviations, and with a guess at what was meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.allow_abbrev = False

    def error(self, message: str) -> NoReturn:
        import difflib

        if "unrecognized arguments" in message:
            wrong = message.split(":", 1)[1].split()[0]
            known = [flag for action in self._actions for flag in action.option_strings]
            close = difflib.get_close_matches(wrong.split("=")[0], known, n=1)
            message = f"there is no {wrong}" + (f": did you mean {close[0]}?" if close else "")
        raise UsageError(f"{message} (%{self.prog.lstrip('%')}? lists the options)")


def _job_parser(name: str, description: str) -> _Parser:
    parser = _Parser(prog=name, description=description, add_help=False)
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="file, glob, directory, or {expression}: an iterable or DataFrame of records",
    )
    add_options(parser, MAGIC)
    return parser


_MAPREDUCE = _job_parser("mapreduce", "Run a MapReduce job.")


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
    """``%%mapreduce``, ``%mr_workers``, ``%mr_cluster`` and ``%mr_jobs``.

    Its settings are the options' defaults: ``%config MapReduceMagics.reduce_tasks = 4``.
    """

    save_view = traitlets.Enum(
        ("full", "summary", "none"),
        default_value="full",
        help="what a saved notebook keeps of a job's view",
    ).tag(config=True)

    def __init__(self, shell: Any, **options: Any) -> None:
        super().__init__(shell, **options)
        self._chosen: Engine | None = None

    # --- %%mapreduce ------------------------------------------------------------------------------

    @no_var_expand
    @line_cell_magic
    def mapreduce(self, line: str, cell: str | None = None) -> Any:
        words = _parse(_MAPREDUCE, line)
        into = words.pop("into", None)
        if into is not None:
            if not isinstance(into, str) or not into.isidentifier():
                raise UsageError(f"--into {into}: write the name of a variable")
            # No result of an earlier run may survive a failure of this one.
            self.shell.user_ns.pop(into, None)
        named: dict[str, str] = {}
        if cell is not None:
            named = self._run_cell(line, cell)
        # Only now: an {expression} may use what the cell has just defined.
        arguments = {name: self._value(word) for name, word in words.items()}
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
            engine, why = choose_engine(options.on, self._chosen)
            if not options.quiet:
                print(why)  # noqa: T201 - the choice is always said
            return engine

        inputs = arguments["inputs"]
        prepared, engine = prepare(
            functions["mapper"],
            [each.value if isinstance(each, Evaluated) else each for each in inputs],
            functions["reducer"],
            options,
            choose,
            names=[each.code if isinstance(each, Evaluated) else None for each in inputs],
            cwd=Path.cwd(),
            label=" · ".join(f"{role}: {origin}" for role, origin in origins.items()),
            cells=self._cell_names(),
        )
        printed = PrintedText()
        job = engine.submit_prepared(prepared, printed)
        for note in job.notes:
            print(f"note: {note}")  # noqa: T201
        if options.background:
            self._show_in_background(job, printed, options)
            return self._give(job, into)
        return self._give(self._wait(job, printed, options), into)

    def _give(self, value: Any, into: str | None) -> Any:
        if into is None:
            return value
        self.shell.user_ns[into] = value
        return None

    def _run_cell(self, line: str, cell: str) -> dict[str, str]:
        """Run the cell in the user's namespace; return the names it bound, with where."""
        # The magic's own line takes a line here too, so that tracebacks number lines as Lab does.
        source = f"# %%mapreduce {line}\n" + self.shell.transform_cell(cell)
        name = self.shell.compile.cache(source, self.shell.execution_count, raw_code=source)
        code = self.shell.compile(source, name, "exec")
        exec(code, self.shell.user_ns)
        return dict.fromkeys(_stored_names(code), "this cell")

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
                origins[role] = named.get(role) or self._origin(functions[role])
            else:
                functions[role] = None
        return functions, origins

    def _named(self, text: str, role: str) -> tuple[Any, str]:
        if text in self.shell.user_ns:
            found = self.shell.user_ns[text]
            return found, f"{text} of {self._origin(found)}"
        if role == "mapper" and not text.endswith(".py") and ".py:" not in text:
            raise UsageError(
                f"--mapper {text}: nothing in this notebook is called {text}; define it first"
            )
        return load_function(text, role), text

    def _origin(self, function: Any) -> str:
        code = getattr(function, "__code__", None)
        name = self._cell_names().get(code.co_filename) if code is not None else None
        return name or str(getattr(function, "__module__", "the notebook"))

    def _cell_names(self) -> dict[str, str]:
        cells: dict[str, int] = getattr(self.shell.compile, "_filename_map", {})
        return {name: f"cell {number}" for name, number in cells.items()}

    # --- views ------------------------------------------------------------------------------------

    def _wait(self, job: Job, printed: PrintedText, options: JobOptions) -> JobResult:
        if not self._has_front_end:
            from mrkernel.engines.follow import follow

            job_result = follow(job, quiet=options.quiet)
            print(printed.take(last=True), end="")  # noqa: T201
            return job_result
        widget = None
        if not options.quiet:
            from mrkernel.jupyter.widgets import JobWidget

            widget = JobWidget(job.picture, save_view=self.save_view)
            widget.show()
        try:
            while not job.wait(LOOK_S):
                _print(printed.take())
        except KeyboardInterrupt:
            with _no_interrupts():
                if not job.settle():
                    print("the job did not end within 2 s of its cancelling")  # noqa: T201
            raise
        finally:
            _print(printed.take(last=True))
            if widget is not None:
                job.last_picture()
                widget.settle()
        return job.result()

    def _show_in_background(self, job: Job, printed: PrintedText, options: JobOptions) -> None:
        if self._has_front_end and not options.quiet:
            from mrkernel.jupyter.widgets import JobWidget

            JobWidget(job.picture, save_view=self.save_view).show()
            handle: Any = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

            def show_prints(_: Job) -> None:
                text = printed.take(last=True)
                if text:
                    handle.update({"text/plain": text}, raw=True)

            job.on_end(show_prints)

    @property
    def _has_front_end(self) -> bool:
        return hasattr(self.shell, "kernel")

    # --- the other magics -------------------------------------------------------------------------

    @no_var_expand
    @line_magic
    def mr_workers(self, line: str) -> None:
        """Show the workers, live: who is alive, what each is doing."""
        self._refuse_words("mr_workers", line)
        client = self._client()
        if not self._has_front_end:
            from mrkernel.monitor.text import cluster_lines

            print("\n".join(cluster_lines(client.look("cluster"))))  # noqa: T201
            return
        from mrkernel.jupyter.widgets import ClusterWidget

        ClusterWidget(client.cluster, save_view=self.save_view).show()

    @no_var_expand
    @line_magic
    def mr_cluster(self, line: str) -> Any:
        """Choose where jobs run: ``start [N]``, ``connect [HOST:PORT | NAME]`` or ``stop``."""
        words = line.split()
        match words:
            case ["start"]:
                return self._start(None)
            case ["start", count] if count.isdecimal() and int(count) > 0:
                return self._start(int(count))
            case ["start", *_]:
                raise UsageError("write %mr_cluster start, or %mr_cluster start 3 for 3 workers")
            case ["connect"]:
                return self._connect(None)
            case ["connect", address]:
                return self._connect(address)
            case ["stop"]:
                self._stop()
                return None
        raise UsageError("write %mr_cluster start [N], connect [HOST:PORT or NAME], or stop")

    @no_var_expand
    @line_magic
    def mr_jobs(self, line: str) -> Any:
        """List the cluster's jobs; ``%mr_jobs ID`` shows one again and returns it."""
        words = line.split()
        if len(words) > 1:
            raise UsageError("write %mr_jobs, or %mr_jobs ID")
        client = self._client()
        if not words:
            return JobList(client.look("cluster"))
        printed = PrintedText()
        job = client.attach(words[0], printed)
        if self._has_front_end:
            self._show_in_background(job, printed, JobOptions())
        return job

    def _refuse_words(self, name: str, line: str) -> None:
        if line.strip():
            raise UsageError(f"%{name} takes no arguments")

    def _start(self, workers: int | None) -> Any:
        self._stop_own()
        cluster = LocalCluster(workers)
        cluster.wait_for_workers()
        self._chosen = cluster
        print(f"started {cluster!r}; jobs of this notebook run on it")  # noqa: T201
        return None

    def _connect(self, address: str | None) -> None:
        client = connect(address)
        self._stop_own()
        self._chosen = client
        print(f"jobs of this notebook run on {client.label} ({client.slots} slots)")  # noqa: T201

    def _stop(self) -> None:
        stopped = self._stop_own()
        if stop_embedded_cluster() or stopped:
            print("stopped")  # noqa: T201
        else:
            print("there is no cluster of this notebook")  # noqa: T201

    def _stop_own(self) -> bool:
        """Stop a cluster we started; leave one we only connected to."""
        chosen, self._chosen = self._chosen, None
        if isinstance(chosen, LocalCluster):
            chosen.stop()
        elif isinstance(chosen, ManagerClient):
            chosen.close()
        return chosen is not None

    def _client(self) -> ManagerClient:
        engine, why = choose_engine(None, self._chosen)
        if isinstance(engine, LocalCluster):
            if why.startswith("started"):
                print(why)  # noqa: T201
                engine.wait_for_workers()
            return engine.client
        if isinstance(engine, ManagerClient):
            return engine
        raise ClusterError(f"{engine.label} has no workers to show")

    def close(self) -> None:
        """Stop what this notebook started."""
        self._stop_own()
        stop_embedded_cluster()
        close_clients()

    # --- words ------------------------------------------------------------------------------------

    def _value(self, word: Any) -> Any:
        """Evaluate an expression; expand ``{x}`` and ``$x`` inside any other word."""
        if isinstance(word, list):
            return [self._value(each) for each in word]
        if isinstance(word, str):
            return self.shell.var_expand(word, depth=0)
        if not isinstance(word, Expression):
            return word
        try:
            value = eval(word.code, self.shell.user_ns)
        except Exception as error:
            raise UsageError(f"{{{word.code}}}: {type(error).__name__}: {error}") from error
        return Evaluated(word.code, value)


def _parse(parser: _Parser, line: str) -> dict[str, Any]:
    """Parse a magic's line; expressions come back as they are."""
    words = split_line(line)
    # argparse wants text: an expression is a name that no user can type.
    tokens = [word if isinstance(word, str) else f"\0{index}" for index, word in enumerate(words)]

    def word_of(value: Any) -> Any:
        if isinstance(value, list):
            return [word_of(each) for each in value]
        if isinstance(value, str) and value.startswith("\0"):
            return words[int(value[1:])]
        return value

    return {name: word_of(value) for name, value in vars(parser.parse_args(tokens)).items()}


class JobList:
    """The jobs of a cluster, as a table."""

    def __init__(self, picture: dict[str, Any]) -> None:
        self._rows = [
            (job_id, row["state"], _took(row, picture["at"]), row["name"])
            for job_id, row in picture["jobs"].items()
        ]

    def __repr__(self) -> str:
        if not self._rows:
            return "no jobs yet"
        return "\n".join(f"{j:<5} {s:<10} {t:>9}  {n}" for j, s, t, n in self._rows)

    def _repr_html_(self) -> str:
        from html import escape

        head = "".join(f"<th>{name}</th>" for name in ("job", "state", "took", "name"))
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _took(row: dict[str, Any], now: float) -> str:
    end = now if row["ended"] is None else row["ended"]
    return f"{max(0.0, end - row['started']):.1f} s"


def _print(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _stored_names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
            yield str(instruction.argval)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """A second and a third press of ■ must not break off the cancelling."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_loaded: MapReduceMagics | None = None


MapReduceMagics.mapreduce.__doc__ = _MAPREDUCE.format_help()


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
