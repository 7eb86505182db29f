"""What ``%mr_jobs`` shows."""

from __future__ import annotations

import time
from html import escape
from typing import Any

from mrkernel.monitor.text import job_rows


class JobList:
    """The jobs of a cluster, as a table."""

    def __init__(self, picture: dict[str, Any]) -> None:
        self._rows = job_rows(picture, time.time())

    def __repr__(self) -> str:
        if not self._rows:
            return "no jobs"
        return "\n".join(f"{j:<5} {s:<10} {t:>9}  {n}" for j, s, t, n in self._rows)

    def _repr_html_(self) -> str:
        if not self._rows:
            return repr(self)
        left = ' style="text-align:left"'  # JupyterLab would align them as numbers
        head = "".join(f"<th{left}>{name}</th>" for name in ("job", "state", "took", "name"))
        rows = "".join(
            "<tr>" + "".join(f"<td{left}>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
