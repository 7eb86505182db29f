"""One contestant, in a process of its own: sets up, runs one job, digests the answer.

    python -m benchmarks.contestant ORDER.json

It says ``ready``, ``done`` and ``answer`` in lines of JSON and waits for a line after each of the
first two, so that the contest can read the meters in between. Nothing but the standard library and
what the peer needs is imported: it runs in whatever environment has the peer.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.digest import digest_folder, digest_pairs
from benchmarks.jobs import JOBS


def main() -> int:
    """Run one job once."""
    order = json.loads(Path(sys.argv[1]).read_text())
    # What libraries print must not come between our lines.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(what: str, **facts: Any) -> None:
        print(json.dumps({"is": what, **facts}), file=channel, flush=True)

    job, out = JOBS[order["job"]], Path(order["out"])
    peer = importlib.import_module(f"benchmarks.peers.{order['peer']}")
    session = peer.Session(job, order["variant"])
    say("ready", versions=peer.versions())
    sys.stdin.readline()
    began = time.perf_counter()
    answer = session.run(order["files"], str(out))
    wall = time.perf_counter() - began
    say("done", wall=wall, facts=getattr(session, "facts", {}))
    sys.stdin.readline()
    if job.writes:
        digest = digest_folder(out, ordered=job.ordered)
    else:
        digest = digest_pairs(answer, job.tidy)
    say("answer", digest=digest)
    session.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
