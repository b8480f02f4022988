"""MATINEE_PUBLIC_URL with a path: every address that is answered leads below it, whether a proxy passes the path on or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import override_settings

from matinee import config as configuration
from tests.client import Client

BASE = "https://example.org/films"
PASSWORD = "a long enough passphrase"
# As settings.py makes them of this MATINEE_PUBLIC_URL.
DJANGO = {
    "FORCE_SCRIPT_NAME": "/films", "STATIC_URL": "/films/static/", "LOGIN_REDIRECT_URL": "/films/admin/",
    "SESSION_COOKIE_PATH": "/films", "CSRF_COOKIE_PATH": "/films", "CSRF_TRUSTED_ORIGINS": ["https://example.org"],
    "ALLOWED_HOSTS": ["testserver"], "UNFOLD": {**settings.UNFOLD, "SITE_URL": "/films/docs"},
}  # fmt: skip


@pytest.fixture(params=["", "/films"], ids=["taken off", "passed on"])
def proxied(request: pytest.FixtureRequest) -> str:
    """Return what a proxy leaves of the path."""
    path: str = request.param
    return path


@pytest.fixture
def films(small_catalogue: Path) -> Iterator[Client]:
    """Return the service below /films."""
    with override_settings(**DJANGO), Client(configuration.load(home=small_catalogue), public_url=BASE) as client:
        yield client


def test_links_locations_and_types_lead_below_the_path(films: Client, proxied: str) -> None:
    page = films.get(f"{proxied}/v1/movies?limit=1")
    created = films.write("POST", f"{proxied}/v1/movies", {"title": "Stalker"})
    absent = films.get(f"{proxied}/v1/movies/99")

    assert page.headers["link"].startswith(f"<{BASE}/v1/movies?limit=1&cursor=")
    assert created.headers["location"] == f"{BASE}/v1/movies/{created.json()['id']}"
    assert absent.json()["type"] == f"{BASE}/docs/errors/not-found"


def test_cursors_and_hits_are_the_same_with_the_path_and_without(films: Client) -> None:
    first = films.get("/films/v1/movies?limit=2").json()
    pages = [films.get(f"{path}/v1/movies?limit=2&cursor={first['next_cursor']}") for path in ("/films", "", "/films")]

    assert [page.status_code for page in pages] == [200] * 3
    assert len({page.content for page in pages}) == 1
    assert "hit" in pages[1].headers["cache-status"]


def test_the_documentation_loads_its_files_from_below_the_path(films: Client, proxied: str) -> None:
    home, docs = films.get(f"{proxied}/"), films.get(f"{proxied}/docs").text
    start, error = films.get(f"{proxied}/docs/assets/start.js").text, films.get(f"{proxied}/docs/errors/gone").text
    files = re.findall(r"(?:href|src)=[\"']([^\"']*)", docs + error)

    assert home.headers["location"] == "/films/docs"
    assert [file for file in files if not file.startswith("/films/docs")] == []
    assert {films.get(file.removeprefix("/films")).status_code for file in files} == {200}
    assert ('url: "/films/openapi.json"' in start, films.get(f"{proxied}/openapi.json").json()["servers"]) == (
        True, [{"url": "/films"}]
    )  # fmt: skip


def test_health_is_answered_with_the_path_and_without(films: Client, proxied: str) -> None:
    assert [films.get(proxied + path).status_code for path in ("/livez", "/readyz")] == [200, 200]


@pytest.mark.parametrize("path", ["/filmsv1/movies", "/filmstar", "/other/v1/movies", "/films/films/v1/movies"])
def test_a_path_that_only_looks_like_it_is_not_taken_off(films: Client, path: str) -> None:
    assert films.get(path).status_code == 404


def test_signing_in_leads_below_the_path_with_cookies_of_that_path(films: Client, proxied: str) -> None:
    User.objects.create_superuser("ann", password=PASSWORD)
    asked = films.get(f"{proxied}/admin/")
    form = films.get(f"{proxied}/admin/login/?next=/films/admin/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)', form.text)
    assert token is not None

    signed_in = sign_in(films, proxied, form, token[1])

    assert (asked.status_code, asked.headers["location"]) == (302, "/films/admin/login/?next=/films/admin/")
    assert (signed_in.status_code, signed_in.headers["location"]) == (302, "/films/admin/")
    cookies = [cookie for answer in (form, signed_in) for cookie in answer.headers.get_list("set-cookie")]
    assert {part for cookie in cookies for part in cookie.split("; ") if part.startswith("Path=")} == {"Path=/films"}


def sign_in(films: Client, proxied: str, form: httpx.Response, token: str) -> httpx.Response:
    """Send the form of the sign-in as a browser does that shows https://example.org/films."""
    cookie = form.headers["set-cookie"].split(";")[0]
    headers = {"cookie": cookie, "origin": "https://example.org", "referer": f"{BASE}/admin/login/"}
    typed = {"username": "ann", "password": PASSWORD, "csrfmiddlewaretoken": token, "next": "/films/admin/"}
    return films.request("POST", f"{proxied}/admin/login/", data=typed, headers=headers)


def test_the_admin_links_only_below_the_path_and_its_files_are_there(films: Client, proxied: str) -> None:
    page = films.get(f"{proxied}/admin/login/").text
    links = [link for link in re.findall(r"(?:href|src|action)=\"([^\"#]*)", page) if link.startswith("/")]

    assert len(links) > 5
    assert [link for link in links if not link.startswith("/films/")] == []
    files = [link for link in links if link.startswith("/films/static/")]
    assert {films.get(proxied + file.removeprefix("/films")).status_code for file in files} == {200}
