"""The manager's web page, asked as browsers, programs and strangers ask."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from html import unescape
from pathlib import Path

import pytest
from tornado.httpclient import HTTPResponse
from web_house import BEARER, PAGE_TOKEN, WebHouse, run, until, with_job

from mrkernel.engines.job import Job
from mrkernel.errors import ClusterError
from mrkernel.manager.web_access import Access
from mrkernel.monitor.browser_module import STATIC
from mrkernel.monitor.live import LivePicture
from mrkernel.security.token import ConnectionFile, derived

#: All that can be asked for with GET.
ADDRESSES = ("/", "/job/j1", "/static/view.js", "/cluster.json", "/jobs/j1.json", "/metrics")


def said(response: HTTPResponse) -> str:
    """The sentence of a page that refuses."""
    found = re.search("<p>(.*)</p>", response.body.decode())
    assert found, response.body
    return unescape(found[1])


def test_nothing_is_imported_before_somebody_knocks() -> None:
    """Most managers never see a browser."""
    code = (
        "import sys, mrkernel.deploy.manager; "
        "print([m for m in sys.modules if m in ('tornado.web', 'tornado.httpserver', 'psutil')])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr


def test_nobody_knocked() -> None:
    async def test(web: WebHouse) -> None:
        pass

    run(test)


# --- who is let in --------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [*ADDRESSES, "/events", "/nothing", "/static/nothing.js"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {PAGE_TOKEN}"},
        {"Authorization": "Bearer \xe4"},
        {"Authorization": f"Bearer {'t' * 32}"},
        {"Cookie": f"mrkernel={PAGE_TOKEN}"},
    ],
    ids=["nothing", "wrong", "basic", "umlaut", "the cluster's secret", "another cookie"],
)
def test_without_the_token_there_is_nothing_to_see(address: str, headers: dict[str, str]) -> None:
    async def test(web: WebHouse) -> None:
        response = await web.fetch(address, headers)
        assert response.code == 403
        assert "mrkernel watch --web" in response.body.decode()

    run(test)


@pytest.mark.parametrize("address", ["/?token=wrong", "/job/j1?token=", "/?token=%C3%A4"])
def test_a_wrong_token_in_the_address_is_refused(address: str) -> None:
    async def test(web: WebHouse) -> None:
        response = await web.fetch(address, {})
        assert response.code == 403
        assert "Set-Cookie" not in response.headers

    run(test)


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address() -> None:
    async def test(web: WebHouse) -> None:
        first = await web.fetch(f"/?token={PAGE_TOKEN}", {})
        assert first.code == 200
        assert '<meta http-equiv="refresh" content="0; url=/">' in first.body.decode()
        assert PAGE_TOKEN not in first.body.decode()
        cookie = first.headers["Set-Cookie"]
        assert PAGE_TOKEN not in cookie
        value, *rules = cookie.split("; ")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(rules)
        assert "Domain" not in cookie
        second = await web.fetch("/", {"Cookie": value})
        assert second.code == 200
        assert "site.js" in second.body.decode()

    run(test)


def test_the_token_leads_to_a_job_too() -> None:
    async def test(web: WebHouse) -> None:
        answer = await web.fetch(f"/job/j1?token={PAGE_TOKEN}", {})
        assert "url=/job/j1" in answer.body.decode()

    run(test)


def test_who_is_in_loses_a_wrong_token_too() -> None:
    async def test(web: WebHouse) -> None:
        answer = await web.fetch("/?token=old")
        assert "url=/" in answer.body.decode()
        assert "Set-Cookie" not in answer.headers

    run(test)


def test_the_token_is_taken_in_the_address_of_pages_only() -> None:
    async def test(web: WebHouse) -> None:
        for address in ("/cluster.json", "/metrics", "/static/view.js", "/events", "/actions"):
            assert (await web.fetch(f"{address}?token={PAGE_TOKEN}", {})).code == 403

    run(test)


def test_programs_say_the_token_in_a_header() -> None:
    async def test(web: WebHouse) -> None:
        await with_job(web)
        for address in ADDRESSES:
            assert (await web.fetch(address, BEARER)).code == 200, address

    run(test)


def test_no_secret_of_the_page_tells_another() -> None:
    secret = b"t" * 32
    page = Access(secret, "127.0.0.1", 1)
    assert page.takes_token(derived(secret, "web page"))
    assert page.takes_cookie(page.cookie)
    assert not page.takes_token(page.cookie)
    assert not page.takes_cookie(derived(secret, "web page"))
    assert not page.takes_token(secret.hex())
    assert not Access(b"u" * 32, "127.0.0.1", 1).takes_token(derived(secret, "web page"))


def test_a_job_in_this_process_has_no_page() -> None:
    job = Job("j1", "n", watch=LivePicture, cancel=lambda: None)
    with pytest.raises(ClusterError, match="j1 runs in this process: no manager, no web page"):
        job.web_url  # noqa: B018 - reading it asks


def test_the_connection_file_says_the_address() -> None:
    file = ConnectionFile(
        id="c", host="127.0.0.1", port=1, token=(b"t" * 32).hex(), pid=1, web_port=2
    )
    assert file.web_url("/job/j1") == f"http://127.0.0.1:2/job/j1?token={PAGE_TOKEN}"
    assert file.token not in file.web_url()
    assert PAGE_TOKEN not in repr(file)


@pytest.mark.fault(64)
@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:PORT", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil:PORT"),
        *("localhost.:PORT", "0.0.0.0:PORT", "user@127.0.0.1:PORT", "127.1:PORT"),
    ],
)
def test_another_name_is_not_answered_to(host: str) -> None:
    """Or else a page elsewhere points its own name at us, and reads what is here."""

    async def test(web: WebHouse) -> None:
        for known in (web.cookie, BEARER):
            headers = {**known, "Host": host.replace("PORT", str(web.port))}
            for address in (*ADDRESSES, f"/?token={PAGE_TOKEN}", "/nothing"):
                response = await web.fetch(address, headers)
                assert response.code in (400, 403), address
                assert "Set-Cookie" not in response.headers

    run(test)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_these_names_are_ours(host: str) -> None:
    async def test(web: WebHouse) -> None:
        answer = await web.fetch("/", {**web.cookie, "Host": f"{host}:{web.port}"})
        assert answer.code == 200

    run(test)


@pytest.mark.fault(64)
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:PORT", "http://127.0.0.1:1"]
)
def test_another_sites_page_is_refused_whatever_it_asks(origin: str) -> None:
    async def test(web: WebHouse) -> None:
        headers = {**web.cookie, "Origin": origin.replace("PORT", str(web.port))}
        for address in (*ADDRESSES, "/events"):
            response = await web.fetch(address, headers)
            assert response.code == 403
            assert "Access-Control-Allow-Origin" not in response.headers

    run(test)


# --- what is answered -----------------------------------------------------------------------------


def test_every_answer_has_the_headers_that_keep_a_browser_safe() -> None:
    async def test(web: WebHouse) -> None:
        await with_job(web)
        answers = [await web.fetch(address) for address in (*ADDRESSES, "/nothing", "/actions")]
        answers += [await web.fetch("/", {}), await web.fetch("/", {"Host": "evil"})]
        answers += [await web.fetch(f"/?token={PAGE_TOKEN}", {})]
        answers += [await web.fetch("/", method="DELETE")]
        for answer in answers:
            headers = answer.headers
            rules = headers["Content-Security-Policy"].split("; ")
            assert rules[0] == "default-src 'none'"
            assert {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} <= set(rules)
            style = re.search("<style>(.*)</style>", answer.body.decode())
            if style is None:
                assert {"script-src 'self'", "style-src 'self'"} <= set(rules)
            else:  # a page that refuses: it brings its style, which is known, and no script
                known = b64encode(sha256(style[1].encode()).digest()).decode()
                assert f"style-src 'sha256-{known}'" in rules
                assert "script-src" not in headers["Content-Security-Policy"]
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert "Server" not in headers

    run(test)


def test_pages_have_no_script_or_style_of_their_own() -> None:
    async def test(web: WebHouse) -> None:
        await with_job(web)
        for address in ("/", "/job/j1"):
            html = (await web.fetch(address)).body.decode()
            assert re.findall("<script[^>]*>", html) == [
                '<script type="module" src="/static/site.js">'
            ]
            assert not re.search(r"<style|style=|\son\w+=", html)
            for file in re.findall(r'(?:src|href)="(/static/[^"]*)"', html):
                assert (await web.fetch(file)).code == 200

    run(test)


def test_the_browsers_files_are_as_they_are() -> None:
    async def test(web: WebHouse) -> None:
        answer = await web.fetch("/static/view.js")
        assert answer.body == (STATIC / "view.js").read_bytes()
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert (await web.fetch("/static/view.css")).headers["Content-Type"].startswith("text/css")

    run(test)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/static/../web.py",
            "/static/..%2fweb.py",
            "/static/%2e%2e/web.py",
            "/static//etc/passwd",
        ),
        *("/static/", "/static", "/static/.", "/static/view.js/", "/static/view.js%00.css"),
        *("/static/..\\web.py", "/../../etc/passwd", "//evil.example/", "/static/view.JS"),
        *("/job/", "/job/..", "/job/j1/x", "/job/%2e%2e", "/jobs/../cluster.json", "/job/j1%0d%0a"),
    ],
)
def test_no_path_leads_elsewhere(path: str) -> None:
    async def test(web: WebHouse) -> None:
        answer = await web.fetch(path)
        assert answer.code == 404
        assert said(answer) == "There is nothing at this address: the page of the cluster is at /."
        assert "Location" not in answer.headers

    run(test)


@pytest.mark.parametrize("address", ["/job/j9", "/jobs/j9.json"])
def test_a_job_that_is_not_here(address: str) -> None:
    async def test(web: WebHouse) -> None:
        answer = await web.fetch(address)
        assert answer.code == 404
        assert "There is no job j9 here, or it was forgotten" in answer.body.decode()

    run(test)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"])
def test_addresses_only_show_things(method: str) -> None:
    async def test(web: WebHouse) -> None:
        await with_job(web)
        for address in ADDRESSES:
            answer = await web.fetch(address, {**web.cookie, **web.origin}, method, b"")
            assert answer.code == 405, address
        assert (await web.fetch("/actions", method="GET")).code == 405

    run(test)


def test_pictures_are_what_clients_get() -> None:
    async def test(web: WebHouse) -> None:
        await with_job(web)
        answer = await web.fetch("/jobs/j1.json")
        assert answer.headers["Content-Type"] == "application/json"
        picture = json.loads(answer.body)
        assert (picture["kind"], picture["job"], picture["map"]["total"]) == ("job", "j1", 1)
        cluster = json.loads((await web.fetch("/cluster.json")).body)
        assert list(cluster["jobs"]) == ["j1"]
        assert (await web.fetch("/jobs/j1.json", method="HEAD")).code == 200
        assert (await web.fetch("/jobs/j9.json", method="HEAD")).code == 404
        assert len(web.house.server._connections) == 1  # who asked is gone again

    run(test)


def test_each_field_of_the_pictures_is_in_the_docs() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "web.md").read_text()
    words = set(re.findall(r"\w+", " ".join(re.findall("`([^`]*)`", docs))))

    async def test(web: WebHouse) -> None:
        await with_job(web)
        await web.house.worker()
        for address in ("/cluster.json", "/jobs/j1.json"):
            picture = json.loads((await web.fetch(address)).body)
            assert set(picture) - {"older"} <= words
            (row,) = picture["workers"].values()
            assert set(row) <= words

    run(test)


def test_a_request_that_is_too_long_is_not_read() -> None:
    async def test(web: WebHouse) -> None:
        await with_job(web)
        answer = await web.act(b" " * 5000)
        assert answer.code in (400, 413, 599)
        assert (await web.fetch("/", {**web.cookie, "X": "x" * 20_000})).code in (400, 431, 599)
        assert (await web.fetch("/")).code == 200

    run(test)


def test_more_browsers_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster needs its sockets: a flood of connections is hung up on, and does no harm."""

    async def test(web: WebHouse) -> None:
        await web.fetch("/")
        monkeypatch.setattr("mrkernel.manager.web_site.MOST_CONNECTIONS", 3)
        flood = [await asyncio.open_connection("127.0.0.1", web.port) for _ in range(6)]
        ends = [asyncio.ensure_future(reader.read()) for reader, _ in flood]
        await until(lambda: sum(end.done() for end in ends) >= 3)
        worker = await web.house.worker()
        assert worker.registered is not None
        for _, writer in flood:
            writer.close()
        await asyncio.gather(*ends)
        await until(lambda: web.page._site is not None and not web.page._site._http._connections)
        assert (await web.fetch("/")).code == 200

    run(test)


def test_a_bug_of_ours_is_told_without_the_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> str:
        raise KeyError("oh")

    async def test(web: WebHouse) -> None:
        await web.fetch("/")
        monkeypatch.setattr("mrkernel.manager.web_site.page_html", broken)
        answer = await web.fetch("/?x=secret")
        assert answer.code == 500
        assert said(answer).startswith("Something went wrong in the manager")
        assert "KeyError" not in answer.body.decode()

    run(test)
    assert [record.getMessage() for record in caplog.records] == ["could not answer GET /"]
    assert "secret" not in caplog.text
    caplog.clear()


def test_nothing_is_logged_of_who_asks(caplog: pytest.LogCaptureFixture) -> None:
    async def test(web: WebHouse) -> None:
        await web.fetch(f"/?token={PAGE_TOKEN}", {})
        await web.fetch("/?token=wrong", {})
        await web.fetch("/nothing?token=wrong", {})

    with caplog.at_level(logging.DEBUG):
        run(test)
    assert "token" not in caplog.text
