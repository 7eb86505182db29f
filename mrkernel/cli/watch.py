"""``mrkernel watch``: a job until it ends, or a cluster and all of its jobs, live."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from mrkernel.engines.follow import RATE_HZ, PrintedLines, follow
from mrkernel.errors import ManagerUnreachableError
from mrkernel.monitor.live import LivePicture
from mrkernel.monitor.picture import Json
from mrkernel.monitor.screen import Screen, is_live
from mrkernel.monitor.text import ClusterStory, cluster_lines

#: Jobs that run of which a watched cluster shows how far they are.
JOBS_WATCHED = 8


def add_commands(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("watch", help="watch the workers and jobs, or one job")
    parser.add_argument("job", metavar="ID", nargs="?")
    parser.add_argument(
        "--on", metavar="NAME", help="a manager: host:port, or its name; default: my only one"
    )
    parser.add_argument("--web", action="store_true", help="only say the address of its web page")
    parser.set_defaults(call=watch, parser=parser)


def watch(arguments: argparse.Namespace) -> int:
    """Show a job until it ends, or the cluster until interrupted."""
    if arguments.web:
        return _say_pages(arguments)
    from mrkernel.engines.remote import connect

    client = connect(arguments.on)
    try:
        if arguments.job is not None:
            # Who only watches must not take the job along when he leaves.
            job = client.attach(arguments.job, PrintedLines())
            follow(job, cancel_on_interrupt=False, fold=False)
            return 0
        if is_live(sys.stdout):
            _watch_live(client)
        else:
            _watch_plainly(client)
        banner = client.cluster.snapshot()["banner"]
        raise ManagerUnreachableError(banner["text"] if banner else "the manager is gone")
    finally:
        client.close()


def _watch_live(client: Any) -> None:
    """Until the manager is gone for good."""
    from mrkernel.monitor.terminal import cluster_renderable

    watched: dict[str, LivePicture] = {}
    with Screen(sys.stdout) as screen:
        while True:
            over = client.closed
            picture = client.cluster.snapshot()
            jobs = _running_jobs(client, picture, watched)
            screen.show(cluster_renderable(picture, time.time(), jobs=jobs, height=screen.height))
            if over:
                return
            time.sleep(1 / RATE_HZ)


def _running_jobs(client: Any, picture: Json, watched: dict[str, LivePicture]) -> dict[str, Json]:
    """The pictures of the newest jobs that run; those of others are not sent any more."""
    running = [job for job, row in picture.get("jobs", {}).items() if row["ended"] is None]
    wanted = running[-JOBS_WATCHED:]
    for job in [job for job in watched if job not in wanted]:
        client.unwatch(job)
        del watched[job]
    for job in wanted:
        if job not in watched:
            watched[job] = client.watch(job)
    return {job: live.snapshot() for job, live in watched.items()}


def _watch_plainly(client: Any) -> None:
    """Say how it is, and then what happens, until the manager is gone for good."""
    picture = client.look("cluster")
    lines = cluster_lines(picture, 0)
    story = ClusterStory(picture)
    while True:
        for line in lines:
            print(line, flush=True)  # noqa: T201
        if client.closed:
            return
        time.sleep(1 / RATE_HZ)
        lines = story.tell(client.cluster.snapshot(), time.time())


def _say_pages(arguments: argparse.Namespace) -> int:
    """Print the address of the web page that is asked for, or of all there are."""
    from mrkernel.security.token import find_manager, running_managers

    managers = [manager for manager in running_managers(embedded=True) if manager.web_port]
    which = arguments.job is not None and len(managers) > 1
    if arguments.on is not None or which or not managers:
        managers = [find_manager(arguments.on)]
    page = f"/job/{arguments.job}" if arguments.job is not None else "/"
    for manager in managers:
        print(manager.web_url(page))  # noqa: T201
    return 0
