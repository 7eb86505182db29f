from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from mrkernel.job.trial import compute_apart

forks = pytest.mark.skipif(sys.platform == "darwin", reason="nothing is forked there")


def fails() -> bytes:
    raise ValueError


def exits() -> bytes:
    raise SystemExit(3)


def dies() -> bytes:
    os._exit(1)


def crashes() -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    return b"never"


def test_what_is_computed_comes_back() -> None:
    assert compute_apart(lambda: b"x" * 1_000_000, 10.0) == b"x" * 1_000_000


@forks
def test_it_is_another_process() -> None:
    assert int(compute_apart(lambda: b"%d" % os.getpid(), 10.0)) != os.getpid()


@pytest.mark.parametrize("compute", [fails, exits])
def test_what_fails_gives_nothing(compute: Callable[[], bytes]) -> None:
    assert compute_apart(compute, 10.0) == b""


@forks
@pytest.mark.parametrize("compute", [dies, crashes])
def test_what_takes_its_process_along_gives_nothing(compute: Callable[[], bytes]) -> None:
    assert compute_apart(compute, 10.0) == b""


@forks
def test_a_fork_of_user_code_does_not_answer_too() -> None:
    def forks_once() -> bytes:
        if os.fork():
            os.wait()
        return b"once"

    assert compute_apart(forks_once, 10.0) == b"once"


@forks
def test_what_does_not_come_back_is_ended() -> None:
    def hangs() -> bytes:
        while True:
            pass

    began = time.monotonic()
    assert compute_apart(hangs, 0.05) == b""
    assert time.monotonic() - began < 5
