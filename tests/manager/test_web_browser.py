"""The manager's page in a real browser, with a real cluster behind it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mrkernel.engines.local import LocalCluster
from mrkernel.security.token import ConnectionFile, find_manager

pytestmark = pytest.mark.browser

#: Nothing of a page needs longer; playwright counts in milliseconds.
WITHIN_MS = 20_000

#: Another site's page, with a link to ours.
ELSEWHERE = "http://elsewhere.example/"

_NOTICE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""


class Tab:
    """A browser's page that complains about everything that is not as it should be."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self._context = browser.new_context(viewport={"width": 1120, "height": 900}, **options)
        self.page = self._context.new_page()
        self.page.set_default_timeout(WITHIN_MS)
        self.page.add_init_script(_NOTICE_VIOLATIONS)
        self.errors: list[str] = []
        self.violations: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._told)

    def _told(self, message: Any) -> None:
        # A manager that goes refuses a page, or cuts it off in mid-sentence.
        gone = "ERR_CONNECTION_" in message.text or "ERR_EMPTY_RESPONSE" in message.text
        if message.type == "error" and not gone:
            self.errors.append(message.text)

    def wait_for(self, selector: str, text: str) -> None:
        """Wait until the page says so."""
        self.page.locator(selector).filter(has_text=text).first.wait_for()

    def check(self) -> None:
        """Nothing went wrong on the page that is shown."""
        self.violations += self.page.evaluate("window.violations ?? []")
        assert self.violations == []
        assert self.errors == []

    def close(self) -> None:
        self.check()
        self.leave()

    def leave(self) -> None:
        self._context.close()


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(workers=2, slots=1) as cluster:
        yield cluster


def connection(cluster: LocalCluster) -> ConnectionFile:
    found: ConnectionFile = cluster.client.connection
    return found


@contextmanager
def started(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A manager that somebody started by hand; it has told where it is."""
    words = [sys.executable, "-m", "mrkernel", "manager", "--port", "0", "--state", str(state)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline()
            yield process
        finally:
            process.terminate()


class Gates:
    """Lets the mappers of a job end one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def submit(self, cluster: LocalCluster, tasks: int, **options: Any) -> Any:
        """Submit a job of so many tasks, each of which waits for its gate."""
        import os
        import time

        kernel, folder = os.getpid(), str(self.folder)

        def mapper(number: int) -> Any:
            # The trial is not held up.
            while os.getpid() != kernel and os.getppid() != kernel:
                if os.path.exists(f"{folder}/{number}"):
                    break
                time.sleep(0.01)
            yield number % 3, 1

        options = {"name": "<b>held up</b>", "split_size": 1, **options}
        return cluster.submit(mapper, list(range(tasks)), "sum", **options)

    def open(self, *numbers: int) -> None:
        for number in numbers:
            (self.folder / str(number)).touch()


def test_a_job_is_followed_from_the_first_click_to_its_end(
    browser: Any, cluster: LocalCluster, tmp_path: Path
) -> None:
    gates = Gates(tmp_path)
    job = gates.submit(cluster, 8)
    tab = Tab(browser)
    page = tab.page
    page.goto(connection(cluster).web_url())
    tab.wait_for(".mrk-facts", "2 slots")
    assert "token" not in page.url
    assert "token" not in page.evaluate("document.referrer + JSON.stringify(performance.toJSON())")
    assert page.evaluate("document.cookie") == ""  # it is not for scripts

    page.click(f"a[href='/job/{job.id}']")
    page.wait_for_url(f"**/job/{job.id}")
    tab.wait_for(".mrk-name", "<b>held up</b>")
    map_bar = page.locator(".mrk-bar[data-phase=map]")
    assert page.locator(".mrk-lanes").is_visible()  # here is room for all of it
    tab.wait_for(".mrk-what", "0 of 8")
    assert map_bar.get_attribute("aria-valuenow") == "0"
    gates.open(0, 1, 2)
    tab.wait_for(".mrk-what", "3 of 8")
    assert map_bar.get_attribute("aria-valuenow") == "38"
    width = page.evaluate("document.querySelector('[data-phase=map] .mrk-done').style.width")
    assert width == "37.5%"

    tab.check()
    page.reload()
    tab.wait_for(".mrk-what", "3 of 8")
    gates.open(3)
    tab.wait_for(".mrk-what", "4 of 8")

    # The manager is killed, and another goes on with the job: so does the page, as it is.
    page.evaluate("document.querySelector('.mrk').dataset.mark = 'the same'")
    cluster.restart_manager()
    gates.open(4)
    tab.wait_for(".mrk-what", "5 of 8")
    assert page.locator(".mrk[data-mark='the same']").count() == 1
    assert page.locator("#notice").is_hidden()

    gates.open(5, 6, 7)
    tab.wait_for(".mrk-chip", "done")
    page.wait_for_function("document.title.startsWith('done: ')")
    tab.errors = [error for error in tab.errors if "WebSocket connection" not in error]
    tab.close()


def test_a_job_is_cancelled_and_a_worker_killed_from_the_page(
    browser: Any, cluster: LocalCluster, tmp_path: Path
) -> None:
    job = Gates(tmp_path).submit(cluster, 4)
    tab = Tab(browser)
    page = tab.page
    page.goto(connection(cluster).web_url())
    card = page.locator(".mrk-worker").filter(has=page.get_by_text("w1", exact=True))
    card.locator("[data-action=kill]").click()
    card.get_by_role("group").get_by_role("button", name="Kill").click()
    tab.wait_for(".mrk-feed", "w1 was killed (SIGKILL)")
    tab.wait_for(".mrk-worker b", "w3")  # it is replaced
    other = Tab(browser)  # of somebody else, who sees the same
    other.page.goto(job.web_url)
    other.wait_for(".mrk-chip", "running")
    page.click(f"a[href='/job/{job.id}']")
    page.click("[data-action=cancel]")
    for each in (tab, other):
        each.wait_for(".mrk-chip", "cancelled")
        each.close()


def test_a_worker_is_added_and_another_retires_for_good(
    browser: Any, cluster: LocalCluster
) -> None:
    tab = Tab(browser)
    tab.page.goto(connection(cluster).web_url())
    tab.wait_for(".mrk-facts", "2 slots")
    tab.page.click("[data-action=add-worker]")
    tab.wait_for(".mrk-worker b", "w3")
    tab.wait_for(".mrk-facts", "3 slots")
    for gone, left in (("w1", "2 slots"), ("w2", "1 slot")):
        card = tab.page.locator(".mrk-worker").filter(has=tab.page.get_by_text(gone, exact=True))
        card.locator("[data-action=retire]").click()
        tab.wait_for(".mrk-feed", f"{gone} left")
        tab.wait_for(".mrk-facts", left)
    card = tab.page.locator(".mrk-worker[data-state=alive]")
    card.locator("[data-action=retire]").click()
    tab.wait_for(".mrk-refused", "w3 is the last worker: add one before it goes.")
    # Whoever came instead of one that went would be here before one that is asked for now.
    tab.page.click("[data-action=add-worker]")
    tab.wait_for(".mrk-worker b", "w4")
    assert set(cluster.living_workers()) == {"w3", "w4"}
    tab.errors = [error for error in tab.errors if "409" not in error]
    tab.close()


def test_who_is_away_is_told_and_who_comes_back_too(browser: Any, tmp_path: Path) -> None:
    state = tmp_path / "state"
    tab = Tab(browser)
    with started(state) as manager:
        tab.page.goto(find_manager().web_url())
        tab.wait_for(".mrk-name", "0 workers")
        assert tab.page.locator("button:visible").count() == 0  # nobody starts workers here
        tab.wait_for("#hint", "start one with mrkernel worker")
        manager.kill()
        tab.wait_for("#notice", "The manager does not answer")
        assert tab.page.locator(".mrk-name").is_visible()
    with started(state):
        tab.wait_for("#notice", "The manager was started again")
        tab.page.reload()
        tab.wait_for(".mrk-name", "0 workers")
        assert tab.page.locator("#notice").is_hidden()
    tab.errors = [error for error in tab.errors if "WebSocket connection" not in error]
    tab.close()


@pytest.mark.fault(64)
def test_a_page_runs_no_script_and_takes_no_style_but_its_own(
    browser: Any, cluster: LocalCluster
) -> None:
    tab = Tab(browser)
    tab.page.goto(connection(cluster).web_url())
    tab.wait_for(".mrk-facts", "2 slots")
    tab.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = true'>");
          const elsewhere = document.createElement("script");
          elsewhere.src = "http://elsewhere.example/x.js";
          document.body.append(elsewhere);
        }"""
    )
    for wanted in (
        "script-src-elem: inline",
        "script-src-elem: http://elsewhere",
        "script-src-attr",
    ):
        tab.page.wait_for_function("text => window.violations.join().includes(text)", arg=wanted)
    assert tab.page.evaluate("window.ran") is None
    tab.leave()  # with errors, as it should be


@pytest.mark.fault(64)
def test_who_comes_from_another_site_gets_in_with_the_token_and_not_without(
    browser: Any, cluster: LocalCluster
) -> None:
    file = connection(cluster)
    bare = file.web_url().split("?")[0]
    tab = Tab(browser)
    links = f"<a id=with href='{file.web_url()}'>a</a><a id=without href='{bare}'>b</a>"
    tab.page.route(
        f"{ELSEWHERE}**", lambda route: route.fulfill(content_type="text/html", body=links)
    )
    tab.page.goto(ELSEWHERE)
    tab.page.click("#with")
    tab.wait_for(".mrk-facts", "2 slots")
    tab.check()
    # The cookie is not for other sites, whatever they ask for in their readers' name.
    tab.page.goto(ELSEWHERE)
    told = tab.page.evaluate(
        """async (url) => {
          const socket = new WebSocket(url.replace("http", "ws") + "events?topic=cluster");
          const opened = new Promise((say) => {
            socket.onopen = () => say("open"); socket.onerror = () => say("refused");
          });
          const post = fetch(url + "actions", {
            method: "POST", mode: "no-cors", credentials: "include",
            body: JSON.stringify({act: "kill", worker: "w1", confirm: true}),
          }).then((answer) => answer.type, () => "refused");
          return [await opened, await post];
        }""",
        bare,
    )
    assert told[0] == "refused"
    assert set(cluster.living_workers()) == {"w1", "w2"}
    tab.errors.clear()  # the browser has told the other site's
    tab.page.click("#without")
    tab.wait_for("p", "This page needs its token")
    tab.errors.clear()
    tab.close()
