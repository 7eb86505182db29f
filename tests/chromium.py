"""Chromium, where the machine has it: one browser for all that looks at a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: It fetches nothing for itself: what is measured and tested is our page.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@contextmanager
def started() -> Iterator[Any]:
    """Give a browser of Playwright's; None: there is no Chromium, or no Playwright."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        yield None
        return
    with sync_playwright() as api:
        browser = api.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()
