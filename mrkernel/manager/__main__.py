"""``python -m mrkernel.manager``: the same as ``mrkernel manager``."""

import sys

from mrkernel.cli import main

if __name__ == "__main__":
    sys.exit(main(["manager", *sys.argv[1:]]))
