"""A browser, and the files it is given."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pages import Handler

from mrkernel.monitor.browser_module import STATIC


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    handler = functools.partial(Handler, directory=str(STATIC))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Any, site: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 900, "height": 700})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{site}/light")
    page.wait_for_selector("body[data-ready]", state="attached")
    yield page
    page.close()
    assert errors == []
