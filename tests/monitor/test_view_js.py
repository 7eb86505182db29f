"""The browser module in a browser: it says what the Python side says, and draws what it should."""

from __future__ import annotations

import json
from typing import Any

import pytest
from events_strategy import JOB, events
from hypothesis import HealthCheck, Phase, given, settings
from pages import W1, W2, begin, hear, running

from mrkernel.ids import WorkerId, map_task
from mrkernel.monitor import events as ev
from mrkernel.monitor import quantities, text
from mrkernel.monitor.view import ClusterView, JobView

pytestmark = pytest.mark.browser


def test_it_says_what_the_python_side_says(page: Any) -> None:
    """One sentence in two languages must not drift apart."""
    numbers = [0, 0.994, 0.996, 4.24, 9.94, 9.96, 99.94, 99.96, 187, 999.4, 999.6, 7500, 99_999]
    numbers += [100_000, 999_499, 999_501, 5_100_000, 48_200_000, 3e9, 3e15, 4e18]
    said = page.evaluate(
        "(ns) => ns.map((n) => [view.bytesText(n), view.countText(n), view.secondsText(n)])",
        numbers,
    )
    for number, sentences in zip(numbers, said, strict=True):
        functions = (quantities.bytes_text, quantities.count_text, quantities.seconds_text)
        assert sentences == [function(number) for function in functions], number

    @settings(
        max_examples=60,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        database=None,
    )
    @given(events)
    def compare(story: list[ev.Event]) -> None:
        view = JobView(JOB)
        deltas = []
        first = view.snapshot()
        for number, event in enumerate(story):
            view.fold(event)
            if number % 5 == 0:
                deltas.append(view.take_delta())
        deltas = [delta for delta in [*deltas, view.take_delta()] if delta is not None]
        picture = view.snapshot()
        there = page.evaluate(
            """([first, deltas]) => {
              const p = deltas.reduce(view.apply, first), phases = ["map", "shuffle", "reduce"];
              return [p, view.lossesText(p), view.isTroubled(p), view.ratesText(p),
                      view.elapsed(p),
                      phases.map((f) => view.barText(p, f)),
                      phases.map((f) => view.barParts(p, f)), view.etaText(p)];
            }""",
            [first, deltas],
        )
        phases = text.PHASES
        assert there[0] == json.loads(json.dumps(picture))
        assert there[1:6] == [
            text.losses_text(picture),
            text.is_troubled(picture),
            text.rates_text(picture),
            pytest.approx(text.elapsed_s(picture)),
            [text.bar_text(picture, phase) for phase in phases],
        ]
        assert there[7] == text.eta_text(picture)
        assert there[6] == [pytest.approx(text.bar_parts(picture, phase)) for phase in phases]

    compare()


EVIL = (
    "<img src=x onerror=window.hacked=1>",
    "<script>window.hacked=1</script>",
    "</span></li></ul><iframe srcdoc='<script>parent.hacked=1</script>'>",
    '" onmouseover=window.hacked=1 x="',
    "&lt;b&gt; ${window.hacked=1} {{1}} javascript:hacked=1",
)


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("kind", ["job", "cluster"])
def test_data_is_text_whatever_it_holds(page: Any, evil: str, kind: str) -> None:
    """Names of jobs, workers, hosts and files, keys, errors, causes: no markup in any of them."""
    view = JobView(JOB) if kind == "job" else ClusterView()
    w1, w2, w3 = WorkerId(f"{evil}1"), WorkerId(f"{evil}2"), WorkerId("w3")
    who = {"job": JOB, "task": map_task(0), "worker": w1}
    for event in (
        *(ev.WorkerJoined(at=0.0, worker=name, host=evil, pid=1, slots=1) for name in (w1, w2, w3)),
        ev.JobAccepted(
            at=1.0, job=JOB, name=evil, maps=4, reduces=2, input_bytes=40, functions=evil, top="sum"
        ),
        ev.AttemptStarted(at=1.0, attempt=1, input=evil, **who),
        ev.AttemptFailed(at=1.5, attempt=1, sentence=evil, **who),
        ev.AttemptStarted(at=1.6, attempt=2, input=evil, **who),
        ev.AttemptFinished(
            at=2.0, attempt=2, records=1, pairs=1, bytes_in=9, bytes_out=9, seconds=0.4,
            sizes=(1, 8), top=((evil, 3.0),), **who,
        ),
        ev.AttemptStarted(at=2.0, job=JOB, task=map_task(1), attempt=1, worker=w2, input=evil),
        ev.WorkerSuspect(at=2.0, worker=w2, silent_s=0.3),
        ev.WorkerLost(at=2.1, worker=w1, cause=evil),
        ev.WorkerCause(at=2.2, worker=w1, cause=evil),
        ev.WorkerBarred(at=2.2, worker=w3, cause=evil),
        ev.JobWaits(at=2.3, job=JOB, sentence=evil),
        ev.Noted(at=2.4, job=JOB, level="error", sentence=evil),
    ):  # fmt: skip
        view.fold(event)
    can = "{ actions: ['cancel', 'kill', 'retire'], act: () => { throw Error(window.evil) } }"
    page.evaluate("(evil) => { window.evil = evil }", evil)
    begin(page, {"snapshot": view.snapshot()}, more=can)
    tags = "() => [...document.querySelectorAll('#out *')].map((e) => e.localName)"
    if kind == "job":
        page.focus(".mrk-lanes")
        page.keyboard.press("t")
        page.locator(".mrk-alternative summary").click()
        assert evil in page.inner_text(".mrk-tip")
        assert evil in page.inner_text(".mrk-name")
        assert evil in page.inner_text(".mrk-top")
        assert evil in page.inner_text(".mrk-banner")
    page.locator("[data-action]:visible").first.click()
    assert evil in page.inner_text(".mrk-workers")
    assert evil in page.inner_text(".mrk-feed")
    if kind == "job":
        view.fold(ev.JobEnded(at=3.0, job=JOB, outcome="failed", sentence=evil))
        hear(page, view)
        assert page.inner_text(".mrk-why") == evil
    assert not {*page.evaluate(tags)} & {"img", "script", "iframe", "u", "i i"}
    handlers = (
        "() => [...document.querySelectorAll('#out *')].flatMap((e) => e.getAttributeNames())"
    )
    assert [name for name in page.evaluate(handlers) if name.startswith("on")] == []
    assert page.evaluate("window.hacked") is None


def test_it_is_compact_opens_itself_at_a_loss_and_folds_in_the_end(page: Any) -> None:
    view = running()
    begin(page, {"snapshot": view.snapshot()})
    assert not page.is_visible(".mrk-workers")
    height = page.locator(".mrk-card").bounding_box()["height"]
    assert 100 <= height <= 130
    assert page.locator("[role=progressbar]").count() == 3
    assert page.get_attribute(".mrk-bar[data-phase=map]", "aria-valuetext") == "0 of 4 · 1 running"

    view.fold(ev.WorkerLost(at=2.0, worker=W2, cause="connection reset"))
    hear(page, view)
    assert page.is_visible(".mrk-workers")
    assert "died at 1.0 s: connection reset" in page.inner_text(".mrk-workers")
    assert "w2 died (connection reset): map-0 lost" in page.inner_text(".mrk-feed")
    assert page.inner_text(".mrk-loss") == "1 worker lost"
    # Hatched, not only red.
    assert "gradient" in page.evaluate(
        "getComputedStyle(document.querySelector('.mrk-again')).backgroundImage"
    )
    page.wait_for_function(  # it grows within 100 ms
        "document.querySelector('.mrk-bar[data-phase=map] .mrk-again').offsetWidth > 20"
    )

    view.fold(ev.JobEnded(at=5.2, job=JOB, outcome="done", sentence=""))
    hear(page, view)
    assert page.locator(".mrk-card").bounding_box()["height"] <= 45
    assert "4.2 s" in page.inner_text(".mrk-facts")


def test_the_banner_is_seen_in_the_compact_view_and_goes(page: Any) -> None:
    view = running()
    begin(page, {"snapshot": view.snapshot()})
    assert not page.is_visible(".mrk-banner")
    view.fold(ev.JobWaits(at=12.0, job=JOB, sentence="waiting for map-0 on w2: <b>it hangs</b>"))
    hear(page, view)
    assert page.inner_text(".mrk-banner") == "waiting for map-0 on w2: <b>it hangs</b>"
    assert not page.is_visible(".mrk-workers")
    view.fold(ev.JobWaits(at=13.0, job=JOB, sentence=""))
    hear(page, view)
    assert not page.is_visible(".mrk-banner")


def test_each_state_of_a_worker_looks_its_own(page: Any) -> None:
    view = running()
    backup = ev.AttemptStarted(
        at=2.0, job=JOB, task=map_task(0), attempt=2, worker=W1, input="a", backup=True
    )
    for event in (
        ev.WorkerSuspect(at=2.0, worker=W2, silent_s=0.3),
        backup,
        ev.WorkerJoined(at=2.0, worker=WorkerId("w3"), host="h", pid=3, slots=1),
        ev.WorkerLost(at=2.1, worker=WorkerId("w3"), cause="connection reset"),
        ev.WorkerCause(at=2.2, worker=WorkerId("w3"), cause="was killed (SIGKILL)"),
        ev.WorkerJoined(at=2.0, worker=WorkerId("w4"), host="h", pid=4, slots=1),
        ev.WorkerBarred(at=2.3, worker=WorkerId("w4"), cause="its disk is full", seconds=60.0),
    ):
        view.fold(event)
    begin(page, {"snapshot": view.snapshot()})
    rows = {
        name: page.locator(f".mrk-worker:has(b:text-is('{name}'))")
        for name in ("w1", "w2", "w3", "w4")
    }
    said = {name: row.inner_text() for name, row in rows.items()}
    assert "map-0 · backup" in said["w1"]
    assert "no heartbeat for 0.3 s" in said["w2"]
    assert "was killed (SIGKILL) at 1.1 s" in said["w3"]
    assert "no new work for 60 s: its disk is full" in said["w4"]
    colours = {
        name: row.locator(".mrk-note").evaluate("(e) => getComputedStyle(e).color")
        for name, row in rows.items()
    }
    assert colours["w2"] == colours["w4"] != colours["w3"]
    assert page.locator("[data-again=true]").count() == 0
    assert page.inner_text(".mrk-workerbox .mrk-aside") == "1 alive, 1 suspect, 1 barred, 1 dead"


def test_the_toggle_is_a_button_and_its_reader_decides(page: Any) -> None:
    view = running()
    begin(page, {"snapshot": view.snapshot()})
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "mrk-toggle"
    page.keyboard.press("Enter")
    assert page.get_attribute(".mrk-toggle", "aria-expanded") == "true"
    assert page.is_visible(".mrk-workers")
    view.fold(ev.JobEnded(at=5.2, job=JOB, outcome="done", sentence=""))
    hear(page, view)
    assert page.inner_text(".mrk-chip") == "✓ done"
    assert page.is_visible(".mrk-workers")  # stays open: the reader opened it
    page.click(".mrk-toggle")
    assert not page.is_visible(".mrk-workers")


def test_a_failed_job_stays_open_and_says_why(page: Any) -> None:
    view = running()
    view.fold(ev.JobEnded(at=3.0, job=JOB, outcome="failed", sentence="map-0 raised"))
    begin(page, {"snapshot": view.snapshot()})
    assert page.inner_text(".mrk-why") == "map-0 raised"
    assert page.is_visible(".mrk-workers")
    assert page.inner_text(".mrk-chip") == "✗ failed"


def test_after_a_gap_it_asks_and_the_snapshot_brings_it_back(page: Any) -> None:
    view = running()
    begin(page, {"snapshot": view.snapshot()})
    for number in range(3):
        view.fold(ev.Noted(at=2.0, job=JOB, level="info", sentence=f"note {number}"))
        delta = view.take_delta()
    page.evaluate("(p) => hear(p)", {"delta": delta})
    assert page.evaluate("resyncs") == 1
    page.evaluate("(p) => hear(p)", {"snapshot": view.snapshot()})
    page.click(".mrk-toggle")
    assert "note 2" in page.inner_text(".mrk-feed")
    # A delta that the snapshot holds already changes nothing and asks for nothing.
    page.evaluate("(p) => hear(p)", {"delta": delta})
    assert page.evaluate("resyncs") == 1


@pytest.mark.parametrize("width", [320, 400, 700, 900])
@pytest.mark.parametrize("kind", ["job", "cluster"])
def test_nothing_sticks_out_at_any_width(page: Any, width: int, kind: str) -> None:
    view = running() if kind == "job" else ClusterView()
    view.fold(ev.WorkerJoined(at=1.5, worker=WorkerId("w-long-name-3"), host="h", pid=1, slots=1))
    view.fold(ev.WorkerLost(at=2.0, worker=W2, cause="no beat for 5.0 s " * 5))
    page.set_viewport_size({"width": width, "height": 700})
    begin(page, {"snapshot": view.snapshot()})
    out = page.evaluate(
        """() => [...document.querySelectorAll('.mrk-card *')].filter((e) => {
          const r = e.getBoundingClientRect();
          return r.width && !e.closest('.mrk-said') && r.right > innerWidth + 1;
        }).map((e) => e.className)"""
    )
    assert out == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_without_colours_is_followed_too(browser: Any, site: str, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(f"{site}/light")
    page.wait_for_selector("body[data-ready]", state="attached")
    page.evaluate("document.body.style.background = 'none'")
    begin(page, {"snapshot": running().snapshot()})
    # It is white whatever the reader likes, unless it says that it can be dark.
    assert page.get_attribute(".mrk", "data-theme") == "light"
    page.evaluate("document.documentElement.style.colorScheme = 'light dark'")
    page.wait_for_selector(f".mrk[data-theme={scheme}]")
    page.evaluate("document.body.dataset.vscodeThemeKind = 'vscode-dark'")
    page.wait_for_selector(".mrk[data-theme=dark]")
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out_in_both_themes(browser: Any, site: str, theme: str) -> None:
    """WCAG AA: 4.5 to 1 for every colour that text has on the ground it stands on."""
    page = browser.new_page()
    page.goto(f"{site}/{theme}")
    page.wait_for_selector("body[data-ready]", state="attached")
    begin(page, {"snapshot": running().snapshot()})
    assert page.get_attribute(".mrk", "data-theme") == theme
    ratios = page.evaluate(
        """() => {
          const canvas = document.createElement("canvas");
          const probe = canvas.getContext("2d", { willReadFrequently: true });
          const span = document.querySelector(".mrk").appendChild(document.createElement("span"));
          const light = (name, under) => {
            for (const each of [under, name]) {
              if (!each) continue;
              span.style.color = `var(--mrk-${each})`;
              probe.fillStyle = getComputedStyle(span).color;
              probe.fillRect(0, 0, 1, 1);
            }
            const [r, g, b] = [...probe.getImageData(0, 0, 1, 1).data].map((v) => {
              v /= 255;
              return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ratio = (ink, ground) => {
            const [a, b] = [light(ink, ground), light(ground)].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
          };
          const pairs = [
            ...["ink", "dim", "fail", "warn", "good", "map"].map((ink) => [ink, "bg"]),
            ...["ink", "dim", "fail", "warn"].map((ink) => [ink, "panel"]),
            ...["map", "reduce", "fail"].map((ground) => ["onhue", ground]),
            ...["map-run", "reduce-run", "map-gone", "reduce-gone"].map((g) => ["ink", g]),
            ["ink", "killed"],
            ["fail", "fail-soft"],
          ];
          return pairs.map(([ink, ground]) => [`${ink} on ${ground}`, ratio(ink, ground)]);
        }"""
    )
    assert {name: ratio for name, ratio in ratios if ratio < 4.5} == {}
    page.close()


def test_it_leaves_nothing_behind(page: Any) -> None:
    begin(page, {"snapshot": running().snapshot()})
    page.evaluate("stop()")
    assert page.evaluate("mounted") == 0
    assert page.inner_html("#out") == ""
