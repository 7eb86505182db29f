"""What holds for the whole test run: a home of its own, no leaks, no quiet skips.

* Everything that would land in the user's home lands in a folder made for this run.
* A test that leaves a process, a connection file or a spill file behind is an error, which names
  what was left; it is then removed, so that the next test starts clean. A fixture wider than one
  test may hold processes as long as it lives. Notebooks are held to the same.
* With ``MRKERNEL_CI=1`` a skip for a reason that is not in ``ALLOWED_SKIPS`` is a failure, and
  Hypothesis draws the same examples each time.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
import psutil
import pytest

#: Reasons (regular expressions) for which a test may be skipped on a build machine, which has all
#: that apt-get gives. Every entry needs a comment that says why no Linux machine can run the test.
ALLOWED_SKIPS: tuple[str, ...] = (
    r"needs macOS",  # other systems' primitives are tested with the Linux one disabled as well
    r"needs Windows",
)

CI = os.environ.get("MRKERNEL_CI") == "1"

#: Long enough for a cluster that is told to go (2 s) and for a busy machine; only a leak waits.
LEAVE_WITHIN_S = 5.0

hypothesis.settings.register_profile("mrkernel", deadline=None)
hypothesis.settings.register_profile(
    "ci", parent=hypothesis.settings.get_profile("mrkernel"), derandomize=True, database=None
)
hypothesis.settings.load_profile("ci" if CI else "mrkernel")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; what needs it is skipped without."""
    import chromium  # here: this file is tried in other folders, too

    with chromium.started() as browser:
        if browser is None:
            pytest.skip("needs Chromium")
        yield browser


def pytest_configure(config: pytest.Config) -> None:
    # Hooks of a conftest see only the tests below it; those of a plugin see the notebooks too.
    home = Home(config)
    config.pluginmanager.register(home, "mrkernel-home")
    config.pluginmanager.register(Leaks(home), "mrkernel-leaks")
    if CI:
        config.pluginmanager.register(Skips(), "mrkernel-skips")


class Home:
    """Folders for everything that programs put into the user's home; in the environment already.

    Attributes:
        run: the id that processes started by this run carry in ``MRKERNEL_TEST_RUN``.
        root: holds the folders. Its path is short: a Unix socket's may have 107 bytes.
    """

    FOLDERS: ClassVar = {
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "jupyter-config",
        "JUPYTER_DATA_DIR": "jupyter-data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "TMPDIR": "tmp",
        "XDG_CACHE_HOME": "cache",
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "data",
        "XDG_STATE_HOME": "state",
    }

    def __init__(self, config: pytest.Config) -> None:
        self.run = uuid.uuid4().hex
        # pytest keeps the last runs' tmp_path folders for people to look at: not in ours, then.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
        self.root = Path(tempfile.mkdtemp(prefix="mrk-"))
        for variable, folder in self.FOLDERS.items():
            (self.root / folder).mkdir(mode=0o700)
            os.environ[variable] = str(self.root / folder)
        tempfile.tempdir = None  # found anew, from TMPDIR
        # Only a user's own settings; what a test needs it sets itself.
        for variable in [v for v in os.environ if v.startswith("MRKERNEL_") and v != "MRKERNEL_CI"]:
            del os.environ[variable]
        os.environ["MRKERNEL_TEST_RUN"] = self.run
        # Building matplotlib's font cache takes seconds, and says so on stderr: once is enough.
        if (cache := getattr(config, "cache", None)) is not None:
            os.environ.setdefault("MPLCONFIGDIR", str(cache.mkdir("matplotlib")))

    def litter(self) -> list[Path]:
        """What this package has left: connection files, spill, anything of its name."""
        left = [self.root / "runtime", self.root / "tmp"]
        entries = [entry for folder in left for entry in folder.glob("mrk*")]
        for name in ("cache", "config", "data", "state"):
            # Unlike rglob, walk() takes it well that folders are being deleted under its feet.
            for folder, _, files in os.walk(self.root / name / "mrkernel"):
                entries += (Path(folder) / file for file in files)
        return sorted(entries)

    def pytest_unconfigure(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


class Leaks:
    """Fails the test after which a process or a file is left that was not there before."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.me = os.getpid()
        self.before = set(psutil.pids())  #: not ours, or known and excused
        self.first_seen: dict[int, str] = {}  #: our processes now running: pid → test
        self.held_by: dict[int, str] = {}  #: id of a wide fixture that started processes → its name
        self.report: list[str] = []  #: for the end of the session

    def ours(self, pid: int) -> bool:
        """Whether ``pid`` is alive and was started, at any remove, by this run."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False  # has ended; an unwaited Popen is told by its own ResourceWarning
            if pid in self.first_seen:
                return True  # looked at once
            if any(parent.pid == self.me for parent in process.parents()):
                return True
            return process.environ().get("MRKERNEL_TEST_RUN") == self.home.run
        except psutil.Error:
            return False  # gone meanwhile, or another user's

    def running(self, nodeid: str) -> list[int]:
        """Our processes; those seen for the first time are put down to ``nodeid``."""
        now = set(psutil.pids())
        self.before &= now  # a number freed may come back as something else
        found = {pid for pid in now - self.before if self.ours(pid)}
        self.before |= now - found  # nobody becomes ours later: looked at once
        self.first_seen = {pid: self.first_seen.get(pid, nodeid) for pid in found}
        return sorted(found)

    def left(self, nodeid: str) -> tuple[list[int], list[Path]]:
        """Wait for what is on its way out; return what stays."""
        deadline = time.monotonic() + LEAVE_WITHIN_S
        while True:
            processes, files = self.running(nodeid), self.home.litter()
            if not (processes or files) or time.monotonic() > deadline:
                return processes, files
            time.sleep(0.02)

    def sentences(self, processes: Iterable[int], files: Iterable[Path]) -> list[str]:
        told = []
        for pid in processes:
            try:
                what = " ".join(psutil.Process(pid).cmdline())[:200]
            except psutil.Error:
                continue
            told.append(f"process {pid}, first seen after {self.first_seen[pid]}: {what}")
        return told + [f"file {path.relative_to(self.home.root)}" for path in files]

    def remove(self, processes: Iterable[int], files: Iterable[Path]) -> None:
        for pid in processes:
            try:
                psutil.Process(pid).kill()
            except psutil.NoSuchProcess:
                continue
        for path in files:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def check(self, nodeid: str) -> list[str]:
        processes, files = self.left(nodeid)
        told = self.sentences(processes, files)
        self.remove(processes, files)
        return told

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
        if fixturedef.scope == "function":
            return (yield)
        before = set(self.running(request.node.nodeid))
        result = yield
        if set(self.running(request.node.nodeid)) - before:
            self.held_by[id(fixturedef)] = fixturedef.argname
        return result

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        self.held_by.pop(id(fixturedef), None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, None, None]:
        yield
        if item.path.suffix == ".ipynb" and nextitem is not None and item.path == nextitem.path:
            return  # the cells of a notebook share one kernel
        if self.held_by:
            self.running(item.nodeid)  # only to remember who was first seen when
            return
        if told := self.check(item.nodeid):
            pytest.fail("left behind:\n  " + "\n  ".join(told), pytrace=False)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.report = self.check("the last test")
        if self.report:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.report:
            terminalreporter.section("left behind at the end of the run", red=True)
            for line in self.report:
                terminalreporter.line(line)


class Skips:
    """Turns a skip whose reason is not listed into a failure."""

    @staticmethod
    def judge(report: Any) -> Any:
        if not report.skipped or hasattr(report, "wasxfail"):
            return report
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(re.search(allowed, reason) for allowed in ALLOWED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"{reason}\nMRKERNEL_CI=1, and tests/conftest.py does not list it."
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        return self.judge((yield))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, Any, Any]:
        return self.judge((yield))
