"""Directories under the spill root, and the removal of those whose owner was killed.

A local cluster's is held (``data.locks``) by its supervisor and what that forks, a worker's by its
worker server or whoever serves its files. One that nobody holds is what a killed owner left behind:
the next one to start removes it.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

from mrkernel.data.locks import LOCK, hold

logger = logging.getLogger("mrkernel.deploy")

#: Names of directories of a supervisor, of ``mrkernel worker``, of what is not one yet, and of what
#: is none any more.
CLUSTER, WORKER, DRAFT, GONE = "mrkernel-", "mrkernel-worker-", ".new-", ".gone-"
#: Seconds a killed worker's files stay: its manager, which may itself be away for a moment, lets
#: another worker of the host serve them. A cluster's own files are of no use without it.
LEASE_S = 600.0
#: The same for a directory without a lock: a version that knew of none made it, and may use it.
UNLOCKED_LEASE_S = 7 * 86400.0


def spill_root() -> Path:
    """Return where spills and runs go: a real disk of the user's, never a memory file system."""
    from platformdirs import user_cache_path

    root = user_cache_path("mrkernel") / "spill"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


def make_cluster_directory() -> Path:
    """Make a directory under the spill root that is held by this process and those it forks.

    It has its name only once it is held, so that nobody sweeps it in between.
    """
    root = spill_root()
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=root))
    hold(draft)
    return draft.rename(root / (CLUSTER + draft.name.removeprefix(DRAFT)))


def make_worker_directory() -> Path:
    """Make the folder in which a worker server without a supervisor has its directory."""
    return Path(tempfile.mkdtemp(prefix=WORKER, dir=spill_root()))


def remove(directory: Path) -> None:
    """Remove a directory that nobody needs; if this is killed meanwhile, the next sweep goes on.

    First of all it loses its name: half of it, without its lock, would be taken for that of a
    version which knew of no locks, and stay for a week.

    Raises:
        OSError: something of it cannot be removed.
    """
    gone = directory
    if not directory.name.startswith(GONE):
        gone = directory.rename(directory.with_name(GONE + directory.name))
    shutil.rmtree(gone)


def sweep(root: Path | None = None) -> list[Path]:
    """Remove what killed owners left under the spill root; return what it was.

    What somebody holds stays, itself or what is in it: a worker serves the files of a dead one from
    where they lie. So do the files of a worker that are younger than their lease.
    """
    removed = []
    for path in sorted((root or spill_root()).iterdir()):
        ours = path.name.startswith((CLUSTER, DRAFT, GONE))
        if not ours or path.is_symlink() or not path.is_dir():
            continue
        if _age_s(path) < _lease_s(path):
            continue
        locks: list[int] = []
        try:
            for each in () if path.name.startswith(GONE) else (path, *path.iterdir()):
                if (each / LOCK).exists() or each is path:
                    locks.append(hold(each))
            remove(path)
            removed.append(path)
        except (BlockingIOError, FileNotFoundError):
            continue  # somebody lives there, or somebody else removes it
        except OSError as error:
            logger.warning("%s is left over and cannot be removed: %s", path, error)
        finally:
            for lock in locks:
                os.close(lock)
    return removed


def _lease_s(path: Path) -> float:
    if path.name.startswith(GONE):
        return 0.0
    if path.name.startswith(DRAFT):
        return LEASE_S
    if not any(path.glob(LOCK)) and not any(path.glob(f"*/{LOCK}")):
        return UNLOCKED_LEASE_S
    return LEASE_S if path.name.startswith(WORKER) else 0.0


def _age_s(path: Path) -> float:
    """Return the seconds since something was last made or removed in it; 0 when it is gone."""
    try:
        newest = max(each.stat().st_mtime for each in (path, *path.iterdir()))
    except OSError:
        return 0.0
    return time.time() - newest
