"""``python -m mrkernel.worker``: the same as ``mrkernel worker``."""

import sys

from mrkernel.cli import program

if __name__ == "__main__":
    program(["worker", *sys.argv[1:]])
