"""Debian's Chromium, headless, with a fresh profile for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """Return an empty page of a browser of its own; `scripts/test` installs Chromium.

    Playwright's synchronous face runs an event loop in this thread as long as it is open: Django would refuse to work, and
    the tests of other folders could not run a loop of their own. So it is told so, and closed after each test.
    """
    path = shutil.which("chromium")
    assert path, "there is no chromium; run scripts/test, which installs it"
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        browser.close()
