"""What a forked process does before it is anything else."""

from __future__ import annotations

import os
import sys

import pytest

from mrkernel.worker.template import die_with_parent


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does it")
@pytest.mark.parametrize("alive", [True, False])
def test_a_parent_that_died_before_it_was_asked_about_is_noticed(alive: bool) -> None:
    read, write = os.pipe()
    parent = os.fork()
    if not parent:
        me, between = os.getpid(), os.pipe()
        if not os.fork():
            os.close(between[1])
            if not alive:
                os.read(between[0], 1)  # until the parent is gone
                while os.getppid() == me:
                    pass
            die_with_parent(me)
            os.write(write, b"lived on")
            os._exit(0)
        if alive:
            os.wait()
        os._exit(0)
    os.close(write)
    os.waitpid(parent, 0)
    with os.fdopen(read, "rb") as said:
        assert said.read() == (b"lived on" if alive else b"")
