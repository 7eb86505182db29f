"""``python -m mrkernel.manager``: the same as ``mrkernel manager``."""

import sys

from mrkernel.cli import program

if __name__ == "__main__":
    program(["manager", *sys.argv[1:]])
