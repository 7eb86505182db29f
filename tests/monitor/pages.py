"""Pages that load the browser's files, and a job to show there."""

from __future__ import annotations

import http.server
from typing import Any

from events_strategy import JOB

from mrkernel.ids import WorkerId, map_task
from mrkernel.monitor import events as ev
from mrkernel.monitor.browser_module import browser_module
from mrkernel.monitor.view import JobView

W1, W2 = WorkerId("w1"), WorkerId("w2")

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<link rel="stylesheet" href="/view.css">
<body style="margin:0;background:BACKGROUND"><div id="out"></div><script type="module">
import * as view from "MODULE";
window.view = view;
window.mounted = 0;
window.begin = (payloads, more = {}) => {
  let hear;
  window.resyncs = 0;
  window.stop?.();
  window.stop = view.mount(document.getElementById("out"), {
    subscribe(f) { hear = f; window.mounted += 1; return () => { window.mounted -= 1; }; },
    resync() { window.resyncs += 1; },
    ...more,
  });
  window.hear = (payload) => new Promise((done) => {
    hear(payload);
    requestAnimationFrame(() => requestAnimationFrame(done));
  });
  const start = Promise.resolve();
  return payloads.reduce((before, payload) => before.then(() => window.hear(payload)), start);
};
document.body.dataset.ready = "yes";
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the browser's files, as they are and joined, and pages that load them."""

    def do_GET(self) -> None:
        if self.path in ("/light", "/dark", "/joined"):
            page = PAGE.replace("BACKGROUND", "#14171c" if self.path == "/dark" else "#ffffff")
            page = page.replace("MODULE", "/all.js" if self.path == "/joined" else "/view.js")
            self.answer("text/html", page)
        elif self.path == "/all.js":
            self.answer("text/javascript", browser_module())
        else:
            super().do_GET()

    def answer(self, kind: str, text: str) -> None:
        """Send a text."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def begin(page: Any, *payloads: dict[str, Any], more: str = "{}") -> None:
    """Mount a view and let it hear these; ``more``: of its source, in JavaScript."""
    page.evaluate(f"(payloads) => begin(payloads, {more})", list(payloads))


def hear(page: Any, view: Any) -> None:
    """Let it hear what changed, and wait until that is drawn."""
    page.evaluate("(p) => hear(p)", {"delta": view.take_delta()})


def running() -> JobView:
    """A job of four maps and two reduces: map-0 runs on w2."""
    view = JobView(JOB)
    for event in (
        ev.WorkerJoined(at=0.0, worker=W1, host="h", pid=1, slots=1),
        ev.WorkerJoined(at=0.0, worker=W2, host="h", pid=2, slots=1),
        ev.JobAccepted(
            at=1.0,
            job=JOB,
            name="<img src=x onerror=alert(1)>",
            maps=4,
            reduces=2,
            input_bytes=4000,
            functions="<b>cell</b>",
        ),
        ev.AttemptStarted(at=1.0, job=JOB, task=map_task(0), attempt=1, worker=W2, input="<u>"),
    ):
        view.fold(event)
    view.take_delta()
    return view
