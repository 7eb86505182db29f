"""``%mr_chaos``: a fault on purpose, now or when a job is so far."""

from __future__ import annotations

import random

from IPython.core.error import UsageError

from mrkernel.engines.disturbing import Disturbable, Disturbance, disturbance_text
from mrkernel.engines.local import LocalCluster
from mrkernel.errors import ClusterError
from mrkernel.jupyter.arguments import Parser, parse
from mrkernel.jupyter.line import Expression

FAULTS = ("kill", "freeze", "slow", "restart_manager")


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--at {text}: write a share of the job's progress, such as 50%")
    return share


def _parser() -> Parser:
    parser = Parser(
        prog="mr_chaos",
        description="Make a worker, or the manager, of this notebook's cluster fail on purpose.",
        add_help=False,
    )
    parser.add_argument("fault", choices=FAULTS, metavar="kill|freeze|slow|restart_manager")
    parser.add_argument("worker", nargs="?", metavar="WORKER", help="w2; default: any")
    parser.add_argument(
        "--at",
        type=_share,
        metavar="SHARE",
        help="when the newest running job, else the next one, is so far: 50%%",
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, metavar="S", help="how long it is frozen; default 5"
    )
    parser.add_argument(
        "--factor", type=float, default=10.0, metavar="F", help="how much slower; default 10"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="picks the same one of the same workers again"
    )
    return parser


PARSER = _parser()


def disturb(cluster: Disturbable, line: str) -> str:
    """Do what a line says; return a sentence about it.

    Raises:
        UsageError: the line makes no sense.
        ClusterError: there is no such living worker, or this cluster cannot do it.
    """
    words = parse(PARSER, line)
    fault, worker, at = words["fault"], words["worker"], words["at"]
    if fault == "restart_manager":
        return _restart_manager(cluster, worker, at)
    if worker is None:
        worker = _any_worker(cluster, words["seed"])
    elif isinstance(worker, Expression):  # IPython left it as it was
        raise UsageError(f"{{{worker.code}}}: nothing in this notebook is called {worker.code}")
    planned: Disturbance | None
    amount = 0.0
    if fault == "kill":
        planned = cluster.kill(worker, at=at)
    elif fault == "freeze":
        amount = words["seconds"]
        planned = cluster.freeze(worker, amount, at=at)
    else:
        amount = words["factor"]
        planned = cluster.slow(worker, amount, at=at)
    return disturbance_text(fault, worker, amount) if planned is None else planned.sentence


def _restart_manager(cluster: Disturbable, worker: str | None, at: float | None) -> str:
    if worker is not None:
        raise UsageError("%mr_chaos restart_manager takes no worker: there is one manager")
    if not isinstance(cluster, LocalCluster):
        raise ClusterError(
            "only a cluster of this notebook starts its manager again: kill the process of "
            "`mrkernel manager` and start it again by hand"
        )
    planned = cluster.restart_manager(at=at)
    return "killed the manager" if planned is None else planned.sentence


def _any_worker(cluster: Disturbable, seed: int | None) -> str:
    living = list(cluster.living_workers())
    if not living:
        raise ClusterError("no worker lives here: there is none to disturb")
    return random.Random(seed).choice(living)
