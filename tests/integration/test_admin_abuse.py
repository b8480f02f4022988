"""What staff can send that no form sends: bad ids, parameters, bodies and methods. Never a 5xx; a seeded fuzzer, bounded."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from matinee.domain.movie import parse_content
from matinee.storage.models import Change
from matinee.write import keys, movies
from tests.integration.admin_client import GENRES, KEYS, LOG, MOVIES, PEOPLE

USERS, GROUPS = "/admin/auth/user/", "/admin/auth/group/"
LISTS = [MOVIES, PEOPLE, GENRES, KEYS, LOG, USERS, GROUPS]
BAD = ["abc", "", "0", "-1", "1.5", "9" * 19, "9" * 40, "9" * 5000, "\0", "1\0", "a" * 3000, "%", "'",
       "é", "１", "٣", "\ud83d\ude00",
       "1,2", "[]", "true", "None", "../..", "\r\nX: y", "\u202e", "1:\0", "0:" + "9" * 30, "99:1", ":", "x:1"]  # fmt: skip
NAMES = ["after", "q", "o", "p", "e", "all", "genre", "year", "subject", "subject_id", "kind", "_to_field", "_popup",
         "_changelist_filters", "_facets", "foo__bar", "id", "pk", "id__in", "id__gt", "id__exact", "is_staff__exact",
         "groups__id__exact", "groups__id__in", "date_joined__gte", "date_joined__year", "password__startswith",
         "first_name", "username__regex", "name__isnull", "name", "version", "position", "at__gte", "term", "page", "s",
         "app_label", "model_name", "field_name", "next"]  # fmt: skip
PAGES = ["{pk}/change/", "{pk}/delete/", "{pk}/history/", "{pk}/password/", "{pk}/", "add/", "options/", ""]
SITE = ["/admin/", "/admin/login/", "/admin/autocomplete/", "/admin/search/", "/admin/jsi18n/", "/admin/r/{pk}/{pk}/",
        "/admin/password_change/", "/admin/{pk}/", "/admin/catalogue/"]  # fmt: skip
FIELDS = ["action", "_selected_action", "select_across", "index", "post", "name", "title", "year", "seen", "scope", "genres",
          "credit_set-TOTAL_FORMS", "credit_set-INITIAL_FORMS", "credit_set-0-person", "credit_set-0-role", "username",
          "password1", "password2", "usable_password", "old_password", "new_password1", "new_password2", "user_permissions",
          "permissions", "groups", "is_superuser", "date_joined_0", "email", "_save", "_continue", "_addanother",
          "_popup", "_saveasnew", "_to_field", "poster", "released", "popularity", "box_office_usd"]  # fmt: skip
ACTIONS = ["delete_selected", "merge_selected", "revoke_selected", "__class__", "", "\0"]
MULTIPART = "multipart/form-data; boundary=b"


@pytest.fixture
def boss(catalogue_home: Path) -> Client:
    film = {"title": "Alien", "genres": ["Horror"], "directors": [{"name": "Ridley Scott"}], "year": 1979}
    for number in range(3):
        movies.create(parse_content(film | {"title": f"Alien {number}"}), "tests")
    keys.create("Kiosk", "read", "tests")
    Group.objects.create(name="Editors")
    client = Client(headers={"host": "localhost"}, raise_request_exception=False)
    client.force_login(User.objects.create_superuser("root", password=None))
    return client


def failed(client: Client, send: Callable[[], Any], told: object) -> list[object]:
    """Return what was sent, when the answer is a 5xx or an exception left Django."""
    try:
        status = send().status_code
    except Exception as error:  # noqa: BLE001  which one does not matter: none may get out
        return [(told, repr(error))]
    return [(told, status)] if status >= 500 else []


def some(chance: random.Random, names: list[str], most: int = 3) -> list[tuple[str, str]]:
    return [(chance.choice(names), chance.choice([*BAD, "1", "2"])) for _ in range(chance.randint(0, most))]


def path_of(chance: random.Random) -> str:
    page = chance.choice(SITE) if chance.random() < 0.2 else chance.choice(LISTS) + chance.choice(PAGES)
    pk = quote(chance.choice([*BAD, "1", "1", "2"]).replace("\0", "%00") or "_", safe="", errors="surrogatepass")
    query = urlencode(some(chance, NAMES), errors="surrogatepass")
    return page.replace("{pk}", pk) + (f"?{query}" if query else "")


@pytest.mark.parametrize("seed", range(3))
def test_no_page_fails_whatever_stands_in_its_address(boss: Client, seed: int) -> None:
    chance = random.Random(seed)
    faults: list[object] = []

    for _ in range(60):
        path = path_of(chance)
        faults += failed(boss, lambda path=path: boss.get(path), path)

    assert faults == []


@pytest.mark.parametrize("seed", range(3))
def test_no_form_fails_whatever_is_sent(boss: Client, seed: int) -> None:
    chance = random.Random(seed)
    faults: list[object] = []

    for _ in range(60):
        path, fields = path_of(chance), dict(some(chance, FIELDS, 6))
        fields |= {"action": chance.choice(ACTIONS)} if chance.random() < 0.4 else {}
        fields.pop("is_superuser", None)
        body = urlencode(fields, errors="surrogatepass")
        kind = chance.choice(["application/x-www-form-urlencoded"] * 4 + [MULTIPART, "application/json", "text/plain", ""])
        if path.startswith(("/admin/auth/user/1/delete", "/admin/logout")):
            continue
        faults += failed(boss, lambda p=path, b=body, k=kind: boss.generic("POST", p, b, content_type=k), (path, body, kind))

    assert faults == []
    assert User.objects.filter(username="root", is_superuser=True).exists()


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("ids", [["abc"], ["-1"], ["9" * 40], ["\0"], ["1" * 5000], [], ["1"] * 60, [""], ["1", "abc"], ["１"]])
def test_an_action_on_no_row_of_the_list_is_a_message(boss: Client, path: str, ids: list[str]) -> None:
    before = Change.objects.count()
    action = {KEYS: "revoke_selected"}.get(path, "delete_selected")

    answer = boss.post(path, {"action": action, "_selected_action": ids, "post": "yes"}, follow=True)

    assert answer.status_code == 200
    assert Change.objects.count() == before


BODIES = {
    "no utf-8": ("application/x-www-form-urlencoded", b"name=%ff%fe&title=%c3%28\xff"),
    "multipart garbage": (MULTIPART, b"--b\r\nContent-Disposition: form-data; name=\r\n\r\n\xff\xff"),
    "multipart without boundary": ("multipart/form-data", b"--b\r\n"),
    "a file for a field": (
        MULTIPART,
        b'--b\r\nContent-Disposition: form-data; name="name"; filename="x"\r\n\r\nx\r\n--b--\r\n',
    ),
    "bad transfer encoding": (
        MULTIPART,
        b'--b\r\nContent-Disposition: form-data; name="name"\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--b--\r\n',
    ),
    "json": ("application/json", b'{"name": "x"}'),
    "unknown charset": ("application/x-www-form-urlencoded; charset=nonsense", b"name=x"),
    "utf-16": ("application/x-www-form-urlencoded; charset=utf-16", b"name=x"),
    "too many fields": ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % number for number in range(20_001))),
    "too many forms": ("application/x-www-form-urlencoded", b"credit_set-TOTAL_FORMS=1000000000&credit_set-INITIAL_FORMS=abc"),
    "negative forms": ("application/x-www-form-urlencoded", b"credit_set-TOTAL_FORMS=-1&credit_set-INITIAL_FORMS=-1&title=x"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    "path", [f"{MOVIES}1/change/", f"{PEOPLE}add/", f"{KEYS}add/", f"{USERS}add/", MOVIES, "/admin/login/"]
)
def test_a_body_that_is_no_form_is_a_4xx_or_the_form_again(boss: Client, path: str, body: tuple[str, bytes]) -> None:
    answer = boss.generic("POST", path, body[1], content_type=body[0])

    assert answer.status_code < 500


@pytest.mark.parametrize("page", ["change", "delete", "history"])
@pytest.mark.parametrize("field", ["", "%00", "nothing", "id__in", "password"])
def test_a_row_named_by_a_field_that_is_none_is_no_fault(boss: Client, page: str, field: str) -> None:
    paths = [f"{each}1/{page}/?_to_field={field}" for each in LISTS]

    assert [fault for path in paths for fault in failed(boss, partial(boss.get, path), path)] == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "PROPFIND"])
def test_a_method_that_no_page_has_is_a_405(boss: Client, method: str) -> None:
    answer = boss.generic(method, MOVIES)

    assert (answer.status_code, answer.headers.get("Allow")) == (405, "GET, HEAD, POST")


def test_a_bad_filter_does_not_redirect_for_ever(boss: Client) -> None:
    for path in LISTS:
        assert boss.get(f"{path}?foo__bar=1", follow=True).status_code in (200, 400)
        assert boss.get(f"{path}?e=1", follow=True).status_code == 200
        assert boss.get(f"{path}?after=abc", follow=True).status_code == 200
