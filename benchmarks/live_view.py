"""The live view of a large job: what it sends, and how long a browser draws it.

What the manager says of ``crowd``'s job goes through its broker to one reader who misses nothing.
What that one is sent is then drawn by the view's own files in Chromium, as fast as it goes. A frame
is what a delta costs the page: taking it in, drawing, laying out, and the canvases painted to the
last pixel; each delta takes two. Every frame is drawn three times and has its median, so that what
else the machine did in one of them does not count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.crowd import JOB, Crowd, events
from benchmarks.meter import median, percentile
from benchmarks.plan import Plan
from benchmarks.table import Row
from mrkernel.ids import WorkerId
from mrkernel.monitor import events as ev
from mrkernel.monitor.broker import CLUSTER, INTERVAL_S, Broker
from mrkernel.monitor.browser_module import STATIC
from mrkernel.monitor.picture import Json
from tests import chromium

MOST_UPDATES = 10  #: a second
MOST_BYTES = 100_000  #: a second
FRAME_MS = 16.0
MOST_IDLE = 0.01  #: of a processor
TIMES = 3
IDLE_S = 5

_PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/view.css">
<body style="margin:16px; background:#fff"><div id="out"></div><script type="module">
import { mount } from "/view.js";
const out = document.getElementById("out");
let hear, stop;
window.begin = (payload) => {
  stop?.();
  stop = mount(out, { subscribe(f) { hear = f; return () => {}; } });
  hear(payload);
};
window.hear = (payload) => hear(payload);
// What the two frames after a delta cost, in ms: the second draws what stands around the timeline.
const frames = (payload) => new Promise((done) => {
  let began, first;
  requestAnimationFrame(() => {
    began = performance.now();
    requestAnimationFrame(() => { began = performance.now(); });
  });
  const before = performance.now();
  hear(payload);
  const heard = performance.now() - before;
  const ended = () => {
    out.getBoundingClientRect();
    for (const canvas of out.querySelectorAll("canvas")) {
      if (canvas.width) canvas.getContext("2d").getImageData(0, 0, 1, 1);
    }
    return performance.now() - began;
  };
  requestAnimationFrame(() => {
    first = ended() + heard;
    requestAnimationFrame(() => done([first, ended()]));
  });
});
window.play = async (payloads) => {
  const times = [];
  for (const payload of payloads) times.push(...(await frames(payload)));
  return times;
};
window.ready = true;
</script>"""


def measure(plan: Plan) -> Iterator[Row]:
    """Measure it."""
    crowd = Crowd() if plan.judged else Crowd(maps=480, reduces=20, workers=10, deaths=2)
    story = events(crowd)
    seconds = story[-1].at
    payloads, last = _sent(story)
    sizes = [(at, len(_text(payload).encode())) for at, payload in payloads if "delta" in payload]
    again = last["moved"] + last["redone"]
    title = (
        f"view of {crowd.maps + crowd.reduces:,} tasks on {crowd.workers} workers, "
        f"{again:,} taken up again, in {seconds:.0f} s"
    )
    per_second = Counter(int(at) for at, _ in sizes)
    most = max(per_second.values())
    yield Row(
        f"{title}: updates",
        f"{len(sizes) / seconds:.1f} /s",
        f"in the fullest second {most}",
        goal=f"<= {MOST_UPDATES} /s",
        met=most <= MOST_UPDATES if plan.judged else None,
    )
    loads: Counter[int] = Counter()
    for at, size in sizes:
        loads[int(at)] += size
    fullest = max(loads.values())
    yield Row(
        "… what a reader is sent",
        f"{sum(size for _, size in sizes) / seconds / 1e3:.0f} kB/s",
        f"in the fullest second {fullest / 1e3:.0f} kB",
        goal=f"<= {MOST_BYTES / 1e3:.0f} kB/s",
        met=fullest <= MOST_BYTES if plan.judged else None,
    )
    with _pages() as new_page:
        if new_page is None:
            yield Row("… a frame in Chromium", "left out: needs Playwright and Chromium")
            return
        page = new_page()
        for lanes, button in (("lanes that scroll", ""), ("all lanes at once", "All lanes")):
            times = _frames(page, [payload for _, payload in payloads], button)
            slow = percentile(times, 99)
            yield Row(
                f"… a frame in Chromium, {lanes}: median of {len(times)}",
                f"{median(times):.1f} ms",
                f"99 of 100 within {slow:.1f}, the worst {max(times):.1f} ms",
                goal=f"99 of 100 < {FRAME_MS:.0f} ms",
                met=slow < FRAME_MS if plan.judged else None,
            )
        whole = {"snapshot": last}
        for name, payload, deltas in (
            ("of a job that is over", whole, []),
            ("of a cluster of 4 that has nothing to do", *_idle(4)),
            ("of a cluster of 100 that has nothing to do", *_idle(100)),
        ):
            page.close()
            page = new_page()  # what was drawn before is not this view's to clear away
            share = _at_rest(page, payload, deltas)
            yield Row(
                f"an open view {name}: its page's main thread",
                f"{share:.1%} of a processor",
                goal=f"<= {MOST_IDLE:.0%}",
                met=share <= MOST_IDLE if plan.judged else None,
            )


def _sent(story: Sequence[ev.Event]) -> tuple[list[tuple[float, Json]], Json]:
    """What one reader gets, and when; and the last picture."""
    broker = Broker()
    broker.subscribe("reader", JOB)
    out: list[tuple[float, Json]] = []
    for event in story:
        if broker.due(event.at) == 0.0:
            out += [(event.at, payload) for _, payload in broker.collect(event.at)]
        broker.publish(event)
    end = story[-1].at + INTERVAL_S
    out += [(end, payload) for _, payload in broker.collect(end)]
    last = broker.snapshot(JOB)
    assert last is not None
    assert last["map"]["done"] == last["map"]["total"], last["map"]
    return out, last


def _idle(workers: int) -> tuple[Json, list[Json]]:
    """A cluster's picture, and what changes in it while nothing happens."""
    broker = Broker(wall=1_700_000_000.0)
    names = [WorkerId(f"w{n}") for n in range(1, workers + 1)]
    for number, name in enumerate(names):
        broker.publish(ev.WorkerJoined(at=0.0, worker=name, host="h", pid=number, slots=2))
    broker.subscribe("reader", CLUSTER)
    [(_, first)] = broker.collect(0.0)
    deltas: list[Json] = []
    for tick in range(1, 10 * IDLE_S + 1):
        for number, name in enumerate(names):
            if (tick + number) % 5 == 0:
                at = tick / 10
                broker.publish(
                    ev.WorkerBeat(at=at, worker=name, cpu_percent=0.0, memory_bytes=90_000_000)
                )
        deltas += [payload for _, payload in broker.collect(tick / 10)]
    return first, deltas


@contextmanager
def _pages() -> Iterator[Callable[[], Any] | None]:
    """Opens pages that can draw views; None where there is no browser."""
    with chromium.started() as browser:
        if browser is None:
            yield None
            return

        def answer(route: Any) -> None:
            name = route.request.url.rsplit("/", 1)[-1]
            if name:
                route.fulfill(path=STATIC / name)
            else:
                route.fulfill(content_type="text/html", body=_PAGE)

        def new_page() -> Any:
            page = browser.new_page(viewport={"width": 1152, "height": 1000})
            page.route("http://view.test/**", answer)
            page.goto("http://view.test/")
            page.wait_for_function("window.ready")
            return page

        yield new_page


def _frames(page: Any, payloads: Sequence[Json], button: str) -> list[float]:
    """What each delta costs the page, in ms."""
    runs = []
    first = next(n for n, payload in enumerate(payloads) if "snapshot" in payload)
    for _ in range(TIMES):
        page.evaluate("(p) => begin(p)", payloads[first])
        toggle = page.locator(".mrk-toggle[aria-expanded=false]")
        if toggle.count():
            toggle.click()
        if button:
            page.get_by_role("button", name=button).click()
        runs.append(page.evaluate("(p) => play(p)", payloads[first + 1 :]))
    return [median(times) for times in zip(*runs, strict=True)]


def _at_rest(page: Any, payload: Json, deltas: Sequence[Json]) -> float:
    """Share of a processor that an open view needs, told these ten times a second."""
    line = page.context.new_cdp_session(page)
    line.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        found = line.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in found if each["name"] == "TaskDuration"))

    page.evaluate("(p) => begin(p)", payload)
    toggle = page.locator(".mrk-toggle[aria-expanded=false]")
    if toggle.count():
        toggle.click()
    page.evaluate("(p) => { window.waiting = p; }", deltas)
    page.wait_for_timeout(1000)
    before = spent()
    page.evaluate(
        "() => { const go = setInterval(() => waiting.length ? hear(waiting.shift())"
        " : clearInterval(go), 100); }"
    )
    page.wait_for_timeout(1000 * IDLE_S)
    share = (spent() - before) / IDLE_S
    line.detach()
    return share


def _text(payload: Json) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
