"""``python -m mrkernel.submit``: the same as ``mrkernel submit``. Nothing imports this file.

Should somebody do so, ``mrkernel.submit`` is this module from then on, so it can be called like the
function whose name it takes.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from mrkernel.engines.api import submit

        return submit(*arguments, **options)


if __name__ == "__main__":
    from mrkernel.cli import program

    program(["submit", *sys.argv[1:]])
else:
    sys.modules[__name__].__class__ = _CallableModule
