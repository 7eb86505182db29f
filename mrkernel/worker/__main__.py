"""``python -m mrkernel.worker``: the same as ``mrkernel worker``."""

import sys

from mrkernel.cli import main

if __name__ == "__main__":
    sys.exit(main(["worker", *sys.argv[1:]]))
