"""The template: a single-threaded process that imports once and forks runners on request.

Forking a process that already holds Python, Arrow and NumPy takes a few milliseconds, so a runner
that was killed (because its attempt was cancelled, or because user code crashed it) is replaced
before anyone notices. The template has no event loop and no threads, which is what makes forking
it safe; its parent, the worker server, speaks to it over a socket pair:

* server → template: the slot as 4 bytes, with the runner's socket, its output pipe and its
  progress cell as file descriptors;
* template → server: (``U`` or ``D``, slot, pid, exit status, peak memory) as 24 bytes.

When the server is gone the socket ends; the template then kills the runners with all they started.
It does so even if it was stopped: the kernel wakes it when its parent ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import NoReturn

REQUEST = struct.Struct("!i")
REPORT = struct.Struct("!c3xiIiQ")
UP = b"U"
DIED = b"D"

#: What a runner's life is: gets its socket and its progress cell's descriptor.
RunnerMain = Callable[[socket.socket, int], None]

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends (elsewhere than on Linux a no-op).

    Args:
        parent: its process, as it knew itself before the fork: it may have ended since.
    """
    _hear_of_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before we asked


def _hear_of_parent(number: int) -> None:
    """Ask the kernel for a signal when our parent ends (Linux; elsewhere a no-op)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def run_template(control: socket.socket, warm_up: Callable[[], None], main: RunnerMain) -> NoReturn:
    """Serve fork requests until the server is gone; never returns.

    Args:
        control: our end of the socket pair, blocking.
        warm_up: imports what every runner needs.
        main: run in each forked child.
    """
    _hear_of_parent(signal.SIGCONT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    warm_up()
    slots: dict[int, int] = {}  # pid → slot
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fd == wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                _report_deaths(control, slots)
                continue
            slot, descriptors = _receive(control)
            if slot is None:
                for pid in slots:
                    kill_group(pid)
                os._exit(0)
            template = os.getpid()
            pid = os.fork()
            if pid == 0:
                selector.close()
                signal.set_wakeup_fd(-1)
                for descriptor in (wake_read, wake_write):
                    os.close(descriptor)
                control.close()
                _become_runner(template, descriptors, main)
            with contextlib.suppress(OSError):  # the child may have done it, or be gone
                os.setpgid(pid, pid)
            for descriptor in descriptors:
                os.close(descriptor)
            slots[pid] = slot
            _report(control, UP, slot, pid, 0, 0)


def kill_group(pid: int) -> None:
    """Kill a runner with everything it started; one that is gone already is fine."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _receive(control: socket.socket) -> tuple[int | None, list[int]]:
    try:
        data, descriptors, _, _ = socket.recv_fds(control, REQUEST.size, 3)
    except ConnectionError:
        return None, []
    return (REQUEST.unpack(data)[0] if len(data) == REQUEST.size else None), descriptors


def _report_deaths(control: socket.socket, slots: dict[int, int]) -> None:
    while slots:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        # The runner may be dead while what it started lives on.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        _report(control, DIED, slots.pop(pid), pid, os.waitstatus_to_exitcode(status), peak)


def _report(
    control: socket.socket, what: bytes, slot: int, pid: int, status: int, peak: int
) -> None:
    with contextlib.suppress(ConnectionError):  # the server is gone: select will say so
        control.sendall(REPORT.pack(what, slot, pid, status, peak))


def _become_runner(template: int, descriptors: list[int], main: RunnerMain) -> NoReturn:
    """In the child: cut every tie with the template, then live a runner's life."""
    import faulthandler
    import resource

    status = 1
    try:
        os.setpgid(0, 0)
        die_with_parent(template)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        conversation, output, cell = descriptors
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for descriptor in (null, output):
            os.close(descriptor)
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            text = open(  # noqa: SIM115 - as long as the process
                descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False
            )
            setattr(sys, name, text)
        faulthandler.enable(2)
        # Its report says more than an image of its memory, which may be as large as that.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        main(socket.socket(fileno=conversation), cell)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        os._exit(status)


def signal_name(status: int) -> str:
    """Name the signal that ended a process: "SIGSEGV"; "" when none did.

    Args:
        status: its exit status, or minus the number of the signal.
    """
    if status >= 0:
        return ""
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
