"""``python -m benchmarks.peers``: say which peers are here; ``install`` gets those that are not.

They are installed where nothing else is touched: into environments of their own beside the data,
which git ignores and ``make clean`` removes.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contest import VENV, VENVS, python_of
from benchmarks.peers import PEERS
from benchmarks.text import ROOT

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 where all of them are here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("list", "install"), default="list")
    if parser.parse_args(arguments).what == "install":
        _install(VENV, REQUIREMENTS)
        for peer, venv in VENVS.items():
            _install(venv, REQUIREMENTS.with_name(f"requirements-{peer}.txt"))
        python_of.cache_clear()
    told = {peer: _told(peer) for peer in PEERS}
    for peer, (version, fault) in told.items():
        print(f"{peer:10} {version or fault}")
    return 1 if any(fault for _, fault in told.values()) else 0


def _install(venv: Path, requirements: Path) -> None:
    """Make an environment, or bring it up to date."""
    if not (venv / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", "-r", str(requirements)], check=True)


def _told(peer: str) -> tuple[str, str]:
    """Return a peer's version, and what it lacks here."""
    module = importlib.import_module(f"benchmarks.peers.{peer}")
    python = python_of(peer)
    if python is None:
        return "", "not installed: python -m benchmarks.peers install"
    lacks = module.lacks() if hasattr(module, "lacks") else ""
    if lacks:
        return "", lacks
    program = f"from benchmarks.peers.{peer} import versions; print(versions())"
    done = subprocess.run([python, "-c", program], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip(), "" if done.returncode == 0 else done.stderr.strip()[-200:]


if __name__ == "__main__":
    sys.exit(main())
