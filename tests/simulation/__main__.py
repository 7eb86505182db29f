"""``python -m tests.simulation``: thousands of worlds, and what they came to."""

from __future__ import annotations

import sys

from .command import main

sys.exit(main())
