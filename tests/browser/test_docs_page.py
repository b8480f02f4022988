"""The documentation as a person sees it: it draws, it answers, and nothing on it comes from elsewhere."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.processes import Server


def test_the_documentation_can_be_tried_out_and_asks_no_other_host(page: Page, server: Server) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.goto(f"{server.url}/docs")
    page.locator("#operations-Reads-get_movie .opblock-summary-control").click()
    page.get_by_placeholder("movie_id").fill("imdb:tt0078748")
    page.get_by_role("button", name="Execute").click()

    expect(page.locator(".live-responses-table").get_by_text(re.compile("Sigourney Weaver"))).to_be_visible()
    assert {url for url in asked if not url.startswith((server.url, "data:"))} == set()


def test_an_errors_page_says_what_to_do(page: Page, server: Server) -> None:
    problem = server.get("/v1/movies?cursor=nonsense").json()

    page.goto(problem["type"])

    expect(page.get_by_role("heading")).to_have_text("The cursor does not belong to this request.")
    expect(page.locator("body")).to_contain_text("or leave `cursor` out to begin again")
