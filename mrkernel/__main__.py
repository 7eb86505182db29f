"""``python -m mrkernel``."""

import sys

from mrkernel.cli import main

if __name__ == "__main__":
    sys.exit(main())
