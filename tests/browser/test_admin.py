"""The admin as a person uses it: the first sign-in, a search, a movie's form with its boxes and rows, a stale form."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from matinee.write import users
from tests.processes import Server


@pytest.fixture
def signed_in(page: Page, server: Server) -> Page:
    """Return a page of an admin who has signed in for the first time."""
    printed = users.create_admin(server.admin_name)
    page.goto(f"{server.url}/admin/")
    page.get_by_label("Username").fill(server.admin_name)
    page.get_by_label("Password").fill(printed)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Your password was printed when your account was made")).to_be_visible()
    page.get_by_label("Old password").fill(printed)
    page.get_by_label("New password", exact=False).first.fill(server.admin_password)
    page.get_by_label("New password confirmation").fill(server.admin_password)
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_text("Your password was changed.")).to_be_visible()
    return page


def faults_of(page: Page) -> list[str]:
    """Return a list that fills with whatever goes wrong in the page; a missing icon of the site is not ours."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("response", lambda answer: faults.append(answer.url) if answer.status >= 400 else None)
    return faults


def violations_of(page: Page) -> list[str]:
    """Return a list that fills with what the browser refuses because of the Content-Security-Policy."""
    refused: list[str] = []
    page.on("console", lambda line: refused.append(line.text) if "Content Security Policy" in line.text else None)
    return refused


def choose_person(page: Page, row: int, typed: str, option: str) -> None:
    page.locator(f"#credit_set-data tbody:nth-of-type({row}) .select2-selection").click()
    page.locator(".select2-search__field").last.fill(typed)
    page.locator(".select2-results__option", has_text=option).click()


def test_an_admin_finds_a_movie_and_gives_it_new_credits(signed_in: Page, server: Server) -> None:
    page, faults = signed_in, faults_of(signed_in)
    page.get_by_role("link", name="Movies").first.click()
    page.get_by_placeholder("Titles, people, an id").fill("blade")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Blade Runner").click()

    page.get_by_text("Add another Credit").click()
    choose_person(page, 4, "sigour", "Sigourney Weaver")
    page.locator("[name=credit_set-3-character]").fill("Herself")
    page.get_by_text("Add another Credit").click()
    choose_person(page, 5, "Nobody Yet", "Add “Nobody Yet” as a new person")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_text("was changed successfully")).to_be_visible()
    cast = server.get("/v1/movies/3").json()["cast"]
    assert [(person["name"], person["character"]) for person in cast] == [
        ("Harrison Ford", None), ("Rutger Hauer", None), ("Sigourney Weaver", "Herself"), ("Nobody Yet", None),
    ]  # fmt: skip
    assert faults == []


def test_removing_a_new_row_leaves_what_was_typed_in_the_rows_below(signed_in: Page, server: Server) -> None:
    page = signed_in
    page.goto(f"{server.url}/admin/catalogue/movie/12/change/")
    page.get_by_text("Add another Credit").click()
    page.get_by_text("Add another Credit").click()
    choose_person(page, 3, "Kept Person", "Add “Kept Person”")
    page.locator("[name=credit_set-2-character]").fill("Kept text")

    page.locator("#credit_set-data tbody:nth-of-type(2) .delete-template").click()
    page.get_by_role("button", name="Save and continue editing").click()

    expect(page.get_by_text("was changed successfully")).to_be_visible()
    expect(page.locator("[name=credit_set-1-character]")).to_have_value("Kept text")
    assert [person["name"] for person in server.get("/v1/movies/12").json()["cast"]] == ["Kept Person"]


def test_a_form_that_went_stale_tells_who_was_faster_and_keeps_the_text(signed_in: Page, server: Server) -> None:
    page, other = signed_in, signed_in.context.new_page()
    for tab in (page, other):
        tab.goto(f"{server.url}/admin/catalogue/movie/1/change/")
    other.get_by_label("Tagline").fill("Theirs")
    other.get_by_role("button", name="Save", exact=True).click()
    expect(other.get_by_text("was changed successfully")).to_be_visible()

    page.get_by_label("Tagline").fill("Mine")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_text(re.compile(f"admin:{server.admin_name} changed it at .* UTC"))).to_be_visible()
    expect(page.get_by_label("Tagline")).to_have_value("Mine")
    assert server.get("/v1/movies/1").json()["tagline"] == "Theirs"


def test_the_list_goes_on_behind_its_last_row(signed_in: Page, server: Server) -> None:
    page, faults = signed_in, faults_of(signed_in)
    page.goto(f"{server.url}/admin/catalogue/movie/?q=a&after=0:-1")
    page.get_by_role("link", name="First page").click()

    expect(page).to_have_url(f"{server.url}/admin/catalogue/movie/?q=a")
    expect(page.get_by_role("link", name="Alien", exact=True)).to_be_visible()
    assert faults == []


PAGES = ["", "catalogue/movie/", "catalogue/movie/?q=blade", "catalogue/movie/3/change/", "catalogue/movie/add/",
         "catalogue/movie/3/delete/", "catalogue/person/", "catalogue/genre/add/", "catalogue/apikey/add/",
         "catalogue/change/1/change/", "auth/user/", "auth/user/add/", "auth/user/1/change/", "auth/user/1/password/",
         "auth/group/add/", "password_change/"]  # fmt: skip


def test_no_page_needs_what_its_content_security_policy_forbids(signed_in: Page, server: Server) -> None:
    page, refused, faults = signed_in, violations_of(signed_in), faults_of(signed_in)
    for path in PAGES:
        page.goto(f"{server.url}/admin/{path}")
        expect(page.locator("body")).to_have_attribute("x-data", re.compile("sidebarDesktopOpen"))
    page.goto(f"{server.url}/admin/catalogue/movie/")
    page.locator("[name=_selected_action]").nth(0).check()
    page.locator("[name=_selected_action]").nth(1).check()
    page.locator("[name=action]").select_option("merge_selected")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("button", name="Yes, merge them")).to_be_visible()

    assert (refused, faults) == ([], [])


def test_the_policy_stops_a_script_in_the_page(signed_in: Page, server: Server) -> None:
    page, refused = signed_in, violations_of(signed_in)
    page.goto(f"{server.url}/admin/")
    script = "const s = document.createElement('script'); s.textContent = 'window.planted = 1'; document.body.append(s)"
    page.evaluate(script)

    assert page.evaluate("window.planted") is None
    assert len(refused) == 1


def test_the_sign_in_page_and_a_refused_form_keep_to_the_policy(page: Page, server: Server) -> None:
    refused = violations_of(page)
    page.goto(f"{server.url}/admin/login/")
    page.context.clear_cookies()
    page.get_by_label("Username").fill("ann")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()

    expect(page.get_by_role("heading")).to_have_text("This form was refused")
    assert refused == []
