"""MapReduce in a notebook, on every core and every machine you have.

The names of ``__all__`` are the public ones; they are imported when they are first used.
"""

from __future__ import annotations

import importlib as _importlib
import logging as _logging

__version__ = "0.1.0.dev0"

_logging.getLogger("mrkernel").addHandler(_logging.NullHandler())

#: Public name → module that has it.
_HOMES = {
    "run": "mrkernel.engines.api",
    "submit": "mrkernel.engines.api",
    "connect": "mrkernel.engines.remote",
    "LocalCluster": "mrkernel.engines.local",
    "Job": "mrkernel.engines.job",
    "JobResult": "mrkernel.engines.result",
    "JobSpec": "mrkernel.job.spec",
    "counter": "mrkernel.job.counters",
    "reads": "mrkernel.job.projection",
    **dict.fromkeys(
        (
            "MRKernelError",
            "JobSpecError",
            "InputError",
            "InputUnreachableError",
            "KeyTypeError",
            "JobError",
            "TaskFailedError",
            "JobCancelledError",
            "OutputExistsError",
            "ClusterError",
            "NoWorkersError",
            "ManagerUnreachableError",
            "CorruptRunError",
            "ProtocolError",
            "LocalProtocolError",
            "RemoteProtocolError",
            "SecurityError",
            "InvalidTransition",
        ),
        "mrkernel.errors",
    ),
}

__all__ = [*_HOMES, "load_ipython_extension", "unload_ipython_extension"]

TYPE_CHECKING = False  # what typing's constant is at run time, without importing typing
if TYPE_CHECKING:
    from mrkernel.engines.api import run, submit
    from mrkernel.engines.job import Job
    from mrkernel.engines.local import LocalCluster
    from mrkernel.engines.remote import connect
    from mrkernel.engines.result import JobResult
    from mrkernel.errors import *  # noqa: F403
    from mrkernel.job.counters import counter
    from mrkernel.job.projection import reads
    from mrkernel.job.spec import JobSpec
del TYPE_CHECKING


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mrkernel' has no attribute {name!r}")
    value: object = getattr(_importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: object) -> None:
    """``%load_ext mrkernel``: register the magics."""
    from mrkernel.jupyter.magic import load

    load(shell)


def unload_ipython_extension(shell: object) -> None:
    """``%unload_ext mrkernel``: remove the magics and stop the cluster inside this session."""
    from mrkernel.jupyter.magic import unload

    unload(shell)
